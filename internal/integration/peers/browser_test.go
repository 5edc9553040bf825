package peers_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
)

// A browser keeps the cookies of one visitor.
type browser struct {
	t         *testing.T
	url       string
	transport http.RoundTripper
	jar       http.CookieJar
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // nothing came, or not all of it
}

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %q", a.status, a.body)
}

func newBrowser(t *testing.T, url string, transport http.RoundTripper) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, url, transport, jar}
}

// clone is a browser with the same cookies and from now on its own: another
// tab whose cookies the test can tell apart, or a thief.
func (b *browser) clone() *browser {
	c := newBrowser(b.t, b.url, b.transport)
	c.jar.SetCookies(b.site(), b.jar.Cookies(b.site()))
	return c
}

func (b *browser) site() *url.URL {
	u, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// cookies are those that it sends, as they stand in the header.
func (b *browser) cookies() string {
	r := http.Request{Header: http.Header{}}
	for _, c := range b.jar.Cookies(b.site()) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}

// at is the same browser at another server of the site.
func (b *browser) at(url string) *browser {
	c := *b
	c.url = url
	return &c
}

func (b *browser) get(path string) answer { return b.do(context.Background(), path) }

func (b *browser) do(ctx context.Context, path string) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		return answer{err: err}
	}
	return b.send(r)
}

// with is a GET with headers of the page's own, given by name and value.
func (b *browser) with(path string, headers ...string) answer {
	r, err := http.NewRequest(http.MethodGet, b.url+path, nil)
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) answer {
	resp, err := (&http.Client{Transport: b.transport, Jar: b.jar}).Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

// must is for the requests around the one that a scenario is about.
func (b *browser) must(path string) {
	b.t.Helper()
	if a := b.get(path); a.err != nil || a.status != http.StatusOK {
		b.t.Fatalf("%s answers %s", path, a)
	}
}

// read returns a field of the session, "" if there is no session.
func (b *browser) read(field string) string {
	b.t.Helper()
	a := b.get("/read?k=" + field)
	if a.err != nil || a.status != http.StatusOK {
		b.t.Fatalf("reading %s answers %s", field, a)
	}
	return a.body
}
