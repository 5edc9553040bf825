package update_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// held is what a handler holds of a T before an Update, to be found again after
// one that failed.
type held struct {
	t    *testing.T
	live *state
	was  state
}

// hold fills all of *T, with what no codec sees.
func hold(t *testing.T, s *state) held {
	s.Name, s.quiet = "mine", 7
	s.Note = map[string]int{"n": 1}
	s.Tags["mine"] = "x"
	return held{t, s, *s}
}

// spoil is what an fn does before it fails.
func spoil(u *state) {
	u.Views, u.Name, u.quiet = 99, "spoilt", 99
	u.Tags["spoilt"], u.List[0] = "x", 99
	u.Note = map[string]int{"spoilt": 1}
	u.List = append(u.List, 99)
}

// check compares *T, and whether its maps and slices are the same ones.
func (h held) check() {
	h.t.Helper()
	if !reflect.DeepEqual(*h.live, h.was) || h.was.Tags["spoilt"] != "" || h.was.List[0] != 1 {
		h.t.Errorf("*T is %+v, was %+v", *h.live, h.was)
	}
	h.was.Tags["same"], h.was.List[1], h.was.Note["same"] = "x", 42, 1
	if h.live.Tags["same"] != "x" || h.live.List[1] != 42 || h.live.Note["same"] != 1 {
		h.t.Error("*T has other maps and slices than those that the handler holds")
	}
	delete(h.was.Tags, "same")
	h.was.List[1] = 2
	delete(h.was.Note, "same")
}

// begin is load for a "stored" session; for a "new" one it is the request of a
// visitor without one.
func (p *pair[T]) begin(kind string) (context.Context, *T) {
	p.t.Helper()
	if kind == "stored" {
		return p.load()
	}
	return kit.Load(p.t, p.mine)
}

// eachBegun runs a test with both codecs, for a session that is stored and for
// one that is new.
func eachBegun(t *testing.T, name string, f func(t *testing.T, p *pair[state], ctx context.Context, h held)) {
	eachPair(t, name, func(t *testing.T, p *pair[state]) {
		for _, kind := range []string{"stored", "new"} {
			t.Run(kind, func(t *testing.T) {
				ctx, s := p.begin(kind)
				if kind == "new" {
					s.Tags, s.List = map[string]string{}, []int{1, 2}
				}
				f(t, p, ctx, hold(t, s))
			})
		}
	})
}

func wantNoWrite(t *testing.T, store *kit.Store) {
	t.Helper()
	if ops := store.Calls(); strings.Contains(ops, "Create") || strings.Contains(ops, "CompareAndSwap") {
		t.Errorf("store calls %q", ops)
	}
}

type ownError struct{ text string }

func (e *ownError) Error() string { return e.text }

func TestFunctionFails(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"an error of its own":      &ownError{"full"},
		"a wrapped one":            fmt.Errorf("handler: %w", io.EOF),
		"a joined one":             errors.Join(io.EOF, sessions.ErrGone),
		"ErrGone":                  sessions.ErrGone,
		"ErrUnavailable":           sessions.ErrUnavailable,
		"ErrUnavailable, wrapped":  fmt.Errorf("handler: %w", sessions.ErrUnavailable),
		"ErrConflict":              sessions.ErrConflict,
		"ErrNotFound":              sessions.ErrNotFound,
		"ErrCommitted":             sessions.ErrCommitted,
		"ErrTooLarge":              sessions.ErrTooLarge,
		"a DecodeError":            &sessions.DecodeError{Err: io.EOF},
		"context.Canceled":         context.Canceled,
		"context.DeadlineExceeded": context.DeadlineExceeded,
	} {
		eachPair(t, "C9 an fn that fails writes nothing, *T is what it was, the error comes back unchanged and the session goes on: "+name, func(t *testing.T, p *pair[state]) {
			ctx, s := p.load()
			h := hold(t, s)
			if err := p.mine.Update(ctx, func(u *state) error { spoil(u); return failure }); err != failure {
				t.Errorf("Update = %v, want %v", err, failure)
			}
			wantNoWrite(t, p.store)
			h.check()
			p.want(ann(1))
			kit.Must(t, p.mine.Update(ctx, count))
			kit.Must(t, p.mine.Renew(ctx))
			p.commit(ctx)
			p.want(state{Views: 2, Name: "mine", Tags: map[string]string{"a": "1", "b": "2", "mine": "x"}, List: []int{1, 2}})
		})
	}

	eachPair(t, "C9 an fn that fails on what another process has stored meanwhile leaves *T what the handler had", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		h, calls := hold(t, s), 0
		err := p.mine.Update(ctx, func(u *state) error {
			spoil(u)
			if calls++; calls == 3 {
				return io.EOF
			}
			p.elsewhere(func(s *state) { s.Views += 10 })
			return nil
		})
		if err != io.EOF || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
		h.check()
		p.want(ann(21))
	})

	eachPair(t, "C9 an fn that fails for a new session stores nothing, and *T is what it was", func(t *testing.T, p *pair[state]) {
		ctx, s := p.begin("new")
		s.Tags, s.List = map[string]string{}, []int{1, 2}
		h := hold(t, s)
		if err := p.mine.Update(ctx, func(u *state) error { spoil(u); return io.EOF }); err != io.EOF {
			t.Errorf("Update = %v", err)
		}
		h.check()
		wantNoWrite(t, p.store)
		p.commit(ctx)
		p.want(state{Name: "mine", Tags: map[string]string{"mine": "x"}, List: []int{1, 2}})
	})

	for name, fails := range map[string]struct {
		err  error
		fill int // of Name, in bytes
	}{
		"is unavailable":                  {err: sessions.ErrUnavailable},
		"finds it too large":              {fill: 70 << 10},
		"does not get the swap through":   {err: context.DeadlineExceeded},
		"says what no store should":       {err: io.EOF},
		"says that it has gone meanwhile": {err: sessions.ErrNotFound},
	} {
		eachBegun(t, "C9 *T is what it was when the store "+name, func(t *testing.T, p *pair[state], ctx context.Context, h held) {
			p.store.Fail(fails.err)
			err := p.mine.Update(ctx, func(u *state) error {
				spoil(u)
				u.Name = strings.Repeat("x", fails.fill)
				return nil
			})
			p.store.Heal()
			if err == nil {
				t.Error("no error")
			}
			h.check()
			p.want(ann(1))
		})
	}
}

func TestFunctionDoesNotReturn(t *testing.T) {
	t.Parallel()
	// Each ends fn in its way, and gives what the goroutine around it saw.
	ends := map[string]func(p *pair[state], ctx context.Context, fn func(*state)) any{
		"panics": func(p *pair[state], ctx context.Context, fn func(*state)) (got any) {
			defer func() { got = recover() }()
			_ = p.mine.Update(ctx, func(u *state) error { fn(u); panic("mine") })
			return "Update has returned"
		},
		"aborts the handler": func(p *pair[state], ctx context.Context, fn func(*state)) (got any) {
			defer func() {
				if got = recover(); got == http.ErrAbortHandler {
					got = "mine"
				}
			}()
			_ = p.mine.Update(ctx, func(u *state) error { fn(u); panic(http.ErrAbortHandler) })
			return "Update has returned"
		},
		"ends its goroutine": func(p *pair[state], ctx context.Context, fn func(*state)) any {
			var got any = "mine"
			kit.Contain(func() {
				_ = p.mine.Update(ctx, func(u *state) error { fn(u); runtime.Goexit(); return nil })
				got = "Update has returned"
			})
			return got
		},
	}
	for name, end := range ends {
		eachBegun(t, "C9 an fn that "+name+" writes nothing, *T is what it was, and a handler that recovers can go on", func(t *testing.T, p *pair[state], ctx context.Context, h held) {
			p.store.Calls()
			kit.Within(t, func() {
				if got := end(p, ctx, spoil); got != "mine" {
					t.Error(got)
				}
			})
			h.check()
			wantNoWrite(t, p.store)
			old := p.token
			kit.Within(t, func() {
				kit.OK(t, p.mine.Update(ctx, count))
				kit.OK(t, p.mine.Renew(ctx))
				o, err := p.mine.Commit(ctx)
				kit.OK(t, err)
				p.token = o.Token.Reveal()
			})
			if p.token == old {
				t.Error("no new token")
			}
			if got := p.stored(); got.Name != "mine" || got.Tags["spoilt"] != "" || got.Tags["mine"] != "x" {
				t.Errorf("stored is %+v", got)
			}
		})
	}

	ends["returns ErrUnavailable"] = func(p *pair[state], ctx context.Context, fn func(*state)) any {
		return p.mine.Update(ctx, func(u *state) error { fn(u); return sessions.ErrUnavailable })
	}
	for name, end := range ends {
		eachPairInABubble(t, "C9 other writers of the session go on at once after an fn that "+name, func(t *testing.T, p *pair[state]) {
			ctx, _ := p.load()
			done := make(chan error, 10)
			end(p, ctx, func(*state) {
				for range cap(done) {
					ctx, _ := p.load()
					go func() { done <- p.mine.Update(ctx, count) }()
				}
				synctest.Wait() // they wait for their turn
			})
			start := time.Now()
			for range cap(done) {
				kit.Must(t, <-done)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("they go on after %v", took)
			}
			p.want(ann(11))
		})
	}

	t.Run("W8 the panic of an fn reaches the middleware outside, and the cookie of what the request had stored is sent", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		h := a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			kit.Must(t, a.Update(r.Context(), viewed))
			_ = a.Update(r.Context(), func(s *kit.Session) error { s.Views = 99; panic("mine") })
		}))
		res := kit.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("panic %v", p)
				}
				w.WriteHeader(500)
			}()
			h.ServeHTTP(w, r)
		}), kit.With("", "/"))
		wantViews(t, a.Manager, kit.TokenOf(res.Header), 1)
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 {
			t.Errorf("cookies %q", lines)
		}
	})
}
