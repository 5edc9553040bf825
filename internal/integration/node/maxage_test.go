package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// What Node's cookie.maxAge and Go's Info.IdleUntil say is left of a session.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, maxAge := range []time.Duration{quarter, 0} {
		for _, ttl := range []time.Duration{0, 2 * time.Hour} {
			p := w.pair(t, "10", express.Options{Secrets: []string{"keyboard cat"}, TTL: ttl, Cookie: express.Cookie{MaxAge: maxAge}})
			left := func(t *testing.T, what string, a answer) {
				t.Helper()
				want := maxAge
				switch {
				case maxAge == 0 && a.By == "node":
					if a.MaxAge != nil {
						t.Errorf("%s: node says %v, want null", what, *a.MaxAge)
					}
					return
				case maxAge == 0 && ttl > 0:
					want = ttl
				case maxAge == 0:
					want = 24 * time.Hour
				}
				if a.MaxAge == nil || time.Duration(*a.MaxAge)*time.Millisecond > want || time.Duration(*a.MaxAge)*time.Millisecond < want-time.Second {
					t.Errorf("%s: %s says %v, want %v", what, a.By, a.MaxAge, want)
				}
			}
			for _, first := range p.both() {
				t.Run(fmt.Sprintf("L27 maxAge %v, ttl %v, begun in %s", maxAge, ttl, first.name), func(t *testing.T) {
					b := w.browser(t)
					for _, at := range p.both() {
						left(t, "on the first visit", b.ask(at, "GET /read"))
					}
					left(t, "on a visit that begins a session", b.ask(first, "GET /count"))
					for _, at := range p.both() {
						b.ask(at, "GET /count") // Node goes by what is stored, which a read leaves alone
						for _, reader := range p.both() {
							left(t, "in a session that "+at.name+" has just stored", b.ask(reader, "GET /read"))
						}
					}
				})
			}
		}
	}
}
