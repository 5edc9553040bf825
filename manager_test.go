package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// A stack is one way through everything between T and the wire.
type stack struct {
	codec sessions.Codec
	http1 bool
}

// eachStack runs a test with both codecs over HTTP/1.1 and HTTP/2, on a server with TLS.
func eachStack(t *testing.T, f func(t *testing.T, s stack)) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Run("HTTP1", func(t *testing.T) { f(t, stack{c, true}) })
		t.Run("HTTP2", func(t *testing.T) { f(t, stack{c, false}) })
	})
}

// app is a server on a MemoryStore whose calls are counted.
func (s stack) app(t testing.TB, cfg sessions.Config) (*app, *calls) {
	store, log := counted(&sessions.MemoryStore{})
	cfg.Codec = s.codec
	return newApp(t, store, cfg), log
}

// browser is a client that speaks the stack's HTTP.
func (s stack) browser(a *app) *browser {
	b := a.browser()
	tr := b.c.Transport.(*http.Transport).Clone()
	b.c.Transport = tr
	if s.http1 {
		tr.ForceAttemptHTTP2 = false
		tr.TLSNextProto = nil
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(true)
	}
	a.t.Cleanup(tr.CloseIdleConnections)
	return b
}

var visits atomic.Int64

// visit lets f handle one request of b.
func (b *browser) visit(f func(w http.ResponseWriter, r *http.Request, s *Session)) answer {
	b.a.t.Helper()
	path := fmt.Sprintf("/visit/%d", visits.Add(1))
	b.a.handle(path, f)
	return b.get(path)
}

// raw is visit without a look at the session.
func (b *browser) raw(f http.HandlerFunc) answer {
	b.a.t.Helper()
	path := fmt.Sprintf("/visit/%d", visits.Add(1))
	b.a.mux.HandleFunc(path, f)
	return b.get(path)
}

// do1 runs a verb and fails the test if it fails.
func do1(t testing.TB, verb func(context.Context) error, ctx context.Context) {
	t.Helper()
	if err := verb(ctx); err != nil {
		t.Error(err)
	}
}

// as is a browser that presents this token and nothing else.
func (b *browser) as(token string) *browser {
	c := b.clone()
	c.c.Transport = b.c.Transport
	jar := b.a.browser().c.Jar
	jar.SetCookies(b.request("/").URL, []*http.Cookie{{Name: "__Host-session", Value: token, Path: "/", Secure: true}})
	c.c.Jar = jar
	return c
}

// peek is the session that the server sees for b: a copy of T and its Info.
func (b *browser) peek() (s Session, i sessions.Info) {
	b.a.t.Helper()
	b.visit(func(_ http.ResponseWriter, r *http.Request, live *Session) {
		s, i = *live, b.a.m.Info(r.Context())
	})
	return s, i
}

// header is the whole header of a response but for Date, with tokens replaced.
func header(h http.Header) http.Header {
	h = h.Clone()
	delete(h, "Date")
	for i, line := range h["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Value != "" {
			h["Set-Cookie"][i] = strings.Replace(line, c.Value, "TOKEN", 1)
		}
	}
	return h
}

func wantHeader(t testing.TB, got, want http.Header) {
	t.Helper()
	if got = header(got); !reflect.DeepEqual(got, want) {
		t.Errorf("header\n got %q\nwant %q", got, want)
	}
}

// calls are the operations that reached a store.
type calls struct {
	mu  sync.Mutex
	ops []string
}

func (c *calls) add(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, op)
}

// take returns the operations since the last take.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := strings.Join(c.ops, " ")
	c.ops = nil
	return ops
}

// counted is a store whose calls are kept.
func counted(store sessions.Store) (*stepStore, *calls) {
	log := &calls{}
	return &stepStore{Store: store, before: func(op, _ string) error {
		log.add(op)
		return nil
	}}, log
}

func wantCalls(t testing.TB, log *calls, what, want string) {
	t.Helper()
	if got := log.take(); got != want {
		t.Errorf("store calls for %s: %q, want %q", what, got, want)
	}
}

func newManager[T any](t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[T] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	m, err := sessions.New[T](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A guest is a client without a network: for a synctest bubble. Its jar
// keeps what it is given until it is taken back, whatever its Max-Age: no
// client has to throw a cookie away.
type guest struct {
	t   testing.TB
	m   *sessions.Manager[Session]
	jar map[string]string
}

func newGuest(t testing.TB, m *sessions.Manager[Session]) *guest {
	return &guest{t, m, map[string]string{}}
}

// clone is another client with the same cookies.
func (v *guest) clone() *guest { return &guest{v.t, v.m, maps.Clone(v.jar)} }

func (v *guest) token() string {
	for _, value := range v.jar {
		return value
	}
	return ""
}

// raw lets f handle one request.
func (v *guest) raw(f http.HandlerFunc) *http.Response {
	r := httptest.NewRequest("GET", "https://example.test/", nil)
	for name, value := range v.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.m.Handler(f).ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(v.jar, c.Name)
		} else {
			v.jar[c.Name] = c.Value
		}
	}
	return res
}

// visit is raw with a look at the session.
func (v *guest) visit(f func(ctx context.Context, s *Session)) *http.Response {
	return v.raw(func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), v.m.FromContext(r.Context())) })
}

// look only reads, and gives a copy.
func (v *guest) look() (s Session, i sessions.Info) {
	v.visit(func(ctx context.Context, live *Session) { s, i = *live, v.m.Info(ctx) })
	return s, i
}

// alive says whether the guest's session is there; it counts as activity.
func (v *guest) alive() bool {
	_, i := v.look()
	return !i.New
}

func (v *guest) login() *guest {
	v.visit(func(_ context.Context, s *Session) { s.UserID = "u1" })
	if v.token() == "" {
		v.t.Fatal("no cookie for a new session")
	}
	return v
}

// immortalStore never lets anything expire, like a store with a stopped clock.
type immortalStore struct{ sessions.MemoryStore }

const century = 100 * 365 * 24 * time.Hour

func (s *immortalStore) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := s.MemoryStore.Load(ctx, key, 0)
	if touch > 0 {
		left = touch
	}
	return data, left, err
}

func (s *immortalStore) Create(ctx context.Context, key string, data []byte, _ time.Duration) error {
	return s.MemoryStore.Create(ctx, key, data, century)
}

func (s *immortalStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, _ time.Duration) ([]byte, error) {
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, century)
}

// untouchable is a store that for the moment can only read, as a replica can.
type untouchable struct {
	sessions.MemoryStore
	refuse bool
}

func (s *untouchable) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if s.refuse {
		touch = 0
	}
	return s.MemoryStore.Load(ctx, key, touch)
}

// spyStore remembers every key that was ever created and every ttl asked for.
type spyStore struct {
	sessions.Store
	mu   sync.Mutex
	keys []string
	ttls []time.Duration
}

func (s *spyStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.note(key, ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s *spyStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if data != nil {
		s.note(key, ttl)
	}
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

func (s *spyStore) note(key string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.ttls = append(s.keys, key), append(s.ttls, ttl)
}

// left are the records still there: sessions, and marks of renewals.
func (s *spyStore) left(t testing.TB) (live, marks int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.keys)
	for _, key := range slices.Compact(s.keys) {
		data, _, err := s.Store.Load(context.Background(), key, 0)
		line, _, _ := bytes.Cut(data, []byte{'\n'})
		switch {
		case errors.Is(err, sessions.ErrNotFound):
		case err != nil:
			t.Fatal(err)
		case bytes.Contains(line, []byte(`"successor"`)):
			marks++
		default:
			live++
		}
	}
	return live, marks
}

const (
	plainCookie   = "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"
	expiredCookie = "__Host-session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

// text is the header of a handler that writes one byte, and what else is given.
func text(more ...string) http.Header {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"1"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = append(h[more[i]], more[i+1])
	}
	return h
}

func TestLifecycle(t *testing.T) {
	t.Run("L1 the first change makes a record and one cookie, and the next request has neither to make", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			res := b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
				s.UserID = "u1"
				fmt.Fprint(w, "1")
			})
			if want := map[bool]int{true: 1, false: 2}[st.http1]; res.ProtoMajor != want {
				t.Fatalf("the client speaks %s", res.Proto)
			}
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the first change", "Create")

			var got string
			res = b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
				got = s.UserID
				fmt.Fprint(w, "1")
			})
			if got != "u1" {
				t.Errorf("the next request reads %q", got)
			}
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the next request", "Load")
		})
	})

	t.Run("L1 a second change goes to the same record and needs no cookie", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			for i := range 3 {
				res := b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ })
				if n := len(res.setCookies()); n > 1 || (n == 1) != (i == 0) {
					t.Errorf("request %d: cookies %q", i, res.setCookies())
				}
			}
			wantCalls(t, log, "three changes", "Create Load CompareAndSwap Load CompareAndSwap")
			if s, _ := b.peek(); s.Views != 3 {
				t.Errorf("%d views, want 3", s.Views)
			}
		})
	})

	t.Run("L2 a visitor without a cookie who changes nothing costs no store call and gets no cookie", func(t *testing.T) {
		used := text("Cache-Control", "private", "Vary", "Cookie")
		rows := []struct {
			name string
			f    func(a *app, ctx context.Context)
			want http.Header
		}{
			{"nobody looks", func(*app, context.Context) {}, text()},
			{"FromContext", func(_ *app, ctx context.Context) { _ = sessions.FromContext[Session](ctx).Views }, used},
			{"Lookup", func(_ *app, ctx context.Context) { sessions.Lookup[Session](ctx) }, used},
			{"Manager.FromContext", func(a *app, ctx context.Context) { _ = a.m.FromContext(ctx).Views }, used},
			{"set to what it is", func(_ *app, ctx context.Context) { sessions.FromContext[Session](ctx).Views = 0 }, used},
			{"changed and changed back", func(a *app, ctx context.Context) {
				s := a.m.FromContext(ctx)
				s.Flash = "x"
				sessions.Take(&s.Flash)
			}, used},
			{"Info", func(a *app, ctx context.Context) { a.m.Info(ctx) }, used},
			{"Save", func(a *app, ctx context.Context) { do1(a.t, a.m.Save, ctx) }, used},
			{"Touch", func(a *app, ctx context.Context) { do1(a.t, a.m.Touch, ctx) }, used},
			{"Reload", func(a *app, ctx context.Context) { do1(a.t, a.m.Reload, ctx) }, used},
			{"Renew", func(a *app, ctx context.Context) { do1(a.t, a.m.Renew, ctx) }, used},
			{"Destroy", func(a *app, ctx context.Context) { do1(a.t, a.m.Destroy, ctx) }, used},
			{"Commit", func(a *app, ctx context.Context) {
				if o, err := a.m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
					a.t.Errorf("Commit: %v, %v", o.Kind, err)
				}
			}, used},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					res := st.browser(a).raw(func(w http.ResponseWriter, r *http.Request) {
						row.f(a, r.Context())
						fmt.Fprint(w, "1")
					})
					wantHeader(t, res.Header, row.want)
					wantCalls(t, log, "the request", "")
					if kinds := a.events.kinds(); len(kinds) > 0 {
						t.Errorf("events %v", kinds)
					}
				})
			})
		}
	})

	t.Run("L3 reading, and setting a field to what it is, writes nothing", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *Session)
		}{
			{"reading", func(s *Session) { _ = s.Views + len(s.Cart) + s.Prefs["a"] }},
			{"the same string", func(s *Session) { s.UserID = strings.Clone(s.UserID) }},
			{"the same map, rebuilt in another order", func(s *Session) {
				prefs := map[string]int{}
				for _, k := range []string{"h", "g", "f", "e", "d", "c", "b", "a"} {
					prefs[k] = s.Prefs[k]
				}
				s.Prefs = prefs
			}},
			{"the same slice, copied", func(s *Session) { s.Cart = slices.Clone(s.Cart) }},
			{"there and back", func(s *Session) { s.Views++; s.Views-- }},
			{"added and deleted", func(s *Session) { s.Tags["x"] = "y"; delete(s.Tags, "x") }},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					b := st.browser(a)
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
					log.take()
					for range 5 { // map order is drawn each time
						res := b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
							row.f(s)
							fmt.Fprint(w, "1")
						})
						wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
						wantCalls(t, log, "the request", "Load")
					}
				})
			})
		}
	})

	t.Run("L3 a change inside a slice or a map is written", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *Session)
		}{
			{"an element's field", func(s *Session) { s.Cart[1].Qty = 9 }},
			{"two elements swapped", func(s *Session) { s.Cart[0], s.Cart[1] = s.Cart[1], s.Cart[0] }},
			{"a map entry", func(s *Session) { s.Prefs["a"] = 100 }},
			{"a new map entry with a zero", func(s *Session) { s.Prefs["new"] = 0 }},
			{"a deleted map entry", func(s *Session) { delete(s.Tags, "t1") }},
			{"two map entries exchanged", func(s *Session) { s.Prefs["a"], s.Prefs["b"] = s.Prefs["b"], s.Prefs["a"] }},
			{"a slice emptied", func(s *Session) { s.Cart = nil }},
			{"an omitempty field cleared", func(s *Session) { s.Flash = "" }},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					b := st.browser(a)
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
					log.take()
					var want Session
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
						row.f(s)
						want = *s
					})
					wantCalls(t, log, "the change", "Load CompareAndSwap")
					if got, _ := b.peek(); !reflect.DeepEqual(got, want) {
						t.Errorf("the next request reads %+v, want %+v", got, want)
					}
				})
			})
		}
	})

	t.Run("L3 a record of another build is rewritten at most once", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			type older struct {
				UserID string `json:"user_id"`
				Gone   string `json:"gone"`
			}
			store, log := counted(&sessions.MemoryStore{})
			old := newManager[older](t, store, sessions.Config{Codec: c})
			ctx, err := old.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			old.FromContext(ctx).UserID, old.FromContext(ctx).Gone = "u1", "g"
			o, err := old.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			log.take()
			m := newManager[Session](t, store, sessions.Config{Codec: c})
			for i := range 4 {
				ctx, err := m.Load(t.Context(), o.Token.Reveal())
				if err != nil || m.FromContext(ctx).UserID != "u1" {
					t.Fatalf("load: %v, %+v", err, m.FromContext(ctx))
				}
				if _, err := m.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				if got := log.take(); got != "Load" && (i > 0 || got != "Load CompareAndSwap") {
					t.Errorf("request %d that reads: store calls %q", i, got)
				}
			}
		})
	})

	t.Run("L8 SaveUninitialized stores and sends an unchanged new session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{SaveUninitialized: true})
			b := st.browser(a)
			res := b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "an untouched new session", "Create")
			res = b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text())
			wantCalls(t, log, "the next request", "Load")
			if _, i := b.peek(); i.New {
				t.Error("the session was not stored")
			}
		})
	})

	t.Run("L8 L10 with SaveUninitialized, Destroy still expires the cookie and leaves no session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{SaveUninitialized: true})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			res := b.raw(func(w http.ResponseWriter, r *http.Request) {
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the sign-out", "Load CompareAndSwap")
		})
	})

	t.Run("L10 Destroy removes the record and expires the cookie, and a replay finds nothing", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			old := b.token()
			log.take()
			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				do1(t, a.m.Destroy, r.Context())
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("*T after Destroy: %+v", *s)
				}
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the sign-out", "Load CompareAndSwap")
			if got := b.token(); got != "" {
				t.Errorf("the jar still has %q", got)
			}
			if s, i := b.as(old).peek(); !i.New || s.UserID != "" {
				t.Errorf("the replayed cookie finds %+v, %+v", s, i)
			}
		})
	})

	t.Run("L10 the cookie is expired with the name, path, domain and flags it was set with", func(t *testing.T) {
		rows := []sessions.Cookie{
			{},
			{Persist: true},
			{Domain: "example.test"},
			{Path: "/app"},
			{Name: "sid", Domain: "example.test", Path: "/app", SameSite: http.SameSiteStrictMode},
			{SameSite: http.SameSiteNoneMode, Partitioned: true},
			{Insecure: true},
		}
		for _, row := range rows {
			t.Run(fmt.Sprintf("%+v", row), func(t *testing.T) {
				v := newGuest(t, newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{Transport: row}))
				lines := [2]*http.Cookie{}
				for i, f := range []func(context.Context, *Session){
					func(_ context.Context, s *Session) { s.UserID = "u1" },
					func(ctx context.Context, _ *Session) { do1(t, v.m.Destroy, ctx) },
				} {
					set := v.visit(f).Header["Set-Cookie"]
					if len(set) != 1 {
						t.Fatalf("response %d: Set-Cookie %q", i, set)
					}
					c, err := http.ParseSetCookie(set[0])
					if err != nil {
						t.Fatal(err)
					}
					lines[i] = c
				}
				if c := lines[1]; c.MaxAge >= 0 || c.Value != "" {
					t.Errorf("not expired: %q", c.Raw)
				}
				for _, c := range lines {
					c.Value, c.MaxAge, c.Expires, c.RawExpires, c.Raw = "", 0, time.Time{}, "", ""
				}
				if !reflect.DeepEqual(lines[0], lines[1]) {
					t.Errorf("set as %v, expired as %v", lines[0], lines[1])
				}
			})
		}
	})

	t.Run("L11 writing after Destroy starts another session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				*s = full()
				do1(t, func(ctx context.Context) error { return a.m.SignIn(ctx, sessions.Remembered) }, r.Context())
			})
			oldToken := b.token()
			_, old := b.peek()
			log.take()
			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				do1(t, a.m.Destroy, r.Context())
				s.Views = 7
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "Load CompareAndSwap Create")
			s, i := b.peek()
			if !reflect.DeepEqual(s, Session{Views: 7}) {
				t.Errorf("the new session holds %+v", s)
			}
			if b.token() == oldToken || i.ID == old.ID || i.Remembered || !i.AuthenticatedAt.IsZero() || i.CreatedAt.Before(old.CreatedAt) {
				t.Errorf("the new session %+v is not new after %+v", i, old)
			}
			if _, i := b.as(oldToken).peek(); !i.New {
				t.Error("the old token is accepted")
			}
		})
	})

	t.Run("L11 destroying what was never stored makes no store call", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			res := st.browser(a).visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.Views = 5
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "")
		})
	})

	t.Run("L11 destroying what an unknown token stood for neither deletes nor expires anything", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b = b.as("s" + strings.Repeat("A", 26))
			res := b.visit(func(w http.ResponseWriter, r *http.Request, _ *Session) {
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "Load")
		})
	})

	for name, verb := range map[string]func(*app, context.Context) error{
		"Renew":  func(a *app, ctx context.Context) error { return a.m.Renew(ctx) },
		"SignIn": func(a *app, ctx context.Context) error { return a.m.SignIn(ctx) },
	} {
		t.Run("L12 "+name+" gives a new token and keeps the data and the ID, and the old token is dead", func(t *testing.T) {
			eachStack(t, func(t *testing.T, st stack) {
				a, log := st.app(t, sessions.Config{})
				b := st.browser(a)
				b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
				old := b.token()
				_, before := b.peek()
				log.take()
				res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
					s.Views++
					do1(t, func(ctx context.Context) error { return verb(a, ctx) }, r.Context())
					fmt.Fprint(w, "1")
				})
				wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
				wantCalls(t, log, "the renewal", "Load Create CompareAndSwap")
				if b.token() == old || b.token() == "" {
					t.Fatalf("the token is %q after %q", b.token(), old)
				}
				want := full()
				want.Views++
				s, after := b.peek()
				if !reflect.DeepEqual(s, want) {
					t.Errorf("data after: %+v, want %+v", s, want)
				}
				if after.ID != before.ID || after.New {
					t.Errorf("%+v became %+v", before, after)
				}
				if s, i := b.as(old).peek(); !i.New || !reflect.DeepEqual(s, Session{}) {
					t.Errorf("the old token finds %+v, %+v", s, i)
				}
			})
		})
	}

	t.Run("L14 two managers of different T nest, and each sees its own", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			type prefs struct{ Theme string }
			var store sessions.MemoryStore
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, &store, sessions.Config{Codec: st.codec})
			outer := newManager[prefs](t, &store, sessions.Config{Codec: st.codec, Transport: sessions.Cookie{Name: "__Host-prefs"}, Realm: "prefs"})
			a.serve(outer.Handler(a.m.Handler(a.mux)))
			b := st.browser(a)

			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.UserID = "u1"
				sessions.FromContext[prefs](r.Context()).Theme = "dark"
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Set-Cookie", strings.Replace(plainCookie, "session", "prefs", 1),
				"Cache-Control", "private, no-store", "Vary", "Cookie"))
			res = b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				if p := sessions.FromContext[prefs](r.Context()); s.UserID != "u1" || p.Theme != "dark" {
					t.Errorf("read %+v and %+v", s, p)
				}
				if one, other := a.m.Info(r.Context()), outer.Info(r.Context()); one.ID == other.ID || one.New || other.New {
					t.Errorf("infos %+v and %+v", one, other)
				}
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				if p := sessions.FromContext[prefs](r.Context()); s.UserID != "" || p.Theme != "dark" {
					t.Errorf("after the inner one's end: %+v and %+v", s, p)
				}
			})
		})
	})

	t.Run("L14 of two managers of one T the inner one answers FromContext, and each its own", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			var store sessions.MemoryStore
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, &store, sessions.Config{Codec: st.codec})
			outer := newManager[Session](t, &store, sessions.Config{Codec: st.codec, Transport: sessions.Cookie{Name: "__Host-outer"}})
			a.serve(outer.Handler(a.m.Handler(a.mux)))
			b := st.browser(a)
			b.raw(func(_ http.ResponseWriter, r *http.Request) {
				if sessions.FromContext[Session](r.Context()) != a.m.FromContext(r.Context()) {
					t.Error("FromContext is not the inner one's")
				}
				if looked, ok := sessions.Lookup[Session](r.Context()); !ok || looked != a.m.FromContext(r.Context()) {
					t.Error("Lookup is not the inner one's")
				}
				a.m.FromContext(r.Context()).UserID = "inner"
				outer.FromContext(r.Context()).UserID = "outer"
			})
			if got := len(b.cookies()); got != 2 {
				t.Errorf("%d cookies, want 2", got)
			}
			b.raw(func(_ http.ResponseWriter, r *http.Request) {
				if got := a.m.FromContext(r.Context()).UserID; got != "inner" {
					t.Errorf("the inner one reads %q", got)
				}
				if got := outer.FromContext(r.Context()).UserID; got != "outer" {
					t.Errorf("the outer one reads %q", got)
				}
			})
		})
	})

	t.Run("L14 wrapping the same manager twice loads once, commits once and sends one cookie", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			store, log := counted(&sessions.MemoryStore{})
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, store, sessions.Config{Codec: st.codec, OnEvent: a.events.on})
			middle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen := sessions.FromContext[Session](r.Context())
				a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if sessions.FromContext[Session](r.Context()) != seen {
						t.Error("the inner wrap has a T of its own")
					}
					a.mux.ServeHTTP(w, r)
				})).ServeHTTP(w, r)
			})
			a.serve(a.m.Handler(middle))
			b := st.browser(a)
			visit := func() answer {
				return b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
					s.Views++
					fmt.Fprint(w, "1")
				})
			}
			wantHeader(t, visit().Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the first request", "Create")
			wantHeader(t, visit().Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the second request", "Load CompareAndSwap")
			if got, want := a.events.kinds(), []sessions.EventKind{sessions.EventCreated, sessions.EventSaved}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
	})

	t.Run("L15 FromContext gives the same pointer each time in a request", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			for range 2 {
				b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
					type key struct{}
					ctx := context.WithValue(r.Context(), key{}, 1)
					looked, ok := sessions.Lookup[Session](ctx)
					if sessions.FromContext[Session](ctx) != s || a.m.FromContext(ctx) != s || looked != s || !ok {
						t.Error("another pointer")
					}
					s.Views++
					for name, verb := range map[string]func(context.Context) error{
						"Save": a.m.Save, "Reload": a.m.Reload, "Touch": a.m.Touch, "Renew": a.m.Renew, "Destroy": a.m.Destroy,
					} {
						do1(t, verb, ctx)
						if sessions.FromContext[Session](ctx) != s {
							t.Errorf("another pointer after %s", name)
						}
					}
					s.Views = 3
				})
			}
		})
	})

	t.Run("L15 outside Handler FromContext panics with T and the remedy, and Lookup says false", func(t *testing.T) {
		m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})
		other, err := newManager[struct{ X int }](t, &sessions.MemoryStore{}, sessions.Config{}).Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, ctx := range map[string]context.Context{"no manager": t.Context(), "another manager": other} {
			for _, f := range []func(){
				func() { sessions.FromContext[Session](ctx) },
				func() { m.FromContext(ctx) },
			} {
				func() {
					defer func() {
						msg, _ := recover().(string)
						for _, part := range []string{"sessions_test.Session", "Handler", "Load"} {
							if !strings.Contains(msg, part) {
								t.Errorf("%s: panic %q does not name %s", name, msg, part)
							}
						}
					}()
					f()
				}()
			}
			if s, ok := sessions.Lookup[Session](ctx); s != nil || ok {
				t.Errorf("%s: Lookup gives %v, %v", name, s, ok)
			}
			for verb, f := range map[string]func(context.Context) error{
				"Save": m.Save, "Reload": m.Reload, "Touch": m.Touch, "Renew": m.Renew, "Destroy": m.Destroy,
				"SignIn": func(ctx context.Context) error { return m.SignIn(ctx) },
				"Commit": func(ctx context.Context) error { _, err := m.Commit(ctx); return err },
			} {
				if err := f(ctx); !errors.Is(err, sessions.ErrNoSession) {
					t.Errorf("%s: %s gives %v", name, verb, err)
				}
			}
			if i := m.Info(ctx); i != (sessions.Info{}) {
				t.Errorf("%s: Info gives %+v", name, i)
			}
		}
	})

	t.Run("L16 a skipped request has no load, no commit and no header", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{
				Skip:              func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" },
				SaveUninitialized: true, Rewrite: true,
			})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			a.events.kinds()
			a.handle("/skipped", func(w http.ResponseWriter, r *http.Request, s *Session) {
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("FromContext gives %+v", *s)
				}
				if sessions.FromContext[Session](r.Context()) != s || a.m.FromContext(r.Context()) != s {
					t.Error("FromContext gives another pointer the second time")
				}
				if s, ok := sessions.Lookup[Session](r.Context()); ok || s != nil {
					t.Errorf("Lookup gives %v, %v", s, ok)
				}
				if i := a.m.Info(r.Context()); i != (sessions.Info{}) {
					t.Errorf("Info gives %+v", i)
				}
				s.Views = 100
				for _, verb := range []func(context.Context) error{a.m.Save, a.m.Renew, a.m.Destroy} {
					if err := verb(r.Context()); !errors.Is(err, sessions.ErrNoSession) {
						t.Errorf("a verb gives %v", err)
					}
				}
				fmt.Fprint(w, "1")
			})
			r := b.request("/skipped")
			r.Header.Set("X-Skip", "1")
			wantHeader(t, b.do(r).Header, text())
			wantCalls(t, log, "a skipped request", "")
			if kinds := a.events.kinds(); len(kinds) > 0 {
				t.Errorf("events %v", kinds)
			}
			if s, i := b.peek(); i.New || s.UserID != "u1" || s.Views != 0 {
				t.Errorf("the session afterwards: %+v", s)
			}
		})
	})

	t.Run("L18 Load and Commit outside HTTP do what Handler does", testCommit)

	t.Run("L19 Reload leaves no entry of an old map behind", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
			other := st.browser(a)
			other.c.Jar.SetCookies(b.request("/").URL, b.cookies())
			want := Session{UserID: "u2", Prefs: map[string]int{"a": 1}, Tags: map[string]string{}, Cart: []Item{{SKU: "z"}}}
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				other.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = want })
				s.Prefs["mine"] = 1
				s.Flash = "mine"
				do1(t, a.m.Reload, r.Context())
				if !reflect.DeepEqual(*s, want) {
					t.Errorf("after Reload: %+v, want %+v", *s, want)
				}
			})
			if s, _ := b.peek(); !reflect.DeepEqual(s, want) {
				t.Errorf("the next request reads %+v, want %+v", s, want)
			}
		})
	})

	t.Run("L19 Reload of a session that was never stored makes it fresh", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			res := st.browser(a).visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				*s = full()
				do1(t, a.m.Reload, r.Context())
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("after Reload: %+v", *s)
				}
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "")
		})
	})

	t.Run("L1 Take reads once and resets", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
			var first, second string
			var cart []Item
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				first, cart = sessions.Take(&s.Flash), sessions.Take(&s.Cart)
			})
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { second = sessions.Take(&s.Flash) })
			if first != full().Flash || second != "" || len(cart) != len(full().Cart) {
				t.Errorf("taken %q and %v, then %q", first, cart, second)
			}
			want := full()
			want.Flash, want.Cart = "", nil
			if s, _ := b.peek(); !reflect.DeepEqual(s, want) {
				t.Errorf("left: %+v, want %+v", s, want)
			}
		})
	})

	t.Run("L3 Rewrite writes an unchanged session once a request", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{Rewrite: true})
			b := st.browser(a)
			b.raw(func(http.ResponseWriter, *http.Request) {})
			wantCalls(t, log, "a new visitor", "")
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			res := b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text())
			wantCalls(t, log, "an unchanged session", "Load CompareAndSwap")
			b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.Views++
				do1(t, a.m.Save, r.Context())
				fmt.Fprint(w, "1")
			})
			wantCalls(t, log, "a saved session", "Load CompareAndSwap")
		})
	})

	t.Run("L3 Rewrite of an unchanged session that was ended elsewhere is no error for the one who only read", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{Rewrite: true})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			other := b.as(b.token())
			res := b.raw(func(w http.ResponseWriter, r *http.Request) {
				other.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Destroy, r.Context()) })
				fmt.Fprint(w, "1")
			})
			if res.StatusCode != 200 || len(res.setCookies()) > 0 {
				t.Errorf("status %d, cookies %q", res.StatusCode, res.setCookies())
			}
			if _, i := b.peek(); !i.New {
				t.Error("the session is back")
			}
		})
	})
}

// testCommit is L18.
func testCommit(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		setup := func(t *testing.T) (*sessions.Manager[Session], *calls, func(tokens ...string) context.Context) {
			store, log := counted(&sessions.MemoryStore{})
			m := newManager[Session](t, store, sessions.Config{Codec: c})
			return m, log, func(tokens ...string) context.Context {
				t.Helper()
				ctx, err := m.Load(t.Context(), tokens...)
				if err != nil {
					t.Fatal(err)
				}
				return ctx
			}
		}
		commit := func(t *testing.T, m *sessions.Manager[Session], ctx context.Context, want sessions.OutcomeKind) sessions.Outcome {
			t.Helper()
			o, err := m.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if o.Kind != want {
				t.Errorf("Commit tells %v, want %v", o.Kind, want)
			}
			return o
		}

		t.Run("the outcome tells what has happened since the last Commit", func(t *testing.T) {
			m, log, load := setup(t)
			ctx := load()
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			wantCalls(t, log, "nothing", "")

			s := sessions.FromContext[Session](ctx)
			s.Views = 1
			created := commit(t, m, ctx, sessions.OutcomeCreated)
			if created.Token.Reveal() == "" || created.Info.ID == "" || created.Info.New {
				t.Errorf("created: %+v", created)
			}
			wantCalls(t, log, "the first change", "Create")
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			wantCalls(t, log, "calling it again", "")

			s.Views = 2
			if o := commit(t, m, ctx, sessions.OutcomeChanged); o.Token != created.Token {
				t.Error("a change has another token")
			}
			wantCalls(t, log, "a change", "CompareAndSwap")

			s.Views = 3
			do1(t, m.Renew, ctx)
			renewed := commit(t, m, ctx, sessions.OutcomeRenewed)
			if renewed.Token == created.Token || renewed.Token.Reveal() == "" || renewed.Info.ID != created.Info.ID {
				t.Errorf("renewed: %+v after %+v", renewed, created)
			}
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			if got := m.FromContext(load(renewed.Token.Reveal())).Views; got != 3 {
				t.Errorf("the new token finds %d views", got)
			}
			if i := m.Info(load(created.Token.Reveal())); !i.New {
				t.Error("the old token is accepted")
			}

			do1(t, m.Destroy, ctx)
			commit(t, m, ctx, sessions.OutcomeDestroyed)
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			if i := m.Info(load(renewed.Token.Reveal())); !i.New {
				t.Error("the destroyed session is accepted")
			}

			s.Views = 9
			again := commit(t, m, ctx, sessions.OutcomeCreated)
			if again.Token == renewed.Token || again.Info.ID == renewed.Info.ID {
				t.Error("writing after Destroy is the old session")
			}
			if got := m.FromContext(load(again.Token.Reveal())); got.Views != 9 {
				t.Errorf("read %+v", got)
			}
		})

		t.Run("SignIn of a new session is a creation, of a stored one a renewal", func(t *testing.T) {
			m, _, load := setup(t)
			ctx := load()
			do1(t, func(ctx context.Context) error { return m.SignIn(ctx) }, ctx)
			commit(t, m, ctx, sessions.OutcomeCreated)
			do1(t, func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }, ctx)
			if o := commit(t, m, ctx, sessions.OutcomeRenewed); !o.Info.Remembered {
				t.Errorf("outcome %+v", o)
			}
		})

		t.Run("an unknown token, a malformed one and none are no error", func(t *testing.T) {
			m, log, load := setup(t)
			for tokens, want := range map[string]string{
				"":                             "",
				"{}":                           "",
				"*":                            "",
				"s" + strings.Repeat("x", 26):  "Load",
				"r" + strings.Repeat("x", 26):  "Load",
				"q" + strings.Repeat("x", 26):  "",
				"s" + strings.Repeat("x", 200): "",
			} {
				ctx := load(tokens)
				if i := m.Info(ctx); !i.New {
					t.Errorf("%q finds a session", tokens)
				}
				wantCalls(t, log, fmt.Sprintf("%q", tokens), want)
			}
		})

		t.Run("two valid tokens give neither session, and at most four are tried", func(t *testing.T) {
			m, log, load := setup(t)
			var tokens []string
			for range 2 {
				ctx := load()
				m.FromContext(ctx).UserID = "u"
				tokens = append(tokens, commit(t, m, ctx, sessions.OutcomeCreated).Token.Reveal())
			}
			log.take()
			if ctx := load(tokens...); !m.Info(ctx).New || m.FromContext(ctx).UserID != "" {
				t.Error("one of two sessions was used")
			}
			wantCalls(t, log, "two tokens", "Load Load")
			if ctx := load(tokens[0], tokens[0]); m.Info(ctx).New {
				t.Error("one token twice is not one session")
			}
			unknown := func(c string) string { return "s" + strings.Repeat(c, 26) }
			log.take()
			if ctx := load(unknown("a"), unknown("b"), tokens[0], unknown("c")); m.Info(ctx).New {
				t.Error("the valid one of four was not found")
			}
			wantCalls(t, log, "four tokens", "Load Load Load Load")
			if ctx := load(unknown("a"), unknown("b"), unknown("c"), unknown("d"), tokens[0]); !m.Info(ctx).New {
				t.Error("a fifth was tried")
			}
		})

		t.Run("a load that fails gives the error and the caller's context", func(t *testing.T) {
			m, _, _ := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got, err := m.Load(ctx, "s"+strings.Repeat("x", 26))
			if got != ctx || !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Load of a cancelled context: %v", err)
			}
		})

		t.Run("a caller who has gone loses no save", func(t *testing.T) {
			m, _, load := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			ctx, err := m.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m.FromContext(ctx).Views = 4
			cancel()
			o := commit(t, m, ctx, sessions.OutcomeCreated)
			if got := m.FromContext(load(o.Token.Reveal())).Views; got != 4 {
				t.Errorf("%d views", got)
			}
		})

		t.Run("an ended session is ErrGone, and stays so until Destroy", func(t *testing.T) {
			m, _, load := setup(t)
			ctx := load()
			m.FromContext(ctx).Views = 1
			token := commit(t, m, ctx, sessions.OutcomeCreated).Token.Reveal()
			do1(t, m.Destroy, load(token))
			m.FromContext(ctx).Views = 2
			for range 2 {
				if _, err := m.Commit(ctx); !errors.Is(err, sessions.ErrGone) {
					t.Errorf("Commit gives %v, want ErrGone", err)
				}
			}
			if got := m.FromContext(ctx).Views; got != 2 {
				t.Errorf("*T is no longer readable: %d views", got)
			}
			do1(t, m.Destroy, ctx)
			m.FromContext(ctx).Views = 3
			o := commit(t, m, ctx, sessions.OutcomeCreated)
			if got := m.FromContext(load(o.Token.Reveal())).Views; got != 3 {
				t.Errorf("%d views after the fresh start", got)
			}
		})
	})
}

// full is a session with something in every field.
func full() Session {
	return Session{
		UserID: "u1", Views: 3, Flash: "saved",
		Cart:  []Item{{"a", 1}, {"b", 2}},
		Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8},
		Tags:  map[string]string{"t1": "x", "t2": "y"},
	}
}

// P2: no sleep here takes any time.
func TestExpiry(t *testing.T) {
	const idle, lifetime = time.Hour, 24 * time.Hour
	bubble := func(name string, store func() sessions.Store, cfg func() sessions.Config, f func(t *testing.T, v *guest)) {
		t.Run(name, func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				synctest.Test(t, func(t *testing.T) {
					cfg := cfg()
					cfg.Codec = c
					f(t, newGuest(t, newManager[Session](t, store(), cfg)))
				})
			})
		})
	}
	memory := func() sessions.Store { return &sessions.MemoryStore{} }
	immortal := func() sessions.Store { return &immortalStore{} }
	plain := func() sessions.Config { return sessions.Config{} }
	with := func(cfg sessions.Config) func() sessions.Config { return func() sessions.Config { return cfg } }

	bubble("L5 activity inside IdleTimeout keeps a session", memory, plain, func(t *testing.T, v *guest) {
		v.login()
		for i := range 20 {
			time.Sleep(idle - time.Second)
			if !v.alive() {
				t.Fatalf("gone after %d requests", i)
			}
		}
	})

	bubble("L5 silence past IdleTimeout ends a session", memory, plain, func(t *testing.T, v *guest) {
		v.login()
		time.Sleep(idle / 2)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(idle + time.Millisecond)
		if v.alive() {
			t.Error("alive after the idle timeout")
		}
	})

	for name, store := range map[string]func() sessions.Store{"a store that forgets": memory, "a store that still returns the bytes": immortal} {
		bubble("L6 Lifetime ends a session however active it is, in "+name, store, plain, func(t *testing.T, v *guest) {
			v.login()
			for elapsed := time.Duration(0); elapsed < lifetime-time.Minute; elapsed += 30 * time.Minute {
				if !v.alive() {
					t.Fatalf("gone after %v", elapsed)
				}
				v.visit(func(_ context.Context, s *Session) { s.Views++ })
				time.Sleep(30 * time.Minute)
			}
			if v.alive() {
				t.Error("alive after Lifetime")
			}
		})
	}

	bubble("L6 a renewal late in life does not lengthen it, however young the cookie", immortal, with(sessions.Config{Transport: sessions.Cookie{Persist: true}}), func(t *testing.T, v *guest) {
		v.login()
		time.Sleep(lifetime - time.Minute)
		old := v.token()
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		if v.token() == old || !v.alive() {
			t.Fatal("not renewed")
		}
		time.Sleep(time.Minute)
		if v.alive() {
			t.Error("the renewed session lives longer than Lifetime")
		}
	})

	bubble("L12 a sign-in restarts CreatedAt, Lifetime and AuthenticatedAt, and a renewal none of them", memory, plain, func(t *testing.T, v *guest) {
		v.login()
		_, first := v.look()
		if !first.AuthenticatedAt.IsZero() {
			t.Errorf("authenticated at %v before any sign-in", first.AuthenticatedAt)
		}
		time.Sleep(30 * time.Minute)
		v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		})
		_, signed := v.look()
		now := time.Now()
		if !signed.CreatedAt.Equal(now) || !signed.AuthenticatedAt.Equal(now) || !signed.ExpiresAt.Equal(now.Add(lifetime)) || signed.ID != first.ID {
			t.Errorf("after the sign-in at %v: %+v", now, signed)
		}
		time.Sleep(30 * time.Minute)
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		_, renewed := v.look()
		if !renewed.CreatedAt.Equal(signed.CreatedAt) || !renewed.AuthenticatedAt.Equal(signed.AuthenticatedAt) || !renewed.ExpiresAt.Equal(signed.ExpiresAt) {
			t.Errorf("after the renewal: %+v, before %+v", renewed, signed)
		}
	})

	bubble("L12 the mark of a renewal does not make the old token valid again, ever", immortal, plain, func(t *testing.T, v *guest) {
		v.login()
		old := v.clone()
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		for range 10 {
			if old.clone().alive() {
				t.Fatal("the old token is accepted")
			}
			if !v.alive() {
				t.Fatal("the new token is refused")
			}
			time.Sleep(3 * time.Second)
		}
	})

	t.Run("L7 whatever is written has an expiry, within IdleTimeout and what is left of Lifetime", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) {
				spy := &spyStore{Store: &immortalStore{}}
				v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c})).login()
				_, i := v.look()
				for range 19 {
					spy.ttls = nil
					time.Sleep(73 * time.Minute) // the store is immortal
					for _, verb := range []func(context.Context) error{v.m.Save, v.m.Renew, v.m.Touch} {
						v.visit(func(ctx context.Context, s *Session) {
							s.Views++
							_ = verb(ctx)
						})
					}
					for _, ttl := range spy.ttls {
						if left := time.Until(i.ExpiresAt); ttl <= 0 || ttl > idle || ttl > left && ttl != 10*time.Second {
							t.Errorf("a ttl of %v with %v of Lifetime left", ttl, left)
						}
					}
				}
				if len(spy.keys) < 20 {
					t.Errorf("only %d writes", len(spy.keys))
				}
			})
		})
	})

	for name, store := range map[string]func() sessions.Store{"a store that forgets": memory, "a store that still returns the bytes": immortal} {
		for verb, f := range map[string]func(m *sessions.Manager[Session], ctx context.Context) error{
			"the commit": nil,
			"Save":       func(m *sessions.Manager[Session], ctx context.Context) error { return m.Save(ctx) },
			"Renew":      func(m *sessions.Manager[Session], ctx context.Context) error { return m.Renew(ctx) },
			"Touch":      func(m *sessions.Manager[Session], ctx context.Context) error { return m.Touch(ctx) },
			"Reload":     func(m *sessions.Manager[Session], ctx context.Context) error { return m.Reload(ctx) },
			"SignIn":     func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) },
		} {
			for timeouts, cfg := range map[string]sessions.Config{
				"both":    {},
				"no idle": {IdleTimeout: -1},
			} {
				t.Run("L7 "+verb+" after the deadline within a request leaves no record, in "+name+", timeouts "+timeouts, func(t *testing.T) {
					eachCodec(t, func(t *testing.T, c sessions.Codec) {
						synctest.Test(t, func(t *testing.T) {
							spy := &spyStore{Store: store()}
							cfg := cfg
							cfg.Codec = c
							v := newGuest(t, newManager[Session](t, spy, cfg)).login()
							old := v.clone()
							res := v.visit(func(ctx context.Context, s *Session) {
								time.Sleep(lifetime + time.Second)
								s.Views++
								if f == nil {
									return
								}
								if err := f(v.m, ctx); !errors.Is(err, sessions.ErrGone) {
									t.Errorf("%s gives %v, want ErrGone", verb, err)
								}
							})
							if f == nil && res.StatusCode != http.StatusConflict {
								t.Errorf("status %d, want 409", res.StatusCode)
							}
							if len(res.Header["Set-Cookie"]) > 0 {
								t.Errorf("Set-Cookie %q", res.Header["Set-Cookie"])
							}
							if old.alive() {
								t.Error("the session is alive")
							}
							if live, marks := spy.left(t); live+marks > 0 {
								t.Errorf("%d records and %d marks left", live, marks)
							}
						})
					})
				})
			}
		}
	}

	t.Run("L9 a cookie that does not persist has neither Max-Age nor Expires", func(t *testing.T) {
		// Its whole line is compared in L1, L12 and L13.
		wantHeader(t, newGuest(t, newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})).visit(func(_ context.Context, s *Session) { s.Views = 1 }).Header,
			http.Header{"Set-Cookie": {plainCookie}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
	})

	persistent := func(seconds int) string {
		return strings.Replace(plainCookie, "; HttpOnly", fmt.Sprintf("; Max-Age=%d; HttpOnly", seconds), 1)
	}
	bubble("L9 a persistent cookie's Max-Age is what is left of Lifetime, at creation and renewal only", memory, with(sessions.Config{Transport: sessions.Cookie{Persist: true}}), func(t *testing.T, v *guest) {
		want := func(what string, res *http.Response, cookie string) {
			t.Helper()
			h := http.Header{"Cache-Control": {"private"}, "Vary": {"Cookie"}}
			if cookie != "" {
				h["Set-Cookie"], h["Cache-Control"] = []string{cookie}, []string{"private, no-store"}
			}
			t.Log(what)
			wantHeader(t, res.Header, h)
		}
		want("creation", v.visit(func(_ context.Context, s *Session) { s.Views++ }), persistent(86400))
		time.Sleep(30 * time.Minute)
		want("read", v.visit(func(context.Context, *Session) {}), "")
		want("change", v.visit(func(_ context.Context, s *Session) { s.Views++ }), "")
		want("touch", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) }), "")
		want("reload", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Reload, ctx) }), "")
		want("renewal", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) }), persistent(86400-1800))
		time.Sleep(30 * time.Minute)
		want("sign-in", v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		}), persistent(86400))
	})

	bubble("L9 a persistent cookie without a Lifetime lasts the 400 days that browsers keep it", memory, with(sessions.Config{Lifetime: -1, Transport: sessions.Cookie{Persist: true}}), func(t *testing.T, v *guest) {
		res := v.visit(func(_ context.Context, s *Session) { s.Views++ })
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(400 * 86400)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
	})

	const day = 24 * time.Hour
	remember := with(sessions.Config{Remember: sessions.Remember{IdleTimeout: 7 * day, Lifetime: 60 * day}})
	rememberMe := func(t *testing.T, v *guest) *http.Response {
		return v.visit(func(ctx context.Context, s *Session) {
			s.UserID = "u1"
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx, sessions.Remembered) }, ctx)
		})
	}
	bubble("L9 a remembered session is persistent with timeouts of its own, through reload, save and renewal", memory, remember, func(t *testing.T, v *guest) {
		res := rememberMe(t, v)
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(60 * 86400)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		start := time.Now()
		check := func(what string) {
			t.Helper()
			s, i := v.look()
			if !i.Remembered || s.UserID != "u1" || !i.IdleUntil.Equal(time.Now().Add(7*day)) || !i.ExpiresAt.Equal(start.Add(60*day)) {
				t.Fatalf("after %s, %v after the start: %+v, %+v", what, time.Since(start), s, i)
			}
		}
		check("the sign-in")
		for what, f := range map[string]func(ctx context.Context, s *Session){
			"a read":    func(context.Context, *Session) {},
			"a reload":  func(ctx context.Context, _ *Session) { do1(t, v.m.Reload, ctx) },
			"a touch":   func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) },
			"a save":    func(_ context.Context, s *Session) { s.Views++ },
			"a renewal": func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) },
		} {
			v.visit(f)
			time.Sleep(7*day - time.Second) // what f left behind has to last that long
			check(what)
		}
		res = v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		left := 60*86400 - int(time.Since(start).Seconds())
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(left)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		time.Sleep(7*day + time.Second)
		if v.alive() {
			t.Error("alive after its idle timeout")
		}
	})

	bubble("L9 a remembered session ends with the Lifetime of Remember", immortal, remember, func(t *testing.T, v *guest) {
		rememberMe(t, v)
		time.Sleep(60*day - time.Second)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(time.Second)
		if v.alive() {
			t.Error("alive after its Lifetime")
		}
	})

	bubble("L9 a sign-in without Remembered takes the long timeouts and the persistent cookie away", memory, remember, func(t *testing.T, v *guest) {
		rememberMe(t, v)
		res := v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		})
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {plainCookie}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		if _, i := v.look(); i.Remembered || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Second)
		if v.alive() {
			t.Error("alive after the plain idle timeout")
		}
	})

	t.Run("L9 the class letter of a token cannot be changed to get other timeouts", func(t *testing.T) {
		m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})
		v := newGuest(t, m).login()
		for name, token := range v.jar {
			v.jar[name] = "r" + token[1:]
		}
		if v.alive() {
			t.Error("a plain session is accepted as a remembered one")
		}
	})

	passive := sessions.Config{Passive: func(r *http.Request) bool { return r.Header.Get("X-Poll") != "" }}
	poll := func(v *guest, f func(ctx context.Context, s *Session)) *http.Response {
		r := httptest.NewRequest("GET", "https://example.test/", nil)
		r.Header.Set("X-Poll", "1")
		for name, value := range v.jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w := httptest.NewRecorder()
		v.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), v.m.FromContext(r.Context())) })).ServeHTTP(w, r)
		return w.Result()
	}
	bubble("L16 passive requests load the session and do not keep it alive", memory, with(passive), func(t *testing.T, v *guest) {
		v.login()
		seen := time.Now()
		for range 59 {
			time.Sleep(time.Minute)
			poll(v, func(ctx context.Context, s *Session) {
				i := v.m.Info(ctx)
				if s.UserID != "u1" || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
					t.Errorf("%v after the last activity: %+v, %+v", time.Since(seen), s, i)
				}
			})
		}
		time.Sleep(time.Minute + time.Millisecond)
		if v.alive() {
			t.Error("polling kept it alive")
		}
	})

	bubble("L16 a passive request tells no later activity than there was where Lifetime cut the expiry short", memory, with(passive), func(t *testing.T, v *guest) {
		v.login()
		for range 47 {
			time.Sleep(30 * time.Minute)
			if !v.alive() {
				t.Fatal("gone")
			}
		}
		v.visit(func(_ context.Context, s *Session) { s.Views++ })
		seen := time.Now()
		time.Sleep(time.Minute)
		poll(v, func(ctx context.Context, _ *Session) {
			if i := v.m.Info(ctx); i.New || i.LastSeenAt.After(seen) || i.LastSeenAt.Before(seen.Add(-idle)) {
				t.Errorf("last seen at %v, want %v or up to an IdleTimeout earlier", i.LastSeenAt, seen)
			}
		})
	})

	bubble("L16 a passive request that calls Touch, or changes the session, keeps it alive", memory, with(passive), func(t *testing.T, v *guest) {
		v.login()
		for name, f := range map[string]func(ctx context.Context, s *Session){
			"Touch":  func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) },
			"change": func(_ context.Context, s *Session) { s.Views++ },
		} {
			time.Sleep(45 * time.Minute)
			poll(v, f)
			time.Sleep(45 * time.Minute)
			if !v.alive() {
				t.Errorf("gone after %s", name)
			}
		}
	})

	t.Run("L4 where the store reads but cannot touch, the session is used, Info tells the truth, and Touch is an error", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				store := &untouchable{}
				v := newGuest(t, newManager[Session](t, store, sessions.Config{Codec: c, OnEvent: events.on})).login()
				seen := time.Now()
				events.kinds()
				check := func(what string, i sessions.Info) {
					t.Helper()
					if i.New || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
						t.Errorf("%s: %+v, want it last seen at %v", what, i, seen)
					}
					if got := events.kinds(); !slices.Equal(got, []sessions.EventKind{sessions.EventTouchSkipped}) {
						t.Errorf("%s: events %v", what, got)
					}
				}
				store.refuse = true
				time.Sleep(10 * time.Minute)
				_, i := v.look()
				check("a request", i)
				time.Sleep(10 * time.Minute)
				v.visit(func(ctx context.Context, _ *Session) {
					events.kinds()
					if err := v.m.Touch(ctx); !errors.Is(err, sessions.ErrUnavailable) {
						t.Errorf("Touch gives %v, want ErrUnavailable", err)
					}
					i = v.m.Info(ctx)
				})
				check("Touch", i)
			})
		})
	})

	bubble("L4 Touch keeps a session alive through a handler that runs long", memory, plain, func(t *testing.T, v *guest) {
		v.login()
		v.visit(func(ctx context.Context, s *Session) {
			for range 5 {
				time.Sleep(45 * time.Minute)
				do1(t, v.m.Touch, ctx)
				if i := v.m.Info(ctx); !i.IdleUntil.Equal(time.Now().Add(idle)) || !i.LastSeenAt.Equal(time.Now()) {
					t.Errorf("after Touch at %v: %+v", time.Now(), i)
				}
			}
			time.Sleep(45 * time.Minute)
			s.Views = 8
		})
		if s, i := v.look(); i.New || s.Views != 8 {
			t.Errorf("%+v, %+v", s, i)
		}
	})

	bubble("L5 without an IdleTimeout silence does not end a session, Lifetime does", memory, with(sessions.Config{IdleTimeout: -1}), func(t *testing.T, v *guest) {
		v.login()
		_, i := v.look()
		if !i.IdleUntil.Equal(i.ExpiresAt) || i.ExpiresAt.IsZero() {
			t.Errorf("%+v", i)
		}
		time.Sleep(lifetime - time.Millisecond)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		v.visit(func(ctx context.Context, s *Session) {
			s.Views++
			do1(t, v.m.Touch, ctx)
		})
		time.Sleep(time.Millisecond)
		if v.alive() {
			t.Error("alive after Lifetime")
		}
	})

	bubble("L5 without a Lifetime activity keeps a session for years, silence ends it", memory, with(sessions.Config{Lifetime: -1}), func(t *testing.T, v *guest) {
		v.login()
		for range 2000 {
			time.Sleep(50 * time.Minute)
			if !v.alive() {
				t.Fatal("gone")
			}
		}
		if _, i := v.look(); !i.ExpiresAt.IsZero() || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Millisecond)
		if v.alive() {
			t.Error("alive after silence")
		}
	})

	t.Run("L17 a record past its Lifetime is deleted on sight, and reported", func(t *testing.T) {
		for name, timeouts := range map[string]sessions.Config{"with an idle timeout": {}, "without": {IdleTimeout: -1}, "passive": {Passive: func(*http.Request) bool { return true }}} {
			t.Run(name, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						spy, events := &spyStore{Store: &immortalStore{}}, &recorder{}
						store, log := counted(spy)
						cfg := timeouts
						cfg.Codec, cfg.OnEvent = c, events.on
						v := newGuest(t, newManager[Session](t, store, cfg)).login()
						_, i := v.look()
						time.Sleep(lifetime)
						log.take()
						events.kinds()
						res := v.visit(func(_ context.Context, s *Session) {
							if s.UserID != "" {
								t.Errorf("read %+v", s)
							}
						})
						wantHeader(t, res.Header, http.Header{"Cache-Control": {"private"}, "Vary": {"Cookie"}})
						wantCalls(t, log, "the replay", "Load CompareAndSwap")
						if live, _ := spy.left(t); live > 0 {
							t.Error("the record is still there")
						}
						if len(events.events) != 1 || events.events[0].Kind != sessions.EventExpired || events.events[0].Session.ID != i.ID {
							t.Errorf("events %+v, want one %v of %s", events.events, sessions.EventExpired, i.ID)
						}
						v.alive()
						wantCalls(t, log, "the second replay", "Load")
					})
				})
			})
		}
	})
}

// A walk through every stage, with all of Info each time.
func TestInfo(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(123456789 * time.Nanosecond) // records keep milliseconds
			agent := "Firefox"
			m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{Codec: c, Label: func(*http.Request) string { return agent }})
			v := newGuest(t, m)
			check := func(what string, got, want sessions.Info) {
				t.Helper()
				if want.ID == "" {
					want.ID = got.ID
				}
				for _, p := range []*time.Time{
					&got.CreatedAt, &got.LastSeenAt, &got.AuthenticatedAt, &got.IdleUntil, &got.ExpiresAt,
					&want.CreatedAt, &want.LastSeenAt, &want.AuthenticatedAt, &want.IdleUntil, &want.ExpiresAt,
				} {
					*p = p.Truncate(time.Millisecond).UTC()
				}
				if got != want {
					t.Errorf("%s\n got %+v\nwant %+v", what, got, want)
				}
			}
			var id string
			created := time.Now()
			v.visit(func(ctx context.Context, s *Session) {
				i := m.Info(ctx)
				if id = i.ID; len(id) != 36 {
					t.Errorf("ID %q", id)
				}
				check("new", i, sessions.Info{ID: id, New: true, Current: true})
				s.Views++
				check("changed", m.Info(ctx), sessions.Info{ID: id, New: true, Current: true})
				do1(t, m.Save, ctx)
				check("saved", m.Info(ctx), sessions.Info{
					ID: id, Label: "Firefox", Current: true, CreatedAt: created, LastSeenAt: created,
					IdleUntil: created.Add(time.Hour), ExpiresAt: created.Add(24 * time.Hour),
				})
			})
			agent = "Chrome" // asked again at renewal only
			time.Sleep(10 * time.Minute)
			now := time.Now()
			want := sessions.Info{
				ID: id, Label: "Firefox", Current: true, CreatedAt: created, LastSeenAt: now,
				IdleUntil: now.Add(time.Hour), ExpiresAt: created.Add(24 * time.Hour),
			}
			v.visit(func(ctx context.Context, s *Session) {
				check("loaded", m.Info(ctx), want)
				s.Views++
				do1(t, m.Save, ctx)
				check("saved again", m.Info(ctx), want)
				time.Sleep(time.Minute)
				check("a minute later", m.Info(ctx), want)
				do1(t, m.Reload, ctx)
				now = time.Now()
				want.LastSeenAt, want.IdleUntil = now, now.Add(time.Hour)
				check("reloaded", m.Info(ctx), want)
			})
			time.Sleep(10 * time.Minute)
			v.visit(func(ctx context.Context, _ *Session) {
				do1(t, m.Renew, ctx)
				now = time.Now()
				want.LastSeenAt, want.IdleUntil, want.Label = now, now.Add(time.Hour), "Chrome"
				check("renewed", m.Info(ctx), want)
			})
			time.Sleep(10 * time.Minute)
			v.visit(func(ctx context.Context, _ *Session) {
				do1(t, func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }, ctx)
				now = time.Now()
				want.Remembered = true
				want.CreatedAt, want.AuthenticatedAt, want.LastSeenAt = now, now, now
				want.IdleUntil, want.ExpiresAt = now.Add(30*24*time.Hour), now.Add(30*24*time.Hour)
				check("remembered", m.Info(ctx), want)
			})
			time.Sleep(24 * time.Hour)
			v.visit(func(ctx context.Context, _ *Session) {
				want.LastSeenAt = time.Now()
				check("the next day", m.Info(ctx), want) // IdleUntil is never past ExpiresAt
				do1(t, m.Destroy, ctx)
				i := m.Info(ctx)
				if i.ID == id {
					t.Error("the ID outlives the session")
				}
				check("destroyed", i, sessions.Info{New: true, Current: true})
			})
		})
	})
}

// Greeted is a T whose fresh value is not zero.
type Greeted struct {
	Lang  string         `json:"lang"`
	Limit int            `json:"limit,omitempty"`
	Prefs map[string]int `json:"prefs"`
	Born  time.Time      `json:"born"`
}

func (g *Greeted) SessionDefaults() {
	*g = Greeted{Lang: "en", Limit: 10, Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}, Born: time.Now().UTC()}
}

func TestSessionDefaults(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		setup := func(t *testing.T, cfg sessions.Config) (*sessions.Manager[Greeted], *calls, func(token string) (context.Context, *Greeted)) {
			store, log := counted(&sessions.MemoryStore{})
			cfg.Codec = c
			m := newManager[Greeted](t, store, cfg)
			return m, log, func(token string) (context.Context, *Greeted) {
				t.Helper()
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				return ctx, m.FromContext(ctx)
			}
		}

		t.Run("L2 defaults alone are no change, though they differ from one visitor to the next", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{})
			ctx, g := load("")
			if g.Lang != "en" || g.Limit != 10 || g.Born.IsZero() {
				t.Errorf("fresh: %+v", g)
			}
			if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
				t.Errorf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "a fresh T", "")
		})

		t.Run("L1 taking a default back to zero is a change, and stays zero", func(t *testing.T) {
			m, _, load := setup(t, sessions.Config{})
			ctx, g := load("")
			*g = Greeted{}
			o, err := m.Commit(ctx)
			if err != nil || o.Kind != sessions.OutcomeCreated {
				t.Fatalf("Commit: %v, %v", o.Kind, err)
			}
			if _, g := load(o.Token.Reveal()); g.Lang != "" || g.Limit != 0 || len(g.Prefs) > 0 || !g.Born.IsZero() {
				t.Errorf("loaded: %+v: a stored record is decoded into a zero T", g)
			}
		})

		t.Run("L11 a destroyed session has its defaults again, and they are no change", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{})
			ctx, g := load("")
			g.Lang = "de"
			if _, err := m.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			do1(t, m.Destroy, ctx)
			if g.Lang != "en" || m.FromContext(ctx) != g {
				t.Errorf("after Destroy: %+v", g)
			}
			log.take()
			if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeDestroyed {
				t.Errorf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "the fresh T", "")
		})

		t.Run("L8 SaveUninitialized stores the defaults", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{SaveUninitialized: true})
			ctx, err := m.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			o, err := m.Commit(ctx)
			if err != nil || o.Kind != sessions.OutcomeCreated {
				t.Fatalf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "an unchanged new session", "Create")
			if _, g := load(o.Token.Reveal()); g.Lang != "en" || g.Prefs["d"] != 4 {
				t.Errorf("loaded: %+v", g)
			}
		})
	})
}

// The steps of a renewal: whatever ends the process between them, one of the
// tokens is valid, and no response has carried the new one too early.
func TestRenewalCrashes(t *testing.T) {
	type crash struct{ when, op string }
	for _, at := range []crash{{"before", "Create"}, {"after", "Create"}, {"before", "CompareAndSwap"}, {"after", "CompareAndSwap"}} {
		t.Run("L12 a crash "+at.when+" "+at.op+" leaves a live session", func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				for _, verb := range []string{"Renew", "SignIn"} {
					spy := &spyStore{Store: &sessions.MemoryStore{}}
					store := &stepStore{Store: spy}
					v := newGuest(t, newManager[Session](t, store, sessions.Config{Codec: c})).login()
					var h http.Header
					old := v.clone()
					step := func(when string) func(op, _ string) error {
						return func(op, _ string) error {
							if op == "Load" {
								return nil
							}
							if len(h["Set-Cookie"]) > 0 {
								t.Errorf("%s %s the new token is in the header", when, op)
							}
							alive := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c}))
							alive.jar = old.jar
							if want := op == "Create" || when == "before"; alive.alive() != want {
								t.Errorf("%s %s the old token is valid: %v", when, op, !want)
							}
							if (crash{when, op}) == at {
								panic(http.ErrAbortHandler)
							}
							return nil
						}
					}
					store.before, store.after = step("before"), step("after")
					crashed := func() (crashed bool) {
						defer func() { crashed = recover() != nil }()
						v.raw(func(w http.ResponseWriter, r *http.Request) {
							h = w.Header()
							if verb == "SignIn" {
								_ = v.m.SignIn(r.Context())
							} else {
								_ = v.m.Renew(r.Context())
							}
						})
						return false
					}()
					if !crashed {
						t.Fatal("no crash")
					}
					store.before, store.after = nil, nil
					live, marks := spy.left(t)
					if live == 0 {
						t.Errorf("%s: no session lives", verb)
					}
					if claimed := at == (crash{"after", "CompareAndSwap"}); old.alive() == claimed || claimed != (marks == 1) {
						t.Errorf("%s: the old token is valid: %v, with %d marks", verb, !claimed, marks)
					}
				}
			})
		})
	}
}

// L13: a request runs verbs in some order; a model says what it ends in.
type verbModel struct {
	stored          bool
	mem, db         int // Views in *T and in the store
	marks           int
	remembered      bool
	cookie          string // that the response must carry
	renewed, signed bool
}

func (m *verbModel) step(verb string) {
	create := func() {
		m.stored, m.db, m.cookie = true, m.mem, plainCookie
		if m.remembered {
			m.cookie = strings.Replace(plainCookie, "; HttpOnly", "; Max-Age=2592000; HttpOnly", 1)
		}
	}
	switch verb {
	case "write":
		m.mem++
	case "save", "renew", "commit":
		switch {
		case !m.stored && m.mem != 0:
			m.remembered = false
			create()
		case m.stored && verb == "renew":
			m.marks++
			create()
		case m.stored:
			m.db = m.mem
		}
	case "sign in", "remember":
		if m.stored {
			m.marks++
		}
		m.remembered = verb == "remember"
		create()
	case "reload":
		m.mem = 0
		if m.stored {
			m.mem = m.db
		}
	case "destroy":
		if m.stored {
			m.cookie = expiredCookie
		}
		m.stored, m.mem, m.db, m.remembered = false, 0, 0, false
	}
}

var verbNames = []string{"write", "save", "reload", "touch", "renew", "sign in", "remember", "destroy", "commit"}

func runVerb(m *sessions.Manager[Session], ctx context.Context, verb string) error {
	switch verb {
	case "write":
		m.FromContext(ctx).Views++
		return nil
	case "save":
		return m.Save(ctx)
	case "reload":
		return m.Reload(ctx)
	case "touch":
		return m.Touch(ctx)
	case "renew":
		return m.Renew(ctx)
	case "sign in":
		return m.SignIn(ctx)
	case "remember":
		return m.SignIn(ctx, sessions.Remembered)
	case "destroy":
		return m.Destroy(ctx)
	}
	_, err := m.Commit(ctx)
	return err
}

// verbOrders are all orders of up to three verbs, and some long ones.
func verbOrders() [][]string {
	orders := [][]string{{}}
	for from, n := 0, 0; n < 3; n++ {
		to := len(orders)
		for _, o := range orders[from:to] {
			for _, v := range verbNames {
				orders = append(orders, append(slices.Clip(o), v))
			}
		}
		from = to
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		o := make([]string, 4+r.IntN(9))
		for i := range o {
			o[i] = verbNames[r.IntN(len(verbNames))]
		}
		orders = append(orders, o)
	}
	return orders
}

func TestVerbsInAnyOrder(t *testing.T) {
	t.Run("L13 all verbs work in one request in any order and leave one cookie", func(t *testing.T) {
		for _, start := range []string{"no cookie", "an unknown cookie", "a session"} {
			t.Run(start, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						var cookies int
						for _, order := range verbOrders() {
							cookies += testOrder(t, c, start, order)
							if t.Failed() {
								return
							}
						}
						if cookies < 100 {
							t.Errorf("only %d responses had a cookie", cookies)
						}
					})
				})
			})
		}
	})

	t.Run("L13 verbs may be called from several goroutines and run one at a time", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			spy := &spyStore{Store: &sessions.MemoryStore{}}
			v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c})).login()
			res := v.visit(func(ctx context.Context, s *Session) {
				s.Views = 7
				var wg sync.WaitGroup
				for i := range 40 {
					wg.Go(func() {
						if err := runVerb(v.m, ctx, []string{"save", "touch", "renew", "commit", "sign in"}[i%5]); err != nil {
							t.Errorf("verb %d: %v", i, err)
						}
						if v.m.FromContext(ctx) != s || v.m.Info(ctx).New {
							t.Error("another session")
						}
					})
				}
				wg.Wait()
			})
			if got := len(res.Header["Set-Cookie"]); got != 1 {
				t.Errorf("%d cookies, want 1", got)
			}
			if live, marks := spy.left(t); live != 1 || marks != 16 {
				t.Errorf("%d sessions and %d marks, want 1 and 16", live, marks)
			}
			if s, _ := v.look(); s.Views != 7 {
				t.Errorf("%d views", s.Views)
			}
		})
	})

	t.Run("L13 the same over the wire, and each verb is in the store when it returns nil", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			r := rand.New(rand.NewPCG(3, 4))
			for range 40 {
				b := st.browser(a)
				b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 1 })
				model := verbModel{stored: true, mem: 1, db: 1}
				var order []string
				res := b.visit(func(_ http.ResponseWriter, r2 *http.Request, s *Session) {
					for range 6 {
						verb := verbNames[r.IntN(len(verbNames))]
						order = append(order, verb)
						if err := runVerb(a.m, r2.Context(), verb); err != nil {
							t.Errorf("%q: %v", order, err)
						}
						if model.step(verb); s.Views != model.mem || a.m.Info(r2.Context()).New == model.stored {
							t.Errorf("%q: %d views, %+v; want %+v", order, s.Views, a.m.Info(r2.Context()), model)
						}
					}
				})
				model.step("commit")
				var want []string
				if model.cookie != "" {
					want = []string{model.cookie}
				}
				if got := header(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
					t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
				}
				if s, i := b.peek(); i.New == model.stored || s.Views != model.db {
					t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
				}
			}
		})
	})
}

// testOrder runs one order and returns the number of cookies in the response.
func testOrder(t *testing.T, c sessions.Codec, start string, order []string) int {
	spy := &spyStore{Store: &sessions.MemoryStore{}}
	v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c}))
	var model verbModel
	switch start {
	case "an unknown cookie":
		v.jar["__Host-session"] = "s" + strings.Repeat("u", 26)
	case "a session":
		v.visit(func(_ context.Context, s *Session) { s.Views = 1 })
		model = verbModel{stored: true, mem: 1, db: 1}
	}
	presented := v.clone()
	wasStored := model.stored
	ended := false
	res := v.raw(func(_ http.ResponseWriter, r *http.Request) {
		for _, verb := range order {
			if err := runVerb(v.m, r.Context(), verb); err != nil {
				t.Errorf("%q: %s: %v", order, verb, err)
			}
			ended = ended || model.stored && slices.Contains([]string{"renew", "sign in", "remember", "destroy"}, verb)
			model.step(verb)
			if s := v.m.FromContext(r.Context()); s.Views != model.mem {
				t.Errorf("%q: after %s %d views, want %d", order, verb, s.Views, model.mem)
			}
		}
	})
	model.step("commit")
	var want []string
	if model.cookie != "" {
		want = []string{model.cookie}
	}
	if got := header(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
	}
	live, marks := spy.left(t)
	if model.stored != (live == 1) || live > 1 || marks != model.marks {
		t.Errorf("%q: %d sessions and %d marks in the store, want %+v", order, live, marks, model)
	}
	if alive := presented.alive(); alive != (wasStored && !ended) {
		t.Errorf("%q: the presented token is accepted: %v", order, alive)
	}
	if s, i := v.look(); i.New == model.stored || s.Views != model.db || i.Remembered != model.remembered {
		t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
	}
	return len(want)
}

// commandLog is a go-redis hook that keeps the commands sent.
type commandLog struct {
	mu   sync.Mutex
	cmds []string
}

func (l *commandLog) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *commandLog) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.add(cmd)
		return next(ctx, cmd)
	}
}

func (l *commandLog) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			l.add(cmd)
		}
		return next(ctx, cmds)
	}
}

func (l *commandLog) add(cmd redis.Cmder) {
	name := cmd.Name()
	switch name {
	case "hello", "client", "command": // a new connection's
		return
	case "set":
		for _, arg := range cmd.Args() {
			if s, ok := arg.(string); ok && strings.EqualFold(s, "nx") {
				name = "set nx"
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cmds = append(l.cmds, name)
}

func (l *commandLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	cmds := strings.Join(l.cmds, ", ")
	l.cmds = nil
	return cmds
}

// The table of design.md.
func TestCommands(t *testing.T) {
	rows := []struct {
		name   string
		cookie bool
		cfg    sessions.Config
		f      func(a *app, r *http.Request)
		want   string
	}{
		{"L2 no cookie, session unused", false, sessions.Config{}, func(*app, *http.Request) {}, ""},
		{"L2 no cookie, session only read", false, sessions.Config{}, func(a *app, r *http.Request) { _ = *a.m.FromContext(r.Context()) }, ""},
		{"L4 session loaded, touched", true, sessions.Config{}, func(*app, *http.Request) {}, "getex"},
		{"L4 session loaded, touched, read", true, sessions.Config{}, func(a *app, r *http.Request) { _ = *a.m.FromContext(r.Context()) }, "getex"},
		{"L1 session changed", true, sessions.Config{}, func(a *app, r *http.Request) { a.m.FromContext(r.Context()).Views++ }, "getex, evalsha"},
		{"L1 session changed and saved", true, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, a.m.Save, r.Context())
			do1(a.t, a.m.Save, r.Context())
		}, "getex, evalsha"},
		{"L1 new session", false, sessions.Config{}, func(a *app, r *http.Request) { a.m.FromContext(r.Context()).Views++ }, "set nx"},
		{"L12 renewal", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Renew, r.Context()) }, "getex, set nx, evalsha"},
		{"L12 sign-in with a change", true, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, func(ctx context.Context) error { return a.m.SignIn(ctx) }, r.Context())
		}, "getex, set nx, evalsha"},
		{"L12 sign-in of a new visitor", false, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, func(ctx context.Context) error { return a.m.SignIn(ctx) }, r.Context())
		}, "set nx"},
		{"L10 sign-out", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Destroy, r.Context()) }, "getex, evalsha"},
		{"L11 sign-out of nobody", false, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Destroy, r.Context()) }, ""},
		{"L16 passive", true, sessions.Config{Passive: func(*http.Request) bool { return true }}, func(*app, *http.Request) {}, "get, pttl"},
		{"L16 skipped", true, sessions.Config{Skip: func(r *http.Request) bool { return r.URL.Query().Has("row") }}, func(*app, *http.Request) {}, ""},
		{"L5 without an idle timeout", true, sessions.Config{IdleTimeout: -1}, func(*app, *http.Request) {}, "get, pttl"},
		{"L4 Touch", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Touch, r.Context()) }, "getex, getex"},
		{"L19 Reload", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Reload, r.Context()) }, "getex, getex"},
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		log := &commandLog{}
		rdb.AddHook(log)
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					cfg := row.cfg
					cfg.Codec = c
					a := newApp(t, redisStore(rdb), cfg)
					a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Query().Has("row") {
							row.f(a, r)
							return
						}
						a.m.FromContext(r.Context()).Views++
					})
					warm := a.browser()
					warm.get("/")
					warm.get("/") // the script is known from here on
					b := a.browser()
					if row.cookie {
						b.get("/")
					}
					log.take()
					if res := b.get("/?row"); res.StatusCode != 200 {
						t.Errorf("status %d", res.StatusCode)
					}
					if got := log.take(); got != row.want {
						t.Errorf("commands %q, want %q", got, row.want)
					}
				})
			}
		})
	})
}

func TestLifecycleOnRedis(t *testing.T) {
	ctx := context.Background()
	sole := func(t *testing.T, rdb *redis.Client) string {
		t.Helper()
		all := keys(t, rdb)
		if len(all) != 1 {
			t.Fatalf("keys %q, want one", all)
		}
		return all[0]
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			a := newApp(t, redisStore(rdb), sessions.Config{Codec: c, Passive: func(r *http.Request) bool { return r.URL.Query().Has("poll") }})
			a.handle("/read", func(http.ResponseWriter, *http.Request, *Session) {})
			a.handle("/write", func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ })
			start := func(t *testing.T) *browser {
				t.Helper()
				if err := rdb.FlushAll(ctx).Err(); err != nil {
					t.Fatal(err)
				}
				b := a.browser()
				b.get("/write")
				return b
			}
			near := func(t *testing.T, got, want time.Duration) {
				t.Helper()
				if got > want || got < want-30*time.Second {
					t.Errorf("ttl %v, want %v", got, want)
				}
			}

			t.Run("L4 a read restarts the expiry and leaves the payload", func(t *testing.T) {
				b := start(t)
				key := sole(t, rdb)
				before := rdb.Get(ctx, key).Val()
				near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				rdb.PExpire(ctx, key, time.Minute)
				b.get("/read")
				near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				if after := rdb.Get(ctx, key).Val(); after != before || before == "" {
					t.Errorf("rewritten from %q to %q", before, after)
				}
			})

			t.Run("L16 a passive read leaves the expiry", func(t *testing.T) {
				b := start(t)
				key := sole(t, rdb)
				rdb.PExpire(ctx, key, time.Minute)
				b.get("/read?poll")
				near(t, rdb.PTTL(ctx, key).Val(), time.Minute)
			})

			t.Run("L7 no verb leaves a key without an expiry", func(t *testing.T) {
				for _, verb := range verbNames {
					b := start(t)
					b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
						s.Views++
						if err := runVerb(a.m, r.Context(), verb); err != nil {
							t.Errorf("%s: %v", verb, err)
						}
						for _, key := range keys(t, rdb) {
							if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 {
								t.Errorf("after %s %s has the ttl %v", verb, key, ttl)
							}
						}
					})
					if verb == "renew" && len(keys(t, rdb)) != 2 {
						t.Errorf("keys after a renewal: %q", keys(t, rdb))
					}
				}
			})

			t.Run("L7 a key that lost its expiry has it again after the next request", func(t *testing.T) {
				for _, path := range []string{"/read", "/write"} {
					b := start(t)
					key := sole(t, rdb)
					rdb.Persist(ctx, key)
					b.get(path)
					near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				}
			})

			t.Run("L10 Destroy leaves no key", func(t *testing.T) {
				b := start(t)
				b.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Destroy, r.Context()) })
				if left := keys(t, rdb); len(left) > 0 {
					t.Errorf("keys %q", left)
				}
			})

			t.Run("L12 the mark of a renewal lives ten seconds, and a replay of the old token does not prolong what it is good for", func(t *testing.T) {
				b := start(t)
				key, old := sole(t, rdb), b.as(b.token())
				b.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Renew, r.Context()) })
				near(t, rdb.PTTL(ctx, key).Val(), 10*time.Second)
				if _, i := old.peek(); !i.New {
					t.Error("the old token is accepted")
				}
				if _, i := b.peek(); i.New {
					t.Error("the new token is refused")
				}
			})
		})
	})
}
