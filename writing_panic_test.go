package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestPanicOfAHandler(t *testing.T) {
	// recovering answers for a panic and hands its value out.
	recovering := func(next http.Handler, caught chan<- any) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				p := recover()
				caught <- p
				if p != nil {
					http.Error(w, "recovered", 500)
				}
			}()
			next.ServeHTTP(w, r)
		})
	}
	boom := errors.New("boom")
	for _, value := range []any{boom, "a string", http.ErrAbortHandler} {
		eachFront(t, false, fmt.Sprintf("W8 a panic of %v goes on and saves nothing", value), func(t *testing.T, k frontKind) {
			b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
			f := k.open(t, recovering(b.bump(func(http.ResponseWriter, *http.Request) { panic(value) }), caught))
			res := f.get("/", "")
			if got := <-caught; got != value {
				t.Errorf("the panic went on as %v, want %v", got, value)
			}
			if res.StatusCode != 500 || res.body != "recovered\n" || len(res.setCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
			}
			b.wantOps(t)
			f.quiet()
		})
	}
	for _, tc := range []struct {
		desc string
		verb func(b *bench, ctx context.Context) error
		want int // views behind the cookie that the response sends
	}{
		{"Save", func(b *bench, ctx context.Context) error { return b.Save(ctx) }, 0},
		{"Renew", func(b *bench, ctx context.Context) error { return b.Renew(ctx) }, 2},
		{"SignIn", func(b *bench, ctx context.Context) error { return b.SignIn(ctx) }, 2},
		{"Destroy", func(b *bench, ctx context.Context) error { return b.Destroy(ctx) }, 0},
		{"Destroy and SignIn", func(b *bench, ctx context.Context) error { return errors.Join(b.Destroy(ctx), b.SignIn(ctx)) }, 0},
	} {
		for _, value := range []any{boom, http.ErrAbortHandler} {
			eachFront(t, false, fmt.Sprintf("W8 the cookie of %s survives a panic of %v, what came after it is not saved", tc.desc, value), func(t *testing.T, k frontKind) {
				b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
				old := b.seeded(1)
				f := k.open(t, recovering(b.bump(func(_ http.ResponseWriter, r *http.Request) {
					if err := tc.verb(b, r.Context()); err != nil {
						t.Error(err)
					}
					b.FromContext(r.Context()).Views = 99
					panic(value)
				}), caught))
				res := f.get("/", old)
				if got := <-caught; got != value || res.StatusCode != 500 {
					t.Errorf("%v, %d", got, res.StatusCode)
				}
				switch token := tokenOf(res.Header); {
				case tc.desc == "Save":
					if len(res.setCookies()) > 0 || b.views(old) != 2 {
						t.Errorf("cookies %q, %d views", res.setCookies(), b.views(old))
					}
				case tc.desc == "Destroy":
					if !slices.Equal(res.setCookies(), []string{cookieEnded}) || b.views(old) != 0 {
						t.Errorf("cookies %q, %d views", res.setCookies(), b.views(old))
					}
				default:
					if len(res.setCookies()) != 1 || token == "" || b.views(token) != tc.want || b.views(old) != 0 {
						t.Errorf("cookies %q, %d views, %d by the old token", res.setCookies(), b.views(token), b.views(old))
					}
				}
				f.quiet()
			})
		}
	}
	eachFront(t, true, "W8 without a recovery a panic ends the connection, and a change made before it is not saved", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		if res, err := f.send(f.request("GET", "/", "")); err == nil && res.StatusCode != 502 { // the proxy's
			t.Errorf("got %d, want an error", res.StatusCode)
		}
		f.quiet()
		b.wantOps(t)
	})
	eachFront(t, false, "W8 a panic after the first byte saves nothing more", func(t *testing.T, k frontKind) {
		b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
		token := b.seeded(1)
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { caught <- recover() }()
			b.bump(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "first byte")
				b.FromContext(r.Context()).Views = 99
				panic(boom)
			}).ServeHTTP(w, r)
		}))
		f.get("/", token)
		if got := <-caught; got != boom || b.views(token) != 2 {
			t.Errorf("%v, %d views, want 2", got, b.views(token))
		}
		f.quiet()
	})
	t.Run("W8 a recovery inside leaves a handler like any other", func(t *testing.T) {
		b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
		f := openFront(t, b.Handler(recovering(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b.FromContext(r.Context()).Flash = "sorry"
			panic(boom)
		}), caught)), true)
		if res := f.get("/", ""); res.StatusCode != 500 || len(res.setCookies()) != 1 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("W8 a sign-in whose response may not have arrived is told", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		ctx, hangUp := context.WithCancel(t.Context())
		r := httptest.NewRequest("GET", "https://example.com/", nil).WithContext(ctx)
		b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			hangUp()
			if err := b.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		b.wantEvents(t, sessions.EventCreated, sessions.EventSignedIn, sessions.EventUndelivered)
	})
}
