package node_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/express"
)

// Sids as an app's genid may draw them, up to what a browser's cookie can hold.
func TestLongSids(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, length := range []int{200, 201, 255, 1000, 2900} {
		o := express.Options{
			Secrets: []string{"keyboard cat"}, Rolling: true, Prefix: strings.Repeat("prefix:", 50), Cookie: express.Cookie{MaxAge: quarter},
			NewID: func() (string, error) {
				b := make([]byte, length)
				_, _ = rand.Read(b) // never fails
				return hex.EncodeToString(b)[:length], nil
			},
		}
		a := inNode("10", o)
		a.Session["genid"] = length
		p := &pair{w, w.startNode(t, a), w.startGo(t, o)}
		for _, first := range p.both() {
			second := p.other(first)
			t.Run(fmt.Sprintf("R18 %d bytes, begun in %s", length, first.name), func(t *testing.T) {
				b := w.browser(t)
				b.ask(first, "GET /count")
				sid := b.sid(first)
				if len(sid) != length {
					t.Fatalf("the sid has %d bytes", len(sid))
				}
				for n, at := range []*site{second, first, second} {
					if got := b.ask(at, "GET /count").views(t); got != n+2 || b.sid(first) != sid {
						t.Errorf("%s: %d views, want %d", at.name, got, n+2)
					}
				}
				w.lives(t, first, sid, quarter)
				b.ask(p.gopher, "POST /signin")
				w.dead(t, first, sid)
				if got := b.ask(p.node, "GET /count").views(t); got != 5 || len(b.sid(first)) != length {
					t.Errorf("after Go's sign-in: %d views", got)
				}
				sid = b.sid(first)
				b.ask(p.gopher, "POST /destroy")
				w.dead(t, first, sid)
			})
		}
	}
}
