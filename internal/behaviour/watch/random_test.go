package watch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Random renewals, ends, changes of owner, watches and outages. At each moment exactly those watches have ended whose
// session has, an interval ago in which the store has answered.
func TestRandom(t *testing.T) {
	t.Parallel()
	runs := 200
	if testing.Short() {
		runs = 20
	}
	for i := range runs {
		s := stores[i%len(stores)]
		kit.Bubble(t, fmt.Sprintf("O15 O16 run %d on %s", i, s.name), func(t *testing.T) {
			random(t, newHost[account](t, kit.Memory(), sessions.Config{IdleTimeout: -1}, s.edit), rand.New(rand.NewPCG(1, uint64(i))))
		})
	}
}

type watched struct {
	ctx   context.Context
	stop  func()
	ended time.Time // when its session has; zero if it has not
}

func random(t *testing.T, h *host[account], rnd *rand.Rand) {
	type session struct {
		token   string
		watches []*watched
	}
	var live []*session
	var all []*watched
	defer func() {
		for _, w := range all {
			w.stop()
		}
	}()
	answers := time.Now() // since when the store answers; zero during an outage
	end := func(s *session) {
		for _, w := range s.watches {
			w.ended = time.Now()
		}
		s.watches = nil
	}
	for step := range 150 {
		if len(live) == 0 || rnd.IntN(10) == 0 {
			live = append(live, &session{token: h.edit("", user("ann"))})
		}
		i := rnd.IntN(len(live))
		s := live[i]
		switch what := rnd.IntN(14); {
		case what < 4 && !answers.IsZero():
			ctx, stop := h.watch(s.token)
			w := &watched{ctx: ctx, stop: stop}
			s.watches, all = append(s.watches, w), append(all, w)
		case what < 7:
			s.token = h.verb(s.token, "Renew")
		case what == 7 && !answers.IsZero():
			s.token = kit.Verb(t, h.mine, s.token, "Renew")
		case what == 8:
			s.token = h.edit(s.token, user(fmt.Sprint("u", step)))
			end(s)
		case what == 9:
			h.verb(s.token, "Destroy")
			end(s)
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		case what == 10 && len(s.watches) > 0:
			s.watches[0].stop()
			s.watches = s.watches[1:]
		case what == 11 && !answers.IsZero():
			answers = time.Time{}
			h.store.Fail(sessions.ErrUnavailable, "before LoadMany", "before Load", "before Members")
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(3*interval/2))) + 1)
		if answers.IsZero() && (h.store.NoOwners || rnd.IntN(10) == 0) { // without an index a mark must not be missed
			answers = time.Now()
			h.store.Heal()
		}
		for _, w := range all {
			over := context.Cause(w.ctx)
			switch {
			case over == sessions.ErrGone && w.ended.IsZero():
				t.Fatalf("step %d: a watch has ended, and its session has not", step)
			case over == nil && !w.ended.IsZero() && !answers.IsZero() && time.Since(w.ended) > interval && time.Since(answers) > interval:
				t.Fatalf("step %d: a watch goes on, and its session has ended %v ago", step, time.Since(w.ended))
			}
		}
	}
}
