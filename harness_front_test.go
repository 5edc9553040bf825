package sessions_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// A front is one of the ways in which a handler meets its clients.
type front struct {
	t      testing.TB
	url    string
	client *http.Client // nil for a Recorder
	h      http.Handler
	log    *logBook // of the servers: nothing that is tested here belongs in it
	close  func()   // and wait for what is under way
}

type frontKind struct {
	name string
	real bool // with a connection
	open func(t testing.TB, h http.Handler) *front
}

var frontKinds = []frontKind{
	{"HTTP 1.1", true, func(t testing.TB, h http.Handler) *front { return openFront(t, h, false) }},
	{"HTTP 2", true, func(t testing.TB, h http.Handler) *front { return openFront(t, h, true) }},
	{"ReverseProxy", true, openProxied},
	{"Recorder", false, func(t testing.TB, h http.Handler) *front {
		return &front{t: t, h: h, url: "https://example.com", log: &logBook{}, close: func() {}}
	}},
}

func openFront(t testing.TB, h http.Handler, http2 bool) *front {
	f := &front{t: t, log: &logBook{}}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(f.log, "", 0)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f.url, f.close = srv.URL, srv.Close
	f.client = srv.Client()
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.client.Transport.(*http.Transport).DisableCompression = true
	return f
}

// openProxied has a proxy that speaks TLS before a server that does not.
func openProxied(t testing.TB, h http.Handler) *front {
	book := &logBook{}
	backend := httptest.NewUnstartedServer(h)
	backend.Config.ErrorLog = log.New(book, "", 0)
	backend.Start()
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := openFront(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}, true)
	front := f.close
	f.log, f.close = book, func() { front(); backend.Close() }
	return f
}

// eachFront runs a test on each way; on those with a connection only, where the
// promise is about one.
func eachFront(t *testing.T, realOnly bool, name string, f func(t *testing.T, k frontKind)) {
	for _, k := range frontKinds {
		if k.real || !realOnly {
			t.Run(name+", "+k.name, func(t *testing.T) { f(t, k) })
		}
	}
}

func (f *front) request(method, path, token string) *http.Request {
	r, err := http.NewRequest(method, f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Cookie", cookieName+"="+token)
	}
	return r
}

// send gives the response as soon as its header is there.
func (f *front) send(r *http.Request) (*http.Response, error) {
	if f.client != nil {
		return f.client.Do(r)
	}
	in := httptest.NewRequest(r.Method, r.URL.String(), r.Body)
	in.Header = r.Header
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, in.WithContext(r.Context()))
	return w.Result(), nil
}

func (f *front) do(r *http.Request) answer {
	f.t.Helper()
	res, err := f.send(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{res, string(body)}
}

func (f *front) get(path, token string) answer {
	f.t.Helper()
	return f.do(f.request("GET", path, token))
}

// quiet says that no server complained, of a superfluous WriteHeader above all.
func (f *front) quiet() {
	f.t.Helper()
	f.close()
	if lines := f.log.take(); len(lines) > 0 {
		f.t.Errorf("the server logged %q", lines)
	}
}
