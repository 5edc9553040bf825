package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A randomRequest runs verbs and changes in some order, against a store that
// may fail before an operation or after it. What it did is in its log.
type randomRequest struct {
	*kit.App
	t      *testing.T
	rnd    *rand.Rand
	faults bool // in the handler
	hit    bool // by one
	early  bool // the header may have gone before a verb
	log    []string
	events []sessions.EventKind
	errs   []error // of the verbs
	left   int     // the views in T, at the end
}

func newRandomRequest(t *testing.T, seed uint64) *randomRequest {
	q := &randomRequest{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	q.App = kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{
		SaveUninitialized: q.rnd.IntN(4) == 0, Rewrite: q.rnd.IntN(4) == 0,
		OnEvent: func(_ context.Context, e sessions.Event) {
			q.events = append(q.events, e.Kind)
			q.note("  event %v", e.Kind)
		},
	})
	return q
}

func (q *randomRequest) note(format string, args ...any) {
	q.log = append(q.log, fmt.Sprintf(format, args...))
}

func (q *randomRequest) fault(op, _ string) error {
	if q.rnd.IntN(6) > 0 {
		return nil
	}
	q.hit = true
	q.note("  fault of %s", op)
	return []error{sessions.ErrUnavailable, context.DeadlineExceeded}[q.rnd.IntN(2)]
}

// handle is the handler.
func (q *randomRequest) handle(w http.ResponseWriter, r *http.Request) {
	if q.faults {
		q.Store.Before, q.Store.After = q.fault, q.fault
	}
	ctx := r.Context()
	const flush, change = "Flush", "a change"
	steps := []string{"Save", "SignIn", "Remember", "Renew", "Reauthenticate", "Destroy", "Reload", "Touch", flush, change, change}
	for range 1 + q.rnd.IntN(6) {
		var err error
		step := steps[q.rnd.IntN(len(steps))]
		switch step {
		case change:
			q.FromContext(ctx).Views = q.rnd.IntN(1000) + 2
		case flush:
			q.early = true
			err = http.NewResponseController(w).Flush()
		case "Reauthenticate":
			if q.Info(ctx).AuthenticatedAt.IsZero() {
				continue // nobody has signed in
			}
			err = q.Reauthenticate(ctx)
		default:
			err = kit.Call(q.Manager, ctx, step)
		}
		q.note("%s = %v", step, err)
		if err != nil {
			q.errs = append(q.errs, err)
		}
	}
	q.left = q.FromContext(ctx).Views
}

// run sends the request and judges the answer.
func (q *randomRequest) run() (wrong []string) {
	before := ""
	if q.rnd.IntN(3) > 0 {
		before = q.Seed(1)
	}
	q.faults = q.rnd.IntN(3) > 0
	q.events = nil
	res := kit.Serve(q.Manager.Handler(http.HandlerFunc(q.handle)), kit.With(before, "/"))
	q.Store.Before, q.Store.After = nil, nil
	cookies := res.Cookies()
	q.note("answer %d with %d cookies", res.StatusCode, len(cookies))

	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, err := range q.errs {
		committed := errors.Is(err, sessions.ErrCommitted)
		if !committed && !errors.Is(err, sessions.ErrUnavailable) && !errors.Is(err, sessions.ErrGone) {
			say("nobody expects the error %v", err)
		}
		if !committed && !q.hit {
			say("%v without a fault", err)
		}
	}
	if len(cookies) > 1 {
		say("%d cookies", len(cookies))
	}
	after := before // what the browser holds
	for _, c := range cookies {
		switch after = c.Value; {
		case c.MaxAge < 0:
			after = ""
		case after == "":
			say("a cookie without a value that is no expiry")
		}
	}
	if res.StatusCode != http.StatusOK || len(wrong) > 0 {
		return wrong
	}
	fine := len(q.errs) == 0
	if sent := after != "" && after != before; sent && !q.early && (fine || !q.hit) {
		if !kit.Alive(q.t, q.Manager, after) {
			say("the cookie is of a session that is no more")
		}
	}
	if fine && after != "" && after != before && before != "" && kit.Alive(q.t, q.Manager, before) {
		say("the old token lives beside the new one")
	}
	if fine && !q.hit && !slices.Contains(q.events, sessions.EventLateChange) {
		stored := 0
		if after != "" {
			stored = q.Views(after)
		}
		if stored != q.left {
			say("the store has %d views, the handler left %d", stored, q.left)
		}
	}
	return wrong
}

func TestVerbsAtRandom(t *testing.T) {
	t.Parallel()
	t.Run("L13 F2 whatever verbs a request runs and the store answers, the cookie, the store and the verbs agree", func(t *testing.T) {
		first := rand.Uint64() // to be set to the seed of a failure
		rounds := uint64(2000)
		if testing.Short() || kit.RaceEnabled {
			rounds /= 5
		}
		for n := range rounds {
			seed := first + n
			q := newRandomRequest(t, seed)
			if wrong := q.run(); len(wrong) > 0 {
				t.Fatalf("seed %d: %s\n%s", seed, strings.Join(wrong, "; "), strings.Join(q.log, "\n"))
			}
		}
	})
}
