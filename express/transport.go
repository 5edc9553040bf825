package express

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/typedsessions/sessions"
)

// transport is express-session's cookie: the sid, signed.
type transport struct {
	name     string
	secrets  [][]byte
	rolling  bool
	proxy    bool
	options  Cookie
	remember time.Duration
	logger   *slog.Logger
	warned   atomic.Bool
}

const (
	maxCandidates = 4  // sids that are tried
	maxCookies    = 32 // cookies of the name whose signature is looked at
)

// Tokens returns the sids whose signature is right. It reads what package
// cookie reads, and where that stops at the first cookie of the name it goes on:
// another host of the domain may have set that one.
func (t *transport) Tokens(r *http.Request) []string {
	var sids []string
	seen := 0
	for _, line := range r.Header["Cookie"] {
		for line != "" && seen < maxCookies && len(sids) < maxCandidates {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, ok := strings.Cut(pair, "=")
			if !ok || strings.Trim(name, " \t") != t.name {
				continue
			}
			seen++
			if sid, ok := t.unsign(decode(unquote(strings.Trim(value, " \t")))); ok {
				sids = append(sids, sid)
			}
		}
	}
	return sids
}

func unquote(v string) string {
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

const prefix = "s:"

// unsign splits at the last dot, for a sid may have dots too.
func (t *transport) unsign(v string) (sid string, ok bool) {
	v, ok = strings.CutPrefix(v, prefix)
	dot := strings.LastIndexByte(v, '.')
	if !ok || dot <= 0 {
		return "", false
	}
	sid, ok = v[:dot], false
	for _, secret := range t.secrets {
		ok = ok || hmac.Equal([]byte(signature(sid, secret)), []byte(v[dot+1:]))
	}
	return sid, ok
}

func signature(sid string, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte(sid)) // never fails
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// sign is the cookie's value.
func (t *transport) sign(sid string) string {
	return encode(prefix + sid + "." + signature(sid, t.secrets[0]))
}

// encode is JavaScript's encodeURIComponent.
func encode(v string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
	b := make([]byte, 0, len(v)+16)
	for i := range len(v) {
		if strings.IndexByte(plain, v[i]) >= 0 {
			b = append(b, v[i])
		} else {
			b = fmt.Appendf(b, "%%%02X", v[i])
		}
	}
	return string(b)
}

// decode is decodeURIComponent; what that refuses stays as it is.
func decode(v string) string {
	if d, err := url.PathUnescape(v); err == nil && utf8.ValidString(d) {
		return d
	}
	return v
}

// Write sends the cookie when express-session would: with a new sid, with a
// change to a session whose cookie outlives the browser, and if rolling with
// every request that is activity. It sends the sid that the request has brought
// only if that was there a moment ago: if it was renewed meanwhile, the browser
// may have the new one. And it expires the cookie of a destroyed session, which
// express-session does not.
//
// As long as there is nothing to tell, a line of this name is one of Node's, in
// a response that was passed on, and stays, unless its sid is the one that has
// ended.
func (t *transport) Write(h http.Header, r *http.Request, o sessions.Outcome) (sent bool) {
	passedOn := func() bool { return slices.ContainsFunc(h["Set-Cookie"], t.mine) }
	switch {
	case o.Kind > sessions.OutcomeChanged:
		t.remove(h, t.mine)
	case o.Token == "":
		t.remove(h, func(line string) bool { return t.mine(line) && o.Info.ID != "" && t.sidOf(line) == o.Info.ID })
		return passedOn()
	case !o.Touched, o.Kind == sessions.OutcomeUnchanged && passedOn():
		return passedOn()
	}
	c, ok := o.Attrs.(*cookie)
	if !ok {
		c = t.fresh(r, false)
	}
	value := ""
	switch {
	case o.Kind == sessions.OutcomeDestroyed:
	case o.Kind == sessions.OutcomeUnchanged && !t.rolling,
		o.Kind == sessions.OutcomeChanged && !t.rolling && isNull(c[expires]):
		return passedOn()
	case truthy(c[secure]) && !t.secure(r):
		t.warn(r)
		return false
	default:
		value = t.sign(o.Token.Reveal())
	}
	end := time.Unix(0, 0)
	if o.Kind != sessions.OutcomeDestroyed {
		now := c
		if o.Kind == sessions.OutcomeUnchanged {
			now = c.touched(time.Now()) // any other is as it was just stored
		}
		end, _ = now.end()
	}
	t.remove(h, t.mine)
	// Last comes what the browser is to keep: should it take two of these for one cookie, that is the one.
	h["Set-Cookie"] = append(append(slices.Clip(h["Set-Cookie"]), t.expire(t.ended(r, o, c), c)...), c.line(t.name, value, end))
	return true
}

// ended are the attributes of the cookies that c takes the place of. A sid that is not stored has none: where c has a
// Domain, its cookie may be from the time before that, without one. The browser would send it first, and Node would
// read no other.
func (t *transport) ended(r *http.Request, o sessions.Outcome, c *cookie) []any {
	known := 0 // of the request's sids
	switch o.Kind {
	case sessions.OutcomeCreated:
	case sessions.OutcomeRenewed:
		known = 1
	default:
		return o.Ended
	}
	if c.place().domain == "" || len(t.Tokens(r)) <= known {
		return o.Ended
	}
	before := *c
	before[domain] = nil
	return append(slices.Clip(o.Ended), &before)
}

// expire makes a line for each cookie that the browser may have from before, and that c does not replace.
func (t *transport) expire(ended []any, c *cookie) (lines []string) {
	var done []place
	for _, attrs := range ended {
		old, ok := attrs.(*cookie)
		if !ok || old.place() == c.place() || slices.Contains(done, old.place()) {
			continue
		}
		done = append(done, old.place())
		lines = append(lines, old.line(t.name, "", time.Unix(0, 0)))
	}
	return lines
}

// remove takes out lines, and puts the others into a slice of their own.
func (t *transport) remove(h http.Header, which func(line string) bool) {
	if !slices.ContainsFunc(h["Set-Cookie"], which) {
		return
	}
	h["Set-Cookie"] = slices.DeleteFunc(slices.Clone(h["Set-Cookie"]), which)
	if len(h["Set-Cookie"]) == 0 {
		delete(h, "Set-Cookie")
	}
}

func (t *transport) mine(line string) bool { return strings.HasPrefix(line, t.name+"=") }

// sidOf is the sid that a line of the name sends, "" if it sends none.
func (t *transport) sidOf(line string) string {
	value, _, _ := strings.Cut(line[len(t.name)+1:], ";")
	sid, _ := t.unsign(decode(value))
	return sid
}

// Vary returns "Cookie".
func (t *transport) Vary() string { return "Cookie" }

// CookieFor implements [sessions.CookieTransport]. A cookie without SameSite is
// Lax, as browsers are to take it (RFC 6265bis section 5.6.7) and Chromium does.
func (t *transport) CookieFor(r *http.Request) (name string, sameSite http.SameSite) {
	switch s := Setting(strings.ToLower(string(t.options.SameSite))); {
	case s == None, s == Auto && t.secure(r):
		return t.name, http.SameSiteNoneMode
	case s == Strict, s == True:
		return t.name, http.SameSiteStrictMode
	}
	return t.name, http.SameSiteLaxMode
}

// Attrs makes the cookie object of a session that begins with r.
func (t *transport) Attrs(r *http.Request, remembered bool) any { return t.fresh(r, remembered) }

func (t *transport) fresh(r *http.Request, remembered bool) *cookie {
	o := t.options
	if remembered {
		o.MaxAge = t.remember
	}
	safe := t.secure(r)
	if o.Secure == Auto {
		o.Secure = False
		if safe {
			o.Secure = True
		}
	}
	if o.SameSite == Auto {
		o.SameSite = Lax
		if safe {
			o.SameSite = None
		}
	}
	return newCookie(o)
}

// secure is express-session's issecure. Outside HTTP nobody listens in.
func (t *transport) secure(r *http.Request) bool {
	if r == nil || r.TLS != nil {
		return true
	}
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return t.proxy && strings.ToLower(strings.TrimSpace(proto)) == "https"
}

func (t *transport) warn(r *http.Request) {
	if t.warned.CompareAndSwap(false, true) {
		logger := t.logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.WarnContext(r.Context(), "express: a Secure cookie was not sent, for its request came over plain HTTP: serve HTTPS, or set Options.Proxy if a proxy in front does and sets X-Forwarded-Proto")
	}
}

// covers says that the request is for a path below the cookie's. Like Node it
// goes by the path that the client has sent.
func (t *transport) covers(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		path = or(r.URL.EscapedPath(), "/")
	}
	return strings.HasPrefix(path, t.options.Path)
}

// maxCookie is how many bytes of name and value browsers keep, RFC 6265bis section 5.6.
const maxCookie = 4096

// ValidateOutcome reports a cookie that browsers would not keep.
func (t *transport) ValidateOutcome(o sessions.Outcome) error { return t.checkSize(o.Token.Reveal()) }

func (t *transport) checkSize(sid string) error {
	if len(t.secrets) == 0 {
		return nil // is reported by itself
	}
	if n := len(t.name) + len(t.sign(sid)); n > maxCookie {
		return fmt.Errorf("express: Options.Name, NewID: the cookie's name and value are %d bytes with a sid of %d, browsers keep %d: shorten one of the two", n, len(sid), maxCookie)
	}
	return nil
}
