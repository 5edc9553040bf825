package sessions_test

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
)

// An updateHold is what a handler holds of a T before an Update, to be found
// again after one that failed.
type updateHold struct {
	t    *testing.T
	live *updateDesk
	was  updateDesk
}

// updateHolding fills all of *T, with what no codec sees.
func updateHolding(t *testing.T, s *updateDesk) updateHold {
	s.Name, s.quiet = "mine", 7
	s.Note = map[string]int{"n": 1}
	s.Tags["mine"] = "x"
	return updateHold{t, s, *s}
}

// updateRuin is what an fn does before it fails.
func updateRuin(u *updateDesk) {
	u.Views, u.Name, u.quiet = 99, "spoilt", 99
	u.Tags["spoilt"], u.List[0] = "x", 99
	u.Note = map[string]int{"spoilt": 1}
	u.List = append(u.List, 99)
}

func (h updateHold) check() {
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

func wantNoWrite(t *testing.T, log *calls) {
	t.Helper()
	if ops := log.take(); strings.Contains(ops, "Create") || strings.Contains(ops, "CompareAndSwap") {
		t.Errorf("store calls %q", ops)
	}
}

type updateError struct{ text string }

func (e *updateError) Error() string { return e.text }

func TestUpdateWhoseFunctionFails(t *testing.T) {
	errs := map[string]error{
		"an error of its own":      &updateError{"full"},
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
	}
	for name, failure := range errs {
		eachUpdatePair(t, "C9 an fn that fails writes nothing, *T is what it was, the error comes back unchanged and the session goes on: "+name, func(t *testing.T, p *updatePair) {
			before := p.stored()
			ctx, s := p.load()
			h := updateHolding(t, s)
			if err := p.mine.Update(ctx, func(u *updateDesk) error { updateRuin(u); return failure }); err != failure {
				t.Errorf("Update = %v, want %v", err, failure)
			}
			wantNoWrite(t, p.log)
			h.check()
			p.want(before)
			must(t, p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }))
			must(t, p.mine.Renew(ctx))
			o, err := p.mine.Commit(ctx)
			must(t, err)
			p.token = o.Token.Reveal()
			p.want(updateDesk{Views: 2, Name: "mine", Tags: map[string]string{"a": "1", "b": "2", "mine": "x"}, List: []int{1, 2}})
		})
	}

	eachUpdatePair(t, "C9 an fn that fails on what another process has stored meanwhile leaves *T what the handler had", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		h := updateHolding(t, s)
		calls := 0
		err := p.mine.Update(ctx, func(u *updateDesk) error {
			updateRuin(u)
			if calls++; calls == 3 {
				return io.EOF
			}
			p.elsewhere(func(s *updateDesk) { s.Views += 10 })
			return nil
		})
		if err != io.EOF || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
		h.check()
		p.want(updateDesk{Views: 21, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}})
	})

	eachUpdatePair(t, "C9 an fn that fails for a new session stores nothing, and *T is what it was", func(t *testing.T, p *updatePair) {
		ctx, err := p.mine.Load(t.Context())
		must(t, err)
		p.log.take()
		s := p.mine.FromContext(ctx)
		s.Tags, s.List = map[string]string{}, []int{1, 2}
		h := updateHolding(t, s)
		if err := p.mine.Update(ctx, func(u *updateDesk) error { updateRuin(u); return io.EOF }); err != io.EOF {
			t.Errorf("Update = %v", err)
		}
		h.check()
		wantNoWrite(t, p.log)
		o, err := p.mine.Commit(ctx)
		must(t, err)
		p.token = o.Token.Reveal()
		p.want(updateDesk{Name: "mine", Tags: map[string]string{"mine": "x"}, List: []int{1, 2}})
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
		eachUpdatePair(t, "C9 *T is what it was when the store "+name, func(t *testing.T, p *updatePair) {
			for _, kind := range []string{"stored", "new"} {
				ctx, s := p.begin(kind)
				h := updateHolding(t, s)
				p.store.before = func(op, _ string) error { return fails.err }
				err := p.mine.Update(ctx, func(u *updateDesk) error {
					updateRuin(u)
					u.Name = strings.Repeat("x", fails.fill)
					return nil
				})
				p.store.before = nil
				if err == nil {
					t.Errorf("%s: no error", kind)
				}
				h.check()
			}
			p.want(updateDesk{Views: 1, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}})
		})
	}
}

func TestUpdateWhoseFunctionDoesNotReturn(t *testing.T) {
	// Each ends fn in its way, and gives what the goroutine around it saw.
	ends := map[string]func(p *updatePair, ctx context.Context, fn func(*updateDesk)) any{
		"panics": func(p *updatePair, ctx context.Context, fn func(*updateDesk)) (got any) {
			defer func() { got = recover() }()
			_ = p.mine.Update(ctx, func(u *updateDesk) error { fn(u); panic("mine") })
			return "Update has returned"
		},
		"aborts the handler": func(p *updatePair, ctx context.Context, fn func(*updateDesk)) (got any) {
			defer func() {
				if got = recover(); got == http.ErrAbortHandler {
					got = "mine"
				}
			}()
			_ = p.mine.Update(ctx, func(u *updateDesk) error { fn(u); panic(http.ErrAbortHandler) })
			return "Update has returned"
		},
		"ends its goroutine": func(p *updatePair, ctx context.Context, fn func(*updateDesk)) (got any) {
			done := make(chan any)
			go func() {
				var got any = "mine"
				defer func() { done <- got }()
				_ = p.mine.Update(ctx, func(u *updateDesk) error { fn(u); runtime.Goexit(); return nil })
				got = "Update has returned"
			}()
			return <-done
		},
	}
	for name, end := range ends {
		eachUpdatePair(t, "C9 an fn that "+name+" writes nothing, *T is what it was, and a handler that recovers can go on", func(t *testing.T, p *updatePair) {
			for _, kind := range []string{"stored", "new"} {
				ctx, s := p.begin(kind)
				h := updateHolding(t, s)
				within(t, func() {
					if got := end(p, ctx, updateRuin); got != "mine" {
						t.Errorf("%s: %v", kind, got)
					}
				})
				h.check()
				wantNoWrite(t, p.log)
				within(t, func() {
					must(t, p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }))
					must(t, p.mine.Renew(ctx))
					o, err := p.mine.Commit(ctx)
					must(t, err)
					if got := o.Token.Reveal(); got == p.token {
						t.Error("no new token")
					} else {
						p.token = got
					}
				})
				if got := p.stored(); got.Name != "mine" || got.Tags["spoilt"] != "" || got.Tags["mine"] != "x" {
					t.Errorf("%s: stored is %+v", kind, got)
				}
				p.log.take()
			}
		})
	}
	ends["returns ErrUnavailable"] = func(p *updatePair, ctx context.Context, fn func(*updateDesk)) any {
		return p.mine.Update(ctx, func(u *updateDesk) error { fn(u); return sessions.ErrUnavailable })
	}
	for name, end := range ends {
		updateBubble(t, "C9 other writers of the session go on at once after an fn that "+name, func(t *testing.T, c sessions.Codec) {
			p := newUpdatePair(t, c)
			ctx, _ := p.load()
			done := make(chan error, 10)
			end(p, ctx, func(*updateDesk) {
				for range cap(done) {
					ctx, _ := p.load()
					go func() { done <- p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }) }()
				}
				synctest.Wait() // they wait for their turn
			})
			start := time.Now()
			for range cap(done) {
				must(t, <-done)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("they go on after %v", took)
			}
			p.want(updateDesk{Views: 11, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}})
		})
	}

	t.Run("W8 the panic of an fn reaches the middleware outside, and the cookie of what the request had stored is sent", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		h := b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			must(t, b.Update(r.Context(), func(s *Session) error { s.Views = 1; return nil }))
			_ = b.Update(r.Context(), func(s *Session) error { s.Views = 99; panic("mine") })
		}))
		res := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("panic %v", p)
				}
				w.WriteHeader(500)
			}()
			h.ServeHTTP(w, r)
		}), with("", "/"))
		if got := b.views(tokenOf(res.Header)); got != 1 || len(res.Header["Set-Cookie"]) != 1 {
			t.Errorf("%d views, cookies %q", got, res.Header["Set-Cookie"])
		}
	})
}

// What fn refuses must be what is stored, not what its request loaded long ago.
func TestUpdateWhoseFunctionRefuses(t *testing.T) {
	refuse := errors.New("sold out")
	buy := func(u *updateDesk) error {
		if u.Views == 0 {
			return refuse
		}
		u.Views--
		return nil
	}
	eachUpdatePair(t, "C9 an fn that refuses what its request has loaded is asked on what is stored when Update is called", func(t *testing.T, p *updatePair) {
		p.elsewhere(func(s *updateDesk) { s.Views = 0 })
		ctx, _ := p.load()
		if err := p.mine.Update(ctx, buy); err != refuse {
			t.Errorf("Update = %v, want the refusal", err)
		}
		p.elsewhere(func(s *updateDesk) { s.Views = 2 })
		if err := p.mine.Update(ctx, buy); err != nil {
			t.Errorf("Update = %v, and there are two by now", err)
		}
		if got := p.stored().Views; got != 1 {
			t.Errorf("%d are left, want 1", got)
		}
	})

	updateBubble(t, "C9 fn never sees what is older than what its request has loaded: the writer before it has found that, and refused it", func(t *testing.T, c sessions.Codec) {
		p := newUpdatePair(t, c)
		first, _ := p.load()
		p.elsewhere(func(s *updateDesk) { s.Views = 0 })
		second, calls := make(chan error, 1), 0
		err := p.mine.Update(first, func(u *updateDesk) error {
			if calls++; calls == 1 {
				return nil
			}
			p.elsewhere(func(s *updateDesk) { s.Views = 5 })
			ctx, _ := p.load()
			go func() { second <- p.mine.Update(ctx, buy) }()
			synctest.Wait() // until it is its turn
			return buy(u)
		})
		if err != refuse {
			t.Errorf("the first = %v, want the refusal", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the second = %v, and its request has loaded 5", err)
		}
		if got := p.stored().Views; got != 4 {
			t.Errorf("%d are left, want 4", got)
		}
	})

	updateBubble(t, "C9 fn never sees what is older than what its request has loaded: the reply to the write before it was late", func(t *testing.T, c sessions.Codec) {
		p := newUpdatePair(t, c)
		p.elsewhere(func(s *updateDesk) { s.Views = 1 })
		first, _ := p.load()
		arrived, open := make(chan struct{}), make(chan struct{})
		p.store.after = func(op, _ string) error { // the reply of the first swap is on its way
			if op == "CompareAndSwap" {
				p.store.after = nil
				close(arrived)
				<-open
			}
			return nil
		}
		done := make(chan error, 2)
		go func() { done <- p.mine.Update(first, buy) }()
		<-arrived
		p.elsewhere(func(s *updateDesk) { s.Views = 5 })
		second, s := p.load()
		go func() {
			done <- p.mine.Update(second, func(u *updateDesk) error {
				if u.Views != 5 {
					t.Errorf("fn sees %d, and its request has loaded %d", u.Views, 5)
				}
				return buy(u)
			})
		}()
		synctest.Wait() // until it is its turn
		close(open)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if s.Views != 4 || p.stored().Views != 4 {
			t.Errorf("*T has %d, stored are %d, want 4", s.Views, p.stored().Views)
		}
	})
}

func TestUpdateOfARecordThatCannotBeRead(t *testing.T) {
	newer := func(payload string) string {
		return strings.Replace(recordOf("json", payload), `"created"`, `"version":9,"created"`, 1)
	}
	rows := []struct {
		name, stored string
		is           func(err error) bool
	}{
		{"is not T", recordOf("json", `{"views":"many"}`), updateDecodeError},
		{"is cut off", recordOf("json", `{"views":`), updateDecodeError},
		{"is of no known codec", recordOf("gob", `{}`), updateDecodeError},
		{"has no header", "garbage", updateDecodeError},
		{"is over MaxSize", recordOf("json", `{"name":"`+strings.Repeat("x", 70<<10)+`"}`), updateDecodeError},
		{"is of a newer build", newer(`{"views":1}`), func(err error) bool { return errors.Is(err, sessions.ErrNewerVersion) }},
		{"is of a newer build whose views are words", newer(`{"views":"many"}`), func(err error) bool { return errors.Is(err, sessions.ErrNewerVersion) }},
	}
	for _, row := range rows {
		eachUpdatePair(t, "K4 K6 Update of a session whose record "+row.name+" by now leaves the record and *T alone, and fn is not called on it", func(t *testing.T, p *updatePair) {
			ctx, s := p.load()
			h := updateHolding(t, s)
			calls := 0
			err := p.mine.Update(ctx, func(u *updateDesk) error {
				calls++
				updateRuin(u)
				must(t, p.store.Store.Delete(t.Context(), keyOf(p.token)))
				must(t, p.store.Store.Create(t.Context(), keyOf(p.token), []byte(row.stored), time.Hour))
				return nil
			})
			if !row.is(err) || calls != 1 {
				t.Errorf("%v after %d calls of fn", err, calls)
			}
			h.check()
			data, _, err := p.store.Store.Load(t.Context(), keyOf(p.token), 0)
			if err != nil || string(data) != row.stored {
				t.Errorf("the record is %.100q, %v", data, err)
			}
		})
	}

	eachUpdatePair(t, "K6 Update by a visitor whose record cannot be read creates another session and leaves that one", func(t *testing.T, p *updatePair) {
		stored := recordOf("json", `{"views":"many"}`)
		must(t, p.store.Store.Create(t.Context(), keyOf(oddToken), []byte(stored), time.Hour))
		ctx, err := p.mine.Load(t.Context(), oddToken)
		must(t, err)
		must(t, p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }))
		o, err := p.mine.Commit(ctx)
		must(t, err)
		data, _, err := p.store.Store.Load(t.Context(), keyOf(oddToken), 0)
		if err != nil || string(data) != stored || o.Kind != sessions.OutcomeCreated {
			t.Errorf("%v, the record is %.100q, %v", o.Kind, data, err)
		}
		p.token = o.Token.Reveal()
		p.want(updateDesk{Views: 1})
	})
}

func updateDecodeError(err error) bool {
	_, ok := errors.AsType[*sessions.DecodeError](err)
	return ok
}

// begin is load for a "stored" session; for a "new" one it is the request of a
// visitor without one.
func (p *updatePair) begin(kind string) (context.Context, *updateDesk) {
	p.t.Helper()
	if kind == "stored" {
		return p.load()
	}
	ctx, err := p.mine.Load(p.t.Context())
	must(p.t, err)
	p.log.take()
	s := p.mine.FromContext(ctx)
	s.Tags, s.List = map[string]string{}, []int{1, 2}
	return ctx, s
}
