// Package storetest checks an implementation of [sessions.Store] against its
// contract.
//
// Every rule is a subtest that carries its reason: a failure says what goes
// wrong for a user whose sessions are kept in such a store.
//
//	func TestStore(t *testing.T) {
//		mr := miniredis.RunT(t)
//		rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
//		storetest.Run(t, storetest.Options{
//			New: func(t *testing.T) sessions.Store {
//				mr.FlushAll()
//				return mystore.New(rdb)
//			},
//			Advance: func(t *testing.T, d time.Duration) { mr.FastForward(d) },
//		})
//	}
//
// A store that lives in this process and goes by [time.Now] needs no Advance,
// its cases run on the fake clock of testing/synctest:
//
//	storetest.Run(t, storetest.Options{
//		New:  func(*testing.T) sessions.Store { return new(mystore.Store) },
//		Wrap: synctest.Test,
//	})
package storetest

import (
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// Options tell [Run] how to make a store and how to let time pass for it.
// Cases run one after another, never in parallel, so that the functions may
// share one server.
type Options struct {
	_ [0]func() // keyed literals only

	// New returns an empty store. It is called once for each case, and what
	// it opens is closed by t.Cleanup. A shared server is emptied, or each
	// store is given a prefix of its own. Required.
	New func(t *testing.T) sessions.Store

	// Advance lets d pass for every store made so far: afterwards, what had
	// less than d to live is not found, and all else has d less to live. For
	// a server whose clock cannot be moved, lower the TTL of its keys by d
	// and delete those that have none left. Do not wait for d to pass: cases
	// ask for hours. Default: time.Sleep, which needs Wrap to be
	// synctest.Test.
	Advance func(t *testing.T, d time.Duration)

	// Neighbour returns a second store on the server of the store that New
	// returned last, with a different prefix, or whatever else keeps two
	// programs apart there. Default: the case that asks for it is skipped.
	Neighbour func(t *testing.T) sessions.Store

	// Wrap runs one case, New and cleanups included: synctest.Test for a
	// store that goes by time.Now, or what prepares and checks the
	// surroundings. It calls f once, with its own t or another. Default:
	// f(t).
	Wrap func(t *testing.T, f func(t *testing.T))
}

// Run checks the store that o describes: one subtest a rule, S1 to S15, and
// S17 to S24 if it is a [sessions.OwnerStore], named as in this project's list
// of behaviours. It needs no network and does not wait, unless the store does.
//
// Not covered, as it takes a fault in the server to see: that a store that
// does not answer in time gives [sessions.ErrUnavailable]. And no key is
// empty: the library makes none.
func Run(t *testing.T, o Options) {
	t.Helper()
	if o.New == nil {
		t.Fatal("storetest: Options.New is required")
	}
	if o.Advance == nil && o.Wrap == nil {
		t.Fatal("storetest: cases take hours of the store's time: set Options.Advance to let them pass, or Options.Wrap to synctest.Test")
	}
	if o.Advance == nil {
		o.Advance = func(_ *testing.T, d time.Duration) { time.Sleep(d) }
	}
	if o.Wrap == nil {
		o.Wrap = func(t *testing.T, f func(*testing.T)) { f(t) }
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			ran := false
			o.Wrap(t, func(t *testing.T) {
				ran = true
				s := &subject{T: t, pass: o.Advance, neighbour: o.Neighbour, why: tc.why}
				s.Store = o.New(t)
				s.mark = time.Now()
				tc.check(s)
			})
			if !ran {
				t.Error("storetest: Options.Wrap did not run the case")
			}
		})
	}
}
