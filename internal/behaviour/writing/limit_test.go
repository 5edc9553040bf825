package writing_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A handler that limits the body by http.MaxBytesReader has the connection closed behind a client that sends more, with
// Handler as without it.
func TestMaxBytes(t *testing.T) {
	t.Parallel()
	const limit = 1000
	var form bytes.Buffer
	multi := multipart.NewWriter(&form)
	kit.Must(t, multi.WriteField("a", strings.Repeat("x", 3000)))
	kit.Must(t, multi.Close())
	plain := strings.Repeat("x", 3000)
	bodies := map[string]struct{ contentType, body string }{
		"too long":             {"text/plain", plain},
		"too long by a byte":   {"text/plain", plain[:limit+1]},
		"as long as the limit": {"text/plain", plain[:limit]},
		"short":                {"text/plain", plain[:100]},
		"a long form":          {"application/x-www-form-urlencoded", "a=" + plain},
		"a short form":         {"application/x-www-form-urlencoded", "a=b"},
		"a long upload":        {multi.FormDataContentType(), form.String()},
		"a long document":      {"application/json", `["` + plain + `"]`},
		"a short document":     {"application/json", `["a"]`},
	}
	limited := func(w http.ResponseWriter, r *http.Request) { r.Body = http.MaxBytesReader(w, r.Body, limit) }
	read := func(r *http.Request) error { _, err := io.ReadAll(r.Body); return err }
	answer := func(w http.ResponseWriter, err error) {
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		} else if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(w, "done")
	}
	handlers := map[string]http.Handler{
		"io.ReadAll": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			answer(w, read(r))
		}),
		"io.Copy and 400": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, "too long", 400)
			}
		}),
		"ParseForm": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			answer(w, r.ParseForm())
		}),
		"ParseMultipartForm": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			answer(w, r.ParseMultipartForm(1<<20))
		}),
		"json.Decoder": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			var v any
			answer(w, json.NewDecoder(r.Body).Decode(&v))
		}),
		"MaxBytesHandler": http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, read(r)) }), limit),
		"a clone": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(r.Context())
			limited(w, r)
			answer(w, read(r))
		}),
		"no answer": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited(w, r)
			_ = read(r)
		}),
	}
	// ask sends a request and returns the response, and whether the server closes the connection then.
	ask := func(t *testing.T, srv *httptest.Server, head, body string) (res *http.Response, closed bool) {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		kit.Must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, head+body)
		kit.Must(t, err)
		in := bufio.NewReader(conn)
		res, err = http.ReadResponse(in, nil)
		kit.Must(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		kit.Must(t, err)
		_, _ = io.WriteString(conn, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
		next, err := http.ReadResponse(in, nil)
		if err == nil {
			next.Body.Close()
		}
		return res, err != nil
	}
	for name, h := range handlers {
		t.Run("W16 with "+name+" under http.MaxBytesReader the connection is kept or closed as without Handler", func(t *testing.T) {
			t.Parallel()
			h := next(h)
			inner := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
			outer := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Realm: "outer", Transport: sessions.HeaderToken{}})
			var servers []*httptest.Server
			for _, h := range []http.Handler{h, inner.Handler(h), outer.Handler(inner.Handler(h))} {
				srv := httptest.NewServer(h)
				t.Cleanup(srv.Close)
				servers = append(servers, srv)
			}
			for desc, b := range bodies {
				for _, chunked := range []bool{false, true} {
					head := "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: " + b.contentType + "\r\n"
					body := b.body
					if chunked {
						head += "Transfer-Encoding: chunked\r\n\r\n"
						body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
					} else {
						head += fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
					}
					res, closed := ask(t, servers[0], head, body)
					for i, srv := range servers[1:] {
						got, gotClosed := ask(t, srv, head, body)
						if name == "json.Decoder" && res.StatusCode == 400 && gotClosed {
							continue // it has stopped by itself, at a read that got all that it had asked for
						}
						if got.StatusCode != res.StatusCode || got.Close != res.Close || gotClosed != closed {
							t.Errorf("%s, chunked is %t, %d managers: %d, Close %t, closed is %t; want %d, %t, %t",
								desc, chunked, i+1, got.StatusCode, got.Close, gotClosed, res.StatusCode, res.Close, closed)
						}
					}
				}
			}
		})
	}
}

// ParseForm reads 10 MB of a body at most, unless it knows by the body's type that it is limited.
func TestMaxBytesOutside(t *testing.T) {
	t.Parallel()
	t.Run("W16 a limit that is set outside Handler is the limit of ParseForm inside", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		a.Root = http.MaxBytesHandler(a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kit.OK(t, r.ParseForm())
			fmt.Fprint(w, len(r.PostForm.Get("a")))
		})), 12<<20)
		b := a.Browser()
		r := b.Request("POST", "/")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader("a=" + strings.Repeat("x", 11<<20)))
		if res := b.Do(r); res.Text != fmt.Sprint(11<<20) {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
	})
}

// A bufferedBody is what middleware puts in the place of a body that it has read.
type bufferedBody struct{ *strings.Reader }

func (bufferedBody) Close() error { return nil }

func TestBodyOfAMiddleware(t *testing.T) {
	t.Parallel()
	kit.EachVia(t, "W16 a body that middleware outside has put there has the same type inside", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		inner := a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, ok := r.Body.(bufferedBody)
			fmt.Fprint(w, ok)
		}))
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = bufferedBody{strings.NewReader("body")}
			inner.ServeHTTP(w, r)
		})
		if res := a.Browser().Get("/"); res.Text != "true" {
			t.Errorf("%q", res.Text)
		}
	})
}

// next is h, and an answer to GET /next.
func next(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/next" {
			h.ServeHTTP(w, r)
		}
	})
}
