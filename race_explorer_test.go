package sessions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// An explorer plays actors against one store in every order there is. Each
// operation of an actor waits until the explorer lets it go, with or without a
// fault; a run is a list of such choices, and the runs are the leaves of their
// tree, which it walks depth first.
type explorer struct {
	sessions.Store         // of this run
	faults         []fault // that an operation may have
	budget         int     // how many of them one run may have
	bubble         bool    // in a synctest bubble
	pick           func(n int) int

	actors  []*actor
	late    []func() // requests on their way that the actor has given up
	running int
	reports chan *actor
	trace   []string
}

type fault int

const (
	none        fault = iota
	lostRequest       // the store never gets it
	lostReply         // applied, and the actor is told that nobody answered
	lostReplies       // the same for this one and for every further try of it
	repeated          // the client has lost the reply and sends it again by itself
	delayed           // the actor gives up, and it is applied some time later
)

var faultNames = [...]string{"", " request lost", " reply lost", " reply lost, always", " repeated", " delayed"}

// An actor is one request.
type actor struct {
	name   string
	do     func(ctx context.Context)
	op     string // where it is parked
	go_    chan fault
	parked bool
	done   bool
	sticky map[string]bool
	lost   int // swaps that may have been applied, and it was told that nobody answered
}

type actorKey struct{}

func (e *explorer) Timeout() time.Duration { return time.Hour }

// step parks the actor that ctx belongs to.
func (e *explorer) step(ctx context.Context, op string, apply func(context.Context) error) error {
	a, ok := ctx.Value(actorKey{}).(*actor)
	if !ok {
		return apply(ctx)
	}
	a.op = op
	e.reports <- a
	f := <-a.go_
	if a.sticky[op] {
		f = lostReplies
	}
	unanswered := fmt.Errorf("%w: %s", sessions.ErrUnavailable, "a fault of the test")
	switch f {
	case lostRequest:
		return unanswered
	case lostReplies:
		a.sticky[op] = true
		fallthrough
	case lostReply:
		if op == "CompareAndSwap" {
			a.lost++
		}
		apply(ctx)
		return unanswered
	case repeated:
		apply(ctx)
		return e.step(ctx, op, apply)
	case delayed:
		if op == "CompareAndSwap" {
			a.lost++
		}
		ctx := context.WithoutCancel(ctx)
		e.late = append(e.late, func() { apply(ctx) })
		return unanswered
	}
	return apply(ctx)
}

func (e *explorer) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = e.step(ctx, "Load", func(ctx context.Context) (err error) {
		data, left, err = e.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (e *explorer) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	data = slices.Clone(data)
	return e.step(ctx, "Create", func(ctx context.Context) error { return e.Store.Create(ctx, key, data, ttl) })
}

func (e *explorer) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	prefix, data = slices.Clone(prefix), slices.Clone(data)
	err = e.step(ctx, "CompareAndSwap", func(ctx context.Context) (err error) {
		current, err = e.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (e *explorer) Delete(ctx context.Context, key string) error {
	return e.step(ctx, "Delete", func(ctx context.Context) error { return e.Store.Delete(ctx, key) })
}

// play is one run: it starts the actors and lets them go, one step at a time,
// until all have finished and nothing is on its way.
func (e *explorer) play(ctx context.Context, actors ...*actor) {
	e.actors, e.late, e.trace, e.running = actors, nil, nil, len(actors)
	e.reports = make(chan *actor, len(actors))
	faults := 0
	for _, a := range actors {
		a.go_, a.sticky = make(chan fault), map[string]bool{}
		go func() {
			a.do(context.WithValue(ctx, actorKey{}, a))
			a.done = true
			e.reports <- a
		}()
	}
	for {
		e.settle()
		type choice struct {
			a    *actor
			f    fault
			late int
		}
		var choices []choice
		for _, a := range actors {
			if !a.parked {
				continue
			}
			choices = append(choices, choice{a: a})
			for _, f := range e.faults {
				if faults < e.budget && !a.sticky[a.op] && (f != repeated && f != delayed || a.op != "Load") {
					choices = append(choices, choice{a: a, f: f})
				}
			}
		}
		for i := range e.late {
			choices = append(choices, choice{late: i})
		}
		if len(choices) == 0 {
			return
		}
		c := choices[e.pick(len(choices))]
		if c.a == nil {
			apply := e.late[c.late]
			e.late = slices.Delete(slices.Clone(e.late), c.late, c.late+1)
			e.trace = append(e.trace, "the delayed one arrives")
			apply()
			continue
		}
		if c.f != none {
			faults++
		}
		e.trace = append(e.trace, c.a.name+" "+c.a.op+faultNames[c.f])
		c.a.parked = false
		e.running++
		c.a.go_ <- c.f
	}
}

// settle waits until everybody who was let go stands at the next step, or has
// finished, or waits for somebody who stands.
func (e *explorer) settle() {
	if e.bubble {
		synctest.Wait()
	}
	for e.running > 0 {
		var a *actor
		if e.bubble {
			select {
			case a = <-e.reports:
			default:
				return
			}
		} else {
			a = <-e.reports
		}
		a.parked = !a.done
		e.running--
	}
}

// all calls run once for each leaf of the tree of choices and returns how many
// there are.
func (e *explorer) all(t *testing.T, run func()) (runs int) {
	var path, width []int
	for {
		depth := 0
		e.pick = func(n int) int {
			if depth == len(path) {
				path, width = append(path, 0), append(width, n)
			}
			if width[depth] != n {
				t.Fatalf("the run is not the function of its choices that it has to be: %d choices, were %d, after\n%s", n, width[depth], e)
			}
			depth++
			return path[depth-1]
		}
		run()
		runs++
		if t.Failed() {
			t.Fatalf("after\n%s", e)
		}
		for len(path) > 0 && path[len(path)-1] == width[len(path)-1]-1 {
			path, width = path[:len(path)-1], width[:len(width)-1]
		}
		if len(path) == 0 {
			return runs
		}
		path[len(path)-1]++
	}
}

// String is the run so far.
func (e *explorer) String() string { return strings.Join(e.trace, "\n") }

var allFaults = []fault{lostRequest, lostReply, lostReplies, repeated, delayed}

// bubbled runs f in a synctest bubble, where the explorer sees of everybody
// whether he stands or waits.
func bubbled(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
