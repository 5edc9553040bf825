package moving

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/typedsessions/sessions"
)

// Moving keeps the users of the old library's sessions signed in.
type Moving struct {
	Manager *sessions.Manager[Session]
	Old     Old
	Beside  bool // old builds still serve
	// RevokedAt is when the user last changed the password or signed out everywhere: no older session is adopted.
	RevokedAt func(ctx context.Context, user string) (time.Time, error)
}

// Handler takes the place of Manager.Handler.
func (v *Moving) Handler(next http.Handler) http.Handler {
	return v.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := v.follow(w, r); err != nil {
			slog.ErrorContext(r.Context(), "an old session", "err", err)
			w.Header().Set("Retry-After", "1")
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// follow adopts the request's old session, or ends what was adopted from one that has ended.
func (v *Moving) follow(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	s, ok := v.Manager.Lookup(ctx)
	if !ok {
		return nil // Config.Skip names the request
	}
	over := !s.Moved.Until.IsZero() && time.Now().After(s.Moved.Until)
	crossSite := r.Header.Get("Sec-Fetch-Site") == "cross-site"
	link := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	if s.UserID != "" && !over && (s.Moved.From == "" || crossSite) || crossSite && !link {
		return nil // no old session matters, or the browser may have withheld one of the cookies
	}
	old, err := v.Old.Read(w, r)
	switch {
	case err != nil && s.UserID != "" && !over:
		slog.WarnContext(ctx, "an old session cannot be read", "err", err)
		return nil // signed in until it is known that the old session has ended
	case err == nil && s.UserID != "" && s.UserID == old.Session.UserID && !over:
		return v.leave(w, r, s)
	case err == nil && s.UserID != "":
		err = v.Manager.Destroy(ctx)
	}
	if err != nil || old.Session.UserID == "" {
		return err
	}
	return v.adopt(ctx, s, old)
}

func (v *Moving) adopt(ctx context.Context, s *Session, old Login) error {
	revoked, err := v.RevokedAt(ctx, old.Session.UserID)
	if err != nil || old.IssuedAt.Before(revoked.Truncate(time.Second)) { // gorilla's times are whole seconds
		return err
	}
	*s = old.Session
	s.Moved = Moved{From: old.ID, Until: old.Until}
	how := []sessions.SignInOption{sessions.AuthenticatedAt(old.SignedInAt), sessions.AuthenticatedBy(old.ID)}
	if old.Remembered {
		how = append(how, sessions.Remembered)
	}
	return v.Manager.SignIn(ctx, how...)
}
