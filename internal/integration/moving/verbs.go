package moving

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/typedsessions/sessions"
)

// SignIn is for your sign-in handler, when the proof is right. T becomes next, which is to say whose it is.
func (v *Moving) SignIn(w http.ResponseWriter, r *http.Request, next Session, remember bool) error {
	next.Moved = Moved{}
	if v.Beside {
		next.Moved.From = "signed in here"
		if err := v.Old.SignIn(w, r, next.UserID, remember); err != nil {
			return err
		}
	} else if err := v.Old.SignOut(w, r); err != nil {
		return err
	}
	*v.Manager.FromContext(r.Context()) = next
	if remember {
		return v.Manager.SignIn(r.Context(), sessions.Remembered)
	}
	return v.Manager.SignIn(r.Context())
}

// SignOut is for your sign-out handler.
func (v *Moving) SignOut(w http.ResponseWriter, r *http.Request) error {
	if err := v.Old.SignOut(w, r); err != nil {
		return err
	}
	return v.Manager.Destroy(r.Context())
}

// leave ends the old session when no old build serves, and what else was adopted from it. It waits for a minute: then
// the browser has the new cookie, and no request with the old one alone is under way.
func (v *Moving) leave(w http.ResponseWriter, r *http.Request, s *Session) error {
	ctx := r.Context()
	if v.Beside || time.Since(v.Manager.Info(ctx).CreatedAt) < time.Minute {
		return nil
	}
	list, err := v.Manager.Sessions(ctx)
	for _, other := range list {
		if err == nil && !other.Current && other.Method == s.Moved.From {
			err = v.Manager.Revoke(ctx, other.Owner, other.ID)
		}
	}
	if err == nil || errors.Is(err, sessions.ErrNotFound) {
		err = v.Old.SignOut(w, r)
	}
	if err != nil {
		slog.WarnContext(ctx, "an old session cannot be ended", "err", err)
		return nil // the next request tries again
	}
	s.Moved.From = ""
	return nil
}
