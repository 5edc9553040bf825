package express_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// Where this side has no session, Node's line may have no sid of its secrets.
func TestPassedOnWithoutSession(t *testing.T) {
	for name, line := range map[string]string{
		"L12 Node clears the cookie":    expired,
		"L12 Node has another secret":   signed("connect.sid", "of-node", "another") + "; Path=/",
		"L12 Node begins a session":     signed("connect.sid", "of-node", secret) + "; Path=/",
		"L12 Node sends what is no sid": "connect.sid=plain; Path=/",
	} {
		for cookie, header := range map[string]string{"no cookie": "", "a cookie of a session that has ended": signed("connect.sid", sid, secret)} {
			frozen(t, name+", "+cookie, func(t *testing.T) {
				d := newDesk[visit](t, express.Options{Secrets: []string{secret}})
				lines := d.serve(get("/", header), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Add("Set-Cookie", line)
				}).Header["Set-Cookie"]
				same(t, "Set-Cookie", lines, []string{line})
			})
		}
	}
}

// A Go service in front of the Express app passes a route on from within the
// Manager's handler: the cookie in that response is Node's.
func TestPassedOn(t *testing.T) {
	theirs := signed("connect.sid", "of-node", secret) + "; Path=/; HttpOnly"
	regenerate := func(d *desk[visit], _ *visit, r *http.Request) { _ = d.MemoryStore.Delete(r.Context(), sid) }
	for _, tc := range []struct {
		name    string
		rolling bool
		visitor bool // one with a session
		handler func(*desk[visit], *visit, *http.Request)
		theirs  bool // Node's line goes out, and nothing else of the name
	}{
		{"L1 a visitor who gets a session from Node", false, false, nil, true},
		{"L12 a session that Node sends again", false, true, nil, true},
		{"L12 a session that Node sends again, rolling", true, true, nil, true},
		{"L12 L25 a session that Node regenerates", false, true, regenerate, true},
		{"L12 L25 a session that Node regenerates, rolling", true, true, regenerate, true},
		{"L12 L25 a session that is saved here before Node regenerates it", true, true, func(d *desk[visit], v *visit, r *http.Request) {
			v.Views++
			_ = d.Save(r.Context())
			regenerate(d, v, r)
		}, true},
		{"L12 L25 one that is renewed here and has ended since", false, true, func(d *desk[visit], _ *visit, r *http.Request) {
			_ = d.Renew(r.Context())
			_ = d.MemoryStore.Delete(r.Context(), "drawn")
			_ = d.Touch(r.Context())
		}, true},
		{"L12 one that is only read here", true, true, func(*desk[visit], *visit, *http.Request) {}, true},
		{"W1 one that is changed here is sent here", false, true, func(_ *desk[visit], v *visit, _ *http.Request) { v.Views++ }, false},
		{"T9 one without a maxAge that is changed here, which sends no cookie by itself", false, true, func(_ *desk[visit], v *visit, _ *http.Request) { v.Views++ }, true},
		{"W1 one that begins here is sent here", false, false, func(_ *desk[visit], v *visit, _ *http.Request) { v.Views++ }, false},
	} {
		frozen(t, tc.name, func(t *testing.T) {
			d := newDesk[visit](t, express.Options{Secrets: []string{secret}, Rolling: tc.rolling, Cookie: express.Cookie{MaxAge: quarter}}, "drawn")
			r := httptest.NewRequest("GET", "/", nil)
			if tc.visitor {
				maxAge := "900000"
				if strings.Contains(tc.name, "without a maxAge") {
					maxAge = "null"
				}
				d.put(t, sid, nodeDoc(maxAge, `,"views":1`), quarter)
				r.Header.Set("Cookie", signed("connect.sid", sid, secret))
			}
			header := d.serve(r, func(w http.ResponseWriter, r *http.Request) {
				if tc.handler != nil {
					tc.handler(d, sessions.FromContext[visit](r.Context()), r)
				}
				w.Header().Add("Set-Cookie", theirs)
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
			}).Header
			if lines := header["Set-Cookie"]; len(lines) != 1 || (lines[0] == theirs) != tc.theirs {
				t.Errorf("Set-Cookie %q", lines)
			}
			if got := header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
				t.Errorf("a response with the cookie is Cache-Control %q", got)
			}
		})
	}
}

// A route of Node's that signs out takes the cookie back by res.clearCookie.
func TestPassedOnClear(t *testing.T) {
	const clear = "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
	for _, tc := range []struct {
		name, document string
		policy         sessions.UndecodablePolicy
	}{
		{"L12 a cookie that stands for nothing, which Node takes back", "", 0},
		{"K11 L12 one of a document that does not fit T, which Node takes back", nodeDoc("900000", `,"views":"7"`), sessions.UndecodableReadOnly},
		{"L12 a session that Node has ended", nodeDoc("900000", `,"views":7`), 0},
	} {
		frozen(t, tc.name, func(t *testing.T) {
			d := newDesk[visit](t, express.Options{Secrets: []string{secret}, Rolling: true, OnUndecodable: tc.policy})
			if tc.document != "" {
				d.put(t, sid, tc.document, quarter)
			}
			answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(w http.ResponseWriter, r *http.Request) {
				_ = d.MemoryStore.Delete(r.Context(), sid)
				w.Header().Add("Set-Cookie", clear)
			})
			same(t, "Set-Cookie", answer.Header["Set-Cookie"], []string{clear})
		})
	}
}
