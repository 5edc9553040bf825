package transport_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

const cookiePair = `[!#$%&'*+.^_|~0-9A-Za-z-]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*`

var (
	// wellFormed is RFC 6265's cookie-string: what a browser sends.
	wellFormed = regexp.MustCompile(`^` + cookiePair + `(; ` + cookiePair + `)*$`)

	// lookedUp are the tokens that the store is asked for.
	lookedUp = regexp.MustCompile(`^[sr][0-9A-Za-z_-]{24,132}$`)
)

// FuzzCookieHeader reads any Cookie header. Cookie has a parser of its own, for
// net/http's allocates for each cookie of the site; it must never find a token
// where net/http, and so everybody else's middleware, sees no such cookie.
func FuzzCookieHeader(f *testing.F) {
	const token = "sAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, line := range []string{
		"", ";", "=", "__Host-Http-session", "__Host-Http-session=", "__Host-Http-session=" + token,
		"a=b; __Host-Http-session=" + token + "; c=d", "__Host-Http-session=" + token + ";__Host-Http-session=r" + token[1:],
		strings.Repeat("__Host-Http-session="+token+"; ", 6),
		" \t__Host-Http-session \t= " + token + " \t", `__Host-Http-session="` + token + `"`,
		"\u2003__Host-Http-session=" + token, "__host-session=" + token, "x__Host-Http-session=" + token,
		"a=__Host-Http-session=" + token, "__Host-Http-session==" + token, "__Host-Http-session=" + token + "=",
		"a=\"; __Host-Http-session=" + token + "; \"", "$Version=1; __Host-Http-session=" + token + "; $Path=/",
		"__Host-Http-session=" + token + "\x00", "__Host-Http-session=" + token + ", __Host-Http-session=" + token,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r := &http.Request{Header: http.Header{"Cookie": {line}}}
		got := sessions.Cookie{}.Tokens(r)
		if len(got) > 4 {
			t.Errorf("%d candidates, want four at most", len(got))
		}
		if strings.Count(line, ";") >= 1000 {
			return // net/http has given up on it
		}
		var named []string
		for _, c := range r.CookiesNamed("__Host-Http-session") {
			named = append(named, c.Value)
		}
		for _, token := range got {
			if !lookedUp.MatchString(token) {
				continue
			}
			if !strings.Contains(line, token) {
				t.Errorf("token %q is not in the header", token)
			}
			if !slices.Contains(named, token) {
				t.Errorf("token %q is none that net/http sees: %q", token, named)
			}
		}
		if wellFormed.MatchString(line) && !slices.Equal(got, named[:min(len(named), 4)]) {
			t.Errorf("got %q, net/http %q", got, named)
		}
	})
}
