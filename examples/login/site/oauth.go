package site

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/typedsessions/sessions"
)

// The site's side of a sign-in with another site: the authorization code flow with state and PKCE (RFC 9700). A real site
// leaves the requests to golang.org/x/oauth2, and the ID token to a library for OpenID Connect.
const (
	clientID    = "login-example"
	redirectURI = "/oauth/callback" // a real one is a whole address
)

// pending is a sign-in that has gone to the provider and is to come back. It is kept in the session, so it comes back to
// the browser that has begun it: the provider's redirect is a GET that navigates, which carries a Lax cookie.
type pending struct {
	State    string `json:"state,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	StepUp   string `json:"step_up,omitempty"` // what for; "" is a sign-in
}

// oauthStart sends the user to the provider. With a step-up the provider is to ask even whom it knows.
func (s *Site) oauthStart(w http.ResponseWriter, r *http.Request) {
	if !s.requests.allow(network(r)) { // it stores a session
		s.tooMany(w)
		return
	}
	p := pending{State: rand.Text(), Verifier: rand.Text() + rand.Text()}
	if r.PostFormValue("step-up") != "" {
		p.StepUp = stepUpFor(r)
	}
	sessions.FromContext[Session](r.Context()).OAuth = p
	q := url.Values{
		"response_type":         {"code"},
		"client_id":             {clientID},
		"redirect_uri":          {redirectURI},
		"state":                 {p.State},
		"code_challenge":        {challenge(p.Verifier)},
		"code_challenge_method": {"S256"},
	}
	if p.StepUp != "" {
		q.Set("max_age", "0")
	}
	http.Redirect(w, r, "/provider/authorize?"+q.Encode(), http.StatusSeeOther)
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// oauthCallback takes the user back. Without the state that this very browser was sent off with, it is somebody else's
// sign-in that was slipped to this user.
func (s *Site) oauthCallback(w http.ResponseWriter, r *http.Request) {
	session := sessions.FromContext[Session](r.Context())
	p := sessions.Take(&session.OAuth) // good for one answer
	state := r.FormValue("state")
	if p.State == "" || subtle.ConstantTimeCompare([]byte(state), []byte(p.State)) != 1 {
		s.fail(w, http.StatusForbidden, "This sign-in was not begun here", "It is over, or another browser has begun it. Please try again.")
		return
	}
	if r.FormValue("error") != "" { // the user has said no
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	c, err := s.provider.exchange(r.FormValue("code"), p.Verifier, clientID, redirectURI) // a request from server to server
	if err != nil {
		s.fail(w, http.StatusForbidden, "Not signed in", "The other site does not know this sign-in. Please try again.")
		return
	}
	proof := []sessions.SignInOption{sessions.AuthenticatedBy("oauth"), sessions.AuthenticatedAt(c.AuthTime)}
	if p.StepUp != "" {
		u, ok := s.users.byID(session.UserID)
		if !ok || u.subject != c.Subject {
			s.fail(w, http.StatusForbidden, "Not confirmed", "You are somebody else at the other site.")
			return
		}
		s.confirmed(w, r, p.StepUp, proof...)
		return
	}
	u, err := s.users.fromProvider(c)
	if err != nil {
		s.fail(w, http.StatusForbidden, "Not signed in", "There is no such account.")
		return
	}
	s.enter(w, r, u, "Welcome, "+u.name+". Demo ID has told us who you are.", proof...)
}
