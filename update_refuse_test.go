package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

var errSoldOut = errors.New("sold out")

func buyOne(u *updateDesk) error {
	if u.Views == 0 {
		return errSoldOut
	}
	u.Views--
	return nil
}

// parkReply keeps the reply of the next swap, which has been applied, on its way
// until the gate is open.
func parkReply(store *stepStore) *gate {
	g := newGate()
	store.after = func(op, _ string) error {
		if op == "CompareAndSwap" {
			store.after = nil
			g.pass()
		}
		return nil
	}
	return g
}

// What the writer before hands on may be out of date by then: it is good to
// write on, but not to refuse by.
func TestRefusalOnHandedState(t *testing.T) {
	updateBubble(t, "C9 an fn that refuses what the writer before has left is asked on what is stored when Update is called", func(t *testing.T, c sessions.Codec) {
		p := newUpdatePair(t, c)
		first, _ := p.load()
		second, s := p.load()
		g := parkReply(p.store)
		done := make(chan error, 2)
		go func() { done <- p.mine.Update(first, buyOne) }() // the last one
		g.wait()
		p.elsewhere(func(s *updateDesk) { s.Views = 5 })
		go func() { done <- p.mine.Update(second, buyOne) }()
		synctest.Wait() // until it is its turn
		g.open()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if s.Views != 4 || p.stored().Views != 4 {
			t.Errorf("*T has %d, stored are %d, want 4", s.Views, p.stored().Views)
		}
	})

	updateBubble(t, "C9 L10 an fn that refuses what the writer before has left of a session destroyed since is answered ErrGone", func(t *testing.T, c sessions.Codec) {
		p := newUpdatePair(t, c)
		first, _ := p.load()
		second, _ := p.load()
		other, err := p.other.Load(t.Context(), p.token)
		must(t, err)
		g := parkReply(p.store)
		done, refused := make(chan error, 1), make(chan error, 1)
		go func() { done <- p.mine.Update(first, buyOne) }()
		g.wait()
		must(t, p.other.Destroy(other))
		go func() { refused <- p.mine.Update(second, buyOne) }()
		synctest.Wait() // until it is its turn
		g.open()
		must(t, <-done)
		if err := <-refused; !errors.Is(err, sessions.ErrGone) || errors.Is(err, errSoldOut) {
			t.Errorf("Update = %v, want ErrGone", err)
		}
	})
}

func TestRefusalsInAQueue(t *testing.T) {
	updateBubble(t, "C9 no Update that begins after a restock is refused, though the queue of those who refuse never empties", func(t *testing.T, c sessions.Codec) {
		p := newUpdatePair(t, c)
		buy := func(u *updateDesk) error {
			time.Sleep(2 * time.Millisecond)
			return buyOne(u)
		}
		var ctxs [4]context.Context
		for i := range ctxs {
			ctxs[i], _ = p.load()
		}
		var restocked, late, bought atomic.Int64
		var buyers sync.WaitGroup
		buyers.Go(func() {
			if err := p.mine.Update(ctxs[0], func(u *updateDesk) error { time.Sleep(50 * time.Millisecond); return buy(u) }); err != nil {
				t.Error(err)
			}
		})
		end := time.Now().Add(time.Second)
		time.Sleep(10 * time.Millisecond) // the others queue up behind the first
		for _, ctx := range ctxs[1:] {
			buyers.Go(func() {
				for time.Now().Before(end) {
					start := time.Now()
					err := p.mine.Update(ctx, buy)
					if at := restocked.Load(); at == 0 || start.UnixNano() <= at {
						continue
					}
					if errors.Is(err, errSoldOut) {
						late.Add(1)
					} else if err == nil {
						bought.Add(1)
					}
				}
			})
		}
		time.Sleep(300*time.Millisecond + time.Microsecond)
		p.elsewhere(func(s *updateDesk) { s.Views = 1_000_000 })
		restocked.Store(time.Now().UnixNano())
		buyers.Wait()
		if late.Load() > 0 || bought.Load() == 0 {
			t.Errorf("of those that began after the restock %d were refused, %d have bought", late.Load(), bought.Load())
		}
	})
}

func TestFunctionPastTheLifetime(t *testing.T) {
	updateBubble(t, "L6 L7 an fn that returns after the Lifetime stores nothing: ErrGone, and no key without a TTL", func(t *testing.T, c sessions.Codec) {
		store := &spyStore{Store: memory()}
		m := mustNew(t, store, sessions.Config{Codec: c, IdleTimeout: time.Hour, Lifetime: time.Hour})
		token := mustRequest(t, m, "", put(m, "ann"))
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		time.Sleep(time.Hour - 10*time.Millisecond)
		err = m.Update(ctx, func(s *Session) error {
			time.Sleep(20 * time.Millisecond)
			s.Views++
			return nil
		})
		if !errors.Is(err, sessions.ErrGone) {
			t.Errorf("Update = %v, want ErrGone", err)
		}
		for _, ttl := range store.ttls {
			if ttl <= 0 {
				t.Errorf("the store is asked for a ttl of %v", ttl)
			}
		}
		if live, marks := store.left(t); live != 0 || marks != 0 {
			t.Errorf("%d records and %d marks are left", live, marks)
		}
	})
}

// Update stores a copy for a new owner before it claims the old record.
func TestUpdateLeavesNoCopy(t *testing.T) {
	for name, end := range map[string]func() error{
		"panics":                            func() error { panic("mine") },
		"ends its goroutine":                func() error { runtime.Goexit(); return nil },
		"returns an error":                  func() error { return io.EOF },
		"returns an error like the store's": func() error { return sessions.ErrUnavailable },
	} {
		t.Run("L12 C9 an fn that has set an owner and "+name+" when it is called again leaves no copy behind", func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				store := &spyStore{Store: memory()}
				p := newMergePair(t, store, sessions.Config{}, c, false, func(s *ownerSession) { s.Views = 1 })
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				calls := 0
				onItsOwn(func() {
					_ = p.here.Update(ctx, func(s *ownerSession) error {
						if calls++; calls == 2 {
							return end()
						}
						mergeEdit(t, p.there, p.token, func(s *ownerSession) { s.Views++ })
						s.User = "ann"
						return nil
					})
				})
				if live, marks := store.left(t); calls != 2 || live != 1 || marks != 0 {
					t.Errorf("%d records and %d marks after %d calls, want the one of before", live, marks, calls)
				}
				if got := mergeStored(t, p.there, p.token); got.User != "" || got.Views != 2 {
					t.Errorf("stored is %+v", got)
				}
			})
		})
	}
}

// An error of MergeSession is its caller's alone, whatever it wraps.
func TestMergeErrorLikeTheStores(t *testing.T) {
	updateBubble(t, "C7 C9 a MergeSession whose error wraps ErrUnavailable does not end those who wait behind it", func(t *testing.T, c sessions.Codec) {
		store := &stepStore{Store: memory()}
		p := newMergePair(t, store, sessions.Config{Codec: c}, c, false, mergeTen)
		first, err := p.here.Load(t.Context(), p.token)
		must(t, err)
		second, err := p.here.Load(t.Context(), p.token)
		must(t, err)
		rates := fmt.Errorf("rates: %w", sessions.ErrUnavailable)
		spyOnMerge(t, func(_, _, _ *mergeTally) error { return rates })
		g := newGate()
		store.before = func(op, _ string) error {
			store.before = nil
			g.pass()
			return nil
		}
		failed, done := make(chan error, 1), make(chan error, 1)
		p.here.FromContext(first).Total = 11
		go func() { failed <- p.here.Save(first) }()
		g.wait()
		mergeEdit(t, p.there, p.token, func(s *mergeTally) { s.Total = 20 })
		go func() { done <- p.here.Update(second, func(s *mergeTally) error { s.Total++; return nil }) }()
		synctest.Wait() // until it is its turn
		g.open()
		if err := <-failed; !errors.Is(err, rates) {
			t.Errorf("the save whose merge fails = %v, want its error", err)
		}
		must(t, <-done)
		if got := mergeStored(t, p.there, p.token).Total; got != 21 {
			t.Errorf("the total is %d, want 21", got)
		}
	})
}

// A handler that works through what fn was given, and never asked for T, may go
// on with it after TimeoutHandler has given it up: the race detector watches.
func TestTimeoutHandlerUpdateOnly(t *testing.T) {
	for name, stored := range map[string]bool{"a new session": false, "a stored one": true} {
		t.Run("W12 inside, after its deadline: T is left alone though the handler has only called Update, on "+name, func(t *testing.T) {
			d := newDesk(t, memory(), sessions.Config{})
			token := ""
			if stored {
				token = d.seed(1)
			}
			updated, returned, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
			inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				var s *Session
				if err := d.Update(r.Context(), func(live *Session) error {
					s = live
					s.Views, s.Prefs = 7, map[string]int{}
					return nil
				}); err != nil {
					t.Error(err)
				}
				close(updated)
				for n := 0; ; n++ {
					s.Prefs[fmt.Sprint("late", n%100)] = n
					select {
					case <-returned:
						return
					default:
					}
				}
			}), 500*time.Millisecond, "too slow")
			res := d.send(with(token, "/"), inside.ServeHTTP)
			close(returned)
			<-over
			select {
			case <-updated:
			default:
				t.Fatal("this machine takes longer for an Update than TimeoutHandler waits")
			}
			if !stored {
				token = tokenOf(res.Header)
			}
			if got := mergeStored(t, d.Manager, token); res.StatusCode != 503 || got.Views != 7 || len(got.Prefs) > 0 {
				t.Errorf("status %d, stored is %+v, want 503 and what Update has stored", res.StatusCode, got)
			}
		})
	}
}
