package browser

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// newExpress is a Manager of package express, with routes below its own path: /in signs u1 in, and any other tells who it
// is and how many cookies of the name came.
func newExpress(t *testing.T, rdb *redis.Client, route string, o express.Options) http.Handler {
	t.Helper()
	o.Secrets = []string{"keyboard cat"}
	m, err := express.New[kit.Session](rdb, o)
	if err != nil {
		t.Fatal(err)
	}
	name := o.Name
	if name == "" {
		name = "connect.sid"
	}
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[kit.Session](r.Context())
		if strings.HasSuffix(r.URL.Path, "/in") {
			s.UserID = "u1"
			kit.OK(t, m.SignIn(r.Context()))
		}
		page(w, fmt.Sprintf("%s: %q, %d cookies", route, s.UserID, strings.Count(strings.Join(r.Header["Cookie"], "; "), name+"=")))
	}))
}

func TestExpressCookie(t *testing.T) {
	if chromium == nil {
		newTab(t) // skips
	}
	rdb := redistest.Start(t).Client(t)
	secure := func(c express.Cookie) express.Options {
		c.Secure = express.True
		return express.Options{Cookie: c}
	}
	// A port may be given out again once its test is over, and the browser still has the cookies of its host.
	hosts := 0
	host := func() string {
		hosts++
		return fmt.Sprintf("express%d", hosts)
	}
	type cookie = express.Cookie
	for _, row := range []struct {
		name          string
		before, after cookie // "host" stands for the site's own
	}{
		{"a Domain is added", cookie{}, cookie{Domain: "host"}},
		{"a Domain is taken away", cookie{Domain: "host"}, cookie{}},
		{"the same Domain with a dot", cookie{Domain: ".host"}, cookie{Domain: "host"}},
		{"a Path is taken away", cookie{Path: "/app"}, cookie{}},
		{"a Path is added", cookie{}, cookie{Path: "/app"}},
		{"Partitioned is added", cookie{}, cookie{Partitioned: express.True}},
		{"Partitioned is taken away", cookie{Partitioned: express.True}, cookie{}},
	} {
		t.Run("L26 one cookie after a sign-in: "+row.name, func(t *testing.T) {
			b := newTab(t)
			mux := http.NewServeMux()
			origin := b.serve(host(), mux)
			domain := strings.TrimPrefix(strings.TrimSuffix(origin, ":"+b.port), "https://")
			row.before.Domain = strings.Replace(row.before.Domain, "host", domain, 1)
			row.after.Domain = strings.Replace(row.after.Domain, "host", domain, 1)
			mux.Handle("/app/before/", newExpress(t, rdb, "before", secure(row.before)))
			mux.Handle("/app/after/", newExpress(t, rdb, "after", secure(row.after)))
			b.visit(origin + "/app/before/in")
			if got := b.visit(origin + "/app/before/who"); got != `before: "u1", 1 cookies` {
				t.Fatalf("before: %s", got)
			}
			b.visit(origin + "/app/after/in")
			for _, route := range []string{"before", "after"} {
				if got := b.visit(origin + "/app/" + route + "/who"); got != route+`: "u1", 1 cookies` {
					t.Errorf("after: %s", got)
				}
			}
		})
	}

	for _, name := range []string{"test::name", "express:sess", "a/b", "a(b)", "a@b", "a[0]", `"a"`, `a"b`, "a,b", "a b", `a\b`, "<a>", "{a}", "a?b", "$a"} {
		t.Run("R18 a cookie named "+name+" is kept", func(t *testing.T) {
			b := newTab(t)
			o := secure(cookie{})
			o.Name = name
			origin := b.serve(host(), newExpress(t, rdb, "app", o))
			b.visit(origin + "/in")
			if got := b.visit(origin + "/who"); got != `app: "u1", 1 cookies` {
				t.Error(got)
			}
		})
	}

	t.Run("R18 a sid of 3900 bytes is kept, with its signature and its name", func(t *testing.T) {
		o := secure(cookie{})
		o.NewID = func() (string, error) {
			id := make([]byte, 1950)
			_, _ = rand.Read(id) // never fails
			return hex.EncodeToString(id), nil
		}
		b := newTab(t)
		origin := b.serve(host(), newExpress(t, rdb, "app", o))
		b.visit(origin + "/in")
		if got := b.visit(origin + "/who"); got != `app: "u1", 1 cookies` {
			t.Error(got)
		}
	})
}
