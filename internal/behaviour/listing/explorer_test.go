package listing_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/record"
)

// An explorer plays a few participants of one user's sessions in every order of their calls to the store, with up to
// one fault. Each call waits until the explorer lets it go on. A run is a list of such choices, and the runs are the
// leaves of their tree, which is walked depth first. Every participant is a process of its own.
type explorer struct {
	t     *testing.T
	x     exploration
	m     *manager // of the test itself, which never waits
	older *sessions.Manager[unowned]
	drawn atomic.Int64 // tokens, in all runs: no process knows a key from a run before

	*store
	participants []*participant
	seeds        map[string]string // tokens, by what they are for
	ids          map[string]string // of their sessions
	fault        fault             // the one of this run
	late         []func()
	// lostWhileRevoking says that the index was lost with the time that a revocation had noted, before its end.
	lostWhileRevoking bool
	trace             []string

	path, width []int // the choices of this run, and of how many
	depth       int
}

type fault string

const (
	none        fault = ""
	dies        fault = "dies"         // the call is applied, and the process makes no other
	lostRequest fault = "request lost" // the store never gets it
	lostReply   fault = "reply lost"   // applied, and the process is told that nobody answered
	repeated    fault = "repeated"     // the client of the store has lost the reply and sends it again by itself
	delayed     fault = "delayed"      // the process is told that nobody answered, and it is applied some time later
	indexLost   fault = "index lost"   // before the call
	evicted     fault = "copy evicted" // before the call: the newest key that is stored for ten seconds
)

var allFaults = []fault{dies, lostRequest, lostReply, repeated, delayed, indexLost, evicted}

// A participant is one request, with what it is told.
type participant struct {
	act
	name   string
	m      *manager
	resume chan fault

	token  string // that the request came with
	call   string // where it is parked
	key    string
	parked atomic.Bool // atomic, for a pause that ends wakes a participant without the explorer
	ended  atomic.Bool
	dead   bool
	err    error
	given  string // the token that its client has afterwards

	revoked map[string]bool       // the IDs of what it is to revoke
	later   map[*participant]bool // the sign-ins that had not returned when it began to revoke, or had signed out
}

type participantKey struct{}

// pick chooses one of n.
func (e *explorer) pick(n int) int {
	if e.depth == len(e.path) {
		e.path, e.width = append(e.path, 0), append(e.width, n)
	}
	if e.width[e.depth] != n {
		e.t.Fatalf("the same choices have led to another state: %d choices, were %d, after\n%s", n, e.width[e.depth], e)
	}
	e.depth++
	return e.path[e.depth-1]
}

// next goes to the next leaf, if there is one.
func (e *explorer) next() bool {
	e.depth = 0
	for n := len(e.path) - 1; n >= 0; n-- {
		if e.path[n]++; e.path[n] < e.width[n] {
			e.path, e.width = e.path[:n+1], e.width[:n+1]
			return true
		}
	}
	return false
}

// String is the run so far.
func (e *explorer) String() string {
	var b strings.Builder
	for _, line := range e.trace {
		fmt.Fprintln(&b, line)
	}
	for _, p := range e.participants {
		fmt.Fprintf(&b, "%s: %v, token %t\n", p.name, p.err, p.given != "")
	}
	return b.String()
}

// step parks the participant that ctx belongs to until its call may go.
func (e *explorer) step(ctx context.Context, call, key string, apply func() error) error {
	p, ok := ctx.Value(participantKey{}).(*participant)
	if !ok {
		return apply()
	} else if p.dead {
		return errDead
	}
	p.call, p.key = call, key
	p.parked.Store(true)
	switch <-p.resume {
	case dies:
		_ = apply()
		p.dead = true
		return errDead
	case lostRequest:
		return errLost
	case lostReply:
		_ = apply()
		return errLost
	case repeated:
		_ = apply()
		return e.step(ctx, call, key, apply)
	case delayed:
		e.late = append(e.late, func() { _ = apply() })
		return errLost
	}
	return apply()
}

var (
	errDead = errors.New("the process is dead")
	errLost = fmt.Errorf("%w: a fault of the test", sessions.ErrUnavailable)
)

// play is one run: all participants begin at once, and go on one call at a time until nothing is on its way.
func (e *explorer) play() {
	for _, p := range e.participants {
		p.parked.Store(false)
		p.ended.Store(false)
		p.dead, p.err, p.given, p.revoked, p.later = false, nil, "", nil, nil
		p.resume = make(chan fault)
	}
	for _, p := range e.participants {
		ctx := context.WithValue(context.Background(), participantKey{}, p)
		go func() {
			p.given, p.err = p.act.run(ctx, e, p)
			p.ended.Store(true)
		}()
	}
	for e.goOn() {
	}
}

// pause is as long as a writer pauses at the most: a sixteenth of the store's timeout.
const pause = kit.OwnerTimeout / 16

// goOn lets one call go, if one waits.
func (e *explorer) goOn() bool {
	time.Sleep(time.Millisecond) // so that no two sessions begin at the same time
	synctest.Wait()
	for slices.ContainsFunc(e.participants, func(p *participant) bool { return !p.parked.Load() && !p.ended.Load() }) {
		time.Sleep(pause)
		synctest.Wait()
	}
	type choice struct {
		p *participant
		f fault
		n int // of the late ones
	}
	var choices []choice
	for _, p := range e.participants {
		// A copy has a key that nobody else knows: what the others do before it is stored or behind is the same.
		if p.parked.Load() && p.call == "create" {
			choices = nil
		} else if !p.parked.Load() {
			continue
		}
		choices = append(choices, choice{p: p})
		if e.fault == none {
			for _, f := range e.x.faults {
				if f.at(e, p.call) {
					choices = append(choices, choice{p: p, f: f})
				}
			}
		}
		if p.call == "create" {
			break
		}
	}
	for n := range e.late {
		choices = append(choices, choice{n: n})
	}
	if len(choices) == 0 {
		return false
	}
	c := choices[e.pick(len(choices))]
	if c.p == nil {
		apply := e.late[c.n]
		e.late = slices.Delete(slices.Clone(e.late), c.n, c.n+1)
		e.trace = append(e.trace, "the delayed one arrives")
		apply()
		return true
	}
	if c.f != none {
		e.fault = c.f
	}
	e.trace = append(e.trace, strings.Join([]string{c.p.name, c.p.call, e.names[c.p.key], string(c.f)}, " "))
	switch c.f {
	case indexLost:
		e.lostWhileRevoking = slices.ContainsFunc(e.participants, func(p *participant) bool {
			return p.revokes() && !p.ended.Load() && p.revoked != nil && p.call != "revoke"
		})
		e.store.loseIndexes()
	case evicted:
		e.store.evictCopy()
	}
	c.p.parked.Store(false)
	c.p.resume <- c.f
	return true
}

// at tells whether the fault can strike, and matters, at the call of that name.
func (f fault) at(e *explorer, call string) bool {
	if call == "begin" {
		return false
	}
	switch f {
	case dies, lostReply, repeated, delayed:
		if reads := call == "load" || call == "members"; reads {
			return f == dies
		}
	case evicted:
		return len(e.store.copies) > 0
	}
	return true
}

// all plays every run and checks what is left, and returns how many there are.
func (e *explorer) all(check func()) (runs int) {
	for more := true; more; more = e.next() {
		e.fault, e.late, e.trace, e.lostWhileRevoking = none, nil, nil, false
		if runs%1000 == 0 { // otherwise processes would forget what they have seen listed in the middle of a run
			e.startProcesses()
		}
		e.store.reset()
		e.prepare()
		e.play()
		runs++
		if check(); e.t.Failed() {
			e.t.Fatalf("in run %d, after\n%s", runs, e)
		}
	}
	return runs
}

// A store is that of one run. It knows what is stored, and can lose it.
type store struct {
	e *explorer
	*sessions.MemoryStore
	generation int             // of the indexes: a lost one is looked for under another key
	written    map[string]bool // keys
	copies     []string        // keys of copies that nothing confirms
	names      map[string]string
	endedBy    map[string]string // by key: the participant whose call has deleted the record
	wrong      []string          // what must not happen at any call
}

func (s *store) reset() {
	*s = store{e: s.e, MemoryStore: &sessions.MemoryStore{}, written: map[string]bool{}, names: map[string]string{}, endedBy: map[string]string{}}
}

func (s *store) Timeout() time.Duration { return kit.OwnerTimeout }

// at is where an index is.
func (s *store) at(index string) string {
	if index == "" {
		return ""
	}
	return fmt.Sprint(index, "#", s.generation)
}

func (s *store) loseIndexes() { s.generation++ }

// evictCopy loses the newest copy.
func (s *store) evictCopy() {
	last := len(s.copies) - 1
	_ = s.MemoryStore.Delete(context.Background(), s.copies[last])
	s.copies = s.copies[:last]
}

// wrote notes that a key was stored for that long.
func (s *store) wrote(key string, ttl time.Duration, err error) {
	if key == "" || err != nil {
		return
	}
	if !s.written[key] {
		s.written[key] = true
		s.names[key] = fmt.Sprint("k", len(s.written))
	}
	s.copies = slices.DeleteFunc(s.copies, func(c string) bool { return c == key })
	if ttl == markTTL {
		s.copies = append(s.copies, key)
	}
}

// ended notes whose call has ended the sessions under these keys.
func (s *store) ended(ctx context.Context, keys ...string) {
	p, _ := ctx.Value(participantKey{}).(*participant)
	for _, key := range keys {
		if p == nil {
			s.endedBy[key] = "the reader"
		} else {
			s.endedBy[key] = p.name
		}
	}
}

func (s *store) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = s.e.step(ctx, "load", key, func() (err error) {
		data, left, err = s.MemoryStore.Load(context.WithoutCancel(ctx), key, touch)
		return err
	})
	return data, left, err
}

func (s *store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.e.step(ctx, "create", key, func() error {
		err := s.MemoryStore.Create(context.WithoutCancel(ctx), key, data, ttl)
		s.wrote(key, ttl, err)
		return err
	})
}

func (s *store) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	call := "swap"
	if data == nil {
		call = "delete"
	}
	err = s.e.step(ctx, call, key, func() (err error) {
		if current, err = s.MemoryStore.CompareAndSwap(context.WithoutCancel(ctx), key, prefix, data, ttl); err == nil && data == nil {
			s.ended(ctx, key)
		}
		return err
	})
	return current, err
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.e.step(ctx, "drop", key, func() error {
		s.ended(ctx, key)
		return s.MemoryStore.Delete(context.WithoutCancel(ctx), key)
	})
}

func (s *store) LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error) {
	err = s.e.step(ctx, "load many", "", func() (err error) {
		data, left, err = s.MemoryStore.LoadMany(context.WithoutCancel(ctx), keys, first)
		return err
	})
	return data, left, err
}

func (s *store) Members(ctx context.Context, index string) (members []string, err error) {
	err = s.e.step(ctx, "members", index, func() (err error) {
		members, err = s.MemoryStore.Members(context.WithoutCancel(ctx), s.at(index))
		return err
	})
	return members, err
}

func (s *store) Place(ctx context.Context, p sessions.Placement) (placed sessions.Placed, err error) {
	err = s.e.step(ctx, "place", cmp.Or(p.Old, p.New, p.Index), func() (err error) {
		at := p
		at.Index = s.at(p.Index)
		placed, err = s.MemoryStore.Place(context.WithoutCancel(ctx), at)
		s.wrote(p.New, p.NewTTL, err)
		if p.OldData != nil && p.OldTTL != markTTL {
			s.wrote(p.Old, p.OldTTL, err)
		}
		if err == nil && p.Old != "" && p.OldData == nil {
			s.ended(ctx, p.Old)
		}
		s.checkEnded(ctx, p, placed)
		return err
	})
	return placed, err
}

func (s *store) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return s.e.step(ctx, "relist", key, func() error {
		err := s.MemoryStore.Relist(context.WithoutCancel(ctx), s.at(index), key, prefix, member, created, ttl)
		if errors.Is(err, sessions.ErrGone) {
			s.ended(ctx, key)
		}
		return err
	})
}

func (s *store) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return s.e.step(ctx, "revoke", index, func() error { return s.MemoryStore.Revoke(context.WithoutCancel(ctx), s.at(index), at, ttl) })
}

func (s *store) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	err = s.e.step(ctx, "end", index, func() (err error) {
		ended, err = s.MemoryStore.End(context.WithoutCancel(ctx), s.at(index), members, keys)
		for _, m := range ended {
			s.ended(ctx, keys[slices.Index(members, m)])
		}
		return err
	})
	return ended, err
}

// checkEnded notes which sessions a limit has ended, and that there is none older among those that it has left.
func (s *store) checkEnded(ctx context.Context, p sessions.Placement, placed sessions.Placed) {
	older := false
	for i, m := range p.Members {
		if slices.Contains(placed.Ended, m) {
			s.ended(ctx, p.Keys[i])
			if s.endedBy[p.Keys[i]] += ", by its limit"; older {
				s.wrong = append(s.wrong, "the limit has ended a session and left an older one")
			}
		} else if _, _, err := s.MemoryStore.Load(ctx, p.Keys[i], 0); err == nil {
			older = true
		}
	}
}

// A liveness is a record that is no mark.
type liveness struct {
	key, id, owner string
	payload        string
}

// live are the records that are no marks.
func (s *store) live() (all []liveness) {
	for key := range s.written {
		data, _, err := s.MemoryStore.Load(context.Background(), key, 0)
		if err != nil {
			continue
		}
		if r, err := record.Open(data); err == nil && !r.IsMark() {
			all = append(all, liveness{key, string(r.ID), string(r.Owner), string(r.Payload)})
		}
	}
	return all
}

// lists tells whether a session is on the index of its owner.
func (s *store) lists(l liveness) bool {
	members, _ := s.MemoryStore.Members(context.Background(), s.at(indexOf(l.owner)))
	return slices.Contains(members, record.Member([]byte(l.id), l.key))
}

// indexOf is where the index of an owner is, as the documentation of the stored format has it.
func indexOf(owner string) string {
	sum := sha256.Sum256([]byte("session\x00owner\x00" + owner))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	return "{" + hash[:4] + "}o" + hash
}

// markTTL is how long a mark and a copy live.
const markTTL = 10 * time.Second
