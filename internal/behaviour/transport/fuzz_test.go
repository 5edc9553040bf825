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

// bearer is a line of Authorization with a token (RFC 6750 section 2.1): the scheme without case, a space and, with
// nothing but blanks around it, the token.
var bearer = regexp.MustCompile(`^[Bb][Ee][Aa][Rr][Ee][Rr] [ \t]*([0-9A-Za-z_-]+)[ \t]*$`)

// FuzzTokens reads any Cookie and Authorization lines, one a line of text, as net/http does: the same cookies of the
// name, up to four, and no token of another scheme. What Strip leaves is a request without them, and nothing else is
// missing.
func FuzzTokens(f *testing.F) {
	const token = "sAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, lines := range []string{
		"", "session=" + token, "a=b\nsession=" + token + "\nsession=r" + token[1:], "Bearer " + token, "bearer \t" + token + " ",
		"Basic YWxhZGRpbjpvcGVuc2VzYW1l", "session=1; session=2; session=3\nsession=4; session=5", "Bearer", "Bearer " + token + ", " + token,
		`session="` + token + `"; a="b c"`, "session; session=; =session", "session=\x7f; session=ok", "a=1;;session=" + token + ";;b=2",
		"Negotiate a\nBearer b\nBearer c", "BEARER\t" + token, "session = " + token + "\t;\ta = 1", "Bearer \u00a0" + token + "\u0085",
	} {
		f.Add(lines)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		if strings.Count(text, ";")+len(lines) >= 1000 {
			return // net/http has given up on it
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' && c != '\n' || c == 0x7f }) {
			return // no request has such a header (RFC 9110 section 5.5)
		}
		cookie := sessions.Cookie{Name: "session"}
		r := &http.Request{Header: http.Header{"Cookie": lines, "Authorization": lines}}

		// net/http leaves quotes and values with other bytes out, and takes a name alone for an empty value.
		seen := func(r *http.Request, session bool) (pairs []string) {
			for _, c := range r.Cookies() {
				if (c.Name == "session") == session && (c.Value != "" || !session) {
					pairs = append(pairs, c.Name+"="+c.Value)
				}
			}
			return pairs
		}
		got := cookie.Tokens(r)
		var valid []string
		for _, v := range got {
			if v = unquoted(v); v != "" && !strings.ContainsFunc(v, noCookieByte) {
				valid = append(valid, "session="+v)
			}
		}
		want := seen(r, true)
		if len(got) == 4 { // there may be more
			want = want[:min(len(want), len(valid))]
		}
		if len(got) > 4 || !slices.Equal(valid, want) {
			t.Errorf("got %q, net/http %q", got, want)
		}

		stripped := &http.Request{Header: http.Header{"Cookie": slices.Clone(lines)}}
		cookie.Strip(stripped)
		if left := cookie.Tokens(stripped); len(left) > 0 {
			t.Errorf("Strip leaves %q", left)
		}
		if left, want := seen(stripped, false), seen(r, false); !slices.Equal(left, want) {
			t.Errorf("Strip leaves of the others %q, want %q", left, want)
		}

		var named, found []string
		for _, line := range lines {
			if m := bearer.FindStringSubmatch(line); m != nil {
				named = append(named, m[1])
			}
		}
		for _, token := range (sessions.HeaderToken{}).Tokens(r) {
			if lookedUp.MatchString(token) {
				found = append(found, token)
			}
		}
		for _, token := range found {
			if !slices.Contains(named, token) {
				t.Errorf("token %q is in no line of the scheme", token)
			}
		}
		if first := bearer.FindStringSubmatch(lines[0]); first != nil && lookedUp.MatchString(first[1]) && !slices.Contains(found, first[1]) {
			t.Errorf("the token of %q is not found", lines[0])
		}
		if _, _, basic := r.BasicAuth(); basic && len(lines) == 1 && len(found) > 0 {
			t.Errorf("%q are tokens of a line for Basic", found)
		}
	})
}

func unquoted(v string) string {
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// noCookieByte is what net/http lets into no value: it takes blanks and commas, beyond RFC 6265.
func noCookieByte(c rune) bool { return c < 0x20 || c >= 0x7f || c == '"' || c == ';' || c == '\\' }
