package kit

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// Via is a way in which a handler gets its requests.
type Via int

// The ways. All but the first have a connection, with TLS.
const (
	InProcess Via = iota // a ResponseRecorder: fast, and possible in a synctest bubble
	HTTP1
	HTTP2
	Proxied // a ReverseProxy that speaks HTTP/2, before a server that speaks plain HTTP/1.1
)

func (v Via) String() string { return [...]string{"Recorder", "HTTP 1.1", "HTTP 2", "ReverseProxy"}[v] }

// EachVia runs a test in each way.
func EachVia(t *testing.T, name string, f func(t *testing.T, v Via)) {
	for _, v := range []Via{HTTP1, HTTP2, Proxied, InProcess} {
		t.Run(name+", "+v.String(), func(t *testing.T) { f(t, v) })
	}
}

// EachConnection is [EachVia] where the promise is about a connection.
func EachConnection(t *testing.T, name string, f func(t *testing.T, v Via)) {
	for _, v := range []Via{HTTP1, HTTP2, Proxied} {
		t.Run(name+", "+v.String(), func(t *testing.T) { f(t, v) })
	}
}

// A Server serves one handler.
type Server struct {
	URL string
	Log *Log // of net/http: nothing that is tested here belongs in it

	t         testing.TB
	app       *App // nil if it serves none
	transport http.RoundTripper
	close     func()
}

// NewServer serves h until the test ends.
func NewServer(t testing.TB, via Via, h http.Handler) *Server {
	t.Helper()
	s := &Server{t: t, Log: &Log{}}
	switch via {
	case InProcess:
		s.URL, s.transport, s.close = "https://example.com", inProcess{h}, func() {}
	case HTTP1, HTTP2:
		s.listen(h, via == HTTP2, s.Log)
	case Proxied:
		backend := httptest.NewUnstartedServer(h)
		backend.Config.ErrorLog = log.New(s.Log, "", 0)
		backend.Start()
		t.Cleanup(backend.Close)
		target, err := url.Parse(backend.URL)
		Must(t, err)
		s.listen(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.SetXForwarded()
			},
			FlushInterval: -1,
			ErrorLog:      log.New(io.Discard, "", 0),
		}, true, &Log{}) // the proxy's own complaints are nobody's
		front := s.close
		s.close = func() { front(); backend.Close() }
	}
	return s
}

func (s *Server) listen(h http.Handler, http2 bool, complaints *Log) {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(complaints, "", 0)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	s.t.Cleanup(srv.Close)
	tr := srv.Client().Transport.(*http.Transport)
	tr.DisableCompression = true
	s.URL, s.transport, s.close = srv.URL, tr, srv.Close
}

// Close waits for the requests under way and stops serving.
func (s *Server) Close() { s.close() }

// WantQuiet closes the server and fails the test if it has complained, of a
// superfluous WriteHeader above all.
func (s *Server) WantQuiet() {
	s.t.Helper()
	s.Close()
	if lines := s.Log.Take(); len(lines) > 0 {
		s.t.Errorf("the server logged %q", lines)
	}
}

// inProcess answers by calling the handler. A panic of the handler is the client's.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequest(r.Method, r.URL.String(), r.Body).WithContext(r.Context())
	in.Header, in.ContentLength = r.Header.Clone(), r.ContentLength
	return Serve(p, in), nil
}

// Serve is one request without a network.
func Serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// With is a request for [Serve] with the session's cookie, unless token is "".
func With(token, path string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com"+path, nil)
	if token != "" {
		r.Header.Set("Cookie", CookieName+"="+token)
	}
	return r
}
