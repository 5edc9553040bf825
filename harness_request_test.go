package sessions_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// mustNew is a Manager whose events and log nobody reads, unless cfg says so.
func mustNew(t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[Session] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request is a request without HTTP: load, f, commit.
func request(ctx context.Context, m *sessions.Manager[Session], token string, f func(context.Context) error) (sessions.Outcome, error) {
	ctx, err := m.Load(ctx, token)
	if err != nil {
		return sessions.Outcome{}, err
	}
	if err := f(ctx); err != nil {
		o, _ := m.Commit(ctx)
		return o, err
	}
	return m.Commit(ctx)
}

// mustRequest is request, with the token that the client has afterwards.
func mustRequest(t testing.TB, m *sessions.Manager[Session], token string, f func(context.Context) error) string {
	t.Helper()
	o, err := request(t.Context(), m, token, f)
	if err != nil {
		t.Fatal(err)
	}
	switch o.Kind {
	case sessions.OutcomeCreated, sessions.OutcomeRenewed:
		return o.Token.Reveal()
	}
	return token
}

// put makes UserID v.
func put(m *sessions.Manager[Session], v string) func(context.Context) error {
	return func(ctx context.Context) error {
		m.FromContext(ctx).UserID = v
		return nil
	}
}

// alive reports whether the token finds a session, without touching anything
// but its idle timeout.
func alive(t testing.TB, m *sessions.Manager[Session], token string) bool {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return !m.Info(ctx).New
}

// someToken has the shape of a token and stands for nothing.
const someToken = "sAAAAAAAAAAAAAAAAAAAAAAAAAA"

// with is a request that carries a session cookie, if token is not empty.
func with(token, path string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com"+path, nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
	}
	return r
}

// serve is one request without a network.
func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within fails the test if f has not returned after a time that only a
// deadlock takes.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("deadlock:\n%s", buf[:runtime.Stack(buf, true)])
	}
}
