package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/typedsessions/sessions/internal/queue"
)

// A change is what one write brings into a stored session.
type change struct {
	mine    encoded       // T as the request has left it
	changed bool          // that is another than what was loaded
	renew   func(*Record) // what a renewal does to the header
	kind    EventKind     // of the renewal
	fn      func() error  // Update's, on *T
	until   time.Time     // when Update gives up, if that is not zero

	began   time.Time
	nonce   []byte        // names this write
	twin    *copied       // the record under the new key, if there is one
	trip    time.Duration // what the last attempt took
	met     meeting       // with what another request has saved
	became  EventKind     // of the renewal, by itself where the owner has changed
	callers bool          // the error is not the store's

	claiming bool // nobody knows whether the copy has taken the old record's place
	before   any  // T from before fn, as long as it may have to be put back
}

// write brings c into the store, in place of the record that is there, and
// under a new token where c or a change of owner asks for one. Where another
// write has come in between, the two go together by the policy, and it is tried
// again; where the session has ended, it stays ended.
//
// The writers of one session in this process take turns. Each leaves to the
// next what it has written, so that this one needs one command as well; and a
// process with one write on its way at a time needs one entry in the record to
// recognise it by when its reply is lost.
func (s *session) write(ctx context.Context, c *change) (err error) {
	m, key, written := s.m, s.key, false
	last, err := m.queue.Enter(key, 2*m.budget, c.until)
	switch {
	case errors.Is(err, queue.ErrBusy):
		return s.outdone()
	case err != nil:
		return s.check(err)
	}
	defer func() {
		var down error
		if errors.Is(err, ErrUnavailable) && !c.callers {
			down = fmt.Errorf("%w, as another request of this session has just found; nothing was sent", ErrUnavailable)
		}
		m.queue.Leave(key, last, written, down)
	}()
	defer s.putBack(c)
	defer func() { // after a panic too, but not where the copy may be all there is
		if !written && !c.claiming && (c.callers || !errors.Is(err, ErrUnavailable)) {
			s.drop(ctx, c)
		}
	}()

	at, current := stored{raw: s.raw, rec: s.rec}, false // current: read during this very write
	// Where no nonce tells which is the later one, the swap does.
	if last != nil && len(s.rec.Writes[0]) > 0 && !bytes.Equal(last, s.raw) {
		handed, err := s.face(last)
		if err != nil {
			return err
		}
		if !wrote(&s.rec, handed.rec.Writes[0]) { // or what was loaded is the later one
			at = handed
		}
	}
	c.began, c.nonce = time.Now(), m.nonce()
	ctx, cancel := s.detach(ctx)
	defer cancel()
	for try := 1; ; try++ {
		if at.live != nil && !c.changed && c.renew == nil && c.fn == nil {
			s.wrote = true // theirs stands: Rewrite has nothing to put in its place
			return nil
		}
		next, found, err := s.attempt(ctx, c, &at, try)
		switch {
		case err == nil && found == nil:
			last, written = next.raw, true
			s.done(c, &next)
			return nil
		case err == nil:
			last = found
			found, err = s.retry(ctx, c, found, try)
		case !current && refused(err):
			found, err = s.peer(ctx, err, &at)
		}
		if err == nil {
			last, current = found, true
			at, err = s.face(found)
		}
		if err != nil {
			return err
		}
	}
}

// attempt brings c into the store in place of at, or returns what it found
// instead.
func (s *session) attempt(ctx context.Context, c *change, at *stored, try int) (next stored, found []byte, err error) {
	sent := time.Now()
	payload, err := s.compose(ctx, c, at)
	if err != nil {
		return next, nil, err
	}
	ctx, cancel := s.timeFor(ctx, c)
	defer cancel()
	defer func() { c.trip = time.Since(sent) }()
	var renew func(*Record)
	renew, c.became = s.renewal(c, payload.owner)
	if renew == nil {
		s.drop(ctx, c)
		return s.swap(ctx, c, at, payload)
	}
	if err = s.copy(ctx, c, at, payload, renew); err != nil {
		return next, nil, err
	}
	if try > 1 && ctx.Err() != nil {
		return next, nil, s.outdone()
	}
	next = c.twin.stored
	next.raw, found, err = s.claim(ctx, c, at)
	return next, found, err
}

// timeFor is the time of one step: a save has one for all of them, in an Update
// the function takes some, so each step has its own.
func (s *session) timeFor(ctx context.Context, c *change) (context.Context, context.CancelFunc) {
	if c.fn == nil {
		return ctx, func() {}
	}
	return s.detach(ctx)
}

// peer returns what is stored now, or refusal if that is what fn has refused:
// the state that the request had loaded may be out of date.
func (s *session) peer(ctx context.Context, refusal error, at *stored) ([]byte, error) {
	ctx, cancel := s.detach(ctx)
	defer cancel()
	raw, _, err := s.fetch(ctx, 0)
	if err == nil && bytes.Equal(raw, at.raw) {
		err = refusal
	}
	return raw, err
}

// patience is for how long a writer tries: a save as long as one may take,
// Update twice that.
func (s *session) patience(c *change) time.Duration {
	if c.fn != nil {
		return 2 * s.m.budget
	}
	return s.m.budget
}

// outdone is the end of a writer whose time is up.
func (s *session) outdone() error {
	s.event(EventConflict, ErrConflict)
	return ErrConflict
}

// meet reads what another request has stored.
func (s *session) meet(raw []byte) (stored, error) {
	at, err := s.m.read(raw)
	if err == nil && at.rec.Successor != nil {
		err = s.end()
	}
	return at, err
}

// face is meet for a writer: what it finds may hold a write of its own request
// that was not answered.
func (s *session) face(raw []byte) (stored, error) {
	at, err := s.meet(raw)
	for i := range s.doubt {
		if d := &s.doubt[i]; err == nil && wrote(&at.rec, d.nonce) {
			at.from = &d.mine
			if !d.merged && bytes.Equal(raw, d.raw) {
				at.live = nil // and nothing else
			}
		}
	}
	return at, err
}

// compose makes what is to be stored in place of at.
func (s *session) compose(ctx context.Context, c *change, at *stored) (payload encoded, err error) {
	m := s.m
	if s.ttl(&at.rec) <= 0 {
		s.event(EventExpired, nil)
		_, err := m.store.CompareAndSwap(ctx, s.key, at.raw[:at.rec.Prefix], nil, 0)
		_ = s.check(err) // its expiry in the store is near anyway
		return payload, s.end()
	}
	payload, c.met = c.mine, meeting{}
	switch {
	case at.live == nil:
	case at.base.owner != s.base.owner, !m.owned && len(s.rec.Owner) > 0 && !bytes.Equal(at.rec.Owner, s.rec.Owner):
		return payload, s.end()
	case !c.changed:
		payload, c.met.live = at.base, at.live
	case m.OnConflict == ConflictReject:
		if !m.alike(c.mine, at.base) {
			return payload, s.outdone()
		}
	default:
		base, doubt := s.base, s.doubt
		if at.from != nil {
			base, doubt = *at.from, nil
		}
		payload, c.met, err = m.merge(base, c.mine, at, doubt)
		c.callers = err != nil // MergeSession's, it may be
	}
	if err == nil && c.fn != nil {
		payload, err = s.call(c, payload)
	}
	if err != nil {
		return payload, err
	}
	return m.payload(&at.rec, payload)
}

func (s *session) put(v any) {
	s.look.Lock()
	defer s.look.Unlock()
	s.m.assign(s.live, v)
}

// An unanswered save may have been applied or not. Who sends another one goes
// by what T was at the first, not by what was stored: what other requests had
// changed, or the function of an Update, is not in T.
type unanswered struct {
	raw, nonce []byte
	mine       encoded
	merged     bool // more than mine was stored
}

// swap writes payload in place of at. What it found instead is another
// process's: its own write is recognised, if only its reply was lost.
func (s *session) swap(ctx context.Context, c *change, at *stored, payload encoded) (next stored, found []byte, err error) {
	rec := at.rec
	rec.Writes = pushWrite(rec.Writes, c.nonce)
	s.m.fill(&rec, payload)
	next.base = payload
	if next.raw, next.rec, err = s.m.seal(rec); err != nil {
		return next, nil, err
	}
	ttl := s.ttl(&next.rec)
	if ttl <= 0 { // while fn was running
		return next, nil, s.end()
	}
	found, err = s.m.store.CompareAndSwap(ctx, s.key, at.raw[:at.rec.Prefix], next.raw, ttl)
	switch err = s.check(err); {
	case err == nil:
		return next, nil, nil
	case errors.Is(err, ErrNotFound):
		return next, nil, s.end()
	case !errors.Is(err, ErrConflict):
		if errors.Is(err, ErrUnavailable) {
			more := c.fn != nil || c.met.live != nil || c.met.over
			s.doubt = append(s.doubt, unanswered{raw: next.raw, nonce: c.nonce, mine: c.mine, merged: more})
		}
		return next, nil, unsure(err)
	}
	rec, err = s.m.Layout.Open(found)
	if err == nil && wrote(&rec, c.nonce) || c.fn == nil && bytes.Equal(found, next.raw) {
		found = nil
	}
	return next, found, nil
}

// done notes what has been written.
func (s *session) done(c *change, next *stored) {
	if c.twin != nil {
		s.token, s.key, next = c.twin.token, c.twin.key, &c.twin.stored
	}
	s.adopt(next, s.ttl(&next.rec))
	c.before = nil
	if c.met.live != nil {
		s.put(c.met.live)
	}
	s.wrote = true
	if len(c.met.lost) > 0 || c.met.over {
		s.event(EventConflict, nil)
		s.events[len(s.events)-1].Fields = c.met.lost
	}
	if len(c.met.taken) > 0 {
		s.event(EventMerged, nil)
		s.events[len(s.events)-1].Fields = c.met.taken
	}
	switch {
	case c.twin != nil:
		s.outcome = OutcomeRenewed
		s.event(c.became, nil)
	case c.changed || c.fn != nil:
		if s.outcome == OutcomeUnchanged {
			s.outcome = OutcomeChanged
		}
		fallthrough
	default:
		s.event(EventSaved, nil)
	}
}

// shortest is the shortest pause that is worth its timer.
const shortest = 100 * time.Microsecond

// retry returns what to try on: what was found, and from the second time on
// what is there after a pause. Pauses begin at a round trip, grow, and are drawn
// at random, so that of several processes each gets in between the others; whoever
// has used half of its time pauses no more, and so comes before those who have just begun.
func (s *session) retry(ctx context.Context, c *change, found []byte, try int) ([]byte, error) {
	end := c.began.Add(s.patience(c))
	if !c.until.IsZero() && c.until.Before(end) {
		end = c.until
	}
	pause := time.Duration(0)
	if try > 1 && time.Since(c.began) < s.patience(c)/2 {
		pause = rand.N(min(max(c.trip, shortest)<<min(try-1, 10), s.m.budget/16))
	}
	need := pause
	if c.fn == nil {
		need += c.trip
		if pause > 0 {
			need += c.trip
		}
	}
	if time.Until(end) <= need {
		return found, s.outdone()
	}
	if pause == 0 {
		return found, nil
	}
	time.Sleep(pause)
	ctx, cancel := s.timeFor(ctx, c)
	defer cancel()
	found, _, err := s.fetch(ctx, 0)
	return found, err
}

// unsure tells what a caller must know of a write that was not answered.
func unsure(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w; what was sent may or may not be stored", err)
	}
	return err
}

// nonce names a write: the process and a number of its own.
func (m *core) nonce() []byte {
	b := append(make([]byte, 0, 24), m.writer...)
	return strconv.AppendUint(append(b, '.'), m.writes.Add(1), 36)
}

// pushWrite puts a process's newest write first and drops its former one.
func pushWrite(writes [8][]byte, nonce []byte) [8][]byte {
	next := [8][]byte{nonce}
	writer := nonce[:bytes.IndexByte(nonce, '.')+1]
	n := 1
	for _, w := range writes {
		if n < len(next) && len(w) > 0 && !bytes.HasPrefix(w, writer) {
			next[n] = w
			n++
		}
	}
	return next
}

// alone says that nobody but this process has ever written the record.
func (m *core) alone(r *Record) bool {
	w, ok := bytes.CutPrefix(r.Writes[0], []byte(m.writer))
	return ok && len(w) > 0 && w[0] == '.' && len(r.Writes[1]) == 0
}

func wrote(r *Record, nonce []byte) bool {
	return len(nonce) > 0 && slices.ContainsFunc(r.Writes[:], func(w []byte) bool { return bytes.Equal(w, nonce) })
}
