package caching_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// outerWriter is the key of the writer that a framework's context has.
type outerWriter struct{}

// A framework's context has a writer of its own; handlers that use it write past Handler.
func TestPastHandler(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		desc   string
		stored bool
		said   func(h http.Header)
		want   []string
	}{
		{"a session was loaded", true, func(http.Header) {}, []string{"private"}},
		{"a session was loaded, and the handler says otherwise", true, func(h http.Header) { h.Set("Cache-Control", "max-age=60") }, []string{"max-age=60"}},
		{"nothing was loaded", false, func(http.Header) {}, nil},
	} {
		kit.EachVia(t, "T9 a page that is written past Handler's writer is private where a session was loaded: "+tc.desc, func(t *testing.T, via kit.Via) {
			a, token := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), ""
			if tc.stored {
				token = a.Seed(1)
			}
			inner := a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				w := r.Context().Value(outerWriter{}).(http.ResponseWriter)
				tc.said(w.Header())
				fmt.Fprint(w, "for ", a.FromContext(r.Context()).UserID)
			}))
			a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), outerWriter{}, w)))
			})
			if got := a.Browser().As(token).Get("/").Header["Cache-Control"]; !slices.Equal(got, tc.want) {
				t.Errorf("Cache-Control %q, want %q", got, tc.want)
			}
		})
	}

	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/said" {
			w.Header()["Cache-Control"] = []string{"public", "max-age=60"}
		}
		io.WriteString(w, "page")
	}))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	kit.Must(t, err)
	kit.EachVia(t, "T9 a handler that asks Handler's writer for the header finds nothing in it", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		other := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Realm: "other", Transport: sessions.Cookie{Name: "__Host-Http-other"}})
		a.Root = a.Manager.Handler(other.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if len(w.Header()) > 0 {
				t.Errorf("%v", w.Header())
			}
			w.Header().Set("Cache-Control", "private")
			w.Header().Add("Cache-Control", "max-age=60")
		})))
		if got := a.Browser().As(a.Seed(1)).Get("/").Header["Cache-Control"]; !slices.Equal(got, []string{"private", "max-age=60"}) {
			t.Errorf("Cache-Control %q", got)
		}
	})
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	kit.EachVia(t, "T9 what a ReverseProxy inside adds for caches stands alone", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		a.Root = a.Manager.Handler(proxy)
		for path, want := range map[string][]string{"/said": {"public", "max-age=60"}, "/": {"private"}} {
			if got := a.Browser().As(token).Get(path).Header["Cache-Control"]; !slices.Equal(got, want) {
				t.Errorf("%s: Cache-Control %q, want %q", path, got, want)
			}
		}
	})
}
