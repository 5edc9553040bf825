package load_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// Session is what the site knows of a browser.
type Session struct {
	User  string `json:"user"`
	Seat  string `json:"seat"`  // the browser that has signed in: no other one may see this session
	Count int    `json:"count"` // changed by Update
	A     int    `json:"a"`     // changed as a plain field, by the first tab
	B     int    `json:"b"`     // and by the second one
	Note  string `json:"note"`  // must not get into a log
}

// SessionOwner makes it Owned.
func (s *Session) SessionOwner() string { return s.User }

// A page is what the site answers with.
type page struct {
	Session Session
	ID      string
	List    []string // of the user's sessions, their IDs
}

const (
	perUser     = 3               // Config.MaxPerOwner
	longLife    = 5 * time.Minute // Config.Lifetime, but for the scenario that is about it
	secretWord  = "secret-note-"  // begins each Note
	cookieName  = "session"
	labelHeader = "X-Seat"
	errorHeader = "X-Error"
)

// A site is one process of the application.
type site struct {
	m      *sessions.Manager[Session]
	url    string
	rt     http.RoundTripper
	logger *slog.Logger
}

// newSite serves it until the end of t, by HTTP/2 or HTTP/1.1. edit may change the Config, and wrap, if it is not nil, the routes.
func newSite(t testing.TB, store sessions.Store, codec sessions.Codec, journal io.Writer, http2 bool,
	edit func(*sessions.Config), wrap func(*site, http.Handler) http.Handler,
) *site {
	t.Helper()
	cfg := sessions.Config{
		Codec:        codec,
		ErrorHandler: fail,
		Lifetime:     longLife,
		Transport:    sessions.Cookie{Insecure: true},
		MaxPerOwner:  perUser,
		Label:        func(r *http.Request) string { return r.Header.Get(labelHeader) },
		Logger:       slog.New(slog.NewTextHandler(journal, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	edit(&cfg)
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{m: m, logger: cfg.Logger}
	routes := s.routes()
	if wrap != nil {
		routes = wrap(s, routes)
	}
	server := httptest.NewUnstartedServer(m.Handler(routes))
	server.Config.ErrorLog = log.New(journal, "", 0)
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 100
	s.url, s.rt = server.URL, transport
	return s
}

func (s *site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/public", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "welcome") })
	mux.HandleFunc("/signin", func(w http.ResponseWriter, r *http.Request) {
		live := s.m.FromContext(r.Context())
		live.User, live.Seat, live.Note = r.FormValue("user"), r.FormValue("seat"), secretWord+r.FormValue("seat")
		s.finish(w, r, s.m.SignIn(r.Context()))
	})
	mux.HandleFunc("/signout", func(w http.ResponseWriter, r *http.Request) {
		if err := s.m.Destroy(r.Context()); err != nil {
			fail(w, r, err)
		}
	})
	for path, act := range map[string]func(r *http.Request) error{
		"/": func(*http.Request) error { return nil },
		"/count": func(r *http.Request) error {
			return s.m.Update(r.Context(), func(live *Session) error { live.Count++; return nil })
		},
		"/a":     func(r *http.Request) error { return set(r, &s.m.FromContext(r.Context()).A) },
		"/b":     func(r *http.Request) error { return set(r, &s.m.FromContext(r.Context()).B) },
		"/renew": func(r *http.Request) error { return s.m.Renew(r.Context()) },
		"/revoke": func(r *http.Request) error {
			return s.m.Revoke(r.Context(), s.m.FromContext(r.Context()).User, r.FormValue("id"))
		},
		"/revoke-others": func(r *http.Request) error {
			_, err := s.m.RevokeOthers(r.Context())
			return err
		},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if s.m.Info(r.Context()).New {
				http.Error(w, "nobody is signed in", http.StatusUnauthorized)
				return
			}
			s.finish(w, r, act(r))
		})
	}
	mux.HandleFunc("/devices", func(w http.ResponseWriter, r *http.Request) {
		if s.m.Info(r.Context()).New {
			http.Error(w, "nobody is signed in", http.StatusUnauthorized)
			return
		}
		list, err := s.m.Sessions(r.Context())
		if err != nil && !errors.Is(err, sessions.ErrIncomplete) {
			fail(w, r, err)
			return
		}
		p := s.page(r)
		for _, i := range list {
			p.List = append(p.List, i.ID)
		}
		json.NewEncoder(w).Encode(p)
	})
	return mux
}

// fail answers, and says of an error that the library does not know what it is.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if sessions.HTTPStatus(err) == http.StatusInternalServerError {
		w.Header().Set(errorHeader, err.Error())
	}
	sessions.DefaultErrorHandler(w, r, err)
}

func set(r *http.Request, field *int) error {
	_, err := fmt.Sscan(r.FormValue("v"), field)
	return err
}

func (s *site) page(r *http.Request) page {
	return page{Session: *s.m.FromContext(r.Context()), ID: s.m.Info(r.Context()).ID}
}

func (s *site) finish(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		fail(w, r, err)
		return
	}
	json.NewEncoder(w).Encode(s.page(r))
}

// A journal is all that a site logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) text() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.buf.Bytes())
}
