package response_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDoors(t *testing.T) {
	page := strings.Repeat("page\n", 1000)
	name := testFile(t)
	cases := []struct {
		desc   string
		door   http.HandlerFunc
		status int
		body   string
	}{
		{"W1 Write", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }, 200, "hello"},
		{"W1 Write of nothing", func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) }, 200, ""},
		{"W1 Write twice", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a"); fmt.Fprint(w, "b") }, 200, "ab"},
		{"W1 WriteHeader", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, 201, ""},
		{"W1 WriteHeader and Write", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); fmt.Fprint(w, "a") }, 202, "a"},
		{"W1 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		{"W1 304", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, ""},
		{"W1 redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "", http.StatusMultipleChoices) }, 300, "<a href=\"/\">Multiple Choices</a>.\n\n"},
		{"W1 http.Error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, 403, "no\n"},
		{"W1 ServeFile", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }, 200, page},
		{"W1 nothing", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"W5 io.Copy", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, onlyReader{strings.NewReader(page)}) }, 200, page},
		{"W5 io.Copy of little", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, onlyReader{strings.NewReader("a")}) }, 200, "a"},
		{"W5 io.Copy of a file", func(w http.ResponseWriter, _ *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				panic(err)
			}
			defer f.Close()
			io.Copy(w, f)
		}, 200, page},
		{"W5 io.WriteString", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 200, "hello"},
		{"W2 Flush", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, ""},
		{"W2 Flush and Write", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); fmt.Fprint(w, "a") }, 200, "a"},
		{"W2 ResponseController.Flush", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, 200, ""},
	}
	for _, tr := range transports {
		t.Run("W9 "+tr.name, func(t *testing.T) {
			for _, tc := range cases {
				t.Run(tc.desc, func(t *testing.T) {
					c := &committer{}
					got := tr.do(t, wrap(c, tc.door), "GET")
					if got.status != tc.status || got.body != tc.body || got.err != nil {
						t.Errorf("got %d %q %v, want %d %q", got.status, got.body, got.err, tc.status, tc.body)
					}
					if sent := got.header["Set-Cookie"]; !slices.Equal(sent, []string{cookie}) {
						t.Errorf("cookies sent: %q", sent)
					}
					if n := c.commits.Load(); n != 1 {
						t.Errorf("%d commits, want 1", n)
					}
					if n := c.status.Load(); int(n) != tc.status {
						t.Errorf("status %d in Commit", n)
					}
					if c.w.Err() != nil || c.fails.Load() != 0 {
						t.Errorf("failed: %v", c.w.Err())
					}
				})
			}
		})
	}
}

func TestSuperfluous(t *testing.T) {
	t.Run("W7 a second WriteHeader is net/http's to complain of", func(t *testing.T) {
		srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.WriteHeader(201)
		}), false)
		var lines syncBuffer
		srv.Config.ErrorLog.SetOutput(&lines)
		if got := request(t, srv, "GET"); got.status != 200 {
			t.Errorf("got %+v", got)
		}
		if got := lines.String(); !strings.Contains(got, "superfluous response.WriteHeader") {
			t.Errorf("logged %q", got)
		}
	})
}
