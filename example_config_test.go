package sessions_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

// Session timeouts and the cookie of a site whose users stay signed in for
// weeks, on all hosts of its domain.
func ExampleConfig() {
	m := manager(sessions.Config{
		IdleTimeout: 30 * time.Minute,
		Lifetime:    12 * time.Hour,
		Remember:    sessions.Remember{IdleTimeout: 14 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour},
		Transport:   sessions.Cookie{Domain: "example.com", SameSite: http.SameSiteStrictMode, Persist: true},
	})
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
	})).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	_, attributes, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	fmt.Println(attributes)
	// Output: Path=/; Domain=example.com; Max-Age=43200; HttpOnly; Secure; SameSite=Strict
}

// ErrorHandler answers in the site's own words.
func ExampleConfig_errorHandler() {
	m := manager(sessions.Config{
		MaxSize: 1000,
		Logger:  slog.New(slog.DiscardHandler),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			switch {
			case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, sessions.ErrNewerVersion):
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, "We are back in a minute.")
			case errors.Is(err, sessions.ErrGone), errors.Is(err, sessions.ErrConflict):
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, "You were signed out in another window.")
			default:
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprint(w, "Something went wrong.")
			}
		},
	})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Notice = strings.Repeat("x", 1000)
		fmt.Fprint(w, "saved") // nobody reads this: it was not
	})))
	fmt.Println(visit("/"))
	// Output: Something went wrong.
}

// Clients that are not browsers carry the token in a header.
func ExampleHeaderToken() {
	m := manager(sessions.Config{Transport: sessions.HeaderToken{}})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Views++
		fmt.Fprintln(w, "views:", s.Views)
	}))
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest("GET", "https://api.example.com/", nil))

	r := httptest.NewRequest("GET", "https://api.example.com/", nil)
	r.Header.Set("Authorization", first.Header().Get("Authorization"))
	second := httptest.NewRecorder()
	h.ServeHTTP(second, r)
	fmt.Print(first.Body.String(), second.Body.String())
	// Output:
	// views: 1
	// views: 2
}

// MsgPack takes fewer bytes and goes by the same tags.
func ExampleMsgPack() {
	v := Visitor{UserID: "alice", Views: 3}
	packed, _ := sessions.MsgPack{}.Marshal(&v)
	text, _ := sessions.JSON{}.Marshal(&v)
	fmt.Println(len(packed), len(text))
	fields, _ := sessions.MsgPack{}.Split(packed)
	for _, f := range fields {
		fmt.Println(f.Name, len(f.Value))
	}
	// Output:
	// 28 41
	// user_id 6
	// views 1
	// cart 1
}

// What nobody else would hear of goes to the Logger.
func ExampleConfig_logger() {
	m := manager(sessions.Config{
		Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == "session" {
					return slog.Attr{}
				}
				return a
			},
		})),
	})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello")                             // the header goes out here
		sessions.FromContext[Visitor](r.Context()).Views++ // too late for a first cookie
	})))
	visit("/")
	// Output: level=WARN msg="sessions: a session was changed too late to be saved: call Save before the response begins" op=commit err="sessions: response header already sent"
}
