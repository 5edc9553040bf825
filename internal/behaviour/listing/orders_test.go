package listing_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

var allFlag = flag.Bool("listing.all", false, "explore every pair of requests under each limit with each fault, and three of them")

// An exploration is a row: participants, and the limit.
type exploration struct {
	acts   []act
	limit  int
	reject bool
	faults []fault
}

func (x exploration) String() string {
	var names []string
	for _, a := range x.acts {
		names = append(names, a.name)
	}
	limit := ""
	if x.limit > 0 {
		limit = fmt.Sprint(", at most ", x.limit)
	}
	if x.reject {
		limit += " by Reject"
	}
	fault := ""
	if x.faults != nil {
		fault = ", one fault"
	}
	return strings.Join(names, " + ") + limit + fault
}

// A tally is what runs have left that nothing forbids.
type tally struct {
	runs int
	// ghosts are sessions that are listed and whose token nobody has, by the fault.
	ghosts map[fault]int
	// lost are those alive that neither are listed nor can be used.
	lost map[fault]int
	// over are runs in which a user had more sessions than the limit, after the index was lost.
	over int
	// failed are sign-ins without a fault of their own that did not return nil, by the error.
	failed map[string]int
}

func (c *tally) add(o *tally) {
	c.runs, c.over = c.runs+o.runs, c.over+o.over
	for into, from := range map[*map[fault]int]map[fault]int{&c.ghosts: o.ghosts, &c.lost: o.lost} {
		for f, n := range from {
			(*into)[f] += n
		}
	}
	for name, n := range o.failed {
		c.failed[name] += n
	}
}

func newTally() *tally {
	return &tally{ghosts: map[fault]int{}, lost: map[fault]int{}, failed: map[string]int{}}
}

func (x exploration) explore(t *testing.T) (found *tally) {
	found = newTally()
	t.Run(x.String(), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newExplorer(t, x)
			found.runs = e.all(func() { e.check(found) })
		})
	})
	return found
}

func newExplorer(t *testing.T, x exploration) *explorer {
	e := &explorer{t: t, x: x}
	e.store = &store{e: e, MemoryStore: &sessions.MemoryStore{}}
	for i, a := range x.acts {
		e.participants = append(e.participants, &participant{act: a, name: fmt.Sprintf("%c (%s)", 'A'+i, a.name)})
	}
	return e
}

func (e *explorer) startProcesses() {
	e.m = newManager(e)
	e.older = kit.New[unowned](e.t, e.store, sessions.Config{NewToken: e.draw})
	for _, p := range e.participants {
		p.m = newManager(e)
	}
}

func newManager(e *explorer) *manager {
	cfg := sessions.Config{MaxPerOwner: e.x.limit, NewToken: e.draw}
	if e.x.reject {
		cfg.OnOwnerLimit = sessions.Reject
	}
	return kit.New[session](e.t, e.store, cfg)
}

// draw draws tokens that differ in all runs.
func (e *explorer) draw() (string, error) {
	return fmt.Sprintf("%026d", e.drawn.Add(1)), nil
}

// prepare stores the sessions with which the participants come.
func (e *explorer) prepare() {
	tokens := map[string]string{"": ""}
	for _, from := range []string{"moved", "first", "visitor", "visitor 2"} {
		switch {
		case !slices.ContainsFunc(e.x.acts, func(a act) bool { return a.from == from || from == "first" && a.from == "" }):
			continue
		case from == "moved":
			tokens[from] = kit.Edit(e.t, e.older, "", func(s *unowned) { s.User = "ann" })
		case from == "first":
			tokens[from] = kit.Edit(e.t, e.m, "", func(s *session) { s.User = "ann" })
		default:
			tokens[from] = kit.Edit(e.t, e.m, "", func(s *session) { s.Views = 1 })
		}
		time.Sleep(time.Millisecond)
	}
	e.seeds, e.ids = tokens, map[string]string{}
	for from, token := range tokens {
		for _, l := range e.store.live() {
			if token != "" && l.key == kit.KeyOf(token) {
				e.ids[from] = l.id
			}
		}
	}
	for _, p := range e.participants {
		p.token = tokens[p.from]
	}
}

var limits = []exploration{{}, {limit: 1}, {limit: 1, reject: true}, {limit: 2}, {limit: 2, reject: true}}

// Whatever a user's requests do at the same time, and wherever one of them dies or loses a reply: the sessions that are
// alive are those that are listed, and no more than the limit; what was revoked has ended. Each pair of participants is
// explored under one of the limits and with two of the faults, and all of it by
// -listing.all.
func TestOrders(t *testing.T) {
	t.Run("O6 O7 O8 O9 C15 F6 two of a user's requests in every order, with one fault", func(t *testing.T) {
		found := newTally()
		began := time.Now()
		for i, a := range acts {
			for j, b := range acts[i:] {
				for n, with := range limits {
					x := with
					x.acts, x.faults = []act{a, b}, allFaults
					if !*allFlag {
						if n != j%len(limits) || (i+j)%4 > 0 || testing.Short() && (i+j)%16 > 0 {
							continue
						}
						x.faults = []fault{allFaults[(2*i+j)%len(allFaults)]}
					}
					found.add(x.explore(t))
				}
			}
		}
		found.log(t, began)
	})
	t.Run("O8 C15 F6 a change of owner or slot, and what may come between", func(t *testing.T) {
		for _, x := range []exploration{
			{acts: []act{moving, revoking}, faults: []fault{lostReply, evicted}},
			{acts: []act{moving, leaving}, faults: []fault{lostReply, evicted}},
			{acts: []act{moving, leaving}, limit: 1, reject: true},
			{acts: []act{inAndOn}, faults: allFaults},
			{acts: []act{inAndOut}, faults: allFaults},
			{acts: []act{moveOn}, faults: allFaults},
			{acts: []act{visitor, visitor}, limit: 1, faults: []fault{lostReply}},
			{acts: []act{newcomer}, limit: 2, reject: true, faults: allFaults},
		} {
			x.explore(t)
		}
	})
	t.Run("O6 O7 O8 O9 three of a user's requests in every order", func(t *testing.T) {
		found := newTally()
		began := time.Now()
		core := []act{newcomer, visitor, again, renewal, toBob, moving, signOut, revoking}
		for i, a := range core {
			for j, b := range core[i:] {
				for k, c := range core[i+j:] {
					for n, with := range limits {
						if *allFlag || i == 0 && j == 0 && k < 2 && n > 0 {
							x := with
							x.acts = []act{a, b, c}
							found.add(x.explore(t))
						}
					}
				}
			}
		}
		found.log(t, began)
	})
}

func (c *tally) log(t *testing.T, began time.Time) {
	t.Logf("%d runs in %v; refused: %v; sessions of which nobody has the token, that are listed: %v, that are not: %v; over the limit, after the index was lost: %d",
		c.runs, time.Since(began).Round(time.Second), c.failed, c.ghosts, c.lost, c.over)
}
