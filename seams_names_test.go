package sessions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// callsByKey is a foreign Layout that calls a session by its key, which is the
// token, and has a word to say about the names of T's fields.
type callsByKey struct {
	document
	shown *[]string
}

func (callsByKey) ID(key string) string { return "sid of " + key }

func (l callsByKey) ValidateFields(names []string) error {
	if l.shown != nil {
		*l.shown = names
	}
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			errs = append(errs, fmt.Errorf("%s begins with _: leave it out", name))
		}
	}
	return errors.Join(errs...)
}

// choosesPath is a foreign Transport that has the path of its cookie kept with
// the session, and writes down when it is asked for it.
type choosesPath struct {
	docCookie
	asked *[]string
}

func (t choosesPath) Attrs(r *http.Request, remembered bool) any {
	where, meta := "nowhere", docMeta{MaxAge: time.Minute.Milliseconds(), Path: "/none"}
	if r != nil {
		where, meta.Path = r.URL.Path, r.URL.Path
	}
	if remembered {
		meta.MaxAge = time.Hour.Milliseconds()
	}
	*t.asked = append(*t.asked, fmt.Sprint(where, " ", remembered))
	return &meta
}

type namesBase struct {
	Inner string `json:"inner" msgpack:"packed"`
}

type NamesOptional struct {
	Maybe int `json:"maybe"`
}

type namesAll struct {
	namesBase
	*NamesOptional
	Plain  int
	Tagged int `json:"tagged,omitempty"`
	Deep   struct {
		Hidden int `json:"_hidden"` // is in a field, and none
	} `json:"deep"`
	Out int `json:"-"`
}

type namesBad struct {
	namesUnderscore
	Second int `json:"_b"`
	Good   int
}

type namesUnderscore struct {
	First int `json:"_a"`
}

type namesMarshal struct {
	V int `json:"-"`
}

func (m namesMarshal) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"_own": m.V, "fine": 1})
}

func (m *namesMarshal) UnmarshalJSON([]byte) error { return nil }

func TestSeamsShowNames(t *testing.T) {
	cfg := func(l sessions.Layout) sessions.Config {
		return sessions.Config{IdleTimeout: time.Hour, Lifetime: -1, Layout: l}
	}
	t.Run("New shows the Layout the names under which T's fields are stored, those of embedded structs too", func(t *testing.T) {
		var shown []string
		if _, err := sessions.New[namesAll](new(sessions.MemoryStore), cfg(callsByKey{shown: &shown})); err != nil {
			t.Fatal(err)
		}
		if want := []string{"Plain", "deep", "inner", "maybe", "tagged"}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
	})
	t.Run("they are those of Config.Codec", func(t *testing.T) {
		var shown []string
		c := sessions.Config{Codec: sessions.MsgPack{}, Layout: struct {
			sessions.Layout
			showsNames
		}{sessions.DefaultLayout{}, showsNames{&shown}}}
		if _, err := sessions.New[namesAll](new(sessions.MemoryStore), c); err != nil {
			t.Fatal(err)
		}
		if want := []string{"Plain", "deep", "maybe", "packed", "tagged"}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
	})
	t.Run("and what a marshaler of T's writes", func(t *testing.T) {
		_, err := sessions.New[namesMarshal](new(sessions.MemoryStore), cfg(callsByKey{}))
		if want := "sessions: T is sessions_test.namesMarshal: _own begins with _: leave it out"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("what it refuses is New's error, whole", func(t *testing.T) {
		_, err := sessions.New[namesBad](new(sessions.MemoryStore), cfg(callsByKey{}))
		if want := "sessions: T is sessions_test.namesBad: _a begins with _: leave it out\n_b begins with _: leave it out"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// showsNames is the one method alone.
type showsNames struct{ shown *[]string }

func (s showsNames) ValidateFields(names []string) error { *s.shown = names; return nil }

// A session that its Layout calls by the key.
func TestSeamsLayoutID(t *testing.T) {
	type world struct {
		desk
		log    *logBook
		events *recorder
		store  *stepStore
	}
	start := func(t *testing.T) *world {
		w := &world{log: &logBook{}, events: &recorder{}, store: &stepStore{Store: new(sessions.MemoryStore)}}
		w.desk = newDesk(t, w.store, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: callsByKey{}, Transport: docCookie{},
			Logger: w.log.logger(), OnEvent: w.events.on,
		})
		return w
	}
	const token = "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908"
	cookie := "sid=" + token + "." + proof(token)
	put := func(t *testing.T, w *world, doc string) {
		t.Helper()
		must(t, w.store.Create(t.Context(), token, []byte(doc), time.Hour))
	}
	const good = `{"meta":{"maxAge":60000,"expires":"2000-01-01T00:00:00Z","path":"/"},"views":7}`
	// loggedAs is the session of each line of the log.
	loggedAs := func(w *world) (ids []string) {
		for _, line := range w.log.take() {
			_, id, _ := strings.Cut(line, "session=")
			id, _, _ = strings.Cut(id, " ")
			ids = append(ids, id)
		}
		return ids
	}

	t.Run("Info.ID is what the Layout says, from when the session is stored until it has another token", func(t *testing.T) {
		w := start(t)
		var ids []string
		var tokens []string
		w.ask(func(_ http.ResponseWriter, r *http.Request) {
			look := func() {
				ids = append(ids, w.Info(r.Context()).ID)
				o, err := w.Commit(r.Context())
				must(t, err)
				tokens = append(tokens, o.Token.Reveal())
			}
			look()
			w.FromContext(r.Context()).Views = 1
			must(t, w.Save(r.Context()))
			look()
			must(t, w.Renew(r.Context()))
			look()
		})
		want := []string{"", "sid of " + tokens[1], "sid of " + tokens[2]}
		if !slices.Equal(ids, want) || tokens[1] == tokens[2] {
			t.Errorf("%q, want %q", ids, want)
		}
	})

	t.Run("so it is for a stored one, and in its events", func(t *testing.T) {
		w := start(t)
		put(t, w, good)
		w.ask(func(_ http.ResponseWriter, r *http.Request) {
			if got := w.Info(r.Context()).ID; got != "sid of "+token {
				t.Errorf("Info.ID %q", got)
			}
			w.FromContext(r.Context()).Views++
		}, cookie)
		for _, e := range w.events.events {
			if e.Session.ID != "sid of "+token {
				t.Errorf("%v of %q", e.Kind, e.Session.ID)
			}
		}
		if kinds := w.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved}) {
			t.Errorf("events %v", kinds)
		}
	})

	t.Run("X2 the log shows a hash, the same for every line of a session, and another one for another", func(t *testing.T) {
		w := start(t)
		put(t, w, `TOMBSTONE`)
		w.ask(viewless, cookie)
		w.ask(viewless, cookie)
		other := "another" + token
		must(t, w.store.Create(t.Context(), other, []byte(`TOMBSTONE`), time.Hour))
		w.ask(viewless, "sid="+other+"."+proof(other))
		for i, e := range w.events.events {
			if want := []string{token, token, other}[i]; e.Kind != sessions.EventUndecodable || e.Session.ID != "sid of "+want {
				t.Errorf("%v of %q", e.Kind, e.Session.ID)
			}
			if strings.Contains(e.Err.Error(), token) {
				t.Errorf("the error says %q", e.Err)
			}
		}
		ids := loggedAs(w)
		if len(ids) != 3 || len(ids[0]) != 36 || ids[0] != ids[1] || ids[0] == ids[2] || strings.Contains(strings.Join(ids, ""), token[:8]) {
			t.Errorf("the log says %q", ids)
		}
	})

	t.Run("X2 a session that nobody has stored has no hash", func(t *testing.T) {
		w := start(t)
		w.store.before = func(string, string) error { return sessions.ErrUnavailable }
		w.ask(viewOnce)
		if ids := loggedAs(w); !slices.Equal(ids, []string{`""`}) {
			t.Errorf("the log says %q", ids)
		}
	})

	t.Run("K6 a record that breaks between its two loads has its ID too", func(t *testing.T) {
		w := start(t)
		put(t, w, good)
		loads := 0
		w.store.before = func(op, key string) error {
			if loads++; op == "Load" && loads == 2 {
				_, err := w.store.Store.CompareAndSwap(t.Context(), key, nil, []byte("TOMBSTONE"), time.Hour)
				return err
			}
			return nil
		}
		w.ask(viewless, cookie)
		if len(w.events.events) != 1 || w.events.events[0].Kind != sessions.EventUndecodable {
			t.Fatalf("events %v", w.events.events)
		}
		if got := w.events.events[0].Session.ID; got != "sid of "+token {
			t.Errorf("of %q", got)
		}
	})
}

func viewless(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[Session](r.Context()) }

// What a Transport has kept with a session.
func TestSeamsAttrs(t *testing.T) {
	type world struct {
		desk
		asked []string
		store *stepStore
	}
	start := func(t *testing.T) *world {
		w := &world{store: &stepStore{Store: new(sessions.MemoryStore)}}
		w.desk = newDesk(t, w.store, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: callsByKey{}, Transport: choosesPath{asked: &w.asked},
		})
		if !slices.Equal(w.asked, []string{"nowhere false"}) {
			t.Errorf("New asks %q, to see a record", w.asked)
		}
		w.asked = nil
		return w
	}
	visit := func(w *world, path, cookie string, f func(ctx context.Context)) (meta docMeta, sent string) {
		w.t.Helper()
		r := httptest.NewRequest("GET", "https://example.com"+path, nil)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		res := w.send(r, func(_ http.ResponseWriter, r *http.Request) {
			w.FromContext(r.Context()).Views++
			f(r.Context())
		})
		sent = cookie
		for _, line := range res.Header["Set-Cookie"] {
			sent, _, _ = strings.Cut(line, ";")
		}
		token, _, _ := strings.Cut(strings.TrimPrefix(sent, "sid="), ".")
		data, _, err := w.store.Load(w.t.Context(), token, 0)
		var doc struct{ Meta docMeta }
		if err = errors.Join(err, json.Unmarshal(data, &doc)); err != nil {
			w.t.Fatal(err)
		}
		return doc.Meta, sent
	}
	wantMeta := func(t *testing.T, got docMeta, path string, age time.Duration) {
		t.Helper()
		if got.Path != path || got.maxAge() != age {
			t.Errorf("stored are path %s and %v, want %s and %v", got.Path, got.maxAge(), path, age)
		}
	}
	wantAsked := func(t *testing.T, w *world, want ...string) {
		t.Helper()
		if !slices.Equal(w.asked, want) {
			t.Errorf("asked %q, want %q", w.asked, want)
		}
		w.asked = nil
	}
	nothing := func(context.Context) {}

	t.Run("R15 it is asked at creation, and what it said stays through saves and Renew", func(t *testing.T) {
		w := start(t)
		meta, cookie := visit(w, "/a", "", nothing)
		wantMeta(t, meta, "/a", time.Minute)
		wantAsked(t, w, "/a false")
		meta, cookie = visit(w, "/b", cookie, nothing)
		wantMeta(t, meta, "/a", time.Minute)
		meta, renewed := visit(w, "/c", cookie, func(ctx context.Context) { must(t, w.Renew(ctx)) })
		wantMeta(t, meta, "/a", time.Minute)
		if renewed == cookie {
			t.Error("not renewed")
		}
		meta, _ = visit(w, "/d", renewed, nothing)
		wantMeta(t, meta, "/a", time.Minute)
		wantAsked(t, w)
	})

	t.Run("L9 it is asked again by a sign-in, and told whether to remember", func(t *testing.T) {
		w := start(t)
		_, cookie := visit(w, "/a", "", nothing)
		wantAsked(t, w, "/a false")
		meta, cookie := visit(w, "/b", cookie, func(ctx context.Context) { must(t, w.SignIn(ctx, sessions.Remembered)) })
		wantMeta(t, meta, "/b", time.Hour)
		wantAsked(t, w, "/b true")
		meta, cookie = visit(w, "/c", cookie, func(ctx context.Context) { must(t, w.Renew(ctx)) })
		wantMeta(t, meta, "/b", time.Hour)
		wantAsked(t, w)
		meta, _ = visit(w, "/d", cookie, func(ctx context.Context) { must(t, w.SignIn(ctx)) })
		wantMeta(t, meta, "/d", time.Minute)
		wantAsked(t, w, "/d false")
	})

	t.Run("L9 by a sign-in that stores the session too", func(t *testing.T) {
		w := start(t)
		meta, _ := visit(w, "/a", "", func(ctx context.Context) { must(t, w.SignIn(ctx, sessions.Remembered)) })
		wantMeta(t, meta, "/a", time.Hour)
		wantAsked(t, w, "/a true")
	})

	t.Run("L11 and by a session after the one that was destroyed", func(t *testing.T) {
		w := start(t)
		_, cookie := visit(w, "/a", "", nothing)
		meta, _ := visit(w, "/b", cookie, func(ctx context.Context) {
			must(t, w.Destroy(ctx))
			w.FromContext(ctx).Views = 1
		})
		wantMeta(t, meta, "/b", time.Minute)
		wantAsked(t, w, "/a false", "/b false")
	})

	t.Run("C5 once, however often the sign-in meets another write", func(t *testing.T) {
		w := start(t)
		_, cookie := visit(w, "/a", "", nothing)
		token, _, _ := strings.Cut(strings.TrimPrefix(cookie, "sid="), ".")
		w.asked = nil
		others := 0
		meta, _ := visit(w, "/b", cookie, func(ctx context.Context) {
			w.store.before = func(op, key string) error {
				if op == "CompareAndSwap" && key == token && others < 2 {
					others++
					doc := fmt.Sprintf(`{"meta":{"maxAge":5000,"expires":"2000-01-01T00:00:00Z","path":"/other"},"views":%d}`, 10+others)
					_, err := w.store.Store.CompareAndSwap(ctx, key, nil, []byte(doc), time.Hour)
					return err
				}
				return nil
			}
			must(t, w.SignIn(ctx, sessions.Remembered))
		})
		wantMeta(t, meta, "/b", time.Hour)
		wantAsked(t, w, "/b true")
		if others != 2 {
			t.Errorf("%d others", others)
		}
	})

	t.Run("L18 outside HTTP there is no request", func(t *testing.T) {
		w := start(t)
		ctx, err := w.Load(t.Context())
		must(t, err)
		w.FromContext(ctx).Views = 1
		o, err := w.Commit(ctx)
		must(t, err)
		if meta := o.Attrs.(*docMeta); meta.Path != "/none" {
			t.Errorf("path %s", meta.Path)
		}
		must(t, w.SignIn(ctx, sessions.Remembered))
		wantAsked(t, w, "nowhere false", "nowhere true")
	})
}
