package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// member is a T that not everything fits which Node stores.
type member struct {
	Passport struct {
		User string `json:"user,omitempty"`
	} `json:"passport,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	Messages []string  `json:"messages,omitempty"`
	Views    int       `json:"views,omitempty"`
}

// startMembers is startGo for that T, with the routes of these tests.
func (w *world) startMembers(t *testing.T, o express.Options) *site {
	t.Helper()
	return serveGo(t, w, o, func(m *sessions.Manager[member], _ *redis.Client) http.Handler {
		return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, ctx, verb := m.FromContext(r.Context()), r.Context(), func(context.Context) error { return nil }
			switch path.Base(r.URL.Path) {
			case "count":
				s.Views++
			case "save":
				s.Views++
				verb = m.Save
			case "update":
				verb = func(ctx context.Context) error {
					return m.Update(ctx, func(s *member) error { s.Views++; return nil })
				}
			case "signin":
				s.Passport.User = "ann"
				verb = func(ctx context.Context) error { return m.SignIn(ctx) }
			case "renew":
				verb = m.Renew
			case "destroy":
				verb = m.Destroy
			}
			if err := verb(ctx); err != nil {
				status := http.StatusTeapot
				if _, ok := errors.AsType[*sessions.DecodeError](err); ok {
					status = http.StatusUnprocessableEntity
				}
				reply(w, status, map[string]any{"error": err.Error(), "by": "go"})
				return
			}
			reply(w, http.StatusOK, map[string]any{"id": m.Info(ctx).ID, "session": s, "by": "go"})
		}))
	})
}

// What Node stores and T does not fit: as Node's routes set it, and mend it.
var misfits = []struct{ name, set, mend string }{
	{"a number for a string", `{"passport": {"user": 7}}`, `{"passport": {"user": "7"}}`},
	{"an empty string for a time", `{"since": ""}`, `{"since": null}`},
	{"a string for a list", `{"messages": "hello"}`, `{"messages": ["hello"]}`},
	{"more than MaxSize", `{"cart": "` + strings.Repeat("x", 2000) + `"}`, `{"cart": null}`},
}

// Whatever a visitor does in Go, Node goes on with its session and the browser
// with its cookie; and when Node has mended it, so does Go.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := express.Options{
		Secrets: []string{"keyboard cat"}, Rolling: true, SaveUninitialized: true, MaxSize: 1000,
		Cookie: express.Cookie{MaxAge: quarter},
	}
	node := w.startNode(t, inNode("10", o))
	for name, policy := range map[string]sessions.UndecodablePolicy{"the default": 0, "ReadOnly": sessions.UndecodableReadOnly} {
		o.OnUndecodable = policy
		gopher := w.startMembers(t, o)
		for _, misfit := range misfits {
			for _, route := range []string{"GET /read", "GET /count", "POST /save", "POST /update", "POST /signin", "POST /renew"} {
				t.Run(fmt.Sprintf("K11 %s, %s: %s", misfit.name, name, route), func(t *testing.T) {
					b := w.browser(t)
					b.ask(node, "POST /set", misfit.set)
					b.ask(node, "GET /count")
					value, sid := b.values(node)[0], b.sid(node)
					stored := w.stored(t, node, sid).raw

					a, err := b.send(gopher, route, "", nil)
					want := http.StatusInternalServerError
					if policy == sessions.UndecodableReadOnly && route == "GET /read" {
						want = http.StatusOK
					} else if policy == sessions.UndecodableReadOnly && route != "GET /count" {
						want = http.StatusUnprocessableEntity
					}
					if err != nil || a.status != want || len(a.setCookie) > 0 || a.views(t) > 0 {
						t.Errorf("go: %d %s, Set-Cookie %q, %v; want %d", a.status, a.Error, a.setCookie, err, want)
					}
					if now := w.stored(t, node, sid).raw; now != stored || b.values(node)[0] != value {
						t.Errorf("stored is %s, the cookie %q", now, b.values(node))
					}
					if keys := w.keys(t); !slices.Equal(keys, []string{node.prefix + sid}) {
						t.Errorf("stored are %q", keys)
					}

					if a := b.ask(node, "GET /count"); a.ID != sid || a.views(t) != 2 {
						t.Errorf("node goes on with %s, %s", a.ID, a.Session)
					}
					b.ask(node, "POST /set", misfit.mend)
					if a := b.ask(gopher, "GET /count"); a.ID != sid || a.views(t) != 3 {
						t.Errorf("mended, go goes on with %s, %s", a.ID, a.Session)
					}
					if a := b.ask(node, "GET /count"); a.ID != sid || a.views(t) != 4 {
						t.Errorf("node goes on with %s, %s", a.ID, a.Session)
					}
					b.ask(node, "POST /destroy")
				})
			}
		}
		t.Run("K11 another serializer, "+name, func(t *testing.T) {
			b := w.browser(t)
			b.ask(node, "GET /count")
			value, sid := b.values(node)[0], b.sid(node)
			good, foreign := w.stored(t, node, sid).raw, "\x81\xa5views\x01"
			w.put(t, node, sid, foreign)
			for _, at := range []*site{gopher, node} { // which cannot read it either
				if a, err := b.send(at, "GET /count", "", nil); err != nil || a.status != http.StatusInternalServerError || len(a.setCookie) > 0 {
					t.Errorf("%s: %d, Set-Cookie %q, %v", at.name, a.status, a.setCookie, err)
				}
			}
			if now, err := w.redis.Get(t.Context(), node.prefix+sid).Result(); err != nil || now != foreign || b.values(node)[0] != value {
				t.Errorf("stored is %q, the cookie %q, %v", now, b.values(node), err)
			}
			w.put(t, node, sid, good)
			for n, at := range []*site{gopher, node} {
				if a := b.ask(at, "GET /count"); a.ID != sid || a.views(t) != n+2 {
					t.Errorf("%s goes on with %s, %s", at.name, a.ID, a.Session)
				}
			}
			b.ask(node, "POST /destroy")
		})
	}
	t.Run("K11 L10 ReadOnly: who signs out in Go is signed out in Node", func(t *testing.T) {
		o.OnUndecodable = sessions.UndecodableReadOnly
		gopher := w.startMembers(t, o)
		b := w.browser(t)
		b.ask(node, "POST /set", misfits[0].set)
		sid := b.sid(node)
		if a := b.ask(gopher, "POST /destroy"); len(a.setCookie) != 1 || b.sid(node) != "" {
			t.Errorf("Set-Cookie %q, the cookie has %s", a.setCookie, b.sid(node))
		}
		w.dead(t, node, sid)
		if a := b.ask(node, "GET /read"); a.ID == sid || a.Session["passport"] != nil {
			t.Errorf("node goes on with %s, %s", a.ID, a.Session)
		}
	})
}
