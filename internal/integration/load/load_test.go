package load_test

import (
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

var (
	lasts = flag.Duration("load.for", 500*time.Millisecond, "how long each fault lasts; the load goes on as long before and after it")
	write = flag.Bool("load.write", false, "write the table of docs/faults.md")
)

func TestMain(m *testing.M) { kit.Main(m) }

// A setting is what a load runs on.
type setting struct {
	allowed
	codec   sessions.Codec
	stores  []sessions.Store // of one process each
	life    time.Duration    // Config.Lifetime; 0 is longLife
	limit   int              // Config.MaxPerOwner; 0 is perUser
	edit    func(c *sessions.Config, faulty *atomic.Bool)
	wrap    func(*site, http.Handler) http.Handler // nil: the routes as they are
	hangUps bool
}

// newFleet starts the sites, the last one with HTTP/2. check ends them, and searches what they have logged.
func newFleet(t *testing.T, s setting) (f *fleet, check func()) {
	t.Helper()
	if s.life == 0 {
		s.life = longLife
	}
	logged := &journal{}
	f = &fleet{o: newOracle(s.allowed, s.life, perUser), hangUps: s.hangUps, pause: 10 * time.Millisecond}
	for i, store := range s.stores {
		f.sites = append(f.sites, newSite(t, store, s.codec, logged, i == len(s.stores)-1, func(c *sessions.Config) {
			c.Lifetime = s.life
			if s.limit != 0 {
				c.MaxPerOwner = s.limit
			}
			if s.edit != nil {
				s.edit(c, &f.faulty)
			}
		}, s.wrap))
	}
	return f, func() { f.o.search(logged.text()) }
}

// word is what a token may be part of.
var word = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)

// search looks for tokens, or most of one, and for values of sessions.
func (o *oracle) search(log []byte) {
	const part = 16
	o.mu.Lock()
	defer o.mu.Unlock()
	known := map[string]bool{}
	for _, token := range o.tokens {
		known[token[8:8+part]] = true
	}
	for _, w := range word.FindAll(log, -1) {
		for i := range len(w) - part + 1 {
			if known[string(w[i:i+part])] {
				o.blame(leaked, "%s", w)
			}
		}
	}
	for _, at := range regexp.MustCompile(secretWord+`.{0,20}`).FindAll(log, -1) {
		o.blame(leaked, "%s", at)
	}
}

// TestFaults runs each scenario, and prints the table.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers for a minute or two; not with -short")
	}
	var rows []row
	for i, sc := range scenarios {
		t.Run(sc.proves+" "+sc.name, func(t *testing.T) {
			codec := []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}[i%2]
			rows = append(rows, sc.run(t, codec))
		})
	}
	t.Logf("\n%s", table(rows))
	if *write && !t.Failed() {
		writePage(t, table(rows))
	}
}

// run returns when the load is over, and every answer has been judged.
func (sc *scenario) run(t *testing.T, codec sessions.Codec) row {
	servers := sc.on(t)
	s := sc.setting
	s.codec = codec
	for i := range 3 {
		s.stores = append(s.stores, sessions.NewRedisStore(servers.client(t, i), sc.redis))
	}
	f, check := newFleet(t, s)
	end := f.start()
	<-time.After(*lasts)
	f.faulty.Store(true)
	if sc.fault != nil {
		sc.fault(t, servers, *lasts)
	} else {
		<-time.After(*lasts)
	}
	f.faulty.Store(false)
	healed := time.Now()
	<-time.After(*lasts)
	redistest.Eventually(t, "answers without a failure", func() bool { return f.quiet(*lasts) })
	end()
	f.audit()
	check()
	n, text := f.o.wrongs()
	if n > 0 {
		t.Errorf("%d wrong answers:\n%s", n, text)
	}
	r := row{sc: sc, stats: f.o.stats, rolledBack: f.o.rolledBack, wrong: n}
	if r.lastFailure.After(healed) {
		r.recovered = r.lastFailure.Sub(healed)
	}
	if r.ok == 0 {
		t.Error("nothing was answered with success")
	}
	if sc.bites != nil {
		if err := sc.bites(r); err != nil {
			t.Errorf("the fault has not been one: %v", err)
		}
	}
	return r
}

// quiet tells whether no request has failed for so long.
func (f *fleet) quiet(d time.Duration) bool {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	return time.Since(f.o.lastFailure) > d
}

// some is what a scenario has to see: a fault that nobody notices has not been one.
func some(r row) error {
	if r.unavailable+r.unanswered == 0 {
		return fmt.Errorf("no request has failed")
	}
	return nil
}
