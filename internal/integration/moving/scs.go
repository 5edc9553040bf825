package moving

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

// SCS is your scs.SessionManager, set up as in the old builds.
type SCS struct {
	*scs.SessionManager
	Redis *redis.Client // of its store, for an IdleTimeout
}

func (o SCS) Read(w http.ResponseWriter, r *http.Request) (Login, error) {
	ctx, token, err := o.load(r)
	if err != nil || o.GetString(ctx, "userID") == "" {
		return Login{}, err
	}
	if o.IdleTimeout > 0 {
		err = o.touch(ctx, w, token)
	}
	until := o.Deadline(ctx)
	signedIn := until.Add(-o.Lifetime) // the last RenewToken
	if signedIn.After(time.Now()) {    // you use SetDeadline
		signedIn = time.Unix(0, 0)
	}
	cart, _ := o.Get(ctx, "cart").([]string)
	return Login{
		Session:    Session{UserID: o.GetString(ctx, "userID"), Cart: cart},
		ID:         idOf(token),
		Remembered: o.GetBool(ctx, "__rememberMe"),
		SignedInAt: signedIn, IssuedAt: signedIn, Until: until,
	}, err
}

func (o SCS) SignIn(w http.ResponseWriter, r *http.Request, user string, remember bool) error {
	ctx, _, err := o.load(r)
	if err != nil {
		return err
	}
	if err := errors.Join(o.Clear(ctx), o.RenewToken(ctx)); err != nil { // Clear: it may be another user's
		return err
	}
	o.Put(ctx, "userID", user)
	o.RememberMe(ctx, remember)
	token, expiry, err := o.Commit(ctx)
	if err == nil {
		o.WriteSessionCookie(ctx, w, token, expiry)
	}
	return err
}

func (o SCS) SignOut(w http.ResponseWriter, r *http.Request) error {
	ctx, token, err := o.load(r)
	if err != nil || token == "" {
		return err
	}
	if err := o.Destroy(ctx); err != nil {
		return err
	}
	o.WriteSessionCookie(ctx, w, "", time.Time{})
	w.Header().Set("Cache-Control", "no-store") // with the value of scs caches could keep the page
	return nil
}

// load goes on if the browser hangs up, because a sign-out must not stop halfway.
func (o SCS) load(r *http.Request) (ctx context.Context, token string, err error) {
	if cookie, err := r.Cookie(o.Cookie.Name); err == nil {
		token = cookie.Value
	}
	ctx, err = o.Load(context.WithoutCancel(r.Context()), token)
	return ctx, token, err
}
