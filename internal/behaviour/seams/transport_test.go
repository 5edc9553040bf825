package seams_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

// twoHeaders is a foreign Transport: the token, and a proof that it is ours.
type twoHeaders struct{}

func proof(token string) string {
	mac := hmac.New(sha256.New, []byte("secret"))
	io.WriteString(mac, token)
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

func (twoHeaders) Tokens(r *http.Request) []string {
	token := r.Header.Get("X-Session-Id")
	if token == "" || !hmac.Equal([]byte(proof(token)), []byte(r.Header.Get("X-Session-Proof"))) {
		return nil
	}
	return []string{token}
}

func (twoHeaders) Write(h http.Header, _ *http.Request, o sessions.Outcome) bool {
	h.Del("X-Session-Id")
	h.Del("X-Session-Proof")
	switch o.Kind {
	case sessions.OutcomeCreated, sessions.OutcomeRenewed:
		h.Set("X-Session-Id", o.Token.Reveal())
		h.Set("X-Session-Proof", proof(o.Token.Reveal()))
		return true
	case sessions.OutcomeDestroyed:
		h.Set("X-Session-Id", "-")
		h.Set("X-Session-Proof", "-")
		return true
	}
	return false
}

func (twoHeaders) Vary() string { return "X-Session-Id, X-Session-Proof" }

// docCookie is a foreign Transport: a signed cookie whose attributes are those
// stored with the session, sent again with every response if it is rolling.
type docCookie struct{ rolling bool }

func (docCookie) Tokens(r *http.Request) []string {
	var tokens []string
	for _, c := range r.CookiesNamed("sid") {
		if token, mac, ok := strings.Cut(c.Value, "."); ok && mac == proof(token) {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

func (c docCookie) Write(h http.Header, _ *http.Request, o sessions.Outcome) bool {
	lines := slices.DeleteFunc(slices.Clone(h["Set-Cookie"]), func(l string) bool { return strings.HasPrefix(l, "sid=") })
	if delete(h, "Set-Cookie"); len(lines) > 0 {
		h["Set-Cookie"] = lines
	}
	cookie := http.Cookie{Name: "sid", Value: signed(o.Token.Reveal()), Path: "/", HttpOnly: true}
	if meta, ok := o.Attrs.(*docMeta); ok {
		cookie.Path = meta.Path
		cookie.Expires = time.Now().Add(meta.maxAge())
	}
	switch {
	case o.Kind == sessions.OutcomeCreated, o.Kind == sessions.OutcomeRenewed:
	case o.Kind == sessions.OutcomeDestroyed:
		cookie.Value, cookie.Expires = "", time.Unix(1, 0)
	case c.rolling && o.Token != "":
	default:
		return false
	}
	h.Add("Set-Cookie", cookie.String())
	return true
}

// signed is the value of its cookie.
func signed(token string) string { return token + "." + proof(token) }

func (docCookie) Vary() string { return "Cookie" }
