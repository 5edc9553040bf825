package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/typedsessions/sessions"
)

// Member is a session that says whose it is, so that a user's sessions can be listed and ended.
type Member struct {
	User string `json:"user"`
	Role string `json:"role"`
}

func (a *Member) SessionOwner() string { return a.User }

// A page "your devices": each has a button to sign it out, and one signs out everywhere else.
func ExampleManager_Sessions() {
	m, err := sessions.New[Member](&sessions.MemoryStore{}, sessions.Config{
		MaxPerOwner: 3, // a fourth sign-in ends the oldest one
		Label:       func(r *http.Request) string { return r.UserAgent() },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(_ http.ResponseWriter, r *http.Request) {
		m.FromContext(r.Context()).User = "ann" // her password was right
		m.SignIn(r.Context())
	})
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, r *http.Request) {
		list, err := m.Sessions(r.Context())
		if err != nil && !errors.Is(err, sessions.ErrIncomplete) {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		slices.SortFunc(list, func(a, b sessions.Info) int { return strings.Compare(a.Label, b.Label) })
		for _, s := range list {
			fmt.Fprintf(w, "%s, this device: %t\n", s.Label, s.Current)
		}
	})
	mux.HandleFunc("POST /devices/{id}/end", func(w http.ResponseWriter, r *http.Request) {
		err := m.Revoke(r.Context(), m.FromContext(r.Context()).User, r.PathValue("id"))
		if err != nil && !errors.Is(err, sessions.ErrNotFound) { // it may have ended meanwhile
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		http.Redirect(w, r, "/devices", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /devices/end-others", func(w http.ResponseWriter, r *http.Request) {
		n, err := m.RevokeOthers(r.Context())
		if err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		fmt.Fprintf(w, "%d signed out\n", n)
	})
	srv := httptest.NewTLSServer(http.NewCrossOriginProtection().Handler(m.Handler(mux)))
	defer srv.Close()
	laptop, phone := device(srv, "laptop"), device(srv, "phone")

	laptop("POST", "/login")
	phone("POST", "/login")
	fmt.Print(laptop("GET", "/devices"))
	fmt.Print(laptop("POST", "/devices/end-others"))
	fmt.Printf("the phone sees %q\n", phone("GET", "/devices"))
	// Output:
	// laptop, this device: true
	// phone, this device: false
	// 1 signed out
	// the phone sees ""
}

// device is a browser that calls itself by a name.
func device(srv *httptest.Server, name string) func(method, path string) string {
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Transport: srv.Client().Transport, Jar: jar}
	return func(method, path string) string {
		req, err := http.NewRequest(method, srv.URL+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("User-Agent", name)
		res, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
}

// members is a Manager whose users can be listed, and signIn begins a session of one of them on some device, as SignIn
// within a request does.
func members(cfg sessions.Config) (m *sessions.Manager[Member], signIn func(user string) context.Context) {
	m, err := sessions.New[Member](&sessions.MemoryStore{}, cfg)
	if err != nil {
		log.Fatal(err)
	}
	return m, func(user string) context.Context {
		ctx, err := m.Load(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		m.FromContext(ctx).User = user
		if err := m.SignIn(ctx); err != nil {
			log.Fatal(err)
		}
		return ctx
	}
}

// An administrator's page, or a job, has no session of the user's: any context will do.
func ExampleManager_UpdateAll() {
	m, signIn := members(sessions.Config{})
	signIn("ann")
	signIn("ann")

	ctx := context.Background()
	err := m.UpdateAll(ctx, "ann", func(a *Member) error { a.Role = "editor"; return nil })
	fmt.Println("roles changed:", err == nil)

	n, err := m.RevokeAll(ctx, "ann") // the account is closed
	fmt.Println("signed out:", n, err)
	list, _ := m.SessionsOf(ctx, "ann")
	fmt.Println("left:", len(list))
	// Output:
	// roles changed: true
	// signed out: 2 <nil>
	// left: 0
}

// An administrator's page shows where a user is signed in. The administrator's session is another user's.
func ExampleManager_SessionsOf() {
	m, signIn := members(sessions.Config{})
	signIn("ann")
	signIn("ann")
	admin := signIn("admin")

	list, err := m.SessionsOf(admin, "ann")
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range list {
		fmt.Printf("%s, the caller's own: %t\n", s.Owner, s.Current)
	}
	// Output:
	// ann, the caller's own: false
	// ann, the caller's own: false
}

// A row of "your devices" has a button. The owner is the caller's, so an ID that somebody has made up ends nothing of
// anybody else's.
func ExampleManager_Revoke() {
	m, signIn := members(sessions.Config{})
	laptop, phone := signIn("ann"), signIn("ann")
	bobs := signIn("bob")

	end := func(ctx context.Context, id string) string {
		switch err := m.Revoke(ctx, m.FromContext(ctx).User, id); {
		case errors.Is(err, sessions.ErrNotFound):
			return "that device is not signed in"
		case err != nil:
			return "please try again"
		}
		return "signed out"
	}
	fmt.Println(end(laptop, m.Info(phone).ID))
	fmt.Println(end(laptop, m.Info(phone).ID))
	fmt.Println(end(laptop, m.Info(bobs).ID))
	fmt.Println(end(laptop, m.Info(laptop).ID), m.Info(laptop).New)
	// Output:
	// signed out
	// that device is not signed in
	// that device is not signed in
	// signed out true
}

// After a change of password whoever knew the old one is out, and the user is not.
func ExampleManager_RevokeOthers() {
	m, signIn := members(sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
		if e.Kind == sessions.EventRevoked {
			fmt.Printf("audit: a session of %s was revoked by %q\n", e.Session.Owner, e.Op)
		}
	}})
	stolen, own := signIn("ann"), signIn("ann")

	n, err := m.RevokeOthers(own) // after the new password was stored
	fmt.Println("signed out:", n, err)
	fmt.Println("her own:", m.Reload(own))
	fmt.Println("the other:", m.Reload(stolen))
	// Output:
	// audit: a session of ann was revoked by "revoke others"
	// signed out: 1 <nil>
	// her own: <nil>
	// the other: sessions: session has ended
}

// An account is closed by its user: the response of this request expires the cookie.
func ExampleManager_RevokeAll() {
	m, signIn := members(sessions.Config{})
	phone, own := signIn("ann"), signIn("ann")

	if n, err := m.RevokeAll(own, "ann"); err != nil {
		fmt.Println("please try again", n, err) // some may have ended; the next try ends the rest
	} else {
		fmt.Println("signed out:", n)
	}
	fmt.Println("the phone:", m.Reload(phone))
	fmt.Println("nobody:", m.FromContext(own).User == "")
	// Output:
	// signed out: 2
	// the phone: sessions: session has ended
	// nobody: true
}

// With Reject a user who has as many sessions as they may have is told so; with EvictOldest, the default, the oldest one
// ends.
func ExampleOwnerLimit() {
	for _, limit := range []sessions.OwnerLimit{sessions.EvictOldest, sessions.Reject} {
		m, err := sessions.New[Member](&sessions.MemoryStore{}, sessions.Config{
			MaxPerOwner: 1, OnOwnerLimit: limit, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			log.Fatal(err)
		}
		for range 2 {
			ctx, _ := m.Load(context.Background())
			m.FromContext(ctx).User = "ann"
			err = m.SignIn(ctx)
		}
		list, _ := m.SessionsOf(context.Background(), "ann")
		fmt.Println(errors.Is(err, sessions.ErrOwnerLimit), len(list))
	}
	// Output:
	// false 1
	// true 1
}
