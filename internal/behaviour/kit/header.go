package kit

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The session's cookie as a response sends it, with TOKEN for its value.
const (
	CookieName    = "__Host-Http-session"
	CookieSent    = CookieName + "=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"
	CookieExpired = CookieName + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

// TokenShape finds tokens in a text.
var TokenShape = regexp.MustCompile(`\b[sr][A-Za-z0-9_-]{4}[A-Z2-7]{26}\b`)

// Used is what a response's header has, by pairs, where the handler has used the
// session and no cookie is sent.
var Used = []string{"Cache-Control", "private", "Vary", "Cookie"}

// Sends is the same where this line of Set-Cookie is sent.
func Sends(cookie string) []string {
	return []string{"Set-Cookie", cookie, "Cache-Control", "private, no-store", "Vary", "Cookie"}
}

// Header is a header of these names and values in pairs.
func Header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// Text is [Header] for a handler that has written one byte to a connection.
func Text(pairs ...string) http.Header {
	return Header(append([]string{"Content-Type", "text/plain; charset=utf-8", "Content-Length", "1"}, pairs...)...)
}

// Masked is a response's header without Date and with TOKEN in the place of each
// token, to be compared as a whole: a header that nobody expects fails.
func Masked(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		for _, l := range lines {
			if name != "Date" {
				out[name] = append(out[name], TokenShape.ReplaceAllString(l, "TOKEN"))
			}
		}
	}
	return out
}

// WantHeader compares the whole of a response's header, [Masked].
func WantHeader(t testing.TB, got, want http.Header) {
	t.Helper()
	if got = Masked(got); !reflect.DeepEqual(got, want) {
		t.Errorf("header\n got %q\nwant %q", got, want)
	}
}

// TokenOf is the session's token that a response sends, "" if none.
func TokenOf(h http.Header) string {
	for _, l := range h["Set-Cookie"] {
		if v, ok := strings.CutPrefix(l, CookieName+"="); ok {
			v, _, _ = strings.Cut(v, ";")
			return v
		}
	}
	return ""
}
