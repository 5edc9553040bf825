package sessions_test

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// header is the whole header of a response but for Date, with tokens replaced.
func header(h http.Header) http.Header {
	h = h.Clone()
	delete(h, "Date")
	for i, line := range h["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Value != "" {
			h["Set-Cookie"][i] = strings.Replace(line, c.Value, "TOKEN", 1)
		}
	}
	return h
}

func wantHeader(t testing.TB, got, want http.Header) {
	t.Helper()
	if got = header(got); !reflect.DeepEqual(got, want) {
		t.Errorf("header\n got %q\nwant %q", got, want)
	}
}

const (
	plainCookie   = "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"
	expiredCookie = "__Host-session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

// text is the header of a handler that writes one byte, and what else is given.
func text(more ...string) http.Header {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"1"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = append(h[more[i]], more[i+1])
	}
	return h
}

const (
	cookieName  = "__Host-session"
	cookieFlags = "; Path=/; HttpOnly; Secure; SameSite=Lax"
	cookieSent  = cookieName + "=TOKEN" + cookieFlags
	cookieEnded = cookieName + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

var tokenShape = regexp.MustCompile(`\b[sr][A-Z2-7]{26}\b`)

// wellFormed is a token that nobody has drawn; n tells several apart.
func wellFormed(n int) string { return fmt.Sprintf("s%026d", n) }

// masked is a response's header without Date and with TOKEN in the place of
// each token, to be compared as a whole: a header that nobody expects fails.
func masked(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		for _, l := range lines {
			if name != "Date" {
				out[name] = append(out[name], tokenShape.ReplaceAllString(l, "TOKEN"))
			}
		}
	}
	return out
}

func wantMasked(t *testing.T, got, want http.Header) {
	t.Helper()
	if got := masked(got); !reflect.DeepEqual(got, want) {
		t.Errorf("header:\n got %v\nwant %v", got, want)
	}
}

// tokenOf is the session token that a response sends, "" if none.
func tokenOf(h http.Header) string {
	for _, l := range h["Set-Cookie"] {
		if v, ok := strings.CutPrefix(l, cookieName+"="); ok {
			v, _, _ = strings.Cut(v, ";")
			return v
		}
	}
	return ""
}
