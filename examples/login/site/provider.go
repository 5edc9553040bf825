package site

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// provider is the other site of an OAuth sign-in. It knows two people, believes every browser that it is one of them, and
// keeps no session. It is here so that the example needs no network: nothing of it is to be copied.
type provider struct {
	http.ServeMux
	began time.Time // when the two of them have signed in there

	mu     sync.Mutex
	grants map[string]grant // by code
}

// claims are what the provider tells of a user.
type claims struct {
	Subject, Name, Email string
	AuthTime             time.Time
}

// A grant is what a code stands for.
type grant struct {
	claims
	client, redirect, challenge string
	expires                     time.Time
}

var people = []claims{
	{Subject: "1906", Name: "Grace Hopper", Email: "grace@demo-id.example"},
	{Subject: "1912", Name: "Alan Turing", Email: "alan@demo-id.example"},
}

func newProvider() *provider {
	p := &provider{began: time.Now(), grants: map[string]grant{}}
	p.HandleFunc("GET /provider/authorize", p.ask)
	p.HandleFunc("POST /provider/authorize", p.answer)
	return p
}

// registered refuses a request of a client or for an address that nobody has registered: that address gets nothing.
func registered(w http.ResponseWriter, q url.Values) bool {
	if q.Get("client_id") == clientID && q.Get("redirect_uri") == redirectURI && q.Get("code_challenge_method") == "S256" {
		return true
	}
	writePage(w, http.StatusBadRequest, "error", view{Page: problem{"Demo ID", "This application is not registered."}})
	return false
}

func (p *provider) ask(w http.ResponseWriter, r *http.Request) {
	if !registered(w, r.URL.Query()) {
		return
	}
	writePage(w, http.StatusOK, "provider", view{Page: struct {
		People []claims
		Query  url.Values
	}{people, r.URL.Query()}})
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !registered(w, r.PostForm) {
		return
	}
	back := url.Values{"state": {r.PostForm.Get("state")}}
	i := slices.IndexFunc(people, func(c claims) bool { return c.Subject == r.PostForm.Get("subject") })
	if i < 0 {
		back.Set("error", "access_denied")
	} else {
		g := grant{people[i], clientID, redirectURI, r.PostForm.Get("code_challenge"), time.Now().Add(time.Minute)}
		g.AuthTime = p.began
		if r.PostForm.Get("max_age") == "0" {
			g.AuthTime = time.Now() // it would have asked for the password again
		}
		code := rand.Text()
		p.mu.Lock()
		p.grants[code] = g
		p.mu.Unlock()
		back.Set("code", code)
	}
	http.Redirect(w, r, redirectURI+"?"+back.Encode(), http.StatusSeeOther)
}

var errGrant = errors.New("demo id: invalid_grant")

// exchange is the token endpoint: a code is good once, for the client that can say what the challenge was made of.
func (p *provider) exchange(code, verifier, client, redirect string) (claims, error) {
	p.mu.Lock()
	g, ok := p.grants[code]
	delete(p.grants, code)
	p.mu.Unlock()
	if !ok || time.Now().After(g.expires) || g.client != client || g.redirect != redirect ||
		subtle.ConstantTimeCompare([]byte(challenge(verifier)), []byte(g.challenge)) != 1 {
		return claims{}, errGrant
	}
	return g.claims, nil
}
