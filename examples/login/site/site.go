// Package site is the application of examples/login. Each file is one concern:
//
//	site.go     what the session holds, the Manager's Config, the routes
//	signin.go   sign up, sign in, sign out
//	account.go  the step-up, and the settings behind it
//	devices.go  a user's sessions
//	live.go     a page that ends with its session
//	oauth.go    sign in with another site; provider.go is that site
//	users.go    accounts and passwords; limit.go slows down who guesses
//	pages.go    templates and security headers
package site

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/typedsessions/sessions"
)

// Session is what the site knows about a visitor.
type Session struct {
	UserID string  `json:"user_id,omitempty"` // "" is nobody
	Flash  string  `json:"flash,omitempty"`   // a message for the next page
	OAuth  pending `json:"oauth,omitzero"`    // a sign-in with the provider that is under way
}

// SessionOwner makes the session one of its user's: they can be listed, ended and limited.
func (s *Session) SessionOwner() string { return s.UserID }

// Config is what the site needs from outside.
type Config struct {
	Store    sessions.Store
	Fresh    time.Duration // how long a proof of identity opens the settings, and lets other devices be signed out
	Insecure bool          // the cookie may travel by plain HTTP: for development alone
	Logger   *slog.Logger
	Mail     func(to, subject, path string) // sends a link to a path of this site
}

// A Site is the application.
type Site struct {
	Manager  *sessions.Manager[Session]
	users    *users
	provider *provider
	mail     func(to, subject, path string)
	logger   *slog.Logger
	guesses  limiter // of passwords, by account or session
	requests limiter // of forms that cost work or store a session, by network
	mails    limiter // of a sign-up, by account
	handler  http.Handler
	closed   context.Context // when the server shuts down, so that live pages end
	close    context.CancelFunc
}

// New returns the site, without any account.
func New(cfg Config) (*Site, error) {
	s := &Site{
		users:    newUsers(),
		provider: newProvider(),
		mail:     cfg.Mail,
		logger:   cfg.Logger,
		guesses:  limiter{max: 10, window: 15 * time.Minute},
		requests: limiter{max: 60, window: 15 * time.Minute},
		mails:    limiter{max: 3, window: time.Hour},
	}
	s.closed, s.close = context.WithCancel(context.Background())
	var err error
	s.Manager, err = sessions.New[Session](cfg.Store, sessions.Config{
		MaxPerOwner:  3, // a fourth sign-in ends the oldest session
		Label:        deviceLabel,
		Passive:      func(r *http.Request) bool { return r.URL.Path == "/live/events" }, // an open tab is no activity
		Transport:    sessions.Cookie{Insecure: cfg.Insecure},
		ErrorHandler: s.sessionFailed,
		OnEvent:      s.logEnding,
		Logger:       cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.handler = s.routes(cfg.Fresh)
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends the live pages, which would hold up a shutdown.
func (s *Site) Close() { s.close() }

func (s *Site) routes(fresh time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /signup", s.signUpForm)
	mux.HandleFunc("POST /signup", s.signUp)
	mux.HandleFunc("GET /signup/finish", s.finishForm)
	mux.HandleFunc("POST /signup/finish", s.finish)
	mux.HandleFunc("GET /signin", s.signInForm)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.HandleFunc("POST /oauth/start", s.oauthStart)
	mux.HandleFunc("GET /oauth/callback", s.oauthCallback)
	mux.HandleFunc("GET /devices", s.private(s.devices))
	mux.HandleFunc("GET /live", s.private(s.live))
	mux.HandleFunc("GET /live/events", s.private(s.liveEvents))

	// The step-up. Its own form is not within Fresh: whoever has to confirm must be able to.
	mux.HandleFunc("GET /confirm", s.private(s.confirmForm))
	mux.HandleFunc("POST /confirm", s.private(s.confirm))
	confirmed := func(what string, page privatePage) http.HandlerFunc {
		stale := http.RedirectHandler("/confirm?for="+what, http.StatusSeeOther)
		return s.private(func(w http.ResponseWriter, r *http.Request, u user) {
			next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { page(w, r, u) })
			s.Manager.Fresh(fresh, next, stale).ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("GET /account", confirmed("settings", s.account))
	mux.HandleFunc("POST /account/password", confirmed("settings", s.changePassword))
	mux.HandleFunc("POST /account/delete", confirmed("settings", s.deleteAccount))
	mux.HandleFunc("POST /devices/end", confirmed("devices", s.endDevice))
	mux.HandleFunc("POST /devices/end-others", confirmed("devices", s.endOthers))

	// What needs no session stays outside Handler: it costs no round trip, and caches may keep it.
	outer := http.NewServeMux()
	outer.Handle("GET /static/{file}", staticFiles())
	outer.Handle("/provider/", s.provider)
	outer.Handle("/", s.Manager.Handler(mux))
	csrf := http.NewCrossOriginProtection() // refuses forms that other sites send
	return secure(http.MaxBytesHandler(csrf.Handler(outer), 16<<10))
}

// A privatePage is a page of a user who is signed in.
type privatePage func(w http.ResponseWriter, r *http.Request, u user)

// private sends everybody else to the sign-in.
func (s *Site) private(page privatePage) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		session := sessions.FromContext[Session](ctx)
		u, ok := s.users.byID(session.UserID)
		switch {
		case ok:
			page(w, r, u)
		case s.Manager.Info(ctx).RenewedElsewhere:
			// Another request, such as the first click of two, has just renewed the token: the cookie is on its way.
			if r.Method != http.MethodGet { // its address may have no page to load
				s.fail(w, http.StatusServiceUnavailable, "Please look again", "Your session has just been renewed. If what you sent is not done, please send it again.")
				return
			}
			w.Header().Set("Refresh", "1")
			s.fail(w, http.StatusServiceUnavailable, "One moment", "Your session has just been renewed. This page loads again by itself.")
		case session.UserID != "": // the account is gone
			_ = s.Manager.Destroy(ctx) // if that fails, the next request does it
			fallthrough
		default:
			http.Redirect(w, r, "/signin", http.StatusSeeOther)
		}
	}
}

// sessionFailed answers where a session could not be loaded or saved. What the store said is for the log alone.
func (s *Site) sessionFailed(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, sessions.ErrGone), errors.Is(err, sessions.ErrConflict):
		s.fail(w, http.StatusConflict, "Not saved", "Your session has ended or was changed meanwhile. Please go back and try again.")
	case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, sessions.ErrNewerVersion), errors.Is(err, context.Canceled):
		w.Header().Set("Retry-After", "1")
		s.fail(w, http.StatusServiceUnavailable, "Please try again", "We cannot reach our session store at the moment.")
	default:
		s.fail(w, http.StatusInternalServerError, "Something went wrong", "The error is ours, and it is in our log.")
	}
}

// logEnding logs what happens to sessions, endings above all. An ID is public, a token never gets here.
func (s *Site) logEnding(ctx context.Context, e sessions.Event) {
	switch e.Kind {
	case sessions.EventLoaded, sessions.EventNotFound, sessions.EventSaved:
		return
	}
	s.logger.InfoContext(ctx, "session "+e.Kind.String(), "op", e.Op, "id", e.Session.ID, "user", e.Session.Owner, "device", e.Session.Label)
}
