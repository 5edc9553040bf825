package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// TestOracle has stores and sites that are wrong on purpose. Each has to be found out, as what it is. The first one is not wrong.
func TestOracle(t *testing.T) {
	memory := func() sessions.OwnerStore { return &sessions.MemoryStore{} }
	for _, tt := range []struct {
		name string
		want fault // "" for none
		setting
		store func(sessions.OwnerStore) sessions.Store
	}{
		{name: "nothing is wrong"},
		{
			name: "a save that is acknowledged and lost", want: lost,
			store: func(s sessions.OwnerStore) sessions.Store { return forgetful{s} },
		},
		{
			name: "a session that is signed in and lost", want: lost,
			store: func(s sessions.OwnerStore) sessions.Store { return leaky{s} },
		},
		{
			name: "an ended session that comes back", want: revived,
			store: func(s sessions.OwnerStore) sessions.Store { return &necromancer{OwnerStore: s} },
		},
		{
			name: "a revocation that ends nothing", want: revived,
			store: func(s sessions.OwnerStore) sessions.Store { return idle{s} },
		},
		{
			name: "two keys that are swapped", want: foreign,
			store: func(s sessions.OwnerStore) sessions.Store { return &swapped{OwnerStore: s} },
		},
		{
			name: "a save that is stored twice", want: invented, setting: setting{wrap: instead("/count", func(s *site, r *http.Request) error {
				return s.m.Update(r.Context(), func(live *Session) error { live.Count += 2; return nil })
			})},
		},
		{
			name: "a counter without Update", want: lost, setting: setting{wrap: instead("/count", func(s *site, r *http.Request) error {
				s.m.FromContext(r.Context()).Count++
				return nil
			})},
		},
		{
			name: "a Lifetime that is too long", want: beyond, setting: setting{
				life: 300 * time.Millisecond,
				edit: func(c *sessions.Config, _ *atomic.Bool) { c.Lifetime = time.Hour },
			},
		},
		{
			name: "a limit that is too high", want: beyond, setting: setting{
				edit: func(c *sessions.Config, _ *atomic.Bool) { c.MaxPerOwner = perUser + 1 },
			},
		},
		{
			name: "a token in the log", want: leaked, setting: setting{wrap: instead("/renew", func(s *site, r *http.Request) error {
				s.logger.Info("renewal", "cookie", r.Header.Get("Cookie"))
				return s.m.Renew(r.Context())
			})},
		},
		{
			name: "a value in the log", want: leaked, setting: setting{wrap: instead("/renew", func(s *site, r *http.Request) error {
				s.logger.Info("renewal", "session", s.m.FromContext(r.Context()))
				return s.m.Renew(r.Context())
			})},
		},
		{
			name: "an error that is not one of ours", want: unexpected, setting: setting{wrap: instead("/renew", func(*site, *http.Request) error {
				return errors.New("oops")
			})},
		},
		{
			name: "an error with a cookie", want: cookied, setting: setting{wrap: func(_ *site, next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if conn, _, err := http.NewResponseController(w).Hijack(); err == nil { // where it is ours, the Manager takes the cookie off
						io.WriteString(conn, "HTTP/1.1 503 Unavailable\r\nSet-Cookie: "+cookieName+"=planted\r\nContent-Length: 0\r\n\r\n")
						conn.Close()
						return
					}
					next.ServeHTTP(w, r)
				})
			}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.codec = sessions.JSON{}
			start := func() (f *fleet, check, end func()) {
				store := sessions.Store(memory())
				if tt.store != nil {
					store = tt.store(memory())
				}
				tt.stores = []sessions.Store{store, store}
				f, check = newFleet(t, tt.setting)
				return f, check, f.start()
			}
			if tt.want == "" {
				f, check, end := start()
				<-time.After(*lasts)
				end()
				f.audit()
				check()
				if n, text := f.o.wrongs(); n > 0 {
					t.Errorf("%d wrong answers:\n%s", n, text)
				}
				return
			}
			// The longer it goes on, the more tokens there are of which to try one, so it begins anew now and then.
			for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
				f, check, end := start()
				found := false
				for range 100 {
					check()
					f.o.mu.Lock()
					found = len(f.o.wrong[tt.want]) > 0
					f.o.mu.Unlock()
					if found {
						break
					}
					<-time.After(50 * time.Millisecond)
				}
				if end(); found {
					return
				}
			}
			t.Errorf("nobody has found out: %s", tt.want)
		})
	}
}

// instead has a handler of its own for one path, of who is signed in.
func instead(path string, act func(*site, *http.Request) error) func(*site, http.Handler) http.Handler {
	return func(s *site, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path || s.m.Info(r.Context()).New {
				next.ServeHTTP(w, r)
				return
			}
			s.finish(w, r, act(s, r))
		})
	}
}

// forgetful says of each twentieth save that it is done.
type forgetful struct{ sessions.OwnerStore }

func (s forgetful) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if data != nil && rand.IntN(20) == 0 {
		return nil, nil
	}
	return s.OwnerStore.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// leaky loses each twentieth session that is read.
type leaky struct{ sessions.OwnerStore }

func (s leaky) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if rand.IntN(20) == 0 {
		if err := s.Delete(ctx, key); err != nil {
			return nil, 0, err
		}
	}
	return s.OwnerStore.Load(ctx, key, touch)
}

// idle ends none of a user's sessions, and says that it has.
type idle struct{ sessions.OwnerStore }

func (s idle) End(_ context.Context, _ string, members, _ []string) ([]string, error) {
	return members, nil
}

// A necromancer brings back the last value of what is gone.
type necromancer struct {
	sessions.OwnerStore
	seen sync.Map // by key
}

func (s *necromancer) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := s.OwnerStore.Load(ctx, key, touch)
	if err == nil {
		s.seen.Store(key, bytes.Clone(data))
	} else if old, ok := s.seen.Load(key); ok && errors.Is(err, sessions.ErrNotFound) {
		return bytes.Clone(old.([]byte)), time.Minute, nil
	}
	return data, left, err
}

// swapped gives each twentieth reader what was read before, under another key.
type swapped struct {
	sessions.OwnerStore
	mu  sync.Mutex
	key string
}

func (s *swapped) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	s.mu.Lock()
	other := s.key
	s.key = key
	s.mu.Unlock()
	if other != "" && rand.IntN(20) == 0 {
		key = other
	}
	return s.OwnerStore.Load(ctx, key, touch)
}
