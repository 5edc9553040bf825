package load_test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A fault of an answer: what no client may see, whatever has happened to the store.
type fault string

const (
	foreign    fault = "another browser's page"
	lost       fault = "an acknowledged change is lost"
	invented   fault = "a change that nobody has sent"
	revived    fault = "an ended session works"
	beyond     fault = "a session beyond its Lifetime or its user's limit"
	leaked     fault = "a token or a value in a log"
	cookied    fault = "an error that sends a cookie"
	unexpected fault = "an unexpected answer"
)

// allowed is what a scenario takes from the promises, as docs/redis.md says.
type allowed struct {
	loss     bool // keys vanish: whoever loses theirs is signed out
	rollback bool // a failover undoes the last writes: counted, and no wrong answer
	unlisted bool // indexes vanish: until a session is listed again no list, limit or revocation knows it
}

// An oracle knows what each browser has been told. Its methods are for all workers at once.
type oracle struct {
	allowed
	life  time.Duration // Config.Lifetime
	limit int           // Config.MaxPerOwner

	mu         sync.Mutex
	wrong      map[fault][]string
	rolledBack int
	tokens     []string // all that were ever sent
	dead       []deadToken
	deadIDs    map[string]time.Time
	users      map[string]*user
	stats
}

// A deadToken is refused from the time on when its end was acknowledged.
type deadToken struct {
	token, why string
	of         *login
}

type user struct {
	logins []*login // that are not known to have ended
	sweeps int      // sign-ins and /revoke-others under way: either may end a login that begins meanwhile
}

// A login is one session from its sign-in on, as its browser knows it. The oracle's lock guards it.
type login struct {
	user, seat string
	tokens     []string // the last one is valid
	id         string

	asked, born time.Time // its last sign-in was sent, and acknowledged; a zero born is unknown
	count, a, b bounds

	uncertain bool // what may have ended it was not answered, or was another one's sign-in beyond the limit
	pending   int  // operations under way that may end or renew it
	verbs     int  // those that are done
	signing   bool // a SignIn is under way
	signs     int  // how many there were
	renewing  bool
	leaving   int // sign-outs under way
	dead      bool
}

func (l *login) token() string { return l.tokens[len(l.tokens)-1] }

// bounds are those of a number that only grows: what was seen, how many changes were acknowledged, and how many sent. But a request without
// an answer may still be under way, and set a field to what it was before: late are those values.
type bounds struct {
	floor, acked, sent int
	late               map[int]bool
}

func newOracle(a allowed, life time.Duration, limit int) *oracle {
	return &oracle{
		allowed: a, life: life, limit: limit,
		wrong: map[fault][]string{}, deadIDs: map[string]time.Time{}, users: map[string]*user{},
	}
}

// blame notes a wrong answer. What a failover may undo is counted apart if the scenario has one.
func (o *oracle) blame(f fault, format string, args ...any) {
	if o.rollback && (f == lost || f == revived || f == beyond) {
		o.rolledBack++
		return
	}
	o.wrong[f] = append(o.wrong[f], fmt.Sprintf(format, args...))
}

func (o *oracle) report(f fault, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blame(f, format, args...)
}

// wrongs returns how many wrong answers there were, and of each kind the first ones.
func (o *oracle) wrongs() (n int, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for f, all := range o.wrong {
		n += len(all)
		text += fmt.Sprintf("%s, %d times, as in:\n", f, len(all))
		for _, one := range all[:min(3, len(all))] {
			text += "\t" + one + "\n"
		}
	}
	return n, text
}

// A request is one under way, with what was known when it began.
type request struct {
	op      string
	of      *login
	token   string
	start   time.Time
	floors  [3]int
	verbs   int
	value   int      // of /a and /b: how often its tab, which alone changes the field, has sent one
	targets []*login // that it may end or renew
	signs   []int    // how many sign-ins each of them has had; -1: one is under way
}

// begin says what is about to be sent, and whether it may be: some pairs of verbs at the same time have no order that
// the answers tell, so that nothing could be concluded.
func (o *oracle) begin(op string, l *login, others ...*login) (request, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.dead {
		return request{}, false
	}
	// Where the mark of a renewal may be evicted, a sign-out that meets a renewal may miss the session (docs/redis.md).
	switch op {
	case "/renew":
		if l.signing || l.renewing || o.loss && l.leaving > 0 {
			return request{}, false
		}
		l.renewing = true
	case "/signin":
		if l.signing || l.renewing || l.leaving > 0 {
			return request{}, false
		}
		l.signing = true
		l.signs++
		l.asked, l.born = time.Now(), time.Time{}
		o.crowd(l)
		o.users[l.user].sweeps++
	case "/signout":
		if l.signing || o.loss && l.renewing {
			return request{}, false
		}
		l.leaving++
	case "/count":
		l.count.sent++
	case "/a":
		l.a.sent++
	case "/b":
		l.b.sent++
	case "/revoke-others":
		u := o.users[l.user]
		u.sweeps++
		for _, other := range u.logins {
			other.uncertain = other.uncertain || len(other.tokens) == 0
		}
	}
	r := request{
		op: op, of: l, token: l.token(), start: time.Now(), verbs: l.verbs,
		floors: [3]int{l.count.floor, l.a.floor, l.b.floor}, targets: others,
		value: map[string]int{"/a": l.a.sent, "/b": l.b.sent}[op],
	}
	if op == "/renew" || op == "/signin" || op == "/signout" {
		r.targets = []*login{l}
	}
	for _, target := range r.targets {
		target.pending++
		if target.signing {
			r.signs = append(r.signs, -1)
		} else {
			r.signs = append(r.signs, target.signs)
		}
	}
	return r, true
}

// end takes the answer. It tells whether the login is of use to its browser any more.
func (o *oracle) end(r request, a answer) (useful bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := r.of
	o.check(r.op, a)
	switch r.op {
	case "/renew":
		l.renewing = false
	case "/signin":
		l.signing = false
		o.users[l.user].sweeps--
	case "/signout":
		l.leaving--
	case "/revoke-others":
		o.users[l.user].sweeps--
	case "/a":
		l.a.missed(a, r.value)
	case "/b":
		l.b.missed(a, r.value)
	}
	for _, target := range r.targets {
		target.pending--
		target.verbs++
		target.uncertain = target.uncertain || a.unknown()
	}
	switch {
	case a.status == 200:
		o.succeeded(r, a)
	case a.status == 401:
		if r.token != l.token() {
			return true // another tab has the new one
		}
		if !o.mayHaveEnded(r) {
			o.lose(l, "%s is signed out at %s", l.seat, r.op)
		}
		return false
	}
	return true
}

// missed notes a value whose request has no answer.
func (b *bounds) missed(a answer, value int) {
	if a.status == 0 {
		if b.late == nil {
			b.late = map[int]bool{}
		}
		b.late[value] = true
	}
}

// mayHaveEnded tells whether something that was sent, or time, explains that the login of r is none any more.
func (o *oracle) mayHaveEnded(r request) bool {
	l := r.of
	return l.uncertain || l.pending > 0 || l.verbs != r.verbs || l.dead || time.Since(l.asked) >= o.life
}

// lose notes that something acknowledged is gone.
func (o *oracle) lose(l *login, format string, args ...any) {
	if !o.loss {
		o.blame(lost, format, args...)
	}
	l.uncertain = true
}

func (o *oracle) succeeded(r request, a answer) {
	l := r.of
	switch r.op {
	case "/signout":
		o.kill(l, "/signout")
		return
	case "/signin":
		if l.id != a.page.ID { // it had ended, and this is another session, with what the request had of the old one
			l.id = a.page.ID
			l.count.floor, l.a.floor, l.b.floor, l.count.acked = 0, 0, 0, a.page.Session.Count
			r.floors = [3]int{}
		}
		l.born = time.Now()
	}
	if a.page.Session.Seat != l.seat || a.page.Session.User != l.user {
		o.blame(foreign, "%s at %s sees the page of %q", l.seat, r.op, a.page.Session.Seat)
		return
	}
	if !l.born.IsZero() && r.op != "/signin" && l.born.Before(r.start) && r.start.Sub(l.born) > o.life {
		o.blame(beyond, "%s works %v after its sign-in", l.seat, r.start.Sub(l.born))
	}
	own := map[string]int{"/count": 0, "/a": 1, "/b": 2}
	for i, number := range []struct {
		name string
		*bounds
		got int
	}{{"count", &l.count, a.page.Session.Count}, {"a", &l.a, a.page.Session.A}, {"b", &l.b, a.page.Session.B}} {
		floor := r.floors[i]
		if mine, ok := own[r.op]; ok && mine == i {
			floor++
		}
		if number.late[number.got] {
			number.floor = min(number.floor, number.got)
		} else if number.got < floor {
			o.lose(l, "%s: %s is %d after %d", l.seat, number.name, number.got, floor)
			number.floor, number.acked = number.got, number.got // each loss counts once
		}
		if number.got > number.sent {
			o.blame(invented, "%s: %s is %d, and %d were sent", l.seat, number.name, number.got, number.sent)
		}
		if a.page.ID == l.id {
			if r.op == "/count" && i == 0 {
				number.acked++
			}
			number.floor = max(number.floor, number.got, number.acked)
		}
	}
	switch r.op {
	case "/renew", "/signin":
		o.renewed(l, r.token, a.cookie)
	case "/revoke", "/revoke-others":
		for i, target := range r.targets {
			if !o.unlisted && r.signs[i] == target.signs && !target.signing {
				o.kill(target, r.op+" by "+l.seat)
			} else {
				target.uncertain = true
			}
		}
	case "/devices":
		o.listed(r, a)
	}
}

// renewed takes the new token of a login.
func (o *oracle) renewed(l *login, old, token string) {
	if token == "" {
		o.blame(unexpected, "%s is renewed without a cookie", l.seat)
		return
	}
	o.tokens = append(o.tokens, token)
	o.dead = append(o.dead, deadToken{old, "a renewal", l})
	l.tokens = append(l.tokens, token)
	if l.dead { // its sign-out has met the renewal, and ended what that made
		o.dead = append(o.dead, deadToken{token, "a sign-out that met its renewal", l})
	}
}

func (o *oracle) listed(r request, a answer) {
	if o.unlisted {
		return
	}
	if len(a.page.List) > o.limit {
		o.blame(beyond, "%s has %d sessions", r.of.user, len(a.page.List))
	}
	if !slices.Contains(a.page.List, a.page.ID) && !o.mayHaveEnded(r) {
		o.lose(r.of, "%s is not on its own list", r.of.seat)
	}
	for _, id := range a.page.List {
		if at, ok := o.deadIDs[id]; ok && at.Before(r.start) {
			o.blame(revived, "%s lists %s, which has ended", r.of.user, id)
		}
	}
}

// kill notes that a login has ended, and that this was acknowledged.
func (o *oracle) kill(l *login, why string) {
	if l.dead {
		return
	}
	l.dead = true
	o.dead = append(o.dead, deadToken{l.token(), why, l})
	if !l.uncertain && l.signs == 0 && l.pending == 0 {
		o.deadIDs[l.id] = time.Now()
	}
	u := o.users[l.user]
	u.logins = slices.DeleteFunc(u.logins, func(other *login) bool { return other == l })
}

// crowd notes that a sign-in of the user of l may end other sessions, because there may be too many.
func (o *oracle) crowd(l *login) {
	u := o.users[l.user]
	if u == nil {
		u = &user{}
		o.users[l.user] = u
	}
	if len(u.logins) >= o.limit {
		for _, other := range u.logins {
			other.uncertain = true
		}
	}
}

// signIn begins a login. It counts among its user's from here on, since it may be stored without an answer.
func (o *oracle) signIn(name, seat string) *login {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := &login{user: name, seat: seat, asked: time.Now()}
	o.crowd(l)
	u := o.users[name]
	l.uncertain = u.sweeps > 0
	u.sweeps++
	u.logins = append(u.logins, l)
	return l
}

// signedIn takes the answer to a sign-in without a session.
func (o *oracle) signedIn(l *login, a answer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.check("/signin", a)
	o.users[l.user].sweeps--
	if a.status != 200 {
		return false
	}
	if a.cookie == "" || a.page.Session.Seat != l.seat {
		o.blame(unexpected, "a sign-in gives no cookie, or the page of %q", a.page.Session.Seat)
		return false
	}
	l.id, l.tokens, l.born = a.page.ID, []string{a.cookie}, time.Now()
	o.tokens = append(o.tokens, a.cookie)
	return true
}

// others are the user's other logins that have been acknowledged.
func (o *oracle) others(l *login) []*login {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []*login
	for _, other := range o.users[l.user].logins {
		if other != l && len(other.tokens) > 0 {
			found = append(found, other)
		}
	}
	return found
}

// buried takes the answer to a request with a dead token.
func (o *oracle) buried(d deadToken, a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.check("/", a)
	if a.status == 200 {
		o.blame(revived, "a token of %s works after %s", d.of.seat, d.why)
	}
}

// check is about any answer.
func (o *oracle) check(op string, a answer) {
	o.note(a)
	switch a.status {
	case 0, 200, 401, 404, 409, 503:
	default:
		o.blame(unexpected, "%d at %s: %s", a.status, op, a.body)
	}
	if a.status >= 500 && a.cookie != "" {
		o.blame(cookied, "%d at %s", a.status, op)
	}
}
