package node_test

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// The Go code of docs/express-recipes.md. TestRecipesAreTheTestedCode compares
// the two.

// Session has the members that the recipes need. Take those that your app has.
type Session struct {
	Passport   Passport            `json:"passport,omitzero"`
	ReturnTo   string              `json:"returnTo,omitempty"`   // passport's successReturnToOrRedirect
	Messages   []string            `json:"messages,omitempty"`   // passport's failureMessage
	Flash      map[string][]string `json:"flash,omitempty"`      // connect-flash
	CSRFSecret string              `json:"csrfSecret,omitempty"` // csurf
	Login      Login               `json:"login,omitzero"`       // Go's own: a login that is under way
}

type Passport struct {
	User UserID `json:"user,omitzero"`
}

// A UserID is that of docs/from-express.md.
type UserID struct {
	Text   string // "" is nobody
	Number bool
}

func (id UserID) IsZero() bool { return id.Text == "" }

func (id UserID) MarshalJSON() ([]byte, error) {
	if id.Number {
		return []byte(id.Text), nil
	}
	return json.Marshal(id.Text)
}

func (id *UserID) UnmarshalJSON(data []byte) error {
	*id = UserID{}
	if json.Unmarshal(data, &id.Text) == nil { // null, too
		return nil
	}
	var n json.Number
	err := json.Unmarshal(data, &n)
	*id = UserID{Text: n.String(), Number: true}
	return err
}

func signIn(m *sessions.Manager[Session]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		user, ok := authenticate(r) // a UserID
		if !ok {
			s.Messages = append(s.Messages, "Wrong password.") // the page shows sessions.Take(&s.Messages)
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		s.Passport.User = user
		s.CSRFSecret = "" // the next form draws a new one
		next := sessions.Take(&s.ReturnTo)
		if len(next) < 2 || next[0] != '/' || next[1] == '/' || next[1] == '\\' { // "//host" is another site
			next = "/"
		}
		if err := m.SignIn(r.Context()); err != nil {
			http.Error(w, "Not signed in, please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

func private(w http.ResponseWriter, r *http.Request) {
	s := sessions.FromContext[Session](r.Context())
	if s.Passport.User.IsZero() {
		s.ReturnTo = r.URL.RequestURI()
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	answer200(w, s.Passport.User.Text)
}

// addFlash is req.flash(kind, message).
func addFlash(ctx context.Context, m *sessions.Manager[Session], kind, message string) error {
	return m.Update(ctx, func(s *Session) error {
		if s.Flash == nil {
			s.Flash = map[string][]string{}
		}
		s.Flash[kind] = append(s.Flash[kind], message)
		return nil
	})
}

// takeFlash is req.flash(kind). Each message is shown once, however many requests ask at once.
func takeFlash(ctx context.Context, m *sessions.Manager[Session], kind string) (messages []string, err error) {
	if len(sessions.FromContext[Session](ctx).Flash[kind]) == 0 {
		return nil, nil // most pages: nothing to write
	}
	err = m.Update(ctx, func(s *Session) error {
		messages = s.Flash[kind]
		delete(s.Flash, kind)
		return nil
	})
	return messages, err
}

// csrfToken is csurf's req.csrfToken(), for a form that posts to Node.
func csrfToken(s *Session) string {
	if s.CSRFSecret == "" {
		s.CSRFSecret = rand.Text()
	}
	return csurf(rand.Text()[:8], s.CSRFSecret)
}

// validCSRF is for a form of Node's that posts to Go.
func validCSRF(s *Session, token string) bool {
	salt, _, _ := strings.Cut(token, "-")
	return s.CSRFSecret != "" && subtle.ConstantTimeCompare([]byte(csurf(salt, s.CSRFSecret)), []byte(token)) == 1
}

func csurf(salt, secret string) string {
	sum := sha1.Sum([]byte(salt + "-" + secret))
	return salt + "-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// lusca is csurf with salts of 10 characters.
func lusca(salt, secret string) string {
	sum := sha1.Sum([]byte(salt + secret))
	return salt + base64.StdEncoding.EncodeToString(sum[:])
}

// A Login is what the callback compares. The zero one is of nobody.
type Login struct {
	State    string `json:"state,omitempty"`
	Verifier string `json:"verifier,omitempty"`
}

func begin(provider string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Login = Login{State: rand.Text(), Verifier: rand.Text() + rand.Text()} // 43 characters at least
		challenge := sha256.Sum256([]byte(s.Login.Verifier))
		http.Redirect(w, r, provider+"/authorize?"+url.Values{
			"response_type": {"code"}, "client_id": {"shop"}, "state": {s.Login.State},
			"redirect_uri":          {"http://" + r.Host + "/callback"},
			"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
		}.Encode(), http.StatusSeeOther)
	}
}

func callback(m *sessions.Manager[Session], exchange func(code, verifier string) (UserID, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		login := sessions.Take(&s.Login)
		if login.State == "" || login.State != r.FormValue("state") {
			http.Error(w, "This login was not begun here, please try again.", http.StatusForbidden)
			return
		}
		user, err := exchange(r.FormValue("code"), login.Verifier)
		if err == nil {
			s.Passport.User = user
			err = m.SignIn(r.Context())
		}
		if err != nil {
			http.Error(w, "Not signed in, please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/read", http.StatusSeeOther)
	}
}

func signOut(m *sessions.Manager[Session], rdb *redis.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sid := m.Info(r.Context()).ID
		err := m.Destroy(r.Context())
		if err == nil {
			err = rdb.Publish(r.Context(), "signed-out", sid).Err()
		}
		if err != nil {
			http.Error(w, "Not signed out, please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// nodeProxy passes on everything, WebSockets too. It does not go through m.Handler.
func nodeProxy(node *url.URL) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.IdleConnTimeout = 4 * time.Second // Node closes after 5
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(node)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
}
