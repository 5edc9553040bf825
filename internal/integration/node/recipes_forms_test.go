package node_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

func TestFlash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := w.recipe(t, "flash", common(), nil)
	gopher := serveGo(t, w, common(), func(m *sessions.Manager[Session], _ *redis.Client) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /flash", func(w http.ResponseWriter, r *http.Request) {
			if err := addFlash(r.Context(), m, r.FormValue("kind"), r.FormValue("message")); err != nil {
				t.Error(err)
			}
			answer200(w, map[string]any{})
		})
		mux.HandleFunc("GET /flash", func(w http.ResponseWriter, r *http.Request) {
			messages, err := takeFlash(r.Context(), m, r.FormValue("kind"))
			if err != nil {
				t.Error(err)
			}
			answer200(w, map[string]any{"messages": append([]string{}, messages...)})
		})
		return m.Handler(mux)
	})
	for _, from := range []*site{node, gopher} {
		for _, to := range []*site{node, gopher} {
			t.Run("R10 from "+from.name+" to "+to.name, func(t *testing.T) {
				b := w.visitor(t)
				b.visit(from, "POST /flash?kind=info&message=one", "")
				b.visit(from, "POST /flash?kind=info&message=two%20%3C%3E", "")
				b.visit(from, "POST /flash?kind=error&message=no", "")
				b.finds(to, "GET /flash?kind=info", `{"messages":["one","two <>"]}`)
				b.finds(to, "GET /flash?kind=info", `{"messages":[]}`)
				b.finds(from, "GET /flash?kind=info", `{"messages":[]}`)
				b.finds(from, "GET /flash?kind=error", `{"messages":["no"]}`)
				b.finds(to, "GET /flash?kind=error", `{"messages":[]}`)
			})
		}
	}
	t.Run("R10 twenty requests of Go at once", func(t *testing.T) {
		b := w.visitor(t)
		b.visit(node, "POST /flash?kind=info&message=first", "")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { b.visit(gopher, "POST /flash?kind=info&message=more", "") })
		}
		all.Wait()
		pages := make(chan page, 20)
		for range 20 {
			all.Go(func() { pages <- b.visit(gopher, "GET /flash?kind=info", "") })
		}
		all.Wait()
		close(pages)
		var shown []string
		for p := range pages {
			var said struct{ Messages []string }
			if err := json.Unmarshal([]byte(p.body), &said); err != nil {
				t.Errorf("%d %s: %v", p.status, p.body, err)
			}
			shown = append(shown, said.Messages...)
		}
		if len(shown) != 21 || !slices.Contains(shown, "first") {
			t.Errorf("%d messages are shown, want 21: %q", len(shown), shown)
		}
		b.finds(node, "GET /flash?kind=info", `{"messages":[]}`)
	})
}

// What the three libraries keep in the session, and their tokens.
type csrfSession struct {
	Session
	Sync  string `json:"csrfToken,omitempty"`   // csrf-sync's: the token itself
	Lusca string `json:"_csrfSecret,omitempty"` // lusca's
}

func TestCSRF(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		library, member string
		token           func(s *csrfSession) string
		valid           func(s *csrfSession, token string) bool
	}{
		{
			"csurf", "csrfSecret",
			func(s *csrfSession) string { return csrfToken(&s.Session) },
			func(s *csrfSession, token string) bool { return validCSRF(&s.Session, token) },
		},
		{
			"csrf-sync", "csrfToken",
			func(s *csrfSession) string {
				if s.Sync == "" {
					s.Sync = rand.Text()
				}
				return s.Sync
			},
			func(s *csrfSession, token string) bool { return s.Sync != "" && s.Sync == token },
		},
		{
			"lusca", "_csrfSecret",
			func(s *csrfSession) string {
				if s.Lusca == "" {
					s.Lusca = rand.Text()
				}
				return lusca(rand.Text()[:10], s.Lusca)
			},
			func(s *csrfSession, token string) bool {
				return s.Lusca != "" && len(token) > 10 && lusca(token[:10], s.Lusca) == token
			},
		},
	} {
		t.Run("R10 "+tt.library, func(t *testing.T) {
			node := w.recipe(t, "csrf", common(), map[string]any{"library": tt.library})
			gopher := serveGo(t, w, common(), func(m *sessions.Manager[csrfSession], _ *redis.Client) http.Handler {
				mux := http.NewServeMux()
				mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
					answer200(w, map[string]any{"token": tt.token(sessions.FromContext[csrfSession](r.Context()))})
				})
				mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) {
					if !tt.valid(sessions.FromContext[csrfSession](r.Context()), r.PostFormValue("_csrf")) {
						http.Error(w, "no", http.StatusForbidden)
						return
					}
					answer200(w, map[string]any{"posted": true})
				})
				mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
					s := sessions.FromContext[csrfSession](r.Context())
					if s.Passport.User.Text = "7"; r.FormValue("rotate") != "" {
						s.CSRFSecret, s.Sync, s.Lusca = "", "", ""
					}
					if err := m.SignIn(r.Context()); err != nil {
						t.Error(err)
					}
				})
				return m.Handler(mux)
			})
			token := func(b *browser, s *site) string {
				var said struct{ Token string }
				if p := b.visit(s, "GET /form", ""); json.Unmarshal([]byte(p.body), &said) != nil || said.Token == "" {
					t.Fatalf("%s: no token: %d %s", s.name, p.status, p.body)
				}
				return said.Token
			}
			post := func(b *browser, s *site, token string, want int) {
				t.Helper()
				if p := b.visit(s, "POST /form", url.Values{"_csrf": {token}}.Encode()); p.status != want {
					t.Errorf("%s: a form with the token %q: %d, want %d", s.name, token, p.status, want)
				}
			}
			for _, first := range []*site{node, gopher} {
				b, stranger := w.visitor(t), w.visitor(t)
				secret := ""
				for _, shows := range []*site{first, node, gopher} {
					for range 20 { // salts
						good := token(b, shows)
						for _, gets := range []*site{node, gopher} {
							post(b, gets, good, http.StatusOK)
						}
					}
					if now := w.field(t, b, first, tt.member); secret == "" {
						secret = now
					} else if now != secret {
						t.Errorf("%s has changed the secret to %s", shows.name, now)
					}
					token(stranger, shows)
					for _, gets := range []*site{node, gopher} {
						for _, bad := range []string{"", "-", "x", token(stranger, node), token(stranger, gopher)} {
							post(b, gets, bad, http.StatusForbidden)
						}
					}
				}
				// SignIn keeps the secret, or not.
				before := token(b, first)
				b.visit(gopher, "POST /login", "")
				for _, at := range []*site{node, gopher} {
					post(b, at, before, http.StatusOK)
				}
				b.visit(gopher, "POST /login", "rotate=1")
				for _, at := range []*site{node, gopher} {
					post(b, at, before, http.StatusForbidden)
				}
				after := token(b, first)
				for _, at := range []*site{node, gopher} {
					post(b, at, after, http.StatusOK)
				}
			}
		})
	}
}

// A provider signs everybody in as Ada.
func provider(t *testing.T) (base string, exchange func(back string) func(code, verifier string) (UserID, error)) {
	challenges := map[string]string{} // by code
	var mu sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q, code := r.URL.Query(), rand.Text()
		mu.Lock()
		challenges[code] = q.Get("code_challenge")
		mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		want, ok := challenges[r.PostFormValue("code")]
		delete(challenges, r.PostFormValue("code"))
		mu.Unlock()
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || want != "" && want != base64.RawURLEncoding.EncodeToString(sum[:]) {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		answer200(w, map[string]any{"access_token": "Ada", "token_type": "Bearer"})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, func(back string) func(code, verifier string) (UserID, error) {
		return func(code, verifier string) (UserID, error) {
			r, err := http.PostForm(server.URL+"/token", url.Values{
				"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier},
			})
			if err != nil {
				return UserID{}, err
			}
			defer func() { _ = r.Body.Close() }()
			var token struct {
				AccessToken string `json:"access_token"`
			}
			if err = json.NewDecoder(r.Body).Decode(&token); err == nil && token.AccessToken == "" {
				err = errors.New("no token")
			}
			return UserID{Text: token.AccessToken}, err
		}
	}
}

func TestOAuthState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, exchange := provider(t)
	gopher := serveGo(t, w, common(), func(m *sessions.Manager[Session], _ *redis.Client) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /login", begin(base))
		mux.HandleFunc("GET /callback", callback(m, exchange("")))
		mux.HandleFunc("GET /private", private)
		mux.HandleFunc("GET /write", func(w http.ResponseWriter, r *http.Request) {
			if err := addFlash(r.Context(), m, "info", "meanwhile"); err != nil {
				t.Error(err)
			}
			answer200(w, "ok")
		})
		mux.HandleFunc("GET /renew", func(w http.ResponseWriter, r *http.Request) {
			if err := m.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			answer200(w, "ok")
		})
		return m.Handler(mux)
	})
	for _, pkce := range []bool{false, true} {
		name := map[bool]string{false: "state", true: "state and PKCE"}[pkce]
		t.Run("R10 R11 "+name, func(t *testing.T) {
			// The redirect goes to the same host, whatever its port.
			node := w.recipe(t, "oauth", common(), map[string]any{"provider": base, "callbackURL": "/callback", "pkce": pkce})
			begins := func(b *browser, at *site) (back string) {
				t.Helper()
				p := b.visit(at, "GET /login", "")
				if !strings.HasPrefix(p.location, base+"/authorize?") {
					t.Fatalf("%s: the login leads to %q: %d %s", at.name, p.location, p.status, p.body)
				}
				back = b.visit(at, "GET "+p.location, "").location
				if want := addressOf(at).String() + "/callback?code="; !strings.HasPrefix(back, want) {
					t.Fatalf("%s: the provider leads to %q, want %s…", at.name, back, want)
				}
				return back
			}
			for _, at := range []*site{node, gopher} {
				other := map[*site]*site{node: gopher, gopher: node}[at]
				b := w.visitor(t)
				back := begins(b, at)
				if at == node {
					b.finds(gopher, "GET /write", `"ok"`)
					if got := w.field(t, b, node, "oauth2:127.0.0.1"); got == "" {
						t.Error("Go has lost the state")
					}
					b.finds(gopher, "GET /renew", `"ok"`)
				} else {
					b.visit(other, "GET /read", "")
				}
				before := b.sid(at)
				b.leads(at, "GET "+back, "", "/read")
				w.dead(t, at, before)
				b.finds(gopher, "GET /private", `"Ada"`)
				if p := b.visit(node, "GET /read", ""); !strings.HasPrefix(p.body, `{"user":{"id":"Ada"},`) {
					t.Errorf("Node says %s", p.body)
				}
				if p := b.visit(at, "GET "+back, ""); p.status != http.StatusForbidden {
					t.Errorf("%s: the same callback once more: %d %s", at.name, p.status, p.body)
				}
				// Somebody else's callback.
				stranger := w.visitor(t)
				theirs := begins(stranger, at)
				victim := w.visitor(t)
				if p := victim.visit(at, "GET "+theirs, ""); p.status != http.StatusForbidden {
					t.Errorf("%s: a callback that this browser has not begun: %d %s", at.name, p.status, p.body)
				}
				begins(victim, at)
				if p := victim.visit(at, "GET "+theirs, ""); p.status != http.StatusForbidden {
					t.Errorf("%s: another one's callback: %d %s", at.name, p.status, p.body)
				}
			}
		})
	}
}
