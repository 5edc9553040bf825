package load_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An answer is what a client has of its request.
type answer struct {
	status int // 0: none
	page   page
	cookie string // the token that came with it
	body   string
	took   time.Duration
	ended  time.Time
	gaveUp bool // the client has hung up
}

// unknown tells whether what was asked for may have happened, or may yet.
func (a answer) unknown() bool { return a.status == 0 || a.status >= 500 }

// stats are what a scenario has seen, guarded by the oracle's lock.
type stats struct {
	sent, ok, refused, unavailable, unanswered, gaveUp int
	longest                                            time.Duration
	lastFailure                                        time.Time
}

func (s *stats) note(a answer) {
	s.sent++
	switch {
	case a.gaveUp:
		s.gaveUp++
	case a.status == 0:
		s.unanswered++
	case a.status >= 500:
		s.unavailable++
	case a.status >= 400:
		s.refused++
	default:
		s.ok++
	}
	if !a.gaveUp {
		s.longest = max(s.longest, a.took)
		if a.unknown() {
			s.lastFailure = a.ended
		}
	}
}

// A fleet is the sites and all their browsers.
type fleet struct {
	o       *oracle
	sites   []*site
	hangUps bool        // each third request is given up by its client within three milliseconds, while
	faulty  atomic.Bool // the fault lasts
	pause   time.Duration
	names   atomic.Int64
}

// patience is how long a client waits: longer than any answer should take.
const patience = 30 * time.Second

// send asks one of the sites. A token of "" sends no cookie.
func (f *fleet) send(path string, form url.Values, token string, mayHangUp bool) answer {
	wait := patience
	if mayHangUp = mayHangUp && f.hangUps && f.faulty.Load() && rand.IntN(3) == 0; mayHangUp {
		wait = rand.N(3 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	s := f.sites[rand.IntN(len(f.sites))]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(labelHeader, form.Get("seat"))
	if token != "" {
		req.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	start := time.Now()
	a := receive(s.rt, req)
	a.ended = time.Now()
	a.took = a.ended.Sub(start)
	a.gaveUp = mayHangUp && a.status == 0
	return a
}

func receive(rt http.RoundTripper, req *http.Request) (a answer) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}
	}
	a.status, a.body = resp.StatusCode, string(body)+resp.Header.Get(errorHeader)
	for _, c := range resp.Cookies() {
		if c.Name == cookieName && c.Value != "" {
			a.cookie = c.Value
		}
	}
	if a.status == http.StatusOK && len(body) > 0 && body[0] == '{' {
		if err := json.Unmarshal(body, &a.page); err != nil {
			return answer{}
		}
	}
	return a
}

// A browser belongs to a user, and its tabs share what it has been told.
type browser struct {
	*fleet
	user string // "" is a new one at each sign-in, whose sessions nobody else can end

	mu    sync.Mutex
	login *login // nil: signed out
}

func (b *browser) current() *login {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.login
}

func (b *browser) set(old, l *login) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.login == old {
		b.login = l
	}
}

// tab sends one request after the other until stop. field is the one that it alone changes, "/a" or "/b".
func (b *browser) tab(field string, stop <-chan struct{}) {
	pause := time.NewTicker(b.pause)
	defer pause.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pause.C:
			b.step(field)
		}
	}
}

func (b *browser) step(field string) {
	l := b.current()
	n := rand.IntN(100)
	switch {
	case n < 4:
		b.visit()
	case n < 10:
		b.exhume()
	case l == nil:
		b.signIn()
	case l.isUncertain(b.o) && n < 30: // of what may have ended nothing can be said, so take a new one
		b.set(l, nil)
	case n < 35:
		b.ask("/", field, l)
	case n < 60:
		b.ask("/count", field, l)
	case n < 82:
		b.ask(field, field, l)
	case n < 86:
		b.ask("/devices", field, l)
	case n < 90:
		b.ask("/renew", field, l)
	case n < 92:
		b.ask("/signin", field, l)
	case n < 94:
		b.ask("/signout", field, l)
	case n < 97:
		others := b.o.others(l)
		switch {
		case len(others) == 0:
		case n < 96:
			b.ask("/revoke", field, l, others[rand.IntN(len(others))])
		default:
			b.ask("/revoke-others", field, l, others...)
		}
	default:
		b.ask("/", field, l)
	}
}

func (l *login) isUncertain(o *oracle) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return l.uncertain || l.dead
}

// visit is a visitor without a cookie: nothing can be wrong with the page.
func (b *browser) visit() {
	a := b.send("/public", nil, "", false)
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	b.o.check("/public", a)
	if a.status != http.StatusOK || a.body != "welcome" || a.cookie != "" {
		b.o.blame(unexpected, "a visitor gets %d", a.status)
	}
}

// exhume tries a token that must be refused.
func (b *browser) exhume() {
	b.o.mu.Lock()
	if len(b.o.dead) == 0 {
		b.o.mu.Unlock()
		return
	}
	d := b.o.dead[max(0, len(b.o.dead)-1-rand.IntN(100))]
	b.o.mu.Unlock()
	b.o.buried(d, b.send("/", nil, d.token, false))
}

func (b *browser) signIn() {
	n := b.names.Add(1)
	name := b.user
	if name == "" {
		name = fmt.Sprint("user", n)
	}
	l := b.o.signIn(name, fmt.Sprintf("%s@%d", name, n))
	a := b.send("/signin", url.Values{"user": {l.user}, "seat": {l.seat}}, "", true)
	if b.o.signedIn(l, a) {
		b.set(nil, l)
	}
}

// ask sends one request of a signed-in browser.
func (b *browser) ask(op, field string, l *login, targets ...*login) {
	form := url.Values{"user": {l.user}, "seat": {l.seat}}
	r, ok := b.o.begin(op, l, targets...)
	if !ok {
		b.set(l, b.alive(l))
		return
	}
	if op == field {
		form.Set("v", fmt.Sprint(r.value))
	}
	if op == "/revoke" {
		form.Set("id", b.o.idOf(targets[0]))
	}
	if !b.o.end(r, b.send(op, form, r.token, true)) || op == "/signout" && l.isUncertain(b.o) {
		b.set(l, nil)
	}
}

// alive is l, unless it has ended.
func (b *browser) alive(l *login) *login {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if l.dead {
		return nil
	}
	return l
}

func (o *oracle) idOf(l *login) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return l.id
}

// start has the browsers send until the result is called: eight of a user each with two tabs, and three users with four
// browsers each, one more than Config.MaxPerOwner.
func (f *fleet) start() (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range 8 {
		b := &browser{fleet: f}
		running.Go(func() { b.tab("/a", stop) })
		running.Go(func() { b.tab("/b", stop) })
	}
	for _, name := range []string{"ann", "bob", "eve"} {
		for range perUser + 1 {
			b := &browser{fleet: f, user: name}
			running.Go(func() { b.tab("/a", stop) })
		}
	}
	return func() { close(stop); running.Wait() }
}

// audit asks once more for every login and every dead token, now that nothing is under way.
func (f *fleet) audit() {
	alive := map[string]int{}
	for name, u := range f.o.users {
		for _, l := range append([]*login(nil), u.logins...) {
			if len(l.tokens) == 0 {
				continue // nobody was told its token
			}
			r, ok := f.o.begin("/", l)
			if !ok {
				continue
			}
			a := f.insist(r.token)
			f.o.end(r, a)
			if a.status == http.StatusOK {
				alive[name]++
			}
		}
		if alive[name] > f.o.limit && !f.o.unlisted {
			f.o.report(beyond, "%s has %d sessions in the end", name, alive[name])
		}
	}
	f.o.mu.Lock()
	dead := f.o.dead[max(0, len(f.o.dead)-2000):]
	f.o.mu.Unlock()
	for _, d := range dead {
		f.o.buried(d, f.insist(d.token))
	}
}

// insist asks until somebody answers.
func (f *fleet) insist(token string) answer {
	for until := time.Now().Add(patience); ; {
		a := f.send("/", nil, token, false)
		if !a.unknown() || time.Now().After(until) {
			return a
		}
		time.Sleep(20 * time.Millisecond) // a pace, no wait for anything
	}
}
