package model_test

import (
	"math/rand/v2"
	"slices"
)

// A verb is one step of a request.
type verb string

const (
	editOwn    verb = "edit own"    // a field that nobody else sets
	editShared verb = "edit shared" // a field that everybody sets
	editPair   verb = "edit pair"   // a nested struct, which is one field
	save       verb = "save"
	update     verb = "update"
	updatePair verb = "update pair" // Update that sets a field besides
	updateFail verb = "update fail" // Update whose function returns an error
	renew      verb = "renew"
	signIn     verb = "sign in"
	remember   verb = "remember" // SignIn with Remembered
	destroy    verb = "destroy"
	reload     verb = "reload"
	touch      verb = "touch"
	revokeAll  verb = "revoke all" // of the user's sessions, in a request without one
	hold       verb = "hold"       // wait for others' operations with the session loaded
)

// A request is what a client does between Load and Commit.
type request struct {
	Age   int // of the token it presents: 0 is the newest that its process has heard of
	Steps []verb
	Leave bool // after an error that is not ErrGone it destroys the session
	// Crash > 0: the process dies, for this request, when it has sent so many commands.
	Crash int
}

// A client makes its requests one after the other.
type client struct {
	ID       int
	Manager  int // which of its process's
	Requests []request
}

// A task is one process's share of a round.
type task struct {
	Prefix   string // of the round's keys
	Token    string // of its session
	User     string // who signs in; "" if sessions have no owner
	Managers int
	Clients  []client
}

// A round is drawn from its seed alone.
type round struct {
	seed    uint64
	faults  faults
	user    string // who signs in; "" if sessions have no owner
	crashes bool   // processes die
	owned   bool   // the first session is the user's
	tasks   []task
}

// mix is how often a request takes which step.
type mix struct {
	verbs   []verb
	weights []int
}

// A round has one of these tempers: one that mixes everything rarely has two
// renewals at once, or forty updates of a session that lives to see them.
var mixes = []mix{
	{ // writers
		[]verb{editOwn, editShared, editPair, save, update, updatePair, updateFail, reload, hold},
		[]int{4, 2, 1, 2, 5, 1, 1, 1, 3},
	},
	{ // writers and now and then a new token
		[]verb{editOwn, editShared, save, update, renew, signIn, reload, touch, hold},
		[]int{4, 2, 1, 6, 2, 1, 1, 1, 3},
	},
	{ // renewals at once
		[]verb{renew, signIn, remember, editOwn, update, hold, destroy},
		[]int{8, 2, 1, 3, 3, 4, 1},
	},
	{ // a user's sessions
		[]verb{signIn, remember, renew, revokeAll, editOwn, update, save, destroy, hold},
		[]int{6, 1, 3, 2, 3, 3, 1, 1, 3},
	},
	{ // everything
		[]verb{editOwn, editShared, editPair, save, update, updatePair, updateFail, renew, signIn, remember, destroy, reload, touch, hold},
		[]int{4, 2, 1, 2, 6, 1, 1, 3, 1, 1, 2, 1, 1, 3},
	},
}

func (m mix) draw(r *rand.Rand) verb {
	sum := 0
	for _, w := range m.weights {
		sum += w
	}
	n := r.IntN(sum)
	for i, w := range m.weights {
		if n -= w; n < 0 {
			return m.verbs[i]
		}
	}
	panic("unreachable")
}

// ownFields is how many clients can have a field of their own; a round has no
// more.
const ownFields = 8

// maxManagers is how many writers a record remembers: with more of them in a
// round a lost reply may be taken for a conflict, which the library says.
const maxManagers = 8

func newRound(seed uint64, processes, clients int) round {
	r := rand.New(rand.NewPCG(seed, 0))
	m := mixes[r.IntN(len(mixes))]
	managers := 1
	if r.IntN(3) == 0 {
		managers = max(1, min(clients, maxManagers/processes))
	}
	requests := 3
	if r.IntN(4) == 0 {
		requests = 6
	}
	round := round{seed: seed, faults: drawFaults(r), tasks: make([]task, processes)}
	if usersMix := slices.Contains(m.verbs, revokeAll); usersMix || r.IntN(3) == 0 {
		round.user, round.owned = "ann", r.IntN(2) == 0
	}
	round.crashes = round.user != "" && r.IntN(2) == 0
	for p := range round.tasks {
		t := &round.tasks[p]
		t.Managers, t.User = managers, round.user
		for c := range clients {
			id := p*clients + c
			drawn := drawRequests(r, m, requests)
			if round.crashes && r.IntN(4) == 0 {
				drawn[r.IntN(len(drawn))].Crash = 1 + r.IntN(8)
			}
			t.Clients = append(t.Clients, client{ID: id, Manager: c % managers, Requests: drawn})
		}
	}
	return round
}

func drawRequests(r *rand.Rand, m mix, n int) []request {
	requests := make([]request, 1+r.IntN(n))
	for i := range requests {
		q := &requests[i]
		if r.IntN(6) == 0 {
			q.Age = 1 + r.IntN(3)
		}
		q.Leave = r.IntN(8) == 0
		q.Steps = make([]verb, r.IntN(5))
		for j := range q.Steps {
			q.Steps[j] = m.draw(r)
		}
	}
	return requests
}
