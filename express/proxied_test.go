package express_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A Go service in front of the Express app passes a route on from within the
// Manager's handler: the cookie in that response is Node's.
func TestPassedOn(t *testing.T) {
	const theirs = "connect.sid=s%3Aof-node.xyz; Path=/; HttpOnly"
	for _, tc := range []struct {
		name    string
		rolling bool
		visitor bool // one with a session
		handler func(*visit)
		theirs  bool // Node's line goes out, and nothing else of the name
	}{
		{"L1 a visitor who gets a session from Node", false, false, nil, true},
		{"L12 a session that Node regenerates", false, true, nil, true},
		{"L12 a session that Node regenerates, rolling", true, true, nil, true},
		{"L12 one that is only read here", true, true, func(*visit) {}, true},
		{"W1 one that is changed here is sent here", false, true, func(v *visit) { v.Views++ }, false},
		{"W1 one that begins here is sent here", false, false, func(v *visit) { v.Views++ }, false},
	} {
		frozen(t, tc.name, func(t *testing.T) {
			d := newDesk[visit](t, express.Options{Secrets: []string{secret}, Rolling: tc.rolling, Cookie: express.Cookie{MaxAge: quarter}}, "drawn")
			r := httptest.NewRequest("GET", "/", nil)
			if tc.visitor {
				d.put(t, sid, nodeDoc("900000", `,"views":1`), quarter)
				r.Header.Set("Cookie", signed("connect.sid", sid, secret))
			}
			lines := d.serve(r, func(w http.ResponseWriter, r *http.Request) {
				if tc.handler != nil {
					tc.handler(sessions.FromContext[visit](r.Context()))
				}
				w.Header().Add("Set-Cookie", theirs)
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
			}).Header["Set-Cookie"]
			if len(lines) != 1 || (lines[0] == theirs) != tc.theirs {
				t.Errorf("Set-Cookie %q", lines)
			}
		})
	}
}
