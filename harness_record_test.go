package sessions_test

// What suites that are still here need of suites that have moved.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

const (
	oddToken = "sODDODDODDODDODDODDODDODDODD"
	oddID    = "0dd0dd0d-0dd0-4dd0-8dd0-0dd0dd0dd0dd"
)

// keyOf is the key of a token, as the documentation of the stored format has it.
func keyOf(token string) string {
	sum := sha256.Sum256([]byte("session\x00" + token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// recordOf is a record that was written a minute ago, around any payload.
func recordOf(codec, payload string) string {
	return fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d}`, oddID, codec, time.Now().Add(-time.Minute).UnixMilli()) + "\n" + payload
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// gobCodec is a foreign Codec of bytes that are nobody's object: no fields, and
// maps in any order.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	r := bytes.NewReader(data)
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return errors.New("not gob")
	}
	if r.Len() > 0 {
		return errors.New("trailing bytes")
	}
	return nil
}

// plainCodec is a foreign Codec of JSON objects, for the document layout.
type plainCodec struct{}

func (plainCodec) Name() string                       { return "plain" }
func (plainCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (plainCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// A step is what one request's handler does.
type step func(w http.ResponseWriter, r *http.Request, s *Session)

type stepKey struct{}

// site is a Manager in front of a handler that does what the request says.
type site struct {
	t      *testing.T
	m      *sessions.Manager[Session]
	store  sessions.Store
	events *recorder
	h      http.Handler
}

func newSite(t *testing.T, store sessions.Store, cfg sessions.Config) *site {
	t.Helper()
	s := &site{t: t, store: store, events: new(recorder)}
	cfg.OnEvent, cfg.Logger = s.events.on, slog.New(slog.DiscardHandler)
	var err error
	if s.m, err = sessions.New[Session](store, cfg); err != nil {
		t.Fatal(err)
	}
	s.h = s.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(stepKey{}).(step)(w, r, sessions.FromContext[Session](r.Context()))
	}))
	return s
}

// client keeps cookies as a browser does, and the two headers.
type client struct {
	*site
	jar     *cookiejar.Jar
	headers http.Header
}

func (s *site) client() *client {
	jar, _ := cookiejar.New(nil)
	return &client{s, jar, http.Header{}}
}

var appURL = &url.URL{Scheme: "https", Host: "example.com", Path: "/app/"}

var sessionHeaders = []string{"X-Session-Id", "X-Session-Proof"}

func (c *client) do(f step) *http.Response {
	r := httptest.NewRequest("GET", appURL.String(), nil)
	r = r.WithContext(context.WithValue(r.Context(), stepKey{}, f))
	for _, k := range c.jar.Cookies(appURL) {
		r.AddCookie(k)
	}
	for _, name := range sessionHeaders {
		if v := c.headers.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	res := w.Result()
	c.jar.SetCookies(appURL, res.Cookies())
	for _, name := range sessionHeaders {
		if v := res.Header.Get(name); v != "" {
			c.headers.Set(name, v)
		}
	}
	return res
}
