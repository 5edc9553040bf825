package site

import (
	"errors"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/typedsessions/sessions"
)

// home is the front page, which visitors see too. A visitor who only looks has no session and no cookie.
func (s *Site) home(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "home", nil)
}

// A form is what a form shows again after a mistake.
type form struct {
	Error, Notice, Email, Name, Token, For string
}

// notices are shown to who has just left. A Flash would begin a new session for that.
var notices = map[string]string{"signout": "You are signed out.", "deletion": "Your account is deleted."}

func (s *Site) signInForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.users.byID(sessions.FromContext[Session](r.Context()).UserID); ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "signin", form{Notice: notices[r.URL.Query().Get("after")]})
}

// wrong is one answer for every reason, so that nobody learns who has an account.
const wrong = "The e-mail address or the password is wrong."

func (s *Site) signIn(w http.ResponseWriter, r *http.Request) {
	email, _ := readEmail(r.PostFormValue("email"))
	if !s.mayGuess(w, r, email) {
		return
	}
	u, ok := s.users.check(email, r.PostFormValue("password"))
	if !ok {
		s.render(w, r, http.StatusUnprocessableEntity, "signin", form{Error: wrong, Email: r.PostFormValue("email")})
		return
	}
	s.guesses.forget(email)
	opts := []sessions.SignInOption{sessions.AuthenticatedBy("pwd")}
	if r.PostFormValue("remember") != "" {
		opts = append(opts, sessions.Remembered)
	}
	s.enter(w, r, u, "Welcome back, "+u.name+".", opts...)
}

// enter signs a user in who has just proved who they are, and shows the front page.
func (s *Site) enter(w http.ResponseWriter, r *http.Request, u user, flash string, opts ...sessions.SignInOption) {
	ctx := r.Context()
	if gaveUp(r) {
		return
	}
	// The whole T is new: nothing that a visitor has put into it goes on as the user's.
	*sessions.FromContext[Session](ctx) = Session{UserID: u.id, Flash: flash}
	if err := s.Manager.SignIn(ctx, opts...); err != nil {
		s.verbFailed(w, r, "sign-in", err)
		return
	}
	// A password that was changed after it was checked has ended all sessions, but not this one, which was not there yet.
	if !s.users.unchanged(u) {
		if err := s.Manager.Destroy(ctx); err != nil {
			s.verbFailed(w, r, "sign-out", err)
			return
		}
		s.render(w, r, http.StatusUnprocessableEntity, "signin", form{Error: wrong})
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Site) signOut(w http.ResponseWriter, r *http.Request) {
	// ErrGone says that the session has ended already.
	if err := s.Manager.Destroy(r.Context()); err != nil && !errors.Is(err, sessions.ErrGone) {
		s.verbFailed(w, r, "sign-out", err)
		return
	}
	http.Redirect(w, r, "/signin?after=signout", http.StatusSeeOther)
}

func (s *Site) signUpForm(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "signup", form{})
}

// signUp sends a mail and shows the same page whether or not the address has an account: only the mail tells. The
// password is chosen behind the link in it, so nobody can prepare an account for somebody else's address.
func (s *Site) signUp(w http.ResponseWriter, r *http.Request) {
	email, ok := readEmail(r.PostFormValue("email"))
	if !ok {
		s.render(w, r, http.StatusUnprocessableEntity, "signup", form{Error: "Please enter an e-mail address.", Email: r.PostFormValue("email")})
		return
	}
	if !s.requests.allow(network(r)) {
		s.tooMany(w)
		return
	}
	if s.mails.allow(email) {
		if _, taken := s.users.byEmail(email); taken {
			s.mail(email, "you have an account already, so just sign in", "/signin")
		} else {
			s.mail(email, "finish your account", "/signup/finish?"+url.Values{"token": {s.users.invite(email)}}.Encode())
		}
	}
	s.render(w, r, http.StatusOK, "sent", form{Email: email})
}

func (s *Site) finishForm(w http.ResponseWriter, r *http.Request) {
	token := r.FormValue("token")
	email, ok := s.users.invited(token)
	if !ok {
		s.linkFailed(w)
		return
	}
	s.render(w, r, http.StatusOK, "finish", form{Email: email, Token: token})
}

func (s *Site) finish(w http.ResponseWriter, r *http.Request) {
	token, name, password := r.PostFormValue("token"), r.PostFormValue("name"), r.PostFormValue("password")
	email, ok := s.users.invited(token)
	switch {
	case !ok:
		s.linkFailed(w)
		return
	case name == "" || utf8.RuneCountInString(name) > 80 || !acceptable(password):
		s.render(w, r, http.StatusUnprocessableEntity, "finish", form{
			Error: "Please enter a name, and a password of 15 to 128 characters.", Email: email, Name: name, Token: token,
		})
		return
	case !s.requests.allow(network(r)):
		s.tooMany(w)
		return
	}
	u, err := s.users.accept(r.Context(), token, name, password)
	if gaveUp(r) {
		return
	}
	if err != nil {
		s.linkFailed(w)
		return
	}
	s.enter(w, r, u, "Welcome, "+u.name+". Your account is ready.", sessions.AuthenticatedBy("pwd"))
}

func (s *Site) linkFailed(w http.ResponseWriter) {
	s.fail(w, http.StatusNotFound, "This link is not valid", "It was used already, or it is older than an hour. Please sign up again, or sign in.")
}

// mayGuess counts an attempt with a password, or answers that there were too many. Attempts to sign in are counted by the
// address of the account, and an unknown one is no exception. Those of a user who is signed in are counted by the session,
// so that no stranger keeps them from changing their password.
func (s *Site) mayGuess(w http.ResponseWriter, r *http.Request, by string) bool {
	if s.requests.allow(network(r)) && s.guesses.allow(by) {
		return true
	}
	s.tooMany(w)
	return false
}

func (s *Site) tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "900")
	s.fail(w, http.StatusTooManyRequests, "Too many attempts", "Please wait a quarter of an hour.")
}

// gaveUp tells whether the browser does not wait for the answer any more. A form that is sent twice makes it give up the
// first request. So a new token for that one would get lost, and the second would come with the one from before.
func gaveUp(r *http.Request) bool { return r.Context().Err() != nil }

// verbFailed answers after a verb that has failed: nothing of what it should do is promised.
func (s *Site) verbFailed(w http.ResponseWriter, r *http.Request, what string, err error) {
	s.logger.ErrorContext(r.Context(), what, "err", err)
	s.sessionFailed(w, r, err)
}
