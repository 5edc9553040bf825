package writing_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

const soon = 20 * time.Millisecond // of a TimeoutHandler

// returning tells by a channel that h has returned.
func returning(h http.Handler) (http.Handler, <-chan struct{}) {
	returned := make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		h.ServeHTTP(w, r)
	}), returned
}

// changeUntil closes begun and then changes a map of s until the channel is closed, as a handler does that goes on
// without its response.
func changeUntil(s *kit.Session, begun chan<- struct{}, closed <-chan struct{}) {
	s.Prefs = map[string]int{}
	close(begun)
	for n := 0; ; n++ {
		s.Prefs[fmt.Sprint("key", n%100)] = n
		select {
		case <-closed:
			return
		default:
		}
	}
}

// outlive makes a's root a TimeoutHandler whose handler runs first and then goes
// on writing to a map in T, until a's Handler has returned: to encode T meanwhile
// is a race, and the end of the process. The channels tell when it has begun and
// when it is over. around, if not nil, is middleware around the TimeoutHandler.
func outlive(a *kit.App, timeout time.Duration, first func(r *http.Request, s *kit.Session), around func(next http.Handler) http.Handler) (started, over <-chan struct{}) {
	begun, ended := make(chan struct{}), make(chan struct{})
	var returned <-chan struct{}
	h := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s := a.FromContext(r.Context())
		if first != nil {
			first(r, s)
		}
		changeUntil(s, begun, returned)
	}), timeout, "too slow")
	if around != nil {
		h = around(h)
	}
	a.Root, returned = returning(a.Manager.Handler(h))
	return begun, ended
}

// Inside: the TimeoutHandler is within the Manager's Handler, so its handler
// still has T when the response is over.
func TestTimeoutHandlerInside(t *testing.T) {
	t.Parallel()
	change := func(_ *http.Request, s *kit.Session) { s.Views = 2 }
	kit.EachVia(t, "W12 inside, after its deadline: T is left alone and an event tells", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		_, over := outlive(a, soon, change, nil)
		res := a.Browser().As(token).Get("/")
		<-over
		if res.StatusCode != 503 || res.Text != "too slow" || len(res.SetCookies()) > 0 {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
		if kinds := a.Events.Kinds(); len(kinds) == 0 || slices.ContainsFunc(kinds, func(k sessions.EventKind) bool { return k != sessions.EventLateChange }) {
			t.Errorf("events %v, want late changes", kinds)
		}
		a.WantCalls(t, "it", "Load")
		if lines := a.Log.Take(); len(lines) == 0 || !strings.Contains(lines[0], "too late") {
			t.Errorf("log %q", lines)
		}
		if got := a.Views(token); got != 1 {
			t.Errorf("%d views, want 1", got)
		}
	})

	kit.EachConnection(t, "W12 inside, when the client hangs up: T is left alone", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		started, over := outlive(a, time.Hour, change, nil)
		hangUp(t, a.Browser().As(token), started)
		<-over
		a.WantCalls(t, "it", "Load")
		a.Server().Close()
		wantLateChange(t, a, context.Canceled)
	})

	kit.EachVia(t, "W12 inside, after its deadline: T is left alone though middleware around it looks at the session once more", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		_, over := outlive(a, soon, nil, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				_ = a.FromContext(r.Context()).UserID // for the access log
			})
		})
		a.Browser().As(token).Get("/")
		<-over
		a.WantCalls(t, "it", "Load")
	})

	kit.EachVia(t, "W12 inside, after its deadline: what a verb had completed is in the 503", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		old := a.Seed(1)
		_, over := outlive(a, soon, func(r *http.Request, s *kit.Session) {
			s.Views = 2
			kit.OK(t, a.SignIn(r.Context()))
		}, nil)
		res := a.Browser().As(old).Get("/")
		<-over
		if token := kit.TokenOf(res.Header); res.StatusCode != 503 || token == "" || a.Views(token) != 2 || a.Views(old) != 0 {
			t.Errorf("%d, %q, %d views and %d by the old token", res.StatusCode, kit.Masked(res.Header)["Set-Cookie"], a.Views(token), a.Views(old))
		}
	})

	kit.EachVia(t, "W12 inside, after its deadline: verbs still work, but for those that need a cookie", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		var returned <-chan struct{}
		over := make(chan struct{})
		a.Root, returned = returning(a.Manager.Handler(http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(over)
			s := a.FromContext(r.Context())
			<-returned
			s.Views = 2
			kit.OK(t, a.Save(r.Context()))
			kit.WantErr(t, "Renew", a.Renew(r.Context()), sessions.ErrCommitted)
			kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrCommitted)
			if got := a.Views(token); got != 2 {
				t.Errorf("%d views after Save, want 2", got)
			}
			kit.OK(t, a.Destroy(r.Context()))
			s.Views = 3
			kit.WantErr(t, "Save of a new session", a.Save(r.Context()), sessions.ErrCommitted)
		}), soon, "too slow")))
		a.Browser().As(token).Get("/")
		<-over
		if got := a.Views(token); got != 0 {
			t.Errorf("%d views after Destroy", got)
		}
		a.Server().WantQuiet()
	})

	for name, derive := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"a later deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		},
		"an earlier deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Microsecond)
		},
		"no deadline": context.WithCancel,
		"a deadline that the request's end does not move": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
		},
	} {
		t.Run("W12 inside, after its deadline: T is left alone though a helper looked under a context with "+name, func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			_, over := outlive(a, soon, func(r *http.Request, _ *kit.Session) {
				ctx, cancel := derive(r.Context()) // of a query, say
				_ = a.FromContext(ctx).UserID
				cancel()
			}, nil)
			res := a.Browser().As(token).Get("/")
			<-over
			if res.StatusCode != 503 {
				t.Errorf("status %d, want 503", res.StatusCode)
			}
			a.WantCalls(t, "it", "Load")
		})
	}

	t.Run("W12 inside, after its deadline: whoever looks first while T is encoded gets it when that is done", func(t *testing.T) {
		codec := &slowCodec{Codec: sessions.JSON{}, begun: make(chan struct{})}
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: codec})
		token, over := a.Seed(1), make(chan struct{})
		inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(over)
			<-codec.begun // by the commit of TimeoutHandler's answer
			s := a.FromContext(r.Context())
			if !codec.encoded.Load() {
				t.Error("T was handed out while it was encoded")
			}
			s.Prefs = map[string]int{"late": 1}
		}), soon, "too slow")
		a.Root = handler(a, func(w http.ResponseWriter, r *http.Request, s *kit.Session) { // authentication, say
			s.Prefs, s.Flash = map[string]int{"early": 1}, "slow"
			inside.ServeHTTP(w, r)
		})
		a.Browser().As(token).Get("/")
		<-over
	})
}

// The handler that TimeoutHandler has given up stands in a verb, and the answer waits for it.
func TestTimeoutHandlerDuringAVerb(t *testing.T) {
	t.Parallel()
	slow := func(d time.Duration) func(*kit.Session) error {
		return func(s *kit.Session) error {
			time.Sleep(d)
			s.Views++
			return nil
		}
	}
	// visit is a request whose handler calls the verb, which takes several Timeouts.
	visit := func(t *testing.T, a *kit.App, token string, verb func(ctx context.Context) error) {
		begun, ended := time.Now(), make(chan struct{})
		inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(ended)
			_ = verb(r.Context()) // it may be out of time
			if took := time.Since(begun); took < 3*soon {
				t.Errorf("the verb took %v only", took)
			}
		}), soon, "too slow")
		root, recovered := recovering(a.Manager.Handler(inside))
		a.Root = root
		res := a.Browser().As(token).Get("/")
		<-ended
		if p := <-recovered; p != nil || res.StatusCode != 503 || res.Text != "too slow" {
			t.Errorf("%d %q, panic %v", res.StatusCode, res.Text, p)
		}
	}
	open := func(t *testing.T) (a *kit.App, token string) {
		a = kit.NewApp(t, kit.InProcess, impatient{kit.Memory()}, sessions.Config{})
		return a, a.Seed(1)
	}
	kit.Bubble(t, "W12 inside, after its deadline: the client gets the 503 though the handler is in the slow function of an Update", func(t *testing.T) {
		a, token := open(t)
		visit(t, a, token, func(ctx context.Context) error { return a.Update(ctx, slow(5*soon)) })
	})
	kit.Bubble(t, "W12 inside, after its deadline: the client gets the 503 though the handler is in a Save that waits behind other requests", func(t *testing.T) {
		a, token := open(t)
		var others sync.WaitGroup
		for range 5 {
			ctx, _ := kit.Load(t, a.Manager, token)
			others.Go(func() { kit.OK(t, a.Update(ctx, slow(soon))) })
		}
		synctest.Wait()
		visit(t, a, token, func(ctx context.Context) error {
			a.FromContext(ctx).UserID = "ann"
			return a.Save(ctx)
		})
		others.Wait()
	})
}

// impatient is a store with a short Timeout.
type impatient struct{ sessions.Store }

func (impatient) Timeout() time.Duration { return soon }

// slowCodec tells when it begins to encode a T that is marked, and takes its time.
type slowCodec struct {
	sessions.Codec
	begun   chan struct{} // closed by the first such encoding
	encoded atomic.Bool   // it is over
	once    sync.Once
}

func (c *slowCodec) Marshal(v any) ([]byte, error) {
	if s, ok := v.(*kit.Session); ok && s.Flash == "slow" {
		c.once.Do(func() {
			close(c.begun)
			for range 1000 {
				runtime.Gosched()
			}
			defer c.encoded.Store(true)
		})
	}
	return c.Codec.Marshal(v)
}

// Whatever a handler does while TimeoutHandler gives it up, nothing of it races
// with the answer: the race detector and the map itself watch.
func TestTimeoutHandlerAtRandom(t *testing.T) {
	t.Parallel()
	t.Run("W12 inside, verbs and changes around its deadline", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{SaveUninitialized: true})
		churn := func(s *kit.Session) {
			if s.Prefs == nil {
				s.Prefs = map[string]int{}
			}
			for n := range 300 {
				s.Prefs[fmt.Sprint(n%50)] = n
			}
		}
		visit := func(rnd *rand.Rand) {
			token := ""
			if rnd.IntN(2) == 0 {
				token = kit.Edit(t, a.Manager, "", func(s *kit.Session) { s.Views = 1 })
			}
			early, waits, yields, verb := rnd.IntN(2) == 0, rnd.IntN(3) == 0, rnd.IntN(2000), []string{"SignIn", "Save", "Destroy", ""}[rnd.IntN(4)]
			over := make(chan struct{})
			inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				if waits {
					<-r.Context().Done()
				}
				for range yields {
					runtime.Gosched()
				}
				s := a.FromContext(r.Context())
				churn(s)
				if verb != "" {
					_ = kit.Call(a.Manager, r.Context(), verb) // ErrCommitted, where it comes too late
				}
				s.Views++
				churn(s)
			}), time.Millisecond, "")
			kit.Serve(a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if early {
					_ = a.FromContext(r.Context()).UserID
				}
				inside.ServeHTTP(w, r)
			})), kit.With(token, "/"))
			<-over
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var clients sync.WaitGroup
		for n := range uint64(4) {
			clients.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, n))
				for range 50 {
					visit(rnd)
				}
			})
		}
		clients.Wait()
	})
}

// The race detector and the map itself watch.
func TestFirstLookDuringTheAnswer(t *testing.T) {
	t.Parallel()
	t.Run("W12 whoever looks for the first time just as the answer is saved does not write to T while it is encoded", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		token := kit.Edit(t, a.Manager, "", func(s *kit.Session) { s.Prefs = map[string]int{"a": 1} })
		rounds := 2000
		if testing.Short() {
			rounds = 200
		}
		for range rounds {
			over, yields := make(chan struct{}), rand.IntN(60)
			inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				for range yields {
					runtime.Gosched()
				}
				s := a.FromContext(r.Context())
				for range 50 {
					s.Prefs["late"]++
				}
			}), time.Nanosecond, "")
			kit.Serve(handler(a, func(w http.ResponseWriter, r *http.Request, _ *kit.Session) { inside.ServeHTTP(w, r) }), kit.With(token, "/"))
			<-over
		}
	})
}

// ending is a context whose deadline passes when passed is closed: a short one
// may have passed before the handler begins, on a busy machine.
type ending struct {
	context.Context
	passed <-chan struct{}
}

func (c ending) Done() <-chan struct{} { return c.passed }

func (c ending) Err() error {
	select {
	case <-c.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Outside: the Manager's Handler is within the TimeoutHandler and returns when
// its handler does.
func TestTimeoutHandlerOutside(t *testing.T) {
	t.Parallel()
	kit.EachVia(t, "W12 outside, after its deadline: a change is saved, and a token that nobody got is told", func(t *testing.T, via kit.Via) {
		for _, stored := range []bool{true, false} {
			a, token := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), ""
			if stored {
				token = a.Seed(1)
			}
			passed, answered := make(chan struct{}), make(chan struct{})
			inner, returned := returning(change(a, func(w http.ResponseWriter, _ *http.Request) {
				close(passed)
				<-answered
				_, err := io.WriteString(w, "late")
				kit.WantErr(t, "Write", err, http.ErrHandlerTimeout)
			}))
			outer := http.TimeoutHandler(inner, time.Hour, "too slow")
			a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				outer.ServeHTTP(w, r.WithContext(ending{r.Context(), passed}))
			})
			res := a.Browser().As(token).Get("/")
			close(answered)
			<-returned
			if res.StatusCode != 503 || res.Text != "too slow" || len(res.SetCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
			}
			if stored {
				a.WantEvents(t, sessions.EventSaved)
			} else {
				a.WantEvents(t, sessions.EventCreated, sessions.EventUndelivered)
				if lines := a.Log.Take(); len(lines) != 1 {
					t.Errorf("log %q, want one line", lines)
				}
			}
			a.Server().WantQuiet()
		}
	})

	kit.EachConnection(t, "W12 outside, when the client hangs up: a change is saved", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token, started := a.Seed(1), make(chan struct{})
		inner, returned := returning(change(a, func(_ http.ResponseWriter, r *http.Request) {
			close(started)
			<-r.Context().Done()
		}))
		a.Root = http.TimeoutHandler(inner, time.Hour, "")
		hangUp(t, a.Browser().As(token), started)
		<-returned
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}
