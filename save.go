package sessions

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// autosave is a commit that no verb asked for. Once a verb has told the handler that the session could not be
// saved, the response is the handler's: a second failure does not replace it, and a store that did not answer
// is not asked again. What a user changes by signing in must never be stored under the token from before:
// after a sign-in that failed nothing is saved.
func (s *session) autosave() error {
	if s.signErr != nil || errors.Is(s.saveErr, ErrGone) || errors.Is(s.saveErr, ErrUnavailable) || !s.mayHaveChanged() {
		return nil
	}
	if s.live.isAbandoned(s) {
		s.event(EventLateChange, context.DeadlineExceeded)
		return nil
	}
	err := s.commit(s)
	if err != nil && s.saveErr != nil {
		s.failed(opCommit, err)
		return nil
	}
	return err
}

// mayHaveChanged tells whether a commit has to look at T.
func (s *session) mayHaveChanged() bool { return s.live.isUsed() || s.rewrites() || s.initializes() }

// rewrites tells whether a commit stores a session that has not changed.
func (s *session) rewrites() bool { return s.core.Rewrite && s.stored.Stored() && !s.wrote }

// initializes tells whether a commit stores a new session into which nothing was put.
func (s *session) initializes() bool {
	return s.core.SaveUninitialized && !s.stored.Stored() && !s.wrote
}

// commit brings *T into the store if it has changed.
func (s *session) commit(ctx context.Context) error {
	if !s.mayHaveChanged() {
		return nil
	}
	mine, changed, err := s.encode()
	switch {
	case err != nil:
		return err
	case s.stored.Over() && changed:
		return s.stored.End()
	case s.stored.Over() || !changed && !s.rewrites() && !s.initializes():
		return nil
	case !s.stored.Stored():
		return s.create(ctx, mine, s.newRecord())
	}
	if err = s.write(ctx, &edit{s: s, mine: mine, changed: changed}); !changed && errors.Is(err, ErrGone) {
		err = nil // a Rewrite has nothing to lose
	}
	return err
}

// scratch holds an encoding for the time of a comparison.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 64 << 10

// encode encodes *T by the codec of what was loaded and tells whether it is another T.
func (s *session) encode() (mine document.Document, changed bool, err error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	base, mine, err := s.live.encode(s.core, (*buf)[:0], s.base)
	if err != nil {
		return mine, false, err
	}
	if cap(mine.Data) <= maxScratch {
		*buf = mine.Data
	}
	if len(s.unconfirmed) == 0 && bytes.Equal(mine.Data, base.Data) {
		return base, false, nil
	}
	mine.Data = bytes.Clone(mine.Data)
	return mine, len(s.unconfirmed) > 0 || s.core.doc.Changed(base, mine), nil
}

// newRecord is the header of a session that begins now.
func (s *session) newRecord() record.Record {
	return record.Record{ID: s.stored.ID(), Created: time.Now()}
}

// create stores a new session under a new token. The header must not have gone: nobody could come back to a
// session without its token. A session that belongs to somebody from the start has just been signed in.
func (s *session) create(ctx context.Context, mine document.Document, rec record.Record) error {
	if s.sent {
		return ErrCommitted
	}
	signedIn := mine.Owner != "" || !rec.Authenticated.IsZero()
	if signedIn {
		rec.Authenticated = rec.Created
	}
	payload, err := s.core.doc.Preserve(&record.Record{}, mine)
	if err != nil {
		return err
	}
	s.core.doc.Fill(&rec, payload)
	s.describe(&rec)
	if err = s.stored.Create(ctx, rec); err != nil {
		return err
	}
	s.wrote = true
	s.rebase(payload)
	s.outcome = OutcomeCreated
	s.event(EventCreated, nil)
	if signedIn {
		s.event(EventSignedIn, nil)
	}
	return nil
}

const maxLabel = 256

// describe puts into a record what the request says of it, at the beginning and at a renewal.
func (s *session) describe(rec *record.Record) {
	if s.core.Label != nil && s.request != nil {
		rec.Label = truncate(s.core.Label(s.request), maxLabel)
	}
	if rec.Attrs == nil {
		rec.Attrs = attrs(&s.core.Config, s.request, rec.Remembered)
	}
}

// truncate cuts v to n bytes, between characters.
func truncate(v string, n int) []byte {
	if len(v) > n {
		for n > 0 && !utf8.RuneStart(v[n]) {
			n--
		}
		v = v[:n]
	}
	return []byte(v)
}

// An edit is what a verb or a commit makes of a stored T. How it gets into the store is the business of
// package protocol, which asks it for a record to store by Compose.
type edit struct {
	s       *session
	mine    document.Document // T as the request has left it
	changed bool              // mine differs from the loaded T
	renewal *renewal          // what SignIn or Renew asked for; nil for other verbs
	fn      func() error      // Update's function, on *T; nil for other verbs
	until   time.Time         // when an Update gives up, if it is not zero

	// What the last Compose has made.
	payload document.Document
	merged  document.Merged // with what another request has saved
	renewed EventKind       // of the renewal

	before any    // T from before fn, as long as it may have to be put back
	label  []byte // of the renewed record, once there is one
	attrs  any    // the same
}

// A renewal is what becomes of the header of a record that gets a new token.
type renewal struct {
	kind   EventKind
	header func(*record.Record)
}

// signIn is the renewal of a user who has just proved who they are.
func signIn(now time.Time, remembered bool) *renewal {
	return &renewal{EventSignedIn, func(r *record.Record) {
		r.Created, r.Authenticated = now, now
		r.Remembered = remembered
		r.Idle, r.Attrs = 0, nil // they are the Transport's to choose again
	}}
}

// write brings an edit of a stored session into the store and takes over what came of it.
func (s *session) write(ctx context.Context, e *edit) error {
	defer e.putBack() // also after a panic
	result, err := s.stored.Write(ctx, protocol.Change{Composer: e, RunsFunction: e.fn != nil, Until: e.until})
	if err != nil {
		if u := result.Unconfirmed; u.Name != nil {
			more := e.fn != nil || e.merged.Value != nil || e.merged.Replaced
			s.unconfirmed = append(s.unconfirmed, unconfirmedSave{u, e.mine, more})
		}
		return err
	}
	s.wrote = true
	if result.Kept {
		return nil
	}
	s.rebase(e.payload)
	e.before = nil
	if e.merged.Value != nil {
		s.live.set(s.core, e.merged.Value)
	}
	if len(e.merged.Lost) > 0 || e.merged.Replaced {
		s.event(EventConflict, nil, e.merged.Lost...)
	}
	if len(e.merged.Taken) > 0 {
		s.event(EventMerged, nil, e.merged.Taken...)
	}
	if result.Renewed {
		s.outcome = OutcomeRenewed
		s.event(e.renewed, nil)
		return nil
	}
	if (e.changed || e.fn != nil) && s.outcome == OutcomeUnchanged {
		s.outcome = OutcomeChanged
	}
	s.event(EventSaved, nil)
	return nil
}

// Compose implements [protocol.Composer]: it makes one record of what the request has made of T and of what
// is stored now.
func (e *edit) Compose(found protocol.Found) (p protocol.Proposal, err error) {
	s, doc := e.s, &e.s.core.doc
	theirs, base, further, err := e.read(&found)
	if err != nil {
		return p, err
	}
	if theirs.value != nil && !e.changed && e.renewal == nil && e.fn == nil {
		return protocol.Proposal{Keep: true}, nil // a Rewrite has nothing to put in its place
	}
	if err = e.meet(theirs, base, further, &found.Record); err != nil {
		return p, err
	}
	if e.fn != nil {
		if err = e.call(); err != nil {
			return p, err
		}
	}
	if e.payload, err = doc.Preserve(&found.Record, e.payload); err != nil {
		return p, err
	}
	p.Record = found.Record
	if r := e.renewalOf(e.payload.Owner); r != nil {
		if s.sent {
			return p, ErrCommitted
		}
		r.header(&p.Record)
		e.describe(&p.Record)
		e.renewed, p.NewToken = r.kind, true
	}
	doc.Fill(&p.Record, e.payload)
	return p, nil
}

// read decodes what another request has stored; theirs.value is nil where nobody else has written. The base
// of a merge is what this request has loaded, or tried to save if that is stored after all; further saves
// that were not answered are further bases.
func (e *edit) read(found *protocol.Found) (theirs decoded, base document.Document, further []document.Document, err error) {
	s := e.s
	base = s.base
	if found.Known {
		return theirs, base, nil, nil
	}
	if theirs, err = s.core.decode(found.Record); err != nil {
		return theirs, base, nil, err
	}
	confirmed := false
	for i := range s.unconfirmed {
		u := &s.unconfirmed[i]
		if !u.In(found) {
			further = append(further, u.mine)
			continue
		}
		base, confirmed = u.mine, true
		if !u.merged && u.Last(found) {
			theirs.value = nil
		}
	}
	if confirmed {
		further = nil
	}
	return theirs, base, further, nil
}

// meet makes the payload of mine and of what another request has stored, by the policy.
func (e *edit) meet(theirs decoded, base document.Document, further []document.Document, rec *record.Record) (err error) {
	s, doc := e.s, &e.s.core.doc
	e.payload, e.merged = e.mine, document.Merged{}
	switch {
	case theirs.value == nil:
	case theirs.doc.Owner != s.base.Owner, doc.Owner == nil && len(s.stored.Record.Owner) > 0 && !bytes.Equal(rec.Owner, s.stored.Record.Owner):
		return s.stored.End() // it belongs to somebody else now
	case !e.changed:
		e.payload, e.merged.Value = theirs.doc, theirs.value
	case s.core.OnConflict == ConflictReject:
		if !doc.Equal(e.mine, theirs.doc) {
			s.event(EventConflict, ErrConflict)
			return ErrConflict
		}
	case s.core.OnConflict == ConflictLastWrite:
		e.merged.Replaced = true
	default:
		e.payload, e.merged, err = doc.MergeDocuments(base, e.mine, theirs.doc, rec, further)
	}
	return err
}

// call runs Update's function on *T with the content of the payload, decoded into a new T, and makes what has
// become of it the payload.
func (e *edit) call() (err error) {
	s := e.s
	value := e.merged.Value
	if value == nil {
		if value, err = s.core.doc.Value(e.payload); err != nil {
			return err
		}
	}
	if before := s.live.swap(s.core, value); e.before == nil {
		e.before = before
	}
	e.merged.Value = nil
	if err := s.unlocked(e.fn); err != nil {
		return &protocol.Refusal{Err: err}
	}
	_, e.payload, err = s.live.encode(s.core, nil, e.payload)
	return err
}

// putBack undoes what an Update that has failed did to *T.
func (e *edit) putBack() {
	if e.before != nil {
		e.s.live.set(e.s.core, e.before)
		e.before = nil
	}
}

// renewalOf is the renewal that the edit comes with, nil for none: the one that was asked for, or the one
// that a change of owner brings with it. A new owner has signed in, whether or not the handler says so; a
// session that belongs to nobody any more is not authenticated.
func (e *edit) renewalOf(owner string) *renewal {
	s := e.s
	switch {
	case owner == s.base.Owner || e.renewal != nil && e.renewal.kind == EventSignedIn:
		return e.renewal
	case owner == "":
		return &renewal{EventRenewed, func(r *record.Record) { r.Authenticated = time.Time{} }}
	}
	return signIn(s.began, false)
}

// describe is the session's, asked once however often the renewal is tried.
func (e *edit) describe(rec *record.Record) {
	if e.renewed == 0 {
		e.s.describe(rec)
		e.label, e.attrs = rec.Label, rec.Attrs
		return
	}
	rec.Label = e.label
	if rec.Attrs == nil {
		rec.Attrs = e.attrs
	}
}
