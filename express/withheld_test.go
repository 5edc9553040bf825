package express_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A request that another site has made a browser send may lack the cookie, and
// then a session that begins with it would sign the user out.
func TestWithheld(t *testing.T) {
	for _, row := range []struct {
		name               string
		sameSite           express.Setting
		method, mode, dest string
		cookie             string
		withheld           bool
	}{
		{"T14 no SameSite is Lax, and a form has no cookie", "", "POST", "navigate", "document", "", true},
		{"T14 no SameSite is Lax, and an iframe has no cookie", "", "GET", "navigate", "iframe", "", true},
		{"T14 no SameSite is Lax, and a link has the cookie", "", "GET", "navigate", "document", "", false},
		{"T14 False is Lax", express.False, "POST", "navigate", "document", "", true},
		{"T14 Lax", express.Lax, "POST", "navigate", "document", "", true},
		{"T14 Strict, and a link has no cookie", express.Strict, "GET", "navigate", "document", "", true},
		{"T14 Strict in capitals", "STRICT", "GET", "navigate", "document", "", true},
		{"T14 True is Strict", express.True, "GET", "navigate", "document", "", true},
		{"T14 None, and a form has the cookie", express.None, "POST", "navigate", "document", "", false},
		{"T14 None in capitals", "NONE", "POST", "navigate", "document", "", false},
		{"T14 Auto is None over TLS", express.Auto, "POST", "navigate", "document", "", false},
		{"T14 a cookie of the name that nobody has signed is one", express.Lax, "POST", "navigate", "document", "connect.sid=x", false},
		{"T14 a cookie of another name is none", express.Lax, "POST", "navigate", "document", "sid=x", true},
	} {
		frozen(t, row.name, func(t *testing.T) {
			o := express.Options{Secrets: []string{"keyboard cat"}, Cookie: express.Cookie{Secure: express.True, SameSite: row.sameSite}}
			checkWithheld(t, o, row.method, row.mode, row.dest, row.cookie, true, row.withheld)
		})
	}
	for _, overTLS := range []bool{true, false} {
		frozen(t, named("T14", "Auto is None on a secure request and Lax on any other: TLS is %t", overTLS), func(t *testing.T) {
			o := express.Options{Secrets: []string{"keyboard cat"}, Cookie: express.Cookie{Secure: express.Auto, SameSite: express.Auto}}
			checkWithheld(t, o, "POST", "navigate", "document", "", overTLS, !overTLS)
		})
	}
}

// Two Managers of one cookie would each take the other's line out of the response.
func TestNested(t *testing.T) {
	type user struct{ User string }
	options := func(name string) express.Options {
		return express.Options{Name: name, Secrets: []string{"keyboard cat"}}
	}
	own, err := sessions.New[user](&sessions.MemoryStore{}, sessions.Config{Transport: sessions.Cookie{Name: "sid"}})
	if err != nil {
		t.Fatal(err)
	}
	next := http.NotFoundHandler()
	users := newDesk[user](t, options("sid"))
	for _, row := range []struct {
		name    string
		handler http.Handler
		panics  bool
	}{
		{"L14 two of one name", users.Handler(newDesk[visit](t, options("sid")).Handler(next)), true},
		{"L14 two of two names", users.Handler(newDesk[visit](t, options("other")).Handler(next)), false},
		{"L14 the library's own cookie around one of that name", own.Handler(newDesk[visit](t, options("sid")).Handler(next)), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer func() {
				sentence, _ := recover().(string)
				if panics := strings.Contains(sentence, "express_test.user") && strings.Contains(sentence, "express_test.visit"); panics != row.panics {
					t.Errorf("panic %q", sentence)
				}
			}()
			row.handler.ServeHTTP(httptest.NewRecorder(), get("/"))
		})
	}
}

// checkWithheld looks whether a request of another site stores a session.
func checkWithheld(t *testing.T, o express.Options, method, mode, dest, cookie string, overTLS, withheld bool) {
	t.Helper()
	desk := newDesk[visit](t, o, "sid-1")
	r := get("/", cookie)
	if overTLS {
		r.TLS = &tls.ConnectionState{}
	}
	r.Method = method
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} {
		r.Header.Set(name, value)
	}
	answer := desk.serve(r, func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[visit](r.Context()).Views++ })
	stored := slices.ContainsFunc(desk.take(), func(c string) bool { return strings.HasPrefix(c, "SET ") })
	if sent := len(answer.Header["Set-Cookie"]) > 0; sent == withheld || stored == withheld || (desk.told(sessions.EventWithheld) == 1) != withheld {
		t.Errorf("stored: %t, sent: %t", stored, sent)
	}
}
