package lifecycle_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The T of a page for admins, and of one for users. Both read each other's records.
type (
	adminSession struct{ UserID string }
	userSession  struct{ UserID string }
)

// bareCookie is a Transport that does not say which cookie it has.
type bareCookie struct{ sessions.Transport }

// nest lets a Manager of userSession serve one request around one of
// adminSession, and returns the panic's sentence, "" if there is none. Both
// handlers are asked, so each session is in use.
func nest(t *testing.T, outer, inner sessions.Config) string {
	t.Helper()
	store := kit.Memory()
	return nestOf(kit.New[userSession](t, store, outer), kit.New[adminSession](t, store, inner))
}

func nestOf[A, B any](outer *sessions.Manager[A], inner *sessions.Manager[B]) (sentence string) {
	defer func() { sentence, _ = recover().(string) }()
	kit.Serve(outer.Handler(inner.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		outer.FromContext(r.Context())
		inner.FromContext(r.Context())
	}))), kit.With("", "/"))
	return ""
}

func TestNested(t *testing.T) {
	t.Parallel()
	cookie := func(name string) sessions.Transport { return sessions.Cookie{Name: name} }
	header := func(name string) sessions.Transport { return sessions.HeaderToken{Name: name} }
	skip := func(*http.Request) bool { return true }
	type cfg = sessions.Config
	for _, row := range []struct {
		desc         string
		outer, inner sessions.Config
		panics       bool
	}{
		{"one cookie and one realm by default", cfg{}, cfg{}, true},
		{"one cookie, whatever its attributes", cfg{}, cfg{Transport: sessions.Cookie{SameSite: http.SameSiteStrictMode, Persist: true}}, true},
		{"one cookie by its name", cfg{Transport: cookie("a")}, cfg{Transport: sessions.Cookie{Name: "a", Path: "/admin"}}, true},
		{"one cookie of two realms", cfg{}, cfg{Realm: "admins"}, true},
		{"one cookie of two kinds of Transport", cfg{Transport: cookie("a")}, cfg{Transport: ownName{name: "a"}}, true},
		{"one Transport that does not say which cookie it has", cfg{Transport: bareCookie{cookie("a")}}, cfg{Transport: bareCookie{cookie("a")}}, true},
		{"one header", cfg{Transport: header("X-Session")}, cfg{Transport: header("x-session")}, true},
		{"one header by default", cfg{Transport: header("")}, cfg{Transport: header("")}, true},
		{"one cookie and one realm, skipped by the outer one", cfg{Skip: skip}, cfg{}, true},
		{"one cookie and one realm, skipped by the inner one", cfg{}, cfg{Skip: skip}, true},
		{"one cookie of two realms, skipped by the outer one", cfg{Skip: skip}, cfg{Realm: "admins"}, false},
		{"one cookie of two realms, skipped by the inner one", cfg{}, cfg{Realm: "admins", Skip: skip}, false},
		{"two cookies of one realm", cfg{}, cfg{Transport: cookie("a")}, false},
		{"two Transports that do not say which cookie they have", cfg{Transport: bareCookie{cookie("a")}}, cfg{Transport: bareCookie{cookie("b")}}, false},
		{"two headers", cfg{Transport: header("X-A")}, cfg{Transport: header("X-B")}, false},
		{"a cookie and a header", cfg{}, cfg{Transport: header("")}, false},
	} {
		t.Run("L14 two managers of different T that nest: "+row.desc, func(t *testing.T) {
			sentence := nest(t, row.outer, row.inner)
			if (sentence != "") != row.panics {
				t.Fatalf("panic %q", sentence)
			}
			if !row.panics {
				return
			}
			for _, part := range []string{"lifecycle_test.adminSession", "lifecycle_test.userSession", "Cookie.Name", "Realm"} {
				if !strings.Contains(sentence, part) {
					t.Errorf("panic %q lacks %s", sentence, part)
				}
			}
		})
	}

	t.Run("L14 two managers of one T and one cookie that nest, unless one of them skips the request", func(t *testing.T) {
		store := kit.Memory()
		plain := kit.New[userSession](t, store, cfg{})
		other := kit.New[userSession](t, store, cfg{})
		skips := kit.New[userSession](t, store, cfg{Skip: skip})
		if got := nestOf(plain, other); strings.Count(got, "userSession") != 2 {
			t.Errorf("panic %q, want one that names T twice", got)
		}
		if got := nestOf(plain, skips) + nestOf(skips, plain); got != "" {
			t.Errorf("panic %q, although one skips the request", got)
		}
	})

	t.Run("L14 three managers: the outermost is found behind the one between", func(t *testing.T) {
		store := kit.Memory()
		between := kit.New[kit.Session](t, store, cfg{Transport: cookie("a"), Realm: "a"})
		inner := kit.New[adminSession](t, store, cfg{})
		var sentence string
		outer := kit.New[userSession](t, store, cfg{})
		kit.Serve(outer.Handler(between.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { sentence, _ = recover().(string) }()
			inner.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
		}))), kit.With("", "/"))
		if !strings.Contains(sentence, "userSession") || !strings.Contains(sentence, "adminSession") {
			t.Errorf("panic %q", sentence)
		}
	})

	t.Run("L14 a session of Load takes no part in the response, so it may be around a Handler", func(t *testing.T) {
		store := kit.Memory()
		users, admins := kit.New[userSession](t, store, cfg{}), kit.New[adminSession](t, store, cfg{})
		ctx, _ := kit.Load(t, users)
		kit.Serve(admins.Handler(http.NotFoundHandler()), kit.With("", "/").WithContext(ctx))
	})
}

// ownName is a Transport of one's own with a cookie.
type ownName struct {
	sessions.HeaderToken
	name string
}

func (o ownName) CookieFor(*http.Request) (string, http.SameSite) { return o.name, 0 }
