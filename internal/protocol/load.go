package protocol

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// MaxCandidates is how many tokens of one request are tried.
const MaxCandidates = 4

// A When says when a load restarts the idle timeout.
type When int

const (
	AtOnce When = iota
	// AtLook leaves that to [Session.Look] if the token does not say by which timeout, and more than half of it is
	// left. The load has to ask the record for it, so the touch is a second command and may as well come later.
	AtLook
	Never // the load is passive
)

// Load finds the session of the first valid token. An unknown token is not accepted as a new session's, and
// its cookie is not cleared. Two tokens that stand for two valid sessions give neither. Where a record that cannot
// be read lets nothing be stored, it may be a valid session too, so it gives none either.
func (s *Session) Load(parent context.Context, tokens []string, when When) error {
	var candidates [MaxCandidates]string
	n := 0
	for i, token := range tokens[:min(len(tokens), MaxCandidates)] {
		if _, _, ok := s.engine.Layout.Parse(token); ok && !slices.Contains(tokens[:i], token) {
			candidates[n] = token
			n++
		}
	}
	if n == 0 {
		return nil
	}
	s.Asked = true
	ctx := s.loadContext.Start(parent, s.engine.Timeout)
	defer ctx.Stop()
	token := candidates[0]
	if n > 1 {
		var err error
		if token, err = s.onlyValid(ctx, candidates[:n]); token == "" {
			return err
		}
	}
	return s.loadToken(ctx, token, when)
}

// onlyValid returns the one token that may stand for a valid session, empty if two do, or if there is one that the
// request must not use. It touches nothing: a session that is refused must not live on by being refused again and
// again.
func (s *Session) onlyValid(ctx context.Context, tokens []string) (token string, err error) {
	e := s.engine
	var valid []refused
	for i, t := range tokens {
		if i == len(tokens)-1 && len(valid) == 0 && s.Unreadable == nil {
			return t, nil // there is no second one that it could differ from
		}
		key := e.Layout.Key(e.Realm, t)
		raw, _, err := e.store.Load(ctx, s.app, key, 0)
		if errors.Is(err, ErrNotFound) {
			s.noteUnknown()
			continue
		} else if err != nil {
			return "", err
		}
		rec, ok, err := s.read(ctx, key, raw, false)
		if err != nil {
			return "", err
		}
		if ok {
			token = t
			valid = append(valid, refused{key, raw[:rec.Prefix], rec})
		}
	}
	if len(valid) < 2 && s.Unreadable == nil {
		return token, nil
	}
	if len(valid) >= 2 {
		s.app.Notice(Notice{Kind: TwoSessions})
	}
	for _, r := range valid {
		s.destroyKeys.add(r.key, time.Now())
	}
	s.refused = valid
	return "", nil
}

// noteUnknown counts a token that nothing was found for.
func (s *Session) noteUnknown() {
	if n := s.engine.unknown.add(); n > 0 {
		s.app.Notice(Notice{Kind: ManyUnknown, Count: n})
	}
}

// loadToken loads the record of one token and makes it the Session's. Whatever is wrong with the record
// itself is reported and means that nothing was found. If the token does not say by which timeout to touch,
// the record is touched by the timeout found in it. That never shortens an expiry.
func (s *Session) loadToken(ctx context.Context, token string, when When) error {
	e := s.engine
	remembered, known, _ := e.Layout.Parse(token)
	// The touch is the idle timeout alone; the Lifetime is checked when the record is opened.
	timeouts := e.Timeouts(remembered)
	touch := timeouts.Touch()
	asks := !known || timeouts.Interval > 0 // what is left decides whether it is touched, and the record by how much
	if when == Never || asks {
		touch = 0
	}
	lookDue := false
	key := e.Layout.Key(e.Realm, token)
	var (
		raw   []byte
		rec   record.Record
		left  time.Duration
		first time.Time // when it was loaded first
	)
	for try := 1; ; try++ {
		current, rest, err := e.store.Load(ctx, s.app, key, touch)
		if err != nil {
			if try == 1 && errors.Is(err, ErrNotFound) {
				s.noteUnknown()
			}
			return unlessMissing(err)
		}
		left = rest
		if try == 1 || !bytes.Equal(current, raw) { // it was written between the two
			valid := false
			if rec, valid, err = s.read(ctx, key, current, touch > 0 && left == touch); !valid {
				return err
			}
			raw = current
		}
		if !asks || when == Never || e.idle(&rec) == 0 || try == 3 {
			break
		}
		if try == 1 {
			first = time.Now()
		}
		timeouts = e.Timeouts(rec.Remembered)
		ttl := timeouts.TTL(&rec, first)
		if known {
			ttl = timeouts.IdleOf(&rec)
		}
		if try == 1 {
			if timeouts.IsRecent(left, ttl) {
				break
			}
			lookDue = when == AtLook && !known
			if ttl < left && !known || lookDue && left >= ttl/2 {
				break
			}
		}
		if ttl == touch {
			break
		}
		touch = ttl
	}
	skipped := touch > 0 && left != touch
	if skipped {
		s.app.Notice(Notice{Kind: TouchSkipped})
	}
	if left <= 0 { // the store does not say: then at most that
		left = e.TTL(&rec)
	}
	found := Found{Raw: raw, Record: rec}
	if err := s.relist(ctx, key, &found, left); err != nil {
		return nil // it has ended
	}
	s.Token, s.Key = token, key
	s.Touched = when != Never && !skipped
	s.app.Adopt()
	s.Adopt(&found, left)
	s.byRecord, s.lookDue = !known, lookDue
	if idle := e.idle(&rec); left != touch && idle > left && !lookDue {
		s.LastSeen = s.LastSeen.Add(left - idle)
	}
	return nil
}

// read opens and decodes what is under a key. It is valid if it is a session's record whose time is not up
// and which can be read. If it is not, it is deleted, noted for Destroy, or reported; an error is one for the
// visitor. touched says that the load has restarted its expiry.
func (s *Session) read(ctx context.Context, key string, raw []byte, touched bool) (rec record.Record, valid bool, err error) {
	e := s.engine
	rec, err = e.openRecord(raw)
	if errors.Is(err, ErrNotFound) {
		return rec, false, nil
	}
	dated := !rec.Created.IsZero() // or the header could not be read, and nothing is known yet
	switch {
	case dated && e.timeIsUp(&rec):
		s.expire(ctx, key, raw, rec)
		return rec, false, nil
	case rec.IsMark():
		s.destroyKeys.add(string(rec.Successor), rec.Created)
		s.RenewedElsewhere = true
		s.noteMark(key, &rec)
		if touched {
			s.restoreMark(ctx, key, &rec)
		}
		return rec, false, nil
	}
	if err == nil {
		err = s.app.Decode(rec)
	}
	if err == nil && !dated && e.timeIsUp(&rec) {
		s.expire(ctx, key, raw, rec)
		return rec, false, nil
	}
	e.setIDFromKey(&rec, key)
	if err != nil {
		return rec, false, s.unreadable(rec, key, err)
	}
	return rec, true, nil
}

// restoreMark gives a mark its deadline back, after a load has replaced that by an idle timeout. One that is past
// its deadline goes at once. If the store does not answer, the mark stays for longer, and means nothing after its
// time.
func (s *Session) restoreMark(ctx context.Context, key string, mark *record.Record) {
	rest := max(markTTL-time.Since(mark.Created), time.Millisecond)
	_, _, _ = s.engine.store.Load(ctx, s.app, key, rest)
}

// timeIsUp tells whether a mark or a record has stood for its time.
func (e *Engine) timeIsUp(rec *record.Record) bool {
	if rec.IsMark() {
		return time.Since(rec.Created) >= markTTL
	}
	return e.TTL(rec) <= 0
}

// expire deletes a record whose time is up, readable or not: otherwise repeated use of the token would keep it
// alive.
func (s *Session) expire(ctx context.Context, key string, raw []byte, rec record.Record) {
	s.engine.setIDFromKey(&rec, key)
	if _, err := s.remove(ctx, key, raw[:rec.Prefix], &rec); err == nil && !rec.IsMark() {
		s.noticeRecord(Expired, rec, nil)
	}
}

// unlessMissing is the error of a load, except that a missing key is none.
func unlessMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// unreadable reports a record that cannot be read and leaves it to Destroy. It is an error for the visitor if a newer
// build wrote the record, or if the policy says so.
func (s *Session) unreadable(rec record.Record, key string, err error) error {
	if rec.Version > s.engine.Version && errors.Is(err, ErrNewerVersion) {
		return err
	}
	s.noticeRecord(Undecodable, rec, err)
	switch s.engine.OnUnreadable {
	case UnreadableFail:
		return err
	case UnreadableReadOnly:
		s.Unreadable = err
	}
	s.destroyKeys.add(key, time.Now())
	s.Record.Attrs = rec.Attrs // by them the Transport takes back what the client has, after a Destroy
	return nil
}
