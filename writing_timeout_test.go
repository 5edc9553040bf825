package sessions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// parkedCodec tells when it begins to encode a T that is marked, and takes its time.
type parkedCodec struct {
	sessions.Codec
	begun   chan struct{} // closed by the first such encoding
	encoded atomic.Bool   // it is over
	once    sync.Once
}

func (c *parkedCodec) Marshal(v any) ([]byte, error) {
	if s, ok := v.(*Session); ok && s.Flash == "slow" {
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

// TimeoutHandler's handler is told from one that has only borrowed a context of
// its own: by the goroutine, and by the deadline that comes last.
func TestWhoOutlivesTheResponse(t *testing.T) {
	const soon = 10 * time.Millisecond

	t.Run("W12 F3 a worker that looked under a context of its own costs no change when the client hangs up", func(t *testing.T) {
		d := newDesk(t, memory(), sessions.Config{})
		token := d.seed(1)
		ctx, hangUp := context.WithCancel(t.Context())
		d.send(with(token, "/").WithContext(ctx), func(_ http.ResponseWriter, r *http.Request) {
			group, cancel := context.WithCancel(r.Context()) // as errgroup.WithContext
			var workers sync.WaitGroup
			workers.Go(func() { _ = d.FromContext(group).UserID })
			workers.Wait()
			cancel()
			d.FromContext(r.Context()).Views = 2
			hangUp()
		})
		if got := d.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})

	for name, derive := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"a later deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		},
		"an earlier deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Microsecond)
		},
		"no deadline": context.WithCancel,
	} {
		t.Run("W12 inside, after its deadline: T is left alone though a helper looked under a context with "+name, func(t *testing.T) {
			b := newBench(t, sessions.Config{})
			token := b.seeded(1)
			returned, over := make(chan struct{}), make(chan struct{})
			h := b.Handler(http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				s := b.FromContext(r.Context())
				ctx, cancel := derive(r.Context()) // of a query, say
				_ = b.FromContext(ctx).UserID
				cancel()
				s.Prefs = map[string]int{}
				for n := 0; ; n++ {
					s.Prefs[fmt.Sprint("key", n%100)] = n
					select {
					case <-returned:
						return
					default:
					}
				}
			}), soon, "too slow"))
			res := serve(h, with(token, "/"))
			close(returned)
			<-over
			if res.StatusCode != 503 {
				t.Errorf("status %d, want 503", res.StatusCode)
			}
			b.wantOps(t, "Load")
		})
	}

	t.Run("W12 inside, after its deadline: whoever looks first while T is encoded gets it when that is done", func(t *testing.T) {
		codec := &parkedCodec{Codec: sessions.JSON{}, begun: make(chan struct{})}
		d := newDesk(t, memory(), sessions.Config{Codec: codec})
		token := d.seed(1)
		over := make(chan struct{})
		inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(over)
			<-codec.begun // by the commit of TimeoutHandler's answer
			s := d.FromContext(r.Context())
			if !codec.encoded.Load() {
				t.Error("T was handed out while it was encoded")
			}
			s.Prefs = map[string]int{"late": 1}
		}), soon, "too slow")
		d.send(with(token, "/"), func(w http.ResponseWriter, r *http.Request) {
			s := d.FromContext(r.Context()) // authentication, say
			s.Prefs, s.Flash = map[string]int{"early": 1}, "slow"
			inside.ServeHTTP(w, r)
		})
		<-over
	})
}

// Whatever a handler does while TimeoutHandler gives it up, nothing of it races
// with the answer: the race detector and the map itself watch.
func TestTimeoutHandlerAtRandom(t *testing.T) {
	t.Run("W12 inside, verbs and changes around its deadline", func(t *testing.T) {
		d := newDesk(t, memory(), sessions.Config{SaveUninitialized: true})
		churn := func(s *Session) {
			if s.Prefs == nil {
				s.Prefs = map[string]int{}
			}
			for n := range 300 {
				s.Prefs[fmt.Sprint(n%50)] = n
			}
		}
		verbs := []func(context.Context) error{
			func(ctx context.Context) error { return d.SignIn(ctx) },
			d.Save, d.Destroy,
			func(context.Context) error { return nil },
		}
		visit := func(rnd *rand.Rand) {
			token := ""
			if rnd.IntN(2) == 0 {
				token = d.seed(1)
			}
			early, waits, yields, verb := rnd.IntN(2) == 0, rnd.IntN(3) == 0, rnd.IntN(2000), verbs[rnd.IntN(len(verbs))]
			over := make(chan struct{})
			inside := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				if waits {
					<-r.Context().Done()
				}
				for range yields {
					runtime.Gosched()
				}
				s := d.FromContext(r.Context())
				churn(s)
				_ = verb(r.Context()) // ErrCommitted, where it comes too late
				s.Views++
				churn(s)
			}), time.Millisecond, "")
			d.send(with(token, "/"), func(w http.ResponseWriter, r *http.Request) {
				if early {
					_ = d.FromContext(r.Context()).UserID
				}
				inside.ServeHTTP(w, r)
			})
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
