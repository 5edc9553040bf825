package races_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// An explorer is a store under servers, on which it plays requests in every order
// there is. Each operation of a request waits until the explorer lets it go on,
// with or without a fault; a run is a list of such choices, and the runs are the
// leaves of their tree, which it walks depth first.
type explorer struct {
	*kit.Store         // of this run
	faults     []fault // that an operation may have
	budget     int     // how many of them one run may have
	choose     func(n int) int

	m        *sessions.Manager[kit.Session] // of the test itself, which never waits
	servers  []http.Handler
	newStore func() sessions.Store
	bubble   bool // in a synctest bubble, where it sees of everybody whether he stands or waits

	first    string // the token that all requests of this run present
	firstID  string // of its session
	requests []*request
	late     []func() // operations on their way that the request has given up
	running  int
	reports  chan *request
	trace    []string
}

type fault int

const (
	none        fault = iota
	lostRequest       // the store never gets it
	lostReply         // applied, and the request is told that nobody answered
	lostReplies       // the same for this one and for every further try of it
	repeated          // the client has lost the reply and sends it again by itself
	delayed           // the request gives up, and it is applied some time later
	crash             // the process has ended before: neither this one is applied nor any further one of the request's
)

var faultNames = [...]string{"", " request lost", " reply lost", " reply lost, always", " repeated", " delayed", " is never sent, nor is anything after it"}

var allFaults = []fault{lostRequest, lostReply, lostReplies, repeated, delayed}

// A request is one of a run, and what came of it.
type request struct {
	path   string
	status int
	text   string
	cookie *http.Cookie

	name   string
	op     string // where it is parked
	resume chan fault
	parked bool
	done   bool
	always map[string]bool // operations whose every reply is lost
	unsure int             // swaps that may have been applied, and it was told that nobody answered

	crashed bool
}

// unanswered says that it ended in ErrUnavailable.
func (r *request) unanswered() bool {
	return strings.Contains(r.text, "ErrUnavailable") || r.status == http.StatusServiceUnavailable
}

type requestKey struct{}

// newExplorer has n servers: processes of their own, or the same one. Without
// newStore it is in a bubble and its store a MemoryStore. The session of a run is kit.Owner's.
func newExplorer(t *testing.T, c sessions.Codec, n int, same bool, newStore func() sessions.Store) *explorer {
	return newLimitedExplorer(t, sessions.Config{Codec: c}, n, same, newStore)
}

// newLimitedExplorer is newExplorer with more of a Config.
func newLimitedExplorer(t *testing.T, cfg sessions.Config, n int, same bool, newStore func() sessions.Store) *explorer {
	e := &explorer{newStore: newStore}
	if newStore == nil {
		e.newStore, e.bubble = kit.Memory, true
	}
	e.Store = &kit.Store{Store: e.newStore()}
	store := sessions.Store(e)
	if _, ok := e.WithOwners().(sessions.OwnerStore); ok {
		store = ownerExplorer{e}
	}
	e.m = kit.New[kit.Session](t, store, cfg)
	for i := range n {
		if same && i > 0 {
			e.servers = append(e.servers, e.servers[0])
			continue
		}
		m := kit.New[kit.Session](t, store, cfg)
		mux := http.NewServeMux()
		kit.Routes(mux, m)
		for path, verbs := range map[string]string{
			"/renew-save": "Renew Save", "/leave": "Leave Save",
			"/save-known": "Save", "/signin-known": "SignIn",
		} {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				if m.Info(r.Context()).New {
					fmt.Fprint(w, "new") // the verbs would start another session
					return
				}
				var names []string
				for verb := range strings.FieldsSeq(verbs) {
					switch s := m.FromContext(r.Context()); verb {
					case "Save":
						s.Views++
					case "Leave":
						s.Owner = ""
						continue
					}
					names = append(names, kit.ErrName(kit.Call(m, r.Context(), verb)))
				}
				fmt.Fprint(w, strings.Join(names, " "))
			})
		}
		e.servers = append(e.servers, m.Handler(mux))
	}
	return e
}

// Timeout is so long that a parked operation is not slow.
func (e *explorer) Timeout() time.Duration { return kit.OwnerTimeout }

// step parks the request that ctx belongs to.
func (e *explorer) step(ctx context.Context, op string, apply func(context.Context) error) error {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return apply(ctx)
	}
	unanswered := fmt.Errorf("%w: %s", sessions.ErrUnavailable, "a fault of the test")
	if r.crashed {
		return unanswered
	}
	r.op = op
	e.reports <- r
	f := <-r.resume
	if r.always[op] {
		f = lostReplies
	}
	if op == "CompareAndSwap" && (f == lostReply || f == lostReplies || f == delayed) {
		r.unsure++
	}
	switch f {
	case crash:
		r.crashed = true
		return unanswered
	case lostRequest:
		return unanswered
	case lostReplies:
		r.always[op] = true
		fallthrough
	case lostReply:
		_ = apply(ctx)
		return unanswered
	case repeated:
		_ = apply(ctx)
		return e.step(ctx, op, apply)
	case delayed:
		ctx := context.WithoutCancel(ctx)
		e.late = append(e.late, func() { _ = apply(ctx) })
		return unanswered
	}
	return apply(ctx)
}

func (e *explorer) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = e.step(ctx, "Load", func(ctx context.Context) (err error) {
		data, left, err = e.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (e *explorer) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	data = slices.Clone(data)
	return e.step(ctx, "Create", func(ctx context.Context) error { return e.Store.Create(ctx, key, data, ttl) })
}

func (e *explorer) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	prefix, data = slices.Clone(prefix), slices.Clone(data)
	err = e.step(ctx, "CompareAndSwap", func(ctx context.Context) (err error) {
		current, err = e.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (e *explorer) Delete(ctx context.Context, key string) error {
	return e.step(ctx, "Delete", func(ctx context.Context) error { return e.Store.Delete(ctx, key) })
}

// An ownerExplorer is an explorer whose store keeps indexes. What it does not explore is the Store's.
type ownerExplorer struct{ *explorer }

func (e ownerExplorer) owners() sessions.OwnerStore { return e.WithOwners().(sessions.OwnerStore) }

func (e ownerExplorer) Place(ctx context.Context, p sessions.Placement) (placed sessions.Placed, err error) {
	p.OldPrefix, p.OldData, p.NewData = bytes.Clone(p.OldPrefix), bytes.Clone(p.OldData), bytes.Clone(p.NewData)
	err = e.step(ctx, kit.StepOf(p), func(ctx context.Context) (err error) {
		placed, err = e.owners().Place(ctx, p)
		return err
	})
	return placed, err
}

func (e ownerExplorer) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	prefix = slices.Clone(prefix)
	return e.step(ctx, "Relist", func(ctx context.Context) error {
		return e.owners().Relist(ctx, index, key, prefix, member, created, ttl)
	})
}

func (e ownerExplorer) LoadMany(ctx context.Context, keys []string, first int) ([][]byte, []time.Duration, error) {
	return e.owners().LoadMany(ctx, keys, first)
}

func (e ownerExplorer) Members(ctx context.Context, index string) ([]string, error) {
	return e.owners().Members(ctx, index)
}

func (e ownerExplorer) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return e.owners().Revoke(ctx, index, at, ttl)
}

func (e ownerExplorer) End(ctx context.Context, index string, members, keys []string) ([]string, error) {
	return e.owners().End(ctx, index, members, keys)
}

// play is one run, on an empty store with a new session of ann, who has signed in: one request to
// each server, all with the session's token. It lets them go on, one step at a
// time, until all have finished and nothing is on its way.
func (e *explorer) play(t *testing.T, paths ...string) {
	e.Store = &kit.Store{Store: e.newStore()}
	e.first = kit.MustRequest(t, e.m, "", func(ctx context.Context) error {
		s := e.m.FromContext(ctx)
		s.Owner, s.UserID = kit.Owner, "ann"
		return e.m.SignIn(ctx)
	})
	e.firstID = e.id(t, e.first)
	if e.bubble {
		time.Sleep(time.Minute) // so that the times of the run's own authentications are others
	}
	e.requests, e.late, e.trace = nil, nil, nil
	e.running, e.reports = len(paths), make(chan *request, len(paths))
	for i, path := range paths {
		r := &request{path: path, name: string(rune('A'+i)) + " " + path, resume: make(chan fault), always: map[string]bool{}}
		e.requests = append(e.requests, r)
		go func() {
			res := kit.Serve(e.servers[i], kit.With(e.first, path).WithContext(context.WithValue(t.Context(), requestKey{}, r)))
			text, _ := io.ReadAll(res.Body)
			r.status, r.text = res.StatusCode, string(text)
			for _, c := range res.Cookies() {
				r.cookie = c
			}
			r.done = true
			e.reports <- r
		}()
	}
	type choice struct {
		r    *request
		f    fault
		late int
	}
	for faults := 0; ; {
		e.settle()
		var choices []choice
		for _, r := range e.requests {
			if !r.parked {
				continue
			}
			choices = append(choices, choice{r: r})
			for _, f := range e.faults {
				if faults < e.budget && !r.always[r.op] && (f != repeated && f != delayed || r.op != "Load") {
					choices = append(choices, choice{r: r, f: f})
				}
			}
		}
		for i := range e.late {
			choices = append(choices, choice{late: i})
		}
		if len(choices) == 0 {
			return
		}
		c := choices[e.choose(len(choices))]
		if c.r == nil {
			apply := e.late[c.late]
			e.late = slices.Delete(slices.Clone(e.late), c.late, c.late+1)
			e.trace = append(e.trace, "the delayed one arrives")
			apply()
			continue
		}
		if c.f != none {
			faults++
		}
		e.trace = append(e.trace, c.r.name+" "+c.r.op+faultNames[c.f])
		c.r.parked = false
		e.running++
		c.r.resume <- c.f
	}
}

// settle waits until everybody who was let go stands at the next step, or has
// finished, or waits for somebody who stands.
func (e *explorer) settle() {
	if e.bubble {
		synctest.Wait()
	}
	for e.running > 0 {
		var r *request
		if e.bubble {
			select {
			case r = <-e.reports:
			default:
				return
			}
		} else {
			r = <-e.reports
		}
		r.parked = !r.done
		e.running--
	}
}

// all calls run once for each leaf of the tree of choices and returns how many
// there are.
func (e *explorer) all(t *testing.T, run func()) (runs int) {
	var path, width []int
	for {
		depth := 0
		e.choose = func(n int) int {
			if depth == len(path) {
				path, width = append(path, 0), append(width, n)
			}
			if width[depth] != n {
				t.Fatalf("the run is not the function of its choices that it has to be: %d choices, were %d, after\n%s", n, width[depth], e)
			}
			depth++
			return path[depth-1]
		}
		run()
		runs++
		if t.Failed() {
			t.Fatalf("after\n%s", e)
		}
		for len(path) > 0 && path[len(path)-1] == width[len(path)-1]-1 {
			path, width = path[:len(path)-1], width[:len(width)-1]
		}
		if len(path) == 0 {
			return runs
		}
		path[len(path)-1]++
	}
}

// String is the run so far.
func (e *explorer) String() string { return strings.Join(e.trace, "\n") }

// live are the tokens that find a session, of all that some client has.
func (e *explorer) live(t *testing.T) []string {
	tokens := []string{e.first}
	for _, r := range e.requests {
		if r.cookie != nil && r.cookie.MaxAge >= 0 {
			tokens = append(tokens, r.cookie.Value)
		}
	}
	return slices.DeleteFunc(tokens, func(token string) bool { return !kit.Alive(t, e.m, token) })
}

func (e *explorer) id(t *testing.T, token string) string {
	ctx, _ := kit.Load(t, e.m, token)
	return e.m.Info(ctx).ID
}

// authenticated is how long ago the user of a token proved who they are.
func (e *explorer) authenticated(t *testing.T, token string) time.Duration {
	ctx, _ := kit.Load(t, e.m, token)
	return time.Since(e.m.Info(ctx).AuthenticatedAt)
}

// began is how many of the live sessions a sign-in of this run has begun.
func (e *explorer) began(t *testing.T, live []string) (n int) {
	for _, token := range live {
		if e.id(t, token) != e.firstID {
			n++
		}
	}
	return n
}

// records is how many there are that are no marks.
func (e *explorer) records(t *testing.T) int {
	n, _ := e.Left(t)
	return n
}

// answers are those of the requests, for messages.
func (e *explorer) answers() []string {
	var texts []string
	for _, r := range e.requests {
		texts = append(texts, r.name+": "+r.text)
	}
	return texts
}
