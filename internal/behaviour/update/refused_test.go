package update_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

var errSoldOut = errors.New("sold out")

// buy takes one of the Views, and refuses where there is none.
func buy(u *state) error {
	if u.Views == 0 {
		return errSoldOut
	}
	u.Views--
	return nil
}

// inTurn is two requests of one process: the first one's reply is late, act runs
// meanwhile, and the second one, which waits for its turn, goes on from there.
func (p *pair[T]) inTurn(first func() error, act func(), second func() error) (one, two error) {
	p.t.Helper()
	g := p.store.At("after CompareAndSwap")
	ones, twos := make(chan error, 1), make(chan error, 1)
	go func() { ones <- first() }()
	g.Wait()
	act()
	go func() { twos <- second() }()
	synctest.Wait() // until it is its turn
	g.Open()
	return <-ones, <-twos
}

// What fn refuses must be what is stored, not what its request loaded long ago,
// nor what the writer before has handed on: that may be out of date by then.
func TestFunctionRefuses(t *testing.T) {
	t.Parallel()
	eachPair(t, "C9 an fn that refuses what its request has loaded is asked on what is stored when Update is called", func(t *testing.T, p *pair[state]) {
		p.elsewhere(func(s *state) { s.Views = 0 })
		ctx, _ := p.load()
		kit.WantErr(t, "Update of what is sold out", p.mine.Update(ctx, buy), errSoldOut)
		p.elsewhere(func(s *state) { s.Views = 2 })
		kit.WantErr(t, "Update, and there are two by now,", p.mine.Update(ctx, buy), nil)
		if got := p.stored().Views; got != 1 {
			t.Errorf("%d are left, want 1", got)
		}
	})

	eachPairInABubble(t, "C9 fn never sees what is older than what its request has loaded: the writer before it has found that, and refused it", func(t *testing.T, p *pair[state]) {
		first, _ := p.load()
		p.elsewhere(func(s *state) { s.Views = 0 })
		second, calls := make(chan error, 1), 0
		err := p.mine.Update(first, func(u *state) error {
			if calls++; calls == 1 {
				return nil
			}
			p.elsewhere(func(s *state) { s.Views = 5 })
			ctx, _ := p.load()
			go func() { second <- p.mine.Update(ctx, buy) }()
			synctest.Wait() // until it is its turn
			return buy(u)
		})
		if err != errSoldOut {
			t.Errorf("the first = %v, want the refusal", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the second = %v, and its request has loaded 5", err)
		}
		if got := p.stored().Views; got != 4 {
			t.Errorf("%d are left, want 4", got)
		}
	})

	eachPairInABubble(t, "C9 no Update that begins after a restock is refused, though the queue of those who refuse never empties", func(t *testing.T, p *pair[state]) {
		slowly := func(u *state) error {
			time.Sleep(2 * time.Millisecond)
			return buy(u)
		}
		var ctxs [4]context.Context
		for i := range ctxs {
			ctxs[i], _ = p.load()
		}
		var restocked, late, bought atomic.Int64
		var buyers sync.WaitGroup
		buyers.Go(func() {
			kit.OK(t, p.mine.Update(ctxs[0], func(u *state) error { time.Sleep(50 * time.Millisecond); return slowly(u) }))
		})
		end := time.Now().Add(time.Second)
		time.Sleep(10 * time.Millisecond) // the others queue up behind the first
		for _, ctx := range ctxs[1:] {
			buyers.Go(func() {
				for time.Now().Before(end) {
					start := time.Now()
					err := p.mine.Update(ctx, slowly)
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
		p.elsewhere(func(s *state) { s.Views = 1_000_000 })
		restocked.Store(time.Now().UnixNano())
		buyers.Wait()
		if late.Load() > 0 || bought.Load() == 0 {
			t.Errorf("of those that began after the restock %d were refused, %d have bought", late.Load(), bought.Load())
		}
	})
}

// owned is a T of somebody: an Update that changes whose it is stores a copy
// before it claims the old record.
type owned struct {
	User  string `json:"user"`
	Views int    `json:"views"`
}

func (s *owned) SessionOwner() string { return s.User }

func TestNoCopyIsLeft(t *testing.T) {
	t.Parallel()
	t.Run("L12 C9 an fn that has set an owner and ends its goroutine when it is called again leaves no copy behind", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			inner := &kit.Store{Store: kit.Memory()}
			p := newPair(t, inner, sessions.Config{Codec: c}, owned{Views: 1})
			ctx, _ := p.load()
			calls := 0
			kit.Contain(func() {
				_ = p.mine.Update(ctx, func(s *owned) error {
					if calls++; calls == 2 {
						runtime.Goexit()
					}
					p.elsewhere(func(s *owned) { s.Views++ })
					s.User = "ann"
					return nil
				})
			})
			if live, marks := inner.Left(t); calls != 2 || live != 1 || marks != 0 {
				t.Errorf("%d records and %d marks after %d calls, want the one of before", live, marks, calls)
			}
			p.want(owned{Views: 2})
		})
	})
}

// A handler that works through what fn was given, and never asked for T, may go
// on with it after TimeoutHandler has given it up: the race detector watches.
func TestTimeoutHandler(t *testing.T) {
	for name, token := range map[string]bool{"a new session": false, "a stored one": true} {
		kit.Bubble(t, "W12 inside, after its deadline: T is left alone though the handler has only called Update, on "+name, func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			b := a.Browser()
			if token {
				b = b.As(a.Seed(1))
			}
			returned, over := make(chan struct{}), make(chan struct{})
			a.Mux.Handle("/late", http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				var s *kit.Session
				kit.OK(t, a.Update(r.Context(), func(live *kit.Session) error {
					s = live
					s.Views, s.Prefs = 7, map[string]int{}
					return nil
				}))
				<-r.Context().Done() // this handler is given up at the same moment
				for n := 0; ; n++ {
					s.Prefs[fmt.Sprint("late", n%100)] = n
					select {
					case <-returned:
						return
					default:
					}
				}
			}), time.Second, "too slow"))
			res := b.Get("/late")
			close(returned)
			<-over
			if got := kit.Stored(t, a.Manager, b.Token()); res.StatusCode != 503 || got.Views != 7 || len(got.Prefs) > 0 {
				t.Errorf("status %d, stored is %+v, want 503 and what Update has stored", res.StatusCode, got)
			}
		})
	}
}
