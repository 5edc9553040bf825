package transport_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestStrip(t *testing.T) {
	t.Parallel()
	const name = kit.CookieName
	for _, tc := range []struct {
		desc        string
		cookie      sessions.Cookie
		lines, want []string
	}{
		{"no cookie", sessions.Cookie{}, nil, nil},
		{"the cookie alone", sessions.Cookie{}, []string{name + "=x"}, nil},
		{"the first", sessions.Cookie{}, []string{name + "=x; a=1; b=2"}, []string{"a=1; b=2"}},
		{"the one in the middle", sessions.Cookie{}, []string{"a=1; " + name + "=x; b=2"}, []string{"a=1; b=2"}},
		{"the last", sessions.Cookie{}, []string{"a=1; b=2; " + name + "=x"}, []string{"a=1; b=2"}},
		{"several", sessions.Cookie{}, []string{name + "=x; a=1; " + name + "=y", name + "=z"}, []string{"a=1"}},
		{"with blanks that the Manager takes off", sessions.Cookie{}, []string{"a=1;\t" + name + " = x ;b=2"}, []string{"a=1;b=2"}},
		{"what no parser takes stays", sessions.Cookie{}, []string{`a="1 2,3\";;  b ; é=ü; ` + name + `=x;=;c`}, []string{`a="1 2,3\";;  b ; é=ü;=;c`}},
		{"other lines stay apart", sessions.Cookie{}, []string{"a=1 ;  b=2", name + "=x", ";c"}, []string{"a=1 ;  b=2", ";c"}},
		{"names that only begin or end so, and another case", sessions.Cookie{}, []string{name + "2=x; x" + name + "=1; __host-http-session=2; " + name}, []string{name + "2=x; x" + name + "=1; __host-http-session=2; " + name}},
		{"by its name", sessions.Cookie{Name: "sid"}, []string{"sid=x; " + name + "=y"}, []string{name + "=y"}},
		{"by the name of one that is Insecure", sessions.Cookie{Insecure: true}, []string{"session=x; a=1"}, []string{"a=1"}},
	} {
		t.Run("T16 "+tc.desc, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Cookie": tc.lines}}
			before := slices.Clone(tc.lines)
			tc.cookie.Strip(r)
			if got := r.Header["Cookie"]; !slices.Equal(got, tc.want) {
				t.Errorf("sends %q, want %q", got, tc.want)
			}
			if _, ok := r.Header["Cookie"]; ok && tc.want == nil && tc.lines != nil {
				t.Error("the header is still there")
			}
			if !slices.Equal(tc.lines, before) {
				t.Errorf("it has changed lines that others may share: %q", tc.lines)
			}
		})
	}

	t.Run("T16 behind a ReverseProxy the other server gets the other cookies alone, and the session is there and saved", func(t *testing.T) {
		var got []string
		backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header["Cookie"] }))
		defer backend.Close()
		target, err := url.Parse(backend.URL)
		kit.Must(t, err)
		cookie := sessions.Cookie{}
		proxy := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			cookie.Strip(pr.Out)
		}}
		a := newApp(t, sessions.Config{Transport: cookie})
		token := a.Seed(1)
		r := kit.With("", "/")
		r.Header["Cookie"] = []string{`a="1, 2"; ` + pairs(token) + "; b=ü"}
		send(a, r, func(w http.ResponseWriter, r *http.Request) {
			change(w, r)
			proxy.ServeHTTP(w, r)
		})
		if want := []string{`a="1, 2"; b=ü`}; !slices.Equal(got, want) {
			t.Errorf("the other server got %q, want %q", got, want)
		}
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views are stored, want 2", got)
		}
	})
}
