package merging_test

import (
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Each of the two changes fits, both together do not.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 500)
	mine := func(s *kit.Session) { s.UserID = long }
	theirs := func(s *kit.Session) { s.Flash = long }
	cfg := sessions.Config{MaxSize: 1000}
	eachOnRedis(t, func(t *testing.T, s setup) {
		for _, verb := range []string{"Save", "Renew", "Update"} {
			t.Run("K7 C7 "+verb+" whose merged record is too large is refused, and the stored one stays", func(t *testing.T) {
				p := open(t, s, cfg, ann)
				ctx, live := p.load(t, theirs)
				stored := kit.RecordUnder(t, p.all, p.token)
				mine(live)
				more := func(s *kit.Session) { s.Views++ }
				kit.WantErr(t, verb, p.call(ctx, verb, more), sessions.ErrTooLarge)
				if got := kit.RecordUnder(t, p.all, p.token); got != stored {
					t.Errorf("stored is %q, was %q", got, stored)
				}
				p.wantLeft(t, 1, 0)
				if live.UserID != long || live.Flash != "" || live.Views != 1 {
					t.Errorf("*T is %+v", *live)
				}
				live.UserID = "short"
				kit.Must(t, p.call(ctx, verb, more))
				p.token = p.tokenAfter(t, ctx, verb)
				if got := p.stored(t); got.UserID != "short" || got.Flash != long {
					t.Errorf("after it was mended stored is %+v", got)
				}
			})
		}
		t.Run("K7 C7 the request is answered by 500", func(t *testing.T) {
			p := open(t, s, cfg, ann)
			if res := p.serve(t, mine, theirs); res.StatusCode != 500 {
				t.Errorf("%d", res.StatusCode)
			}
			if got := p.stored(t); got.Flash != long || got.UserID != "ann" {
				t.Errorf("stored is %+v", got)
			}
		})
	})
}
