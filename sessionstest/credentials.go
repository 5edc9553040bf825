package sessionstest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// credentials are what a client has from responses and presents to the handler.
type credentials struct {
	cookies []*http.Cookie
	fields  http.Header // the header fields of tokens that are in no cookie
}

// keep takes over what a response has sent.
func (c *credentials) keep(res *http.Response) {
	for _, sent := range res.Cookies() {
		c.cookies = slices.DeleteFunc(c.cookies, func(old *http.Cookie) bool { return old.Name == sent.Name })
		if sent.MaxAge > 0 || sent.MaxAge == 0 && (sent.Expires.IsZero() || sent.Expires.After(time.Now())) {
			c.cookies = append(c.cookies, sent)
		}
	}
	// Vary names the request header in which the Transport looks for the token, and the response has it in the same.
	for name := range strings.SplitSeq(strings.Join(res.Header["Vary"], ","), ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if token := res.Header[name]; len(token) > 0 {
			if c.fields == nil {
				c.fields = http.Header{}
			}
			c.fields[name] = token
		}
	}
}

// present adds the credentials to a request, except those that it has already.
func (c *credentials) present(r *http.Request) {
	own := r.Cookies()
	for _, kept := range c.cookies {
		if !slices.ContainsFunc(own, func(o *http.Cookie) bool { return o.Name == kept.Name }) {
			r.AddCookie(kept)
		}
	}
	for name, token := range c.fields {
		if r.Header[name] == nil {
			r.Header[name] = slices.Clone(token)
		}
	}
}

// after is the request r once more, by a client that has received res.
func after(r *http.Request, res *http.Response) *http.Request {
	c := credentials{cookies: r.Cookies()}
	c.keep(res)
	r = r.Clone(r.Context())
	r.Header.Del("Cookie")
	for name := range c.fields {
		r.Header.Del(name)
	}
	c.present(r)
	return r
}
