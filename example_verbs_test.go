package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

// Sign-in gives the session a new token, remembered if the user asks for it.
func ExampleManager_SignIn() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.UserID = "alice" // her password was right
		var options []sessions.SignInOption
		if r.FormValue("remember") != "" {
			options = append(options, sessions.Remembered)
		}
		if err := m.SignIn(r.Context(), options...); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "welcome")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s, info := sessions.FromContext[Visitor](r.Context()), m.Info(r.Context())
		fmt.Fprintf(w, "user %q, remembered %t, signed in %t", s.UserID, info.Remembered, !info.AuthenticatedAt.IsZero())
	})
	visit := visitor(m.Handler(mux))
	fmt.Println(visit("/"))
	fmt.Println(visit("/login?remember=yes"))
	fmt.Println(visit("/"))
	// Output:
	// user "", remembered false, signed in false
	// welcome
	// user "alice", remembered true, signed in true
}

// Signing out deletes the session at once, and the response its cookie.
func ExampleManager_Destroy() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context())
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "you are still signed in, please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "bye")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %q", sessions.FromContext[Visitor](r.Context()).UserID)
	})
	visit := visitor(m.Handler(mux))
	visit("/login")
	fmt.Println(visit("/"))
	fmt.Println(visit("/logout"))
	fmt.Println(visit("/"))
	// Output:
	// user "alice"
	// bye
	// user ""
}

// Any other change of privilege takes a new token too.
func ExampleManager_Renew() {
	m := manager(sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) { fmt.Println("event:", e.Kind) }})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
	})
	mux.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Renew(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "the same session: ", before.ID == after.ID && before.ExpiresAt.Equal(after.ExpiresAt))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/admin"))
	// Output:
	// event: created
	// event: renewed
	// the same session: true
}

// A handler that must know whether the session was saved saves it itself.
func ExampleManager_Save() {
	m := manager(sessions.Config{MaxSize: 1000, Logger: slog.New(slog.DiscardHandler)})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Notice = strings.Repeat("x", 1000)
		if err := m.Save(r.Context()); errors.Is(err, sessions.ErrTooLarge) {
			s.Notice = "That was too long."
		}
		fmt.Fprint(w, s.Notice)
	})))
	fmt.Println(visit("/"))
	// Output: That was too long.
}

// Reload drops what the request has changed.
func ExampleManager_Reload() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Cart = []string{"apples"}
	})
	mux.HandleFunc("/undo", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Cart = append(s.Cart, "pears")
		if err := m.Reload(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, s.Cart)
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/undo"))
	// Output: [apples]
}

// A page that polls is passive: it does not keep the session alive. Where the
// user does something there after all, Touch does.
func ExampleManager_Touch() {
	m := manager(sessions.Config{
		IdleTimeout: 10 * time.Minute,
		Passive:     func(r *http.Request) bool { return r.URL.Path == "/poll" },
		Skip:        func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/static/") },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
	})
	mux.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Touch(r.Context()); err != nil {
			http.Error(w, "please sign in again", http.StatusConflict)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "longer: ", after.IdleUntil.After(before.IdleUntil))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/poll"))
	// Output: longer: true
}

// Info is for logs and account pages; nothing in it authenticates.
func ExampleManager_Info() {
	m := manager(sessions.Config{
		Label: func(r *http.Request) string { return r.UserAgent() },
	})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
		m.Save(r.Context())
		info := m.Info(r.Context())
		fmt.Fprintf(w, "%d characters of ID, from %q, idle until %v, at the latest %v", len(info.ID), info.Label,
			info.IdleUntil.Sub(info.LastSeenAt).Round(time.Minute), info.ExpiresAt.Sub(info.CreatedAt))
	}))
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("User-Agent", "Firefox")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: 36 characters of ID, from "Firefox", idle until 1h0m0s, at the latest 24h0m0s
}
