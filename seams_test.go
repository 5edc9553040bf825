package sessions_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/storetest"
)

// A third party's Store, Codec, Transport and Layout, and a Manager that works
// on each alone and on all of them. None of them has anything of ours but the
// interface.

// mapStore is a foreign Store.
type mapStore struct {
	mu sync.Mutex
	m  map[string]mapValue
}

type mapValue struct {
	data []byte
	end  time.Time
}

func (s *mapStore) get(key string) (mapValue, bool) {
	v, ok := s.m[key]
	return v, ok && time.Now().Before(v.end)
}

func (s *mapStore) put(key string, data []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("no ttl")
	}
	if s.m == nil {
		s.m = map[string]mapValue{}
	}
	s.m[key] = mapValue{bytes.Clone(data), time.Now().Add(ttl)}
	return nil
}

func (s *mapStore) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.get(key)
	switch {
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case !ok:
		return nil, 0, sessions.ErrNotFound
	case touch > 0:
		v.end = time.Now().Add(touch)
		s.m[key] = v
	}
	return bytes.Clone(v.data), time.Until(v.end), nil
}

func (s *mapStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.get(key); ok || ctx.Err() != nil {
		return cmpErr(ctx.Err(), sessions.ErrExists)
	}
	return s.put(key, data, ttl)
}

func (s *mapStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.get(key)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, sessions.ErrNotFound
	case !bytes.HasPrefix(v.data, prefix):
		return bytes.Clone(v.data), sessions.ErrConflict
	case data == nil:
		delete(s.m, key)
		return nil, nil
	}
	return nil, s.put(key, data, ttl)
}

func (s *mapStore) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		delete(s.m, key)
	}
	return ctx.Err()
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func TestForeignStore(t *testing.T) {
	storetest.Run(t, storetest.Options{
		New:       func(*testing.T) sessions.Store { return new(mapStore) },
		Neighbour: func(*testing.T) sessions.Store { return new(mapStore) },
		Wrap:      synctest.Test,
	})
}

// gobCodec is a foreign Codec of bytes that are nobody's object: no fields, and
// maps in any order.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	r := bytes.NewReader(data)
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return errors.New("not gob")
	}
	if r.Len() > 0 {
		return errors.New("trailing bytes")
	}
	return nil
}

// plainCodec is a foreign Codec of JSON objects, for the document layout.
type plainCodec struct{}

func (plainCodec) Name() string                       { return "plain" }
func (plainCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (plainCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// twoHeaders is a foreign Transport: the token, and a proof that it is ours.
type twoHeaders struct{}

func proof(token string) string {
	mac := hmac.New(sha256.New, []byte("secret"))
	io.WriteString(mac, token)
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

func (twoHeaders) Tokens(r *http.Request) []string {
	token := r.Header.Get("X-Session-Id")
	if token == "" || !hmac.Equal([]byte(proof(token)), []byte(r.Header.Get("X-Session-Proof"))) {
		return nil
	}
	return []string{token}
}

func (twoHeaders) Write(h http.Header, _ *http.Request, o sessions.Outcome) bool {
	h.Del("X-Session-Id")
	h.Del("X-Session-Proof")
	switch o.Kind {
	case sessions.OutcomeCreated, sessions.OutcomeRenewed:
		h.Set("X-Session-Id", o.Token.Reveal())
		h.Set("X-Session-Proof", proof(o.Token.Reveal()))
		return true
	case sessions.OutcomeDestroyed:
		h.Set("X-Session-Id", "-")
		h.Set("X-Session-Proof", "-")
		return true
	}
	return false
}

func (twoHeaders) Vary() string { return "X-Session-Id, X-Session-Proof" }

// docCookie is a foreign Transport: a signed cookie whose attributes are those
// stored with the session, sent again with every response if it is rolling.
type docCookie struct{ rolling bool }

func (docCookie) Tokens(r *http.Request) []string {
	var tokens []string
	for _, c := range r.CookiesNamed("sid") {
		if token, mac, ok := strings.Cut(c.Value, "."); ok && mac == proof(token) {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

func (c docCookie) Write(h http.Header, _ *http.Request, o sessions.Outcome) bool {
	lines := slices.DeleteFunc(slices.Clone(h["Set-Cookie"]), func(l string) bool { return strings.HasPrefix(l, "sid=") })
	if delete(h, "Set-Cookie"); len(lines) > 0 {
		h["Set-Cookie"] = lines
	}
	cookie := http.Cookie{Name: "sid", Value: o.Token.Reveal() + "." + proof(o.Token.Reveal()), Path: "/", HttpOnly: true}
	if meta, ok := o.Attrs.(*docMeta); ok {
		cookie.Path = meta.Path
		cookie.Expires = time.Now().Add(meta.maxAge())
	}
	switch {
	case o.Kind == sessions.OutcomeCreated, o.Kind == sessions.OutcomeRenewed:
	case o.Kind == sessions.OutcomeDestroyed:
		cookie.Value, cookie.Expires = "", time.Unix(1, 0)
	case c.rolling && o.Token != "":
	default:
		return false
	}
	h.Add("Set-Cookie", cookie.String())
	return true
}

func (docCookie) Vary() string { return "Cookie" }

// document is a foreign Layout: the key is the token, the record one flat JSON
// object, and what is to be known about the session lies under "meta" in it,
// its lifetime and the path of its cookie among that. There is no room for an
// id, a write, a mark, or the time of creation.
type document struct{ maxAge time.Duration }

type docMeta struct {
	MaxAge  int64     `json:"maxAge"` // milliseconds
	Expires time.Time `json:"expires"`
	Path    string    `json:"path"`
}

func (m *docMeta) maxAge() time.Duration { return time.Duration(m.MaxAge) * time.Millisecond }

func (document) Mint(drawn string, _ bool) string { return drawn }

func (document) Parse(token string) (remembered, known, ok bool) {
	return false, false, len(token) >= 20 && len(token) <= 64
}

func (document) Key(_, token string) string { return token }

func (document) Open(stored []byte) (r sessions.Record, err error) {
	fields, err := sessions.JSON{}.Split(stored)
	if err != nil {
		return r, err
	}
	i := slices.IndexFunc(fields, func(f sessions.Field) bool { return f.Name == "meta" })
	if i < 0 {
		return r, errors.New("no meta object")
	}
	meta := new(docMeta)
	if json.Unmarshal(fields[i].Value, meta) != nil || meta.Path == "" {
		return r, errors.New("malformed meta object")
	}
	r.Payload, err = sessions.JSON{}.Join(slices.Delete(fields, i, i+1))
	r.Idle, r.Attrs, r.Prefix = meta.maxAge(), meta, len(stored)
	return r, err
}

func (d document) Seal(r sessions.Record) ([]byte, error) {
	if r.Successor != nil {
		return nil, errors.ErrUnsupported
	}
	meta := docMeta{MaxAge: d.maxAge.Milliseconds(), Path: "/app"}
	if m, ok := r.Attrs.(*docMeta); ok {
		meta = *m
	}
	meta.Expires = time.Now().Add(meta.maxAge()).UTC()
	value, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	fields, err := sessions.JSON{}.Split(r.Payload)
	if err != nil {
		return nil, err
	}
	return sessions.JSON{}.Join(slices.Insert(fields, 0, sessions.Field{Name: "meta", Value: value}))
}

// A step is what one request's handler does.
type step func(w http.ResponseWriter, r *http.Request, s *Session)

type stepKey struct{}

// site is a Manager in front of a handler that does what the request says.
type site struct {
	t      *testing.T
	m      *sessions.Manager[Session]
	store  sessions.Store
	events *recorder
	h      http.Handler
}

func newSite(t *testing.T, store sessions.Store, cfg sessions.Config) *site {
	t.Helper()
	s := &site{t: t, store: store, events: new(recorder)}
	cfg.OnEvent, cfg.Logger = s.events.on, slog.New(slog.DiscardHandler)
	var err error
	if s.m, err = sessions.New[Session](store, cfg); err != nil {
		t.Fatal(err)
	}
	s.h = s.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(stepKey{}).(step)(w, r, sessions.FromContext[Session](r.Context()))
	}))
	return s
}

// client keeps cookies as a browser does, and the two headers.
type client struct {
	*site
	jar     *cookiejar.Jar
	headers http.Header
}

func (s *site) client() *client {
	jar, _ := cookiejar.New(nil)
	return &client{s, jar, http.Header{}}
}

// clone is another one with the same token.
func (c *client) clone() *client {
	c2 := c.site.client()
	c2.headers = c.headers.Clone()
	cookies := c.jar.Cookies(appURL)
	for _, k := range cookies {
		k.Path, k.Secure = "/", true
	}
	c2.jar.SetCookies(appURL, cookies)
	return c2
}

var appURL = &url.URL{Scheme: "https", Host: "example.com", Path: "/app/"}

var sessionHeaders = []string{"X-Session-Id", "X-Session-Proof"}

func (c *client) do(f step) *http.Response {
	r := httptest.NewRequest("GET", appURL.String(), nil)
	r = r.WithContext(context.WithValue(r.Context(), stepKey{}, f))
	for _, k := range c.jar.Cookies(appURL) {
		r.AddCookie(k)
	}
	for _, name := range sessionHeaders {
		if v := c.headers.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	res := w.Result()
	c.jar.SetCookies(appURL, res.Cookies())
	for _, name := range sessionHeaders {
		if v := res.Header.Get(name); v != "" {
			c.headers.Set(name, v)
		}
	}
	return res
}

// token is what the response told the client, if anything.
func tokenSent(res *http.Response) string {
	return strings.Join(res.Header["Set-Cookie"], "\n") + res.Header.Get("X-Session-Id")
}

// views is what the client's session holds: -1 if it has none.
func (c *client) views() int {
	n := -1
	c.do(func(_ http.ResponseWriter, r *http.Request, s *Session) {
		if !c.m.Info(r.Context()).New {
			n = s.Views
		}
	})
	return n
}

func set(n int) step {
	return func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = n }
}

func (s *site) status(res *http.Response, want int) {
	s.t.Helper()
	if res.StatusCode != want {
		s.t.Errorf("status %d, want %d", res.StatusCode, want)
	}
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// unkept marks what a seam should carry and does not yet: the subtest is
// skipped as long as that is so.
func unkept(t *testing.T, kept bool, format string, args ...any) {
	t.Helper()
	if !kept {
		t.Skipf("the seam does not carry it: "+format, args...)
	}
}

func TestSeams(t *testing.T) {
	const idle = 15 * time.Minute
	own := func() sessions.Store { return new(sessions.MemoryStore) }
	foreign := func() sessions.Store { return new(mapStore) }
	// A document knows no time of creation, so its Manager has no Lifetime.
	for _, tt := range []struct {
		name  string
		store func() sessions.Store
		cfg   sessions.Config
		marks bool
	}{
		{"ours", own, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Store", foreign, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Codec", own, sessions.Config{IdleTimeout: idle, Codec: gobCodec{}}, true},
		{"foreign Transport", own, sessions.Config{IdleTimeout: idle, Transport: twoHeaders{}}, true},
		{"foreign cookie", own, sessions.Config{IdleTimeout: idle, Transport: docCookie{}}, true},
		{"foreign Layout", own, sessions.Config{IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}}, false},
		{"all foreign", foreign, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}, Codec: plainCodec{}, Transport: docCookie{},
		}, false},
		{"all foreign, headers", foreign, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}, Codec: plainCodec{}, Transport: twoHeaders{},
		}, false},
	} {
		run := func(name string, f func(t *testing.T, s *site)) {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, newSite(t, tt.store(), tt.cfg)) })
			})
		}

		run("L1 a change is stored and read again", func(t *testing.T, s *site) {
			c := s.client()
			full := Session{UserID: "u", Views: 1, Cart: []Item{{"a", 2}}, Prefs: map[string]int{"x": 1, "y": 2, "z": 3}}
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full })
			s.status(res, 200)
			if tokenSent(res) == "" {
				t.Error("no token")
			}
			res = c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				if s.UserID != "u" || s.Views != 1 || len(s.Cart) != 1 || s.Cart[0].Qty != 2 || s.Prefs["z"] != 3 {
					t.Errorf("read %+v", s)
				}
			})
			if got := tokenSent(res); got != "" {
				t.Errorf("the second response sends %q", got)
			}
		})

		run("L2 nobody looks, nothing happens", func(t *testing.T, s *site) {
			res := s.client().do(func(http.ResponseWriter, *http.Request, *Session) {})
			if tokenSent(res) != "" || len(s.events.kinds()) != 0 {
				t.Error("something happened")
			}
		})

		run("L3 a session that is read is not written", func(t *testing.T, s *site) {
			c := s.client()
			c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				s.Views, s.Prefs = 1, map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
			})
			s.events.kinds()
			for range 20 {
				c.views()
			}
			if kinds := s.events.kinds(); len(kinds) > 0 {
				t.Errorf("events %v", kinds)
			}
		})

		run("L12 SignIn gives a new token and refuses the old one", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old := c.clone()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				v.UserID = "u"
				s.ok(s.m.SignIn(r.Context()))
			})
			if tokenSent(res) == "" {
				t.Error("no token")
			}
			if got := c.views(); got != 1 {
				t.Errorf("with the new token: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("with the old token: %d", got)
			}
		})

		run("L12 Renew keeps data and id", func(t *testing.T, s *site) {
			c := s.client()
			var before, after, later string
			c.do(set(1))
			old := c.clone()
			s.events.kinds()
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				before = s.m.Info(r.Context()).ID
				v.Views++
				s.ok(s.m.Renew(r.Context()))
				after = s.m.Info(r.Context()).ID
			})
			if kinds := s.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventRenewed}) {
				t.Errorf("events %v", kinds)
			}
			if got := c.views(); got != 2 {
				t.Errorf("with the new token: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("with the old token: %d", got)
			}
			c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { later = s.m.Info(r.Context()).ID })
			unkept(t, before == after && after == later && before != "", "Info.ID is %q before, %q after Renew, %q in the next request", before, after, later)
		})

		run("L10 Destroy", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			replay := c.clone()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
			if tokenSent(res) == "" {
				t.Error("the client is not told")
			}
			if got := replay.views(); got != -1 {
				t.Errorf("replayed: %d", got)
			}
			if cookies := c.jar.Cookies(appURL); len(cookies) > 0 {
				t.Errorf("the browser keeps %v", cookies)
			}
		})

		run("L11 writing after Destroy starts a new session", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old := c.clone()
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				s.ok(s.m.Destroy(r.Context()))
				v.Flash = "bye"
			})
			if got := c.views(); got != 0 {
				t.Errorf("the new one: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("the old one: %d", got)
			}
		})

		run("L5 activity keeps it, silence ends it", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			c = c.clone() // without the cookie's own age, which decides nothing
			for range 20 {
				time.Sleep(idle - time.Second)
				if got := c.views(); got != 1 {
					t.Fatalf("views %d", got)
				}
			}
			time.Sleep(idle + time.Second)
			if got := c.views(); got != -1 {
				t.Errorf("after the idle timeout: %d", got)
			}
		})

		run("C12 a conflict", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				c.clone().do(set(2))
				v.Views = 3
			})
			s.status(res, 200)
			if got := c.views(); got != 3 {
				t.Errorf("views %d, want 3", got)
			}
			if !slices.Contains(s.events.kinds(), sessions.EventConflict) {
				t.Error("no event")
			}
		})

		run("C1 destroyed meanwhile", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			token := c.clone()
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				c.clone().do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
				v.Views = 3
			})
			s.status(res, http.StatusConflict)
			if got := tokenSent(res); got != "" {
				t.Errorf("the loser sends %q", got)
			}
			if got := token.views(); got != -1 {
				t.Errorf("it is back: %d", got)
			}
		})

		run("C4 renewed meanwhile", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old, other := c.clone(), c.clone()
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
				v.Views = 3
			})
			s.status(res, http.StatusConflict)
			if got := tokenSent(res); got != "" {
				t.Errorf("the loser sends %q", got)
			}
			if a, b := old.views(), other.views(); a != -1 || b != 1 {
				t.Errorf("old %d, new %d", a, b)
			}
		})

		run("C15 destroyed by the old token while it is renewed", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			other := c.clone()
			c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
				other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
				s.ok(s.m.Destroy(r.Context()))
			})
			got := other.views()
			unkept(t, got == -1 || tt.marks, "without marks a sign-out does not find the session that was renewed meanwhile")
			if got != -1 {
				t.Errorf("alive: %d", got)
			}
		})

		run("L18 Load and Commit", func(t *testing.T, s *site) {
			ctx, err := s.m.Load(t.Context())
			s.ok(err)
			sessions.FromContext[Session](ctx).Views = 1
			o, err := s.m.Commit(ctx)
			s.ok(err)
			if o.Kind != sessions.OutcomeCreated || o.Token == "" {
				t.Fatalf("outcome %v", o.Kind)
			}
			ctx, err = s.m.Load(t.Context(), o.Token.Reveal())
			s.ok(err)
			if got := sessions.FromContext[Session](ctx).Views; got != 1 {
				t.Errorf("views %d", got)
			}
			s.ok(s.m.Renew(ctx))
			renewed, err := s.m.Commit(ctx)
			s.ok(err)
			if renewed.Kind != sessions.OutcomeRenewed || renewed.Token == o.Token {
				t.Errorf("outcome %v", renewed.Kind)
			}
			s.ok(s.m.Destroy(ctx))
			o, err = s.m.Commit(ctx)
			s.ok(err)
			if o.Kind != sessions.OutcomeDestroyed {
				t.Errorf("outcome %v", o.Kind)
			}
			unkept(t, o.Token == renewed.Token, "Outcome.Token is documented as the token presented, and of OutcomeDestroyed it is empty")
		})

		run("T9 Vary", func(t *testing.T, s *site) {
			c := s.client()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				v.Views = 1
				s.ok(s.m.Save(r.Context()))
				s.ok(s.m.Renew(r.Context()))
			})
			lines := res.Header["Vary"]
			unkept(t, len(lines) == 1, "a Transport that reads two headers has no way to say so: Vary is %q", lines)
		})
	}
}

// What only a Layout with the lifetime in the record shows.
func TestSeamsDocument(t *testing.T) {
	const day = 24 * time.Hour
	cfg := sessions.Config{IdleTimeout: 15 * time.Minute, Lifetime: -1, Layout: document{15 * time.Minute}, Transport: docCookie{}}
	run := func(name string, cfg sessions.Config, f func(t *testing.T, s *site, c *client, put func(string), get func() string)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const token = "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908"
				s := newSite(t, new(sessions.MemoryStore), cfg)
				c := s.client()
				c.jar.SetCookies(appURL, []*http.Cookie{{Name: "sid", Value: token + "." + proof(token), Path: "/app"}})
				put := func(doc string) {
					if err := s.store.Create(t.Context(), token, []byte(doc), 30*day); err != nil {
						t.Fatal(err)
					}
				}
				get := func() string {
					doc, _, err := s.store.Load(t.Context(), token, 0)
					if err != nil {
						return err.Error()
					}
					return string(doc)
				}
				f(t, s, c, put, get)
			})
		})
	}
	const long = `{"meta":{"maxAge":2592000000,"expires":"2000-01-31T00:00:00Z","path":"/app"},"views":7}`

	run("a foreign document is read, changed, and stays foreign", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(`{"nested":{"n":12345678901234567890},"meta":{"maxAge":60000,"expires":"2000-01-01T00:01:00Z","path":"/app"},"views":7}`)
		s.status(c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ }), 200)
		doc := get()
		for _, part := range []string{`{"meta":{"maxAge":60000,`, `"views":8`, `"nested":{"n":12345678901234567890}`} {
			if !strings.Contains(doc, part) {
				t.Errorf("no %s in %s", part, doc)
			}
		}
	})

	run("the record's lifetime wins", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		for range 3 {
			time.Sleep(29 * day)
			if got := c.views(); got != 7 {
				t.Fatalf("views %d", got)
			}
		}
		if doc := get(); doc != long {
			t.Errorf("written: %s", doc)
		}
		var until, seen time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			i := s.m.Info(r.Context())
			until, seen = time.Until(i.IdleUntil), time.Since(i.LastSeenAt)
		})
		if until != 30*day || seen != 0 {
			t.Errorf("idle until %v from now, seen %v ago", until, seen)
		}
	})

	run("loading costs two commands", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		var ops []string
		store := &stepStore{Store: s.store, before: func(op, _ string) error { ops = append(ops, op); return nil }}
		s2 := newSite(t, store, cfg)
		c.site = s2
		if c.views(); !slices.Equal(ops, []string{"Load", "Load"}) {
			t.Errorf("operations %v", ops)
		}
	})

	passive := cfg
	passive.Passive = func(*http.Request) bool { return true }
	run("a passive request knows when it was last seen", passive, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		time.Sleep(day)
		var seen time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			seen = time.Since(s.m.Info(r.Context()).LastSeenAt)
		})
		if seen != day {
			t.Errorf("seen %v ago", seen)
		}
	})

	run("R15 the stored attributes expire the cookie", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(strings.Replace(long, `"/app"`, `"/app/"`, 1))
		res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "sid=; Path=/app/; Expires=Thu, 01 Jan 1970") {
			t.Errorf("Set-Cookie %q", lines)
		}
	})

	run("R15 the stored attributes survive Renew", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(strings.Replace(long, `"/app"`, `"/app/"`, 1))
		res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "Path=/app/; Expires=Mon, 31 Jan 2000") {
			t.Errorf("Set-Cookie %q", lines)
		}
		if doc := get(); doc != sessions.ErrNotFound.Error() {
			t.Errorf("under the old token: %s", doc)
		}
	})

	rolling := cfg
	rolling.Transport = docCookie{rolling: true}
	run("a rolling cookie goes out with every response", rolling, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		for _, f := range []step{
			func(http.ResponseWriter, *http.Request, *Session) {},
			func(w http.ResponseWriter, _ *http.Request, _ *Session) { io.WriteString(w, "hello") },
			set(8),
		} {
			time.Sleep(29 * day)
			if lines := c.do(f).Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "Expires="+time.Now().Add(30*day).UTC().Format(http.TimeFormat)) {
				t.Errorf("Set-Cookie %q", lines)
			}
		}
	})

	rewrite := cfg
	spy := &spyTransport{Transport: docCookie{}}
	rewrite.Rewrite, rewrite.Transport = true, spy
	run("Rewrite is no change", rewrite, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		c.views()
		if get() == long {
			t.Error("not written")
		}
		unkept(t, spy.last.Kind == sessions.OutcomeUnchanged, "express sends the cookie with what was modified, not with what was only saved again: the Outcome is %v for both", spy.last.Kind)
	})

	run("the touch shows what another wrote meanwhile", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		loads := 0
		c.site = newSite(t, &stepStore{Store: s.store, before: func(op, key string) error {
			if loads++; op == "Load" && loads == 2 {
				_, err := s.store.CompareAndSwap(t.Context(), key, nil, []byte(strings.Replace(long, "7", "8", 1)), time.Hour)
				return err
			}
			return nil
		}}, cfg)
		got := c.views()
		unkept(t, got == 8, "the second Load of a Layout that does not know the class is asked for its expiry alone: %d is read, 8 was stored", got)
	})

	run("C4 a rolling cookie does not overwrite the renewed one", rolling, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		other := c.clone()
		res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
			other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
			v.Views = 3
		})
		s.status(res, http.StatusConflict)
		lines := res.Header["Set-Cookie"]
		unkept(t, len(lines) == 0, "an Outcome does not say that the session has ended: a rolling Transport sends the dead token again")
	})

	run("SignIn restarts the lifetime", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		var until time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			s.ok(s.m.SignIn(r.Context()))
			until = time.Until(s.m.Info(r.Context()).IdleUntil)
		})
		unkept(t, until == 15*time.Minute, "SignIn hands Idle and Attrs of the old record on, so Remembered and its absence mean nothing where the record has its lifetime: %v", until)
	})

	bad := cfg
	bad.Lifetime, bad.Logger = 0, slog.New(slog.DiscardHandler) // 24 hours
	run("L6 without a time of creation there is no Lifetime to keep", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		m, err := sessions.New[Session](s.store, bad)
		if err != nil {
			return
		}
		put(long)
		ctx, err := m.Load(t.Context(), "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908")
		s.ok(err)
		sessions.FromContext[Session](ctx).Views = 1
		_, err = m.Commit(ctx)
		t.Skipf("the seam does not carry it: New takes a Lifetime for a Layout that stores no time of creation; what is stored is then deleted when it is loaded (%s), and every save fails (%v)", get(), err)
	})

	for verb, f := range map[string]func(s *site, r *http.Request, v *Session) error{
		"Save":    func(s *site, r *http.Request, v *Session) error { v.Views++; return s.m.Save(r.Context()) },
		"Renew":   func(s *site, r *http.Request, v *Session) error { v.Views++; return s.m.Renew(r.Context()) },
		"Destroy": func(s *site, r *http.Request, v *Session) error { return s.m.Destroy(r.Context()) },
	} {
		run("C10 lost replies, "+verb, cfg, func(t *testing.T, s *site, c *client, put func(string), _ func() string) {
			put(long)
			c.site = newSite(t, twice{s.store}, cfg)
			var err error
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) { err = f(c.site, r, v) })
			unkept(t, err == nil || verb != "Renew", "without marks a claim whose reply was lost looks like somebody else's: both tokens are dead, %v", err)
			want := 8
			if verb == "Destroy" {
				want = -1
			}
			if got := c.views(); got != want || err != nil {
				t.Errorf("views %d, want %d; error %v", got, want, err)
			}
		})
	}

	run("a Layout that wants objects refuses a codec that has none", cfg, func(t *testing.T, _ *site, _ *client, _ func(string), _ func() string) {
		for _, codec := range []sessions.Codec{gobCodec{}, sessions.MsgPack{}} {
			bad := cfg
			bad.Codec = codec
			if _, err := sessions.New[Session](new(sessions.MemoryStore), bad); err == nil {
				t.Errorf("New takes %s", codec.Name())
			}
		}
	})

	for _, doc := range []string{
		`{"views":1}`, `{"meta":null,"views":1}`, `{"meta":{},"views":1}`, `{"meta":{"maxAge":"900000","path":"/"},"views":1}`,
		``, `null`, `false`, `0`, `"s"`, `[]`, `TOMBSTONE`, "\ufeff" + long, long + "x", `{"meta":`,
		strings.Replace(long, "7", `"seven"`, 1),
	} {
		run(fmt.Sprintf("K6 %.40q", doc), cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
			put(doc)
			for range 2 {
				s.status(c.do(func(http.ResponseWriter, *http.Request, *Session) {}), 200)
				if kinds := s.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventUndecodable}) {
					t.Errorf("events %v", kinds)
				}
			}
			if got := get(); got != doc {
				t.Errorf("stored: %s", got)
			}
		})
	}
}

// spyTransport remembers the last Outcome.
type spyTransport struct {
	sessions.Transport
	last sessions.Outcome
}

func (s *spyTransport) Write(h http.Header, r *http.Request, o sessions.Outcome) bool {
	s.last = o
	return s.Transport.Write(h, r, o)
}

// twice is a store whose client loses the first reply to every write and
// repeats it.
type twice struct{ sessions.Store }

func (s twice) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.Store.Create(ctx, key, data, ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s twice) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// A FieldCodec may name fields in its own way, as YAML and BSON do.
type lowerCodec struct{ sessions.JSON }

func (lowerCodec) Name() string { return "lower" }

func (c lowerCodec) Marshal(v any) ([]byte, error) { return c.rename(v, strings.ToLower) }

func (c lowerCodec) rename(v any, name func(string) string) ([]byte, error) {
	data, err := c.JSON.Marshal(v)
	if err != nil {
		return nil, err
	}
	fields, err := c.Split(data)
	for i := range fields {
		fields[i].Name = name(fields[i].Name)
	}
	return cmpJoin(c, fields, err)
}

func cmpJoin(c sessions.FieldCodec, fields sessions.Fields, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return c.Join(fields)
}

func TestSeamsFieldNames(t *testing.T) {
	type Plain struct {
		UserName string
		Count    int
	}
	_, err := sessions.New[Plain](new(sessions.MemoryStore), sessions.Config{Codec: lowerCodec{}})
	unkept(t, err == nil, "New knows the names of fields from Go and json tags alone and refuses a FieldCodec that names them otherwise: %v", err)
}
