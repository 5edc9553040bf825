package moving

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/securecookie"
	gorilla "github.com/gorilla/sessions"
)

// Gorilla is your store, set up as in the old builds: a CookieStore, a redistore, or one of gin-contrib/sessions.
type Gorilla struct {
	gorilla.Store
	Name string // of the session
	// MaxAge is that of the store's Options, from the last Save on; 0 if the old builds save at each request.
	MaxAge time.Duration
}

func (o Gorilla) Read(_ http.ResponseWriter, r *http.Request) (Login, error) {
	cookie, err := r.Cookie(o.Name)
	if err != nil {
		return Login{}, nil
	}
	old, err := o.New(r, o.Name)
	var foreign securecookie.Error
	if errors.As(err, &foreign) {
		return Login{}, nil // too old, too long, or not signed by you
	}
	user, _ := old.Values["user"].(string)
	if err != nil || user == "" {
		return Login{}, err
	}
	login := Login{Session: Session{UserID: user}, ID: idOf(cookie.Value), SignedInAt: time.Unix(0, 0), IssuedAt: savedAt(cookie.Value)}
	login.Session.Cart, _ = old.Values["cart"].([]string)
	login.Remembered, _ = old.Values["remember"].(bool) // the checkbox "remember me", if there is one
	if o.MaxAge > 0 {
		login.Until = login.IssuedAt.Add(o.MaxAge)
	}
	return login, nil
}

// savedAt is when the session was saved last: securecookie writes it in front of what it signs.
func savedAt(cookie string) time.Time {
	signed, _ := base64.URLEncoding.DecodeString(cookie)
	date, _, _ := bytes.Cut(signed, []byte("|"))
	seconds, _ := strconv.ParseInt(string(date), 10, 64)
	return time.Unix(seconds, 0)
}

func (o Gorilla) SignIn(w http.ResponseWriter, r *http.Request, user string, remember bool) error {
	if err := o.SignOut(w, r); err != nil {
		return err
	}
	old, _ := o.New(&http.Request{}, o.Name)
	old.Values["user"], old.Values["remember"] = user, remember
	if remember {
		old.Options.MaxAge = 30 * 24 * 60 * 60
	}
	return old.Save(r, w)
}

func (o Gorilla) SignOut(w http.ResponseWriter, r *http.Request) error {
	if _, err := r.Cookie(o.Name); err != nil {
		return nil
	}
	old, err := o.New(r, o.Name)
	var foreign securecookie.Error
	if err != nil && !errors.As(err, &foreign) {
		return err
	}
	old.Options.MaxAge = -1
	return old.Save(r, w)
}
