package seams_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

var sessionHeaders = []string{"X-Session-Id", "X-Session-Proof"}

// headerKeeper keeps what twoHeaders sends, as a jar keeps cookies.
type headerKeeper struct {
	http.RoundTripper
	kept http.Header
}

func (k *headerKeeper) RoundTrip(r *http.Request) (*http.Response, error) {
	maps.Copy(r.Header, k.kept)
	res, err := k.RoundTripper.RoundTrip(r)
	if err == nil {
		for _, name := range sessionHeaders {
			if v := res.Header.Get(name); v != "" {
				k.kept.Set(name, v)
			}
		}
	}
	return res, err
}

// newBrowser is a browser that keeps headers too.
func newBrowser(a *kit.App) *kit.Browser { return keepHeaders(a.Browser(), http.Header{}) }

func keepHeaders(b *kit.Browser, kept http.Header) *kit.Browser {
	b.Client.Transport = &headerKeeper{b.Client.Transport, kept}
	return b
}

// clone is [kit.Browser.Clone] with the headers.
func clone(b *kit.Browser) *kit.Browser {
	k := b.Client.Transport.(*headerKeeper)
	c := b.Clone()
	c.Client.Transport = k.RoundTripper
	return keepHeaders(c, k.kept.Clone())
}

// sent is what the response tells the client of its token, if anything.
func sent(res kit.Response) string {
	return strings.Join(res.Header["Set-Cookie"], "\n") + res.Header.Get("X-Session-Id")
}

// views is what b's session holds: -1 if it has none.
func views(t testing.TB, b *kit.Browser) int {
	t.Helper()
	if s, i := b.Peek(); !i.New {
		return s.Views
	}
	return -1
}

// wantViews compares views; what is whose token b has.
func wantViews(t testing.TB, what string, b *kit.Browser, want int) {
	t.Helper()
	if got := views(t, b); got != want {
		t.Errorf("%s finds %d views, want %d", what, got, want)
	}
}

func set(n int) func(s *kit.Session) { return func(s *kit.Session) { s.Views = n } }

func wantStatus(t testing.TB, res kit.Response, want int) {
	t.Helper()
	if res.StatusCode != want {
		t.Errorf("status %d, want %d", res.StatusCode, want)
	}
}

// carried fails the test with what the seam should carry and does not.
func carried(t testing.TB, carried bool, format string, args ...any) {
	t.Helper()
	if !carried {
		t.Errorf("the seam does not carry it: "+format, args...)
	}
}
