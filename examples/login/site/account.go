package site

import (
	"errors"
	"net/http"

	"github.com/typedsessions/sessions"
)

// opened are the pages to which a step-up leads, by what it is for. No address comes with a form, so none leads elsewhere.
var opened = map[string]string{"settings": "/account", "devices": "/devices"}

// stepUpFor is what the user wants to do, as the address or the form of the step-up says.
func stepUpFor(r *http.Request) string {
	if what := r.FormValue("for"); opened[what] != "" {
		return what
	}
	return "settings"
}

func (s *Site) confirmForm(w http.ResponseWriter, r *http.Request, u user) {
	s.render(w, r, http.StatusOK, "confirm", form{For: stepUpFor(r)})
}

// confirm is the step-up: the user proves again who they are. The session goes on with a new token.
func (s *Site) confirm(w http.ResponseWriter, r *http.Request, u user) {
	id := s.Manager.Info(r.Context()).ID
	if !s.mayGuess(w, r, id) {
		return
	}
	if !s.users.matches(u, r.PostFormValue("password")) {
		s.render(w, r, http.StatusUnprocessableEntity, "confirm", form{Error: "That is not your password.", For: stepUpFor(r)})
		return
	}
	s.guesses.forget(id)
	s.confirmed(w, r, stepUpFor(r), sessions.AuthenticatedBy("pwd"))
}

// confirmed ends a step-up, and leads on to what it was for.
func (s *Site) confirmed(w http.ResponseWriter, r *http.Request, what string, opts ...sessions.SignInOption) {
	if gaveUp(r) {
		return
	}
	// ErrGone: this was the second click of two. The first one's cookie is on its way, so the answer is the same.
	err := s.Manager.Reauthenticate(r.Context(), opts...)
	if err != nil && !errors.Is(err, sessions.ErrGone) {
		s.verbFailed(w, r, "step-up", err)
		return
	}
	http.Redirect(w, r, opened[what], http.StatusSeeOther)
}

// account shows the settings. It and what its forms do is within Fresh.
func (s *Site) account(w http.ResponseWriter, r *http.Request, u user) {
	s.render(w, r, http.StatusOK, "account", form{})
}

// changePassword ends the user's other sessions, because one of them may be the reason for the change.
func (s *Site) changePassword(w http.ResponseWriter, r *http.Request, u user) {
	again := func(mistake string) {
		s.render(w, r, http.StatusUnprocessableEntity, "account", form{Error: mistake})
	}
	password := r.PostFormValue("new")
	if !acceptable(password) {
		again("Please choose a password of 15 to 128 characters.")
		return
	}
	id := s.Manager.Info(r.Context()).ID
	if !s.mayGuess(w, r, id) {
		return
	}
	err := s.users.setPassword(r.Context(), u, r.PostFormValue("old"), password)
	switch {
	case errors.Is(err, errPassword):
		again("That is not your password.")
		return
	case err != nil: // the browser has given up, and nothing has changed
		return
	}
	s.guesses.forget(id)

	// The password is another one from here on. So all of the rest is done, also if the browser gives up now: the verbs
	// do not end with its request.
	ctx := r.Context()
	flash := "Your password is changed, and your other devices are signed out."
	if _, err := s.Manager.RevokeOthers(ctx); err != nil {
		s.logger.ErrorContext(ctx, "sessions after a change of password", "err", err)
		flash = "Your password is changed. Some of your devices may still be signed in: please end them here."
	}
	sessions.FromContext[Session](ctx).Flash = flash
	// This session goes on with a new token: whoever has a copy of the old one is out as well.
	if err := s.Manager.Reauthenticate(ctx, sessions.AuthenticatedBy("pwd")); err != nil {
		s.verbFailed(w, r, "new token after a change of password", err)
		return
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

// deleteAccount deletes the account first: a session that a sign-in begins meanwhile finds no user.
func (s *Site) deleteAccount(w http.ResponseWriter, r *http.Request, u user) {
	s.users.delete(u.id)
	if _, err := s.Manager.RevokeAll(r.Context(), u.id); err != nil {
		s.logger.ErrorContext(r.Context(), "sessions of a deleted account", "err", err) // they find no user: see private
	}
	http.Redirect(w, r, "/signin?after=deletion", http.StatusSeeOther)
}
