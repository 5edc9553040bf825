package node_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A browser visits both sides with one cookie jar, and through a proxy that ends
// TLS. Cookies know no ports.
type browser struct {
	t            *testing.T
	client       *http.Client
	scheme, host string
}

func (w *world) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, Transport: proxy{w.wire}, Timeout: patience}, "http", "127.0.0.1"}
}

// A proxy forwards https as plain HTTP and says so.
type proxy struct{ wire *http.Transport }

func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		r = r.Clone(r.Context())
		r.URL.Scheme = "http"
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	return p.wire.RoundTrip(r)
}

// An answer is what either side says.
type answer struct {
	status    int
	setCookie []string
	ID        string
	Session   map[string]json.RawMessage
	MaxAge    *float64 // in milliseconds: what is left; nil where Node says null
	By, Error string

	IdleUntil time.Time // in Go
}

func (a answer) views(t *testing.T) int {
	t.Helper()
	n := 0
	if v, ok := a.Session["views"]; ok {
		if err := json.Unmarshal(v, &n); err != nil {
			t.Errorf("views: %v", err)
		}
	}
	return n
}

func (b *browser) url(s *site, target string) *url.URL {
	u, err := url.Parse(b.scheme + "://" + b.host + ":" + s.port + path.Join(s.path, target))
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// send makes one request, of a route like "GET /count".
func (b *browser) send(s *site, route, body string, header http.Header) (a answer, err error) {
	method, target, _ := strings.Cut(route, " ")
	r, err := http.NewRequestWithContext(context.Background(), method, b.url(s, target).String(), strings.NewReader(body))
	if err != nil {
		return a, err
	}
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, header)
	w, err := b.client.Do(r)
	if err != nil {
		return a, err
	}
	defer func() { _ = w.Body.Close() }()
	data, err := io.ReadAll(w.Body)
	if err != nil {
		return a, err
	}
	a.status, a.setCookie = w.StatusCode, w.Header["Set-Cookie"]
	if strings.HasPrefix(w.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(data, &a); err != nil {
			return a, fmt.Errorf("%s: %w", data, err)
		}
	} else {
		a.Error = strings.TrimSpace(string(data))
	}
	return a, nil
}

// ask is send, with an answer of 200.
func (b *browser) ask(s *site, route string, body ...string) answer {
	b.t.Helper()
	a, err := b.send(s, route, strings.Join(body, ""), nil)
	if err != nil || a.status != http.StatusOK || a.By != s.name {
		b.t.Fatalf("%s: %s: %d by %q, %s, %v", s.name, route, a.status, a.By, a.Error, err)
	}
	return a
}

// hold sends a POST /hold with body and returns when it is parked, with what
// lets it go on: to its end, in Go first to a verb.
func (b *browser) hold(s *site, body string, then ...string) (release func() answer) {
	b.t.Helper()
	name := rand.Text()
	if len(then) > 0 {
		name += "&then=" + then[0]
	}
	return b.park(s, name, body)
}

// holdAfter is hold behind a verb of Go's.
func (b *browser) holdAfter(s *site, verb, body string) (release func() answer) {
	b.t.Helper()
	return b.park(s, rand.Text()+"&first="+verb, body)
}

func (b *browser) park(s *site, name, body string) (release func() answer) {
	b.t.Helper()
	answers, errs := make(chan answer, 1), make(chan error, 2)
	go func() {
		a, err := b.send(s, "POST /hold?name="+name, body, nil)
		answers <- a
		errs <- err
	}()
	// Neither route has a session, so neither is at its path.
	gates := *s
	gates.path = "/"
	if _, err := b.send(&gates, "GET /held?name="+name, "", nil); err != nil {
		b.t.Fatalf("%s: it is not held: %v", s.name, err)
	}
	return func() answer {
		b.t.Helper()
		if _, err := b.send(&gates, "POST /release?name="+name, "", nil); err != nil {
			b.t.Fatalf("%s: it is not released: %v", s.name, err)
		}
		a := <-answers
		if err := <-errs; err != nil {
			b.t.Fatalf("%s: POST /hold: %v", s.name, err)
		}
		return a
	}
}

// values are those of the session's cookies that the browser sends to s.
func (b *browser) values(s *site) (values []string) {
	for _, c := range b.client.Jar.Cookies(b.url(s, "read")) {
		if c.Name == s.cookie {
			values = append(values, c.Value)
		}
	}
	return values
}

// sid is what the browser's cookie says, "" if there is none. Two are an error.
func (b *browser) sid(s *site) string {
	b.t.Helper()
	values := b.values(s)
	if len(values) == 0 {
		return ""
	}
	if len(values) > 1 {
		b.t.Fatalf("the browser has %d cookies for %s: %q", len(values), s.name, values)
	}
	return sidOf(b.t, values[0])
}

func sidOf(t *testing.T, value string) string {
	t.Helper()
	signed, err := url.PathUnescape(value)
	sid, ok := strings.CutPrefix(signed, "s:")
	dot := strings.LastIndexByte(sid, '.')
	if err != nil || !ok || dot < 0 {
		t.Fatalf("%q is no signed sid (%v)", value, err)
	}
	return sid[:dot]
}

// sent is the one Set-Cookie line of an answer without what differs from one
// session and moment to another, and its Expires.
func (a answer) sent(t *testing.T) (line string, expires time.Time) {
	t.Helper()
	if len(a.setCookie) != 1 {
		t.Fatalf("%s: Set-Cookie: %q, want one", a.By, a.setCookie)
	}
	attrs := strings.Split(a.setCookie[0], "; ")
	attrs[0], _, _ = strings.Cut(attrs[0], "=")
	for i, attr := range attrs {
		if date, ok := strings.CutPrefix(attr, "Expires="); ok {
			var err error
			if expires, err = time.Parse(http.TimeFormat, date); err != nil {
				t.Errorf("%s: %s: %v", a.By, attr, err)
			}
			attrs[i] = "Expires"
		}
	}
	return strings.Join(attrs, "; "), expires
}

// sends checks the line, and that it expires so long from now on.
func (a answer) sends(t *testing.T, line string, length time.Duration) {
	t.Helper()
	got, expires := a.sent(t)
	if got != line {
		t.Errorf("%s: Set-Cookie: %s, want %s", a.By, got, line)
	}
	// It is cut to seconds, and takes some time to get here.
	if left := time.Until(expires); !expires.IsZero() && (left > length || left < length-3*time.Second) {
		t.Errorf("%s: the cookie expires in %v, want %v", a.By, left, length)
	}
}

// A record is what is stored under a sid.
type record struct {
	raw    string
	Cookie struct {
		OriginalMaxAge *int64
		Expires        *time.Time
		Path, Domain   string
		SameSite       any
		Secure         any
	}
	object string                     // the cookie as it is stored
	fields map[string]json.RawMessage // all but the cookie
	left   time.Duration
}

// stored is nil if nothing is.
func (w *world) stored(t *testing.T, s *site, sid string) *record {
	t.Helper()
	raw, err := w.redis.Get(t.Context(), s.prefix+sid).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	r := &record{raw: raw}
	if err == nil {
		r.left, err = w.redis.PTTL(t.Context(), s.prefix+sid).Result()
	}
	if err == nil {
		err = json.Unmarshal([]byte(raw), &r.fields)
	}
	if err == nil {
		r.object = string(r.fields["cookie"])
		delete(r.fields, "cookie")
		none := strings.NewReplacer(`"originalMaxAge":false`, `"originalMaxAge":null`, `"expires":false`, `"expires":null`)
		err = json.Unmarshal([]byte(none.Replace(r.object)), &r.Cookie)
	}
	if err != nil {
		t.Fatalf("%s: %v in %s", sid, err, raw)
	}
	return r
}

// lives is stored for what must be, and last for so long from now on (R14).
func (w *world) lives(t *testing.T, s *site, sid string, length time.Duration) *record {
	t.Helper()
	r := w.stored(t, s, sid)
	if r == nil {
		t.Fatalf("nothing is stored under the sid %q", sid)
	}
	if r.left > length || r.left < length-time.Second-w.slack {
		t.Errorf("Redis keeps it for %v, want %v", r.left, length)
	}
	return r
}

// dead is what must not be stored.
func (w *world) dead(t *testing.T, s *site, sid string) {
	t.Helper()
	if r := w.stored(t, s, sid); r != nil {
		t.Errorf("the sid %q is stored: %s", sid, r.raw)
	}
}

// keys are all that there are, sorted.
func (w *world) keys(t *testing.T) []string {
	t.Helper()
	keys, err := w.redis.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}
