package protocol_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// A walk lets requests of two processes work on one session in every order of their commands. Each command
// waits until the walk lets it go, and one of them may lose its reply. A run is a list of such choices, and
// the runs are the leaves of their tree, which is walked depth first.
//
// A command on a key that no other request can know yet, such as a copy before the swap for its mark, goes at once: what
// the others do before it or behind it is the same.
type walk struct {
	*fixture
	faults []string // that a command may have: one command of a run at the most

	requests []*request
	public   map[string]bool // keys that more than one request can know
	fault    bool            // one has happened
	trace    []string

	path, width []int // the choices of this run and of how many
	depth       int
}

// A request loads the session and runs verbs.
type request struct {
	name    string
	process int
	verbs   []string
	s       *protocol.Session

	key     string // of the command that waits
	command string
	parked  atomic.Bool // what is above is valid
	writes  atomic.Bool // it is in a Write
	ended   atomic.Bool
	let     chan string // go, with that fault
	results []string    // of the verbs
}

type requestKey struct{}

// walkTimeout is more than a run takes, and less than a mark lives.
const walkTimeout = 4 * time.Second

// pick chooses one of n.
func (w *walk) pick(n int) int {
	if w.depth == len(w.path) {
		w.path, w.width = append(w.path, 0), append(w.width, n)
	}
	if w.width[w.depth] != n {
		w.t.Fatalf("the same choices have led to another state: %q", w.trace)
	}
	w.depth++
	return w.path[w.depth-1]
}

// next goes to the next leaf, if there is one.
func (w *walk) next() bool {
	w.depth = 0
	for n := len(w.path) - 1; n >= 0; n-- {
		if w.path[n]++; w.path[n] < w.width[n] {
			w.path, w.width = w.path[:n+1], w.width[:n+1]
			return true
		}
	}
	return false
}

// wait parks the request until its command may go.
func (w *walk) wait(ctx context.Context, command, key string, apply func() error) error {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return apply()
	}
	r.command, r.key = command, key
	r.parked.Store(true)
	switch <-r.let {
	case "notApplied":
		return notApplied(nil, ctx, apply)
	case "lost":
		return lost(nil, ctx, apply)
	case "repeated":
		_ = apply()
		return w.wait(ctx, command, key, apply)
	}
	return apply()
}

// parking is the store that the requests see.
type parking struct{ w *walk }

func (g parking) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = g.w.wait(ctx, "load", key, func() (err error) {
		data, left, err = g.w.memory.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (g parking) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return g.w.wait(ctx, "create", key, func() error { return g.w.memory.Create(ctx, key, data, ttl) })
}

func (g parking) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	err = g.w.wait(ctx, "swap", key, func() (err error) {
		if current, err = g.w.memory.CompareAndSwap(ctx, key, prefix, data, ttl); err == nil && data != nil {
			r, _ := g.w.layout.Open(data)
			g.w.public[string(r.Successor)] = true
		}
		return err
	})
	return current, err
}

func (g parking) Delete(ctx context.Context, key string) error {
	return g.w.wait(ctx, "drop", key, func() error { return g.w.memory.Delete(ctx, key) })
}

// run plays one run: a request for each of the verbs, in that process.
func (w *walk) run(verbs []string, processes []int) {
	w.entries = map[string]entry{}
	w.put("old", rec{payload: "a"})
	w.requests, w.public, w.fault, w.trace = nil, map[string]bool{"old": true}, false, nil
	drawn := 0
	engines := map[int]*protocol.Engine{}
	for i, v := range verbs {
		e := engines[processes[i]]
		if e == nil {
			cfg := w.config(fmt.Sprint("p", processes[i]), parking{w}, func() (string, error) {
				drawn++
				return fmt.Sprint("new", drawn), nil
			})
			cfg.Timeout = walkTimeout
			e = protocol.New(cfg)
			engines[processes[i]] = e
		}
		r := &request{name: string(rune('A' + i)), process: processes[i], verbs: strings.Fields(v), s: &protocol.Session{}, let: make(chan string)}
		r.s.Init(e, &application{})
		w.requests = append(w.requests, r)
	}
	for _, r := range w.requests {
		go r.play(context.WithValue(w.ctx, requestKey{}, r))
		synctest.Wait() // so that two of one process always queue in the same order
	}
	for w.step() {
	}
}

func (r *request) play(ctx context.Context) {
	defer r.ended.Store(true)
	_ = r.s.Load(ctx, []string{"old"}, protocol.AtOnce) // it has no faults
	for i, verb := range r.verbs {
		switch {
		case verb == "destroy":
			had, err := r.s.Destroy(ctx)
			r.results = append(r.results, fmt.Sprint(name(err), " ", had))
			return
		case r.s.HasEnded(), !r.s.Stored():
			r.results = append(r.results, "over")
			continue
		}
		letter := fmt.Sprint(r.name, i)
		c := edit(letter)
		if verb == "renew" {
			c = renew(letter)
		}
		r.writes.Store(true)
		result, err := r.s.Write(ctx, protocol.Change{Composer: &composer{steps: []compose{c}}})
		r.writes.Store(false)
		r.results = append(r.results, resultOf(result, err))
	}
}

// step lets one command go, if one waits.
func (w *walk) step() bool {
	time.Sleep(10 * time.Millisecond) // so that a pause after it has a length
	synctest.Wait()
	for w.pauses() {
		time.Sleep(walkTimeout / 16) // as long as a pause can be
		synctest.Wait()
	}
	parked := slices.DeleteFunc(slices.Clone(w.requests), func(r *request) bool { return !r.parked.Load() })
	if len(parked) == 0 {
		return false
	}
	i := slices.IndexFunc(parked, func(r *request) bool { return !w.public[r.key] })
	if i < 0 {
		i = w.pick(len(parked))
	}
	r := parked[i]
	fault := ""
	if w.faults != nil && !w.fault && r.command != "load" { // a load has rows of its own
		if n := w.pick(len(w.faults) + 1); n > 0 {
			fault, w.fault = w.faults[n-1], true
		}
	}
	w.trace = append(w.trace, strings.TrimSpace(fmt.Sprint(r.name, " ", r.command, " ", r.key, " ", fault)))
	r.parked.Store(false)
	r.let <- fault
	return true
}

// pauses tells whether a request pauses: it neither waits at a command nor for the turn of one that does.
func (w *walk) pauses() bool {
	return slices.ContainsFunc(w.requests, func(r *request) bool {
		return !r.parked.Load() && !r.ended.Load() && !slices.ContainsFunc(w.requests, func(q *request) bool {
			return q.parked.Load() && q.writes.Load() && q.process == r.process && q.s.Key == r.s.Key
		})
	})
}

// check is what holds after every run.
func (w *walk) check() {
	tokens := []string{"old"}
	destroyed, tried := false, false
	for _, r := range w.requests {
		if !r.ended.Load() {
			w.t.Fatalf("%s has not ended", r.name)
		}
		for i, result := range r.results {
			if strings.HasSuffix(result, "renewed") {
				tokens = append(tokens, r.s.Token)
			}
			if r.verbs[i] == "destroy" {
				tried, destroyed = true, destroyed || result == "ok true"
			}
		}
	}
	live, payload := 0, ""
	for _, token := range slices.Compact(slices.Sorted(slices.Values(tokens))) {
		w.elsewhere("look", token, func(s *protocol.Session) error {
			if s.Stored() {
				live++
				payload = string(s.Record.Payload)
			}
			return nil
		})
	}
	switch {
	case live > 1:
		w.t.Errorf("%d live sessions", live)
	case live > 0 && destroyed:
		w.t.Error("a session lives though Destroy returned nil")
	case live == 0 && !tried:
		w.t.Error("no session lives, and nobody has destroyed it")
	}
	for _, r := range w.requests {
		for i, result := range r.results {
			letter := fmt.Sprint(r.name, i)
			n := strings.Count(payload, letter)
			done, unknown := strings.HasPrefix(result, "ok"), strings.HasPrefix(result, "ErrUnavailable")
			if live == 1 && r.verbs[i] != "destroy" && (n > 1 || n == 0 && done || n == 1 && !done && !unknown) {
				w.t.Errorf("%s of %s is %s, and it is %d times in what lives", r.verbs[i], r.name, result, n)
			}
		}
	}
	records := 0
	for _, e := range w.entries {
		if r, err := w.layout.Open(e.data); err == nil && !r.IsMark() {
			records++
		}
	}
	if !w.fault && records != live {
		w.t.Errorf("%d records, of which %d can be reached", records, live)
	}
}

// No order of commands, and no reply that is lost, leads to two live sessions, brings back what was
// destroyed, or loses a change.
func TestOrders(t *testing.T) {
	faults := []string{"lost", "notApplied", "repeated"}
	for _, row := range []struct {
		name   string
		verbs  []string // of each request
		faults []string
		long   bool // not with -short
	}{
		{name: "C5 C15 two renewals, a save and a destroy", verbs: []string{"renew", "save renew", "destroy"}},
		{name: "C5 two renewals and a save", verbs: []string{"renew", "renew", "save"}},
		{name: "C5 C10 two renewals and a save, with one fault", verbs: []string{"renew", "renew", "save"}, faults: faults, long: true},
		{name: "C15 two renewals and a destroy, with one fault", verbs: []string{"renew", "renew", "destroy"}, faults: faults, long: true},
		{name: "C10 C15 a renewal, a save and a destroy, with one fault", verbs: []string{"renew", "save", "destroy"}, faults: faults, long: true},
		{name: "C16 two renewals in turn and a destroy, with one fault", verbs: []string{"renew renew", "destroy"}, faults: faults},
		{name: "C9 C10 two times two saves, with one fault", verbs: []string{"save save", "save save"}, faults: faults},
	} {
		for _, processes := range [][]int{{1, 2, 1}, {1, 1, 2}} {
			if testing.Short() && row.long {
				continue
			}
			inBubble(t, fmt.Sprint(row.name, ", processes ", processes[:len(row.verbs)]), layout{}, nil, func(fx *fixture) {
				w := &walk{fixture: fx, faults: row.faults}
				runs := 0
				succeeds := make([]int, len(row.verbs)) // in so many runs all that a request does
				for more := true; more; more = w.next() {
					runs++
					w.run(row.verbs, processes)
					w.check()
					for i, r := range w.requests {
						if !slices.ContainsFunc(r.results, func(s string) bool { return !strings.HasPrefix(s, "ok") }) {
							succeeds[i]++
						}
						if w.t.Failed() {
							w.t.Log(r.name, r.verbs, r.results)
						}
					}
					if w.t.Failed() {
						w.t.Fatalf("in run %d, after\n%s", runs, strings.Join(w.trace, "\n"))
					}
				}
				w.t.Logf("%d runs, in which the requests succeed: %d", runs, succeeds)
				if slices.Min(succeeds) < runs/20 {
					w.t.Error("one of them succeeds so rarely that it proves little")
				}
			})
		}
	}
}
