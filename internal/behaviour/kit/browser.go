package kit

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// A Browser is a client with a cookie jar of its own.
//
// Over a connection the jar is net/http/cookiejar's. In process it keeps each
// cookie until a response takes it back, whatever its Max-Age, Path and Domain:
// no client has to throw a cookie away.
type Browser struct {
	Client *http.Client
	URL    string // where its requests go, without a path

	t   testing.TB
	app *App // nil for a Server's
}

// Browser is a new one, without cookies.
func (s *Server) Browser() *Browser {
	return &Browser{
		Client: &http.Client{
			Transport:     s.transport,
			Jar:           newJar(s.transport),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		URL: s.URL, t: s.t, app: s.app,
	}
}

// Browser is a new one, without cookies.
func (a *App) Browser() *Browser { return a.Server().Browser() }

// To is the same browser, with its requests sent to another App.
func (b *Browser) To(a *App) *Browser {
	c, s := *b.Client, a.Server()
	c.Transport = s.transport
	return &Browser{&c, s.URL, b.t, a}
}

// Clone is another tab of the browser: the same cookies as of now, in a jar of its own.
func (b *Browser) Clone() *Browser {
	c := b.empty()
	c.SetCookies(b.Cookies()...)
	return c
}

// As is a browser that presents this token and nothing else, without one if it is "".
func (b *Browser) As(token string) *Browser {
	c := b.empty()
	if token != "" {
		c.SetCookies(&http.Cookie{Name: CookieName, Value: token})
	}
	return c
}

func (b *Browser) empty() *Browser {
	c, client := *b, *b.Client
	client.Jar = newJar(client.Transport)
	c.Client = &client
	return &c
}

// Cookies are those in the jar.
func (b *Browser) Cookies() []*http.Cookie { return b.Client.Jar.Cookies(b.url()) }

// SetCookies puts cookies into the jar.
func (b *Browser) SetCookies(cookies ...*http.Cookie) {
	for _, c := range cookies {
		c.Path, c.Secure = "/", true
	}
	b.Client.Jar.SetCookies(b.url(), cookies)
}

func (b *Browser) url() *url.URL {
	b.t.Helper()
	u, err := url.Parse(b.URL + "/")
	Must(b.t, err)
	return u
}

// Token is the session's token in the jar, "" if none.
func (b *Browser) Token() string {
	for _, c := range b.Cookies() {
		if strings.HasSuffix(c.Name, "session") {
			return c.Value
		}
	}
	return ""
}

// Request is a request for Send or Do.
func (b *Browser) Request(method, path string) *http.Request {
	b.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, b.URL+path, nil)
	Must(b.t, err)
	return r
}

// Send returns as soon as the response's header is there.
func (b *Browser) Send(r *http.Request) (*http.Response, error) { return b.Client.Do(r) }

// A Response is one that has been read to its end.
type Response struct {
	*http.Response
	Text string
}

// SetCookies are the lines for the session's cookie.
func (r Response) SetCookies() []string {
	var lines []string
	for _, l := range r.Header["Set-Cookie"] {
		if name, _, _ := strings.Cut(l, "="); strings.HasSuffix(name, "session") {
			lines = append(lines, l)
		}
	}
	return lines
}

func (b *Browser) read(r *http.Request) (Response, error) {
	res, err := b.Send(r)
	if err != nil {
		return Response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Response{res, string(body)}, err
}

// Do sends a request and reads its response.
func (b *Browser) Do(r *http.Request) Response {
	b.t.Helper()
	res, err := b.read(r)
	Must(b.t, err)
	return res
}

// Get is Do for a path.
func (b *Browser) Get(path string) Response {
	b.t.Helper()
	return b.Do(b.Request("GET", path))
}

// MustGet is Get with an answer that the test presupposes: 200 and this text.
func (b *Browser) MustGet(path, want string) {
	b.t.Helper()
	if res := b.Get(path); res.StatusCode != 200 || res.Text != want {
		b.t.Fatalf("%s: %d %q, want %q", path, res.StatusCode, res.Text, want)
	}
}

// Start is Get in the background; the channel gives the response.
func (b *Browser) Start(path string) <-chan Response {
	done, r := make(chan Response, 1), b.Request("GET", path)
	go func() {
		res, err := b.read(r)
		if err != nil {
			b.t.Errorf("%s: %v", path, err)
			res.Response = &http.Response{}
		}
		done <- res
	}()
	return done
}

// Raw lets f handle one request.
func (b *Browser) Raw(f http.HandlerFunc) Response {
	b.t.Helper()
	if b.app == nil {
		b.t.Fatal("this browser's server has its own handler")
	}
	path, done := b.app.once(f)
	defer done()
	return b.Get(path)
}

// Visit is Raw with the live session.
func (b *Browser) Visit(f func(w http.ResponseWriter, r *http.Request, s *Session)) Response {
	b.t.Helper()
	return b.Raw(func(w http.ResponseWriter, r *http.Request) { f(w, r, sessions.FromContext[Session](r.Context())) })
}

// Edit is Visit that only changes the session.
func (b *Browser) Edit(f func(s *Session)) Response {
	b.t.Helper()
	return b.Visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { f(s) })
}

// Verb is Visit that only calls a verb, as [Call] names them.
func (b *Browser) Verb(verb string) Response {
	b.t.Helper()
	return b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
		OK(b.t, Call(b.app.Manager, r.Context(), verb))
	})
}

// Peek is what the server sees of b's session: a copy of T, and its Info. It
// counts as activity.
func (b *Browser) Peek() (s Session, i sessions.Info) {
	b.t.Helper()
	b.Visit(func(_ http.ResponseWriter, r *http.Request, live *Session) { s, i = *live, b.app.Info(r.Context()) })
	return s, i
}

// Alive reports whether b has a session. It counts as activity.
func (b *Browser) Alive() bool {
	b.t.Helper()
	_, i := b.Peek()
	return !i.New
}

// Login gives b a session of the user u1, which is the [Owner]'s.
func (b *Browser) Login() *Browser {
	b.t.Helper()
	if b.Edit(func(s *Session) { s.Owner, s.UserID = Owner, "u1" }); len(b.Cookies()) == 0 {
		b.t.Fatal("no cookie for a new session")
	}
	return b
}

func newJar(tr http.RoundTripper) http.CookieJar {
	if _, ok := tr.(*http.Transport); ok {
		jar, _ := cookiejar.New(nil)
		return jar
	}
	return &keepingJar{values: map[string]string{}}
}

// keepingJar keeps each cookie until it is taken back.
type keepingJar struct {
	mu     sync.Mutex
	values map[string]string
}

func (j *keepingJar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range cookies {
		if c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
			delete(j.values, c.Name)
		} else {
			j.values[c.Name] = c.Value
		}
	}
}

func (j *keepingJar) Cookies(*url.URL) (cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(j.values)) {
		cookies = append(cookies, &http.Cookie{Name: name, Value: j.values[name]})
	}
	return cookies
}
