package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestTimeoutHandler(t *testing.T) {
	// outliving runs a handler that goes on writing to a map in T, after its
	// TimeoutHandler has answered and until Handler has returned. It begins
	// with first. Encoding T meanwhile is a race, and the end of the process.
	type outcome struct {
		answer
		err error
	}
	outliving := func(t *testing.T, k frontKind, b *bench, token string, timeout time.Duration, hangUp bool,
		first func(w http.ResponseWriter, r *http.Request, s *Session), between func(next http.Handler) http.Handler,
	) outcome {
		t.Helper()
		over, returned := make(chan struct{}), make(chan struct{})
		started := make(chan struct{})
		h := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(over)
			s := b.FromContext(r.Context())
			if first != nil {
				first(w, r, s)
			}
			s.Prefs = map[string]int{}
			close(started)
			for n := 0; ; n++ {
				s.Prefs[fmt.Sprint("key", n%100)] = n
				select {
				case <-returned:
					return
				default:
				}
			}
		}), timeout, "too slow")
		if between != nil {
			h = between(h)
		}
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.Handler(h).ServeHTTP(w, r)
			close(returned)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if hangUp {
			go func() {
				<-started
				cancel()
			}()
		}
		var out outcome
		res, err := f.send(f.request("GET", "/", token).WithContext(ctx))
		if out.err = err; err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			out.answer = answer{res, string(body)}
		}
		<-over
		return out
	}
	const soon = 20 * time.Millisecond
	eachFront(t, false, "W12 inside, after its deadline: T is left alone and an event tells", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		res := outliving(t, k, b, token, soon, false, func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 2 }, nil)
		if res.err != nil || res.StatusCode != 503 || res.body != "too slow" || len(res.setCookies()) > 0 {
			t.Errorf("%v %d %q", res.err, res.StatusCode, res.body)
		}
		if kinds := b.events.kinds(); len(kinds) == 0 || slices.ContainsFunc(kinds, func(k sessions.EventKind) bool { return k != sessions.EventLateChange }) {
			t.Errorf("events %v, want late changes", kinds)
		}
		b.wantOps(t, "Load")
		if lines := b.log.take(); len(lines) == 0 || !strings.Contains(lines[0], "too late") {
			t.Errorf("log %q", lines)
		}
		if got := b.views(token); got != 1 {
			t.Errorf("%d views, want 1", got)
		}
	})
	eachFront(t, true, "W12 inside, when the client hangs up: T is left alone", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		outliving(t, k, b, token, time.Hour, true, func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 2 }, nil)
		b.wantOps(t, "Load")
	})
	eachFront(t, false, "W12 inside, after its deadline: T is left alone though middleware around it looks at the session once more", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		outliving(t, k, b, token, soon, false, nil, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				_ = b.FromContext(r.Context()).UserID // for the access log
			})
		})
		b.wantOps(t, "Load")
	})
	eachFront(t, false, "W12 inside, after its deadline: what a verb had completed is in the 503", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		old := b.seeded(1)
		res := outliving(t, k, b, old, soon, false, func(_ http.ResponseWriter, r *http.Request, s *Session) {
			s.Views = 2
			if err := b.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		}, nil)
		if res.err != nil {
			t.Fatal(res.err)
		}
		if token := tokenOf(res.Header); res.StatusCode != 503 || token == "" || b.views(token) != 2 || b.views(old) != 0 {
			t.Errorf("%d, %q, %d views and %d by the old token", res.StatusCode, res.setCookies(), b.views(tokenOf(res.Header)), b.views(old))
		}
	})
	eachFront(t, false, "W12 inside, after its deadline: verbs still work, but for those that need a cookie", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		done := make(chan struct{})
		returned := make(chan struct{})
		h := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(done)
			s := b.FromContext(r.Context())
			<-returned
			s.Views = 2
			if err := b.Save(r.Context()); err != nil {
				t.Errorf("Save: %v", err)
			}
			for _, err := range []error{b.Renew(r.Context()), b.SignIn(r.Context())} {
				if !errors.Is(err, sessions.ErrCommitted) {
					t.Errorf("got %v, want ErrCommitted", err)
				}
			}
			if got := b.views(token); got != 2 {
				t.Errorf("%d views after Save, want 2", got)
			}
			if err := b.Destroy(r.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			s.Views = 3
			if err := b.Save(r.Context()); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("Save of a new session: got %v, want ErrCommitted", err)
			}
		}), soon, "too slow")
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.Handler(h).ServeHTTP(w, r)
			close(returned)
		}))
		f.get("/", token)
		<-done
		if got := b.views(token); got != 0 {
			t.Errorf("%d views after Destroy", got)
		}
		f.quiet()
	})
	eachFront(t, false, "W12 outside, after its deadline: a change is saved, and a token that nobody got is told", func(t *testing.T, k frontKind) {
		for _, stored := range []bool{true, false} {
			b, token := newBench(t, sessions.Config{}), ""
			if stored {
				token = b.seeded(1)
			}
			answered, returned := make(chan struct{}), make(chan struct{})
			f := k.open(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				b.bump(func(w http.ResponseWriter, _ *http.Request) {
					<-answered
					if _, err := io.WriteString(w, "late"); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("Write returned %v, want http.ErrHandlerTimeout", err)
					}
				}).ServeHTTP(w, r)
			}), soon, "too slow"))
			res := f.get("/", token)
			close(answered)
			<-returned
			if res.StatusCode != 503 || res.body != "too slow" || len(res.setCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
			}
			if stored {
				b.wantEvents(t, sessions.EventSaved)
			} else {
				b.wantEvents(t, sessions.EventCreated, sessions.EventUndelivered)
				if lines := b.log.take(); len(lines) != 1 {
					t.Errorf("log %q, want one line", lines)
				}
			}
			f.quiet()
		}
	})
	eachFront(t, true, "W12 outside, when the client hangs up: a change is saved", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned, started := make(chan struct{}), make(chan struct{})
		f := k.open(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			b.bump(func(_ http.ResponseWriter, r *http.Request) {
				close(started)
				<-r.Context().Done()
			}).ServeHTTP(w, r)
		}), time.Hour, ""))
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-started
			hangUp()
		}()
		if res, err := f.send(f.request("GET", "/", token).WithContext(ctx)); err == nil {
			res.Body.Close()
		}
		<-returned
		if got := b.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}

// Not every deadline is TimeoutHandler's. A handler that has set one itself is
// its own goroutine: what it leaves in T when it answers or returns is final,
// and the client that reads 200 may rely on it.
func TestOwnDeadline(t *testing.T) {
	k := frontKinds[1]
	t.Run("W12 W10 a handler whose own deadline has passed has its change saved", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond) // of a query, say
			defer cancel()
			s := b.FromContext(ctx)
			<-ctx.Done()
			s.Views, s.Flash = 2, "the database is slow today"
			io.WriteString(w, "ok")
		})))
		if res := f.get("/", token); res.StatusCode != 200 || b.views(token) != 2 {
			t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, b.views(token))
		}
	})
	t.Run("W12 W10 middleware that only sets a deadline, as chi's Timeout, loses no change", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond)
			defer cancel()
			func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				b.FromContext(r.Context()).Views = 2
				io.WriteString(w, "ok")
			}(w, r.WithContext(ctx))
		})))
		if res := f.get("/", token); res.StatusCode != 200 || b.views(token) != 2 {
			t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, b.views(token))
		}
	})
	t.Run("W12 F3 a handler with a context of its own loses nothing when the client hangs up", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned, started := make(chan struct{}), make(chan struct{})
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
				defer cancel()
				s := b.FromContext(ctx)
				close(started)
				<-ctx.Done()
				s.Views = 2
			})).ServeHTTP(w, r)
		}))
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-started
			hangUp()
		}()
		if res, err := f.send(f.request("GET", "/", token).WithContext(ctx)); err == nil {
			res.Body.Close()
		}
		<-returned
		if got := b.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}
