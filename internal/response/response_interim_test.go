package response_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"testing"

	"github.com/typedsessions/sessions/internal/response"
)

func TestInterim(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("W3 103, a change, 200; HTTP/2 is %t", http2), func(t *testing.T) {
			c := &committer{}
			views := 0
			c.commit = func() error { c.rw.Header().Add("Set-Cookie", fmt.Sprint("views=", views)); return nil }
			srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a.css>")
				w.WriteHeader(103) // nothing to take out
				c.rw.Header().Set("Set-Cookie", cookie)
				w.WriteHeader(103)
				if c.commits.Load() != 0 || c.w.Started() {
					t.Error("103 has committed")
				}
				views = 7
				w.WriteHeader(200)
			}), http2)
			var interim []http.Header
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code != 103 {
						t.Errorf("got %d, want 103", code)
					}
					interim = append(interim, http.Header(h))
					return nil
				},
			})
			req, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got := read(res)
			link := http.Header{"Link": {"</a.css>"}}
			if len(interim) != 2 || !maps.EqualFunc(interim[0], link, slices.Equal) || !maps.EqualFunc(interim[1], link, slices.Equal) {
				t.Errorf("103 came with %v", interim)
			}
			if want := []string{cookie, "views=7"}; got.status != 200 || !slices.Equal(got.header["Set-Cookie"], want) {
				t.Errorf("got %d with %q, want %q", got.status, got.header["Set-Cookie"], want)
			}
		})
	}

	t.Run("W3 101 is a final status", func(t *testing.T) {
		c := &committer{}
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(101)
			if c.commits.Load() != 1 || !c.w.Started() {
				t.Error("101 has not committed")
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}), false)
		res := dial(t, srv)
		if res.StatusCode != 101 || res.Header.Get("Set-Cookie") != cookie {
			t.Errorf("got %d with %v", res.StatusCode, res.Header)
		}
	})

	t.Run("W3 a panic in a 1xx puts back what was taken out", func(t *testing.T) {
		rec := httptest.NewRecorder()
		c := &committer{rw: rec}
		c.w = new(response.Writer).Init(panicky{rec}, c)
		rec.Header().Set("Set-Cookie", cookie)
		if got := recovered(func() { c.w.WriteHeader(103) }); got != "WriteHeader" {
			t.Errorf("recovered %v", got)
		}
		if got := rec.Header().Get("Set-Cookie"); got != cookie {
			t.Errorf("got cookie %q", got)
		}
	})

	t.Run("W3 after the header, and after a failure, 1xx changes nothing", func(t *testing.T) {
		for _, err := range []error{nil, errSave} {
			rec := httptest.NewRecorder()
			c := &committer{err: err}
			wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
				w.WriteHeader(103)
			})(rec, nil)
			if rec.Code == 103 || c.commits.Load() != 1 || c.interims.Load() != 0 {
				t.Errorf("got %d after %d commits, %d interims", rec.Code, c.commits.Load(), c.interims.Load())
			}
		}
	})
}

type panicky struct{ http.ResponseWriter }

func (panicky) WriteHeader(int) { panic("WriteHeader") }

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}
