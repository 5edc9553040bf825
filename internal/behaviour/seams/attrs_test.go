package seams_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

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

// attrsApp is an App with a choosesPath, and the cookie of its only client.
type attrsApp struct {
	*kit.App
	t      *testing.T
	asked  []string
	cookie string
}

func newAttrsApp(t *testing.T) *attrsApp {
	a := &attrsApp{t: t}
	a.App = kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{
		IdleTimeout: time.Hour, Lifetime: -1, Layout: callsByKey{}, Transport: choosesPath{asked: &a.asked},
	})
	a.wantAsked("nowhere false") // New, to see a record
	return a
}

// wantAsked compares what the Transport was asked since the last time.
func (a *attrsApp) wantAsked(want ...string) {
	a.t.Helper()
	if !slices.Equal(a.asked, want) {
		a.t.Errorf("asked %q, want %q", a.asked, want)
	}
	a.asked = nil
}

// token is the client's.
func (a *attrsApp) token() string {
	token, _, _ := strings.Cut(strings.TrimPrefix(a.cookie, "sid="), ".")
	return token
}

// visit is a request for the path, after which this path and this age are to be
// stored. Its handler changes T and then does f.
func (a *attrsApp) visit(path string, f func(ctx context.Context), wantPath string, wantAge time.Duration) {
	a.t.Helper()
	r := httptest.NewRequest("GET", "https://example.com"+path, nil)
	if a.cookie != "" {
		r.Header.Set("Cookie", a.cookie)
	}
	res := kit.Serve(a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a.FromContext(r.Context()).Views++
		f(r.Context())
	})), r)
	for _, line := range res.Header["Set-Cookie"] {
		a.cookie, _, _ = strings.Cut(line, ";")
	}
	var doc struct{ Meta docMeta }
	kit.Must(a.t, json.Unmarshal([]byte(docUnder(a.t, a.Store, a.token())), &doc))
	if doc.Meta.Path != wantPath || doc.Meta.maxAge() != wantAge {
		a.t.Errorf("stored are path %s and %v, want %s and %v", doc.Meta.Path, doc.Meta.maxAge(), wantPath, wantAge)
	}
}

// What a Transport has kept with a session.
func TestAttrs(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context) {}
	// verb calls one, as kit.Call names them.
	verb := func(a *attrsApp, name string) func(ctx context.Context) {
		return func(ctx context.Context) { kit.Must(a.t, kit.Call(a.Manager, ctx, name)) }
	}

	t.Run("R15 it is asked at creation, and what it said stays through saves and Renew", func(t *testing.T) {
		a := newAttrsApp(t)
		a.visit("/a", nothing, "/a", time.Minute)
		a.wantAsked("/a false")
		a.visit("/b", nothing, "/a", time.Minute)
		before := a.cookie
		a.visit("/c", verb(a, "Renew"), "/a", time.Minute)
		if a.cookie == before {
			t.Error("not renewed")
		}
		a.visit("/d", nothing, "/a", time.Minute)
		a.wantAsked()
	})

	t.Run("L9 it is asked again by a sign-in, and told whether to remember", func(t *testing.T) {
		a := newAttrsApp(t)
		a.visit("/a", nothing, "/a", time.Minute)
		a.wantAsked("/a false")
		a.visit("/b", verb(a, "Remember"), "/b", time.Hour)
		a.wantAsked("/b true")
		a.visit("/c", verb(a, "Renew"), "/b", time.Hour)
		a.wantAsked()
		a.visit("/d", verb(a, "SignIn"), "/d", time.Minute)
		a.wantAsked("/d false")
	})

	t.Run("L9 by a sign-in that stores the session too", func(t *testing.T) {
		a := newAttrsApp(t)
		a.visit("/a", verb(a, "Remember"), "/a", time.Hour)
		a.wantAsked("/a true")
	})

	t.Run("L11 and by a session after the one that was destroyed", func(t *testing.T) {
		a := newAttrsApp(t)
		a.visit("/a", nothing, "/a", time.Minute)
		a.visit("/b", func(ctx context.Context) {
			kit.Must(t, a.Destroy(ctx))
			a.FromContext(ctx).Views = 1
		}, "/b", time.Minute)
		a.wantAsked("/a false", "/b false")
	})

	t.Run("C5 once, however often the sign-in meets another write", func(t *testing.T) {
		a := newAttrsApp(t)
		a.visit("/a", nothing, "/a", time.Minute)
		a.wantAsked("/a false")
		others, token := 0, a.token()
		a.visit("/b", func(ctx context.Context) {
			a.Store.Before = func(op, key string) error {
				if op == "CompareAndSwap" && key == token && others < 2 {
					others++
					doc := fmt.Sprintf(`{"meta":{"maxAge":5000,"expires":"2000-01-01T00:00:00Z","path":"/other"},"views":%d}`, 10+others)
					_, err := a.Store.Store.CompareAndSwap(ctx, key, nil, []byte(doc), time.Hour)
					return err
				}
				return nil
			}
			kit.Must(t, a.SignIn(ctx, sessions.Remembered))
		}, "/b", time.Hour)
		a.wantAsked("/b true")
		if others != 2 {
			t.Errorf("%d others", others)
		}
	})

	t.Run("L18 outside HTTP there is no request", func(t *testing.T) {
		a := newAttrsApp(t)
		ctx, s := kit.Load(t, a.Manager)
		s.Views = 1
		o := kit.Commit(t, a.Manager, ctx)
		if meta := o.Attrs.(*docMeta); meta.Path != "/none" {
			t.Errorf("path %s", meta.Path)
		}
		kit.Must(t, a.SignIn(ctx, sessions.Remembered))
		a.wantAsked("nowhere false", "nowhere true")
	})
}
