package sessions

import (
	"bytes"
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// autosave is a commit that no verb asked for. Once a verb has returned an error to the handler, the handler
// decides what the response says: a second failure does not replace it, and a store that did not answer is not asked
// again. A change that is lost thereby is told, unless the verb's error has told it. What a user changes by signing in
// must never be stored under the token from before: after a sign-in that failed nothing is saved.
func (s *session) autosave() error {
	if s.signErr != nil || s.unanswered && s.lossTold || !s.mayHaveChanged() {
		return nil
	}
	mine, changed, err := s.encodeAndCompare(s)
	switch {
	case errors.Is(err, errAbandoned):
		if !s.toldAbandoned {
			s.toldAbandoned = true
			s.addRouteEvent(EventLateChange, err)
		}
		return nil
	case s.saveErr != nil && s.stored.HasEnded() && (err != nil || !s.signsIn(mine)):
		return nil
	case err == nil && s.unanswered:
		if changed {
			s.addRouteEvent(EventFailed, s.saveErr)
			s.lossTold = true
		}
		return nil
	case err == nil:
		err = s.save(s, mine, changed, true)
	}
	if err != nil && s.saveErr != nil {
		if !errors.Is(err, ErrGone) { // which has an event of its own
			s.addRouteEvent(EventFailed, err)
		}
		if errors.Is(err, ErrUnavailable) {
			s.unanswered, s.lossTold = true, true
		}
		return nil
	}
	return err
}

// mayHaveChanged tells whether a commit has to look at T.
func (s *session) mayHaveChanged() bool {
	return s.live.isUsed() || s.rewrites() || s.initializes() || s.moves()
}

// moves tells whether a commit renews a session that has not changed, because its user's sessions can only list it
// under a token of theirs. The response must be able to carry that. A passive request moves nothing, for that is activity.
func (s *session) moves() bool {
	return s.stored.Misplaced(s.base.Owner) && s.stored.Touched && s.response != nil && s.headerErr() == nil && !s.stored.HasEnded()
}

// rewrites tells whether a commit stores a session that has not changed.
func (s *session) rewrites() bool { return s.core.Rewrite && s.stored.Stored() && !s.wrote }

// initializes tells whether a commit stores a new session into which nothing was put.
func (s *session) initializes() bool {
	return s.core.SaveUninitialized && !s.stored.Stored() && !s.wrote && !s.keepsOthers()
}

// saveIfChanged stores *T if it has changed, or if Rewrite or SaveUninitialized asks for it.
func (s *session) saveIfChanged(ctx context.Context) error {
	if !s.mayHaveChanged() {
		return nil
	}
	mine, changed, err := s.encodeAndCompare(nil)
	switch {
	case s.stored.Gone && (err != nil || !s.signsIn(mine)):
		return s.stored.NoteEnded()
	case err != nil:
		return err
	}
	return s.save(ctx, mine, changed, false)
}

// save stores mine, if it has changed or is to be stored all the same. An automatic save creates nothing where the
// browser may have withheld the cookie.
func (s *session) save(ctx context.Context, mine document.Document, changed, automatic bool) (err error) {
	switch {
	case s.stored.HasEnded() && s.signsIn(mine):
		return s.createSignedIn(ctx, nil)
	case s.stored.HasEnded() && changed:
		return s.stored.NoteEnded()
	case s.stored.HasEnded() || !changed && !s.rewrites() && !s.initializes() && !s.moves():
		return nil
	case !s.stored.Stored() && automatic && s.isWithheld(mine):
		return nil
	case !s.stored.Stored():
		return s.create(ctx, mine, s.newRecord())
	}
	e := &edit{s: s, mine: mine, changed: changed}
	if s.moves() && mine.Owner == s.base.Owner {
		e.renewal = unchanged()
	}
	err = s.saveEdit(ctx, e)
	switch {
	case err != nil && e.renewal != nil && !changed:
		s.addEvent(EventFailed, err) // the next request tries again: nothing of this one is lost
		return nil
	case err != nil && e.renewal != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnavailable):
		s.addEvent(EventFailed, err) // its user has as many sessions as may be listed: it is saved where it is
		return s.saveEdit(ctx, &edit{s: s, mine: mine, changed: changed})
	case !errors.Is(err, ErrGone):
	case s.signsIn(mine):
		return s.createSignedIn(ctx, nil)
	case !changed:
		err = nil // Rewrite alone has no change that could be lost
	}
	return err
}

// isWithheld tells whether the request may lack its session's cookie, so that the cookie of a session that began now
// would sign the user out. That a T without an owner has one now is a sign-in, which is to replace the cookie.
func (s *session) isWithheld(mine document.Document) bool {
	if !withheld(s.transport(), s.request) || s.signsIn(mine) {
		return false
	}
	if !s.toldWithheld {
		s.toldWithheld = true
		s.addRouteEvent(EventWithheld, nil)
	}
	return true
}

// encodeAndCompare tells whether *T is another T than what was loaded, and encodes it by that codec if so. If not, mine is
// the base. While a save is unconfirmed T counts as changed. The request's context is given if no verb has asked for it:
// then an abandoned T is not encoded.
func (s *session) encodeAndCompare(request ending) (mine document.Document, changed bool, err error) {
	unconfirmed := len(s.unconfirmed) > 0
	base, mine, err := s.live.encodeIfChanged(s.core, request, s.base, unconfirmed)
	if err != nil {
		return mine, false, err
	}
	same := unsafe.SliceData(mine.Data) == unsafe.SliceData(base.Data)
	if same || unconfirmed {
		return mine, !same, nil
	}
	changed = s.core.docType.Changed(&base, mine)
	if s.base.Codec != nil {
		s.base.OwnEncoding = base.OwnEncoding
	}
	return mine, changed, nil
}

// An edit is one change of a stored session, as far as T is concerned. Package protocol writes it, and calls
// Compose for the record to store.
type edit struct {
	s       *session
	mine    document.Document // T as the request has left it; the base if it has not changed
	changed bool              // mine differs from the loaded T
	renewal *renewal          // what SignIn, Reauthenticate or Renew asked for; nil for other verbs
	fn      func() error      // Update's function, on *T; nil for other verbs
	until   time.Time         // when an Update gives up, if it is not zero

	keepsTime bool // it restarts no timeout

	// What the last Compose has made.
	composed     document.Document
	merged       document.Merged // the result of merging with another request's save
	renewalEvent EventKind       // 0 as long as no Compose has renewed the session

	contentBefore any    // T from before fn; nil when nothing is to be put back
	label         []byte // label and attrs are valid if renewalEvent is not 0
	attrs         any
}

// A renewal is what becomes of the header of a record that gets a new token.
type renewal struct {
	kind         EventKind
	changeHeader func(*record.Record)
	sameOwner    bool // it fails if T has another owner
}

// An authentication is what is known of the proof of who the user is.
type authentication struct {
	at         time.Time
	method     string
	remembered bool // Remember's timeouts
}

func (a authentication) putInto(r *record.Record) { r.Authenticated, r.Method = a.at, []byte(a.method) }

// signInRenewal is the renewal of a user who has just proved who they are.
func signInRenewal(now time.Time, a authentication) *renewal {
	return &renewal{kind: EventSignedIn, changeHeader: func(r *record.Record) {
		a.putInto(r)
		r.Created = now
		r.Remembered = a.remembered
		r.Idle, r.Attrs = 0, nil // the Transport chooses them again
	}}
}

// unchanged is a renewal that keeps the header.
func unchanged() *renewal {
	return &renewal{kind: EventRenewed, changeHeader: func(*record.Record) {}}
}

// move renews a session for its owner's index alone. It signs nobody in, and nothing is saved after a sign-in that failed.
func (s *session) move(ctx context.Context) error {
	mine, changed, err := s.encodeAndCompare(nil)
	if err != nil || s.signErr != nil || mine.Owner != s.base.Owner {
		return err
	}
	return s.saveEdit(ctx, &edit{s: s, mine: mine, changed: changed, renewal: unchanged()})
}

// renew gives a stored session a new token.
func (s *session) renew(ctx context.Context, r *renewal) error {
	mine, changed, err := s.encodeAndCompare(nil)
	if err != nil {
		return err
	}
	return s.saveEdit(ctx, &edit{s: s, mine: mine, changed: changed, renewal: r})
}

// saveEdit writes an edit of a stored session. On success it updates base, *T, the outcome and the events.
func (s *session) saveEdit(ctx context.Context, e *edit) error {
	s.startClock()
	defer e.putBack() // also after a panic
	before, key := s.stored.Record.Attrs, s.stored.Key
	defer s.core.engine.WatchWrite(key)()
	result, err := s.stored.Write(ctx, protocol.Change{Composer: e, RunsFunction: e.fn != nil, KeepsTime: e.keepsTime, Until: e.until})
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
	s.setBase(e.composed)
	e.contentBefore = nil
	if e.merged.Value != nil {
		s.live.set(s.core, e.merged.Value, e.composed.Data)
	}
	if len(e.merged.Lost) > 0 || e.merged.Replaced {
		s.addEvent(EventConflict, nil, e.merged.Lost...)
	}
	if len(e.merged.Taken) > 0 {
		s.addEvent(EventMerged, nil, e.merged.Taken...)
	}
	if result.Renewed {
		s.core.engine.WatchRenewed(key, &s.stored, s.base.Owner)
		s.outcome = OutcomeRenewed
		if e.renewalEvent == EventSignedIn {
			s.addEnded(before)
		}
		s.addEvent(e.renewalEvent, nil)
		return nil
	}
	if (e.changed || e.fn != nil) && s.outcome == OutcomeUnchanged {
		s.outcome = OutcomeChanged
	}
	s.addEvent(EventSaved, nil)
	return nil
}

// Compose implements [protocol.Composer]: it makes one record of what the request has made of T and of what
// is stored now.
func (e *edit) Compose(found protocol.Found) (p protocol.Proposal, err error) {
	s, doc := e.s, &e.s.core.docType
	theirs, base, furtherBases, err := e.decodeTheirs(&found)
	if err != nil {
		return p, err
	}
	if theirs.value != nil && !e.changed && e.renewal == nil && e.fn == nil {
		return protocol.Proposal{Keep: true}, nil // another request has just written it, so that a Rewrite is not needed
	}
	if err = e.mergeTheirs(theirs, base, furtherBases, &found.Record); err != nil {
		return p, err
	}
	if e.fn != nil {
		if err = e.runFunction(); err != nil {
			return p, err
		}
	}
	if e.composed, err = doc.Preserve(&found.Record, base, e.composed); err != nil {
		return p, err
	}
	p.Record = found.Record
	r, err := e.renewalOf(e.composed.Owner)
	if err == nil && e.composed.Owner != s.base.Owner {
		err = doc.CheckOwner(e.composed)
	}
	if err != nil {
		return p, err
	}
	if r != nil {
		if err := s.headerErr(); err != nil {
			return p, err
		}
		if r.kind == EventSignedIn {
			if err := s.endRefused(s); err != nil {
				return p, err
			}
		}
		renewed := found.Record // which is on the heap, other than p
		r.changeHeader(&renewed)
		e.setLabelAndAttrsOnce(&renewed)
		e.renewalEvent, p.Record, p.NewToken = r.kind, renewed, true
	}
	doc.PutInto(&p.Record, e.composed)
	return p, nil
}

// decodeTheirs decodes what another request has stored. theirs.value is nil if nobody else has written. base is
// what this request has loaded, or an unanswered save of it that is stored after all; furtherBases are its other
// unanswered saves.
func (e *edit) decodeTheirs(found *protocol.Found) (theirs decoded, base document.Document, furtherBases []document.Document, err error) {
	s := e.s
	base = s.base
	if found.Own {
		return theirs, base, nil, nil
	}
	if theirs, err = s.core.decode(found.Record, s.base); err != nil {
		return theirs, base, nil, err
	}
	confirmed := false
	for i := range s.unconfirmed {
		u := &s.unconfirmed[i]
		if !u.In(found) {
			furtherBases = append(furtherBases, u.mine)
			continue
		}
		base, confirmed = u.mine, true
		if !u.storedMore && u.Last(found) {
			theirs.value = nil
		}
	}
	if confirmed {
		furtherBases = nil
	}
	return theirs, base, furtherBases, nil
}

// mergeTheirs combines mine with what another request has stored, by Config.OnConflict.
func (e *edit) mergeTheirs(theirs decoded, base document.Document, furtherBases []document.Document, rec *record.Record) (err error) {
	s, doc := e.s, &e.s.core.docType
	e.composed, e.merged = e.mine, document.Merged{}
	switch {
	case theirs.value == nil: // nobody else has written
	case theirs.doc.Owner != s.base.Owner, doc.Owner == nil && len(s.stored.Record.Owner) > 0 && !bytes.Equal(rec.Owner, s.stored.Record.Owner):
		return s.stored.NoteEnded() // it belongs to somebody else now; where T is not Owned, the record's header says so
	case !e.changed:
		e.composed, e.merged.Value = theirs.doc, theirs.value
	case s.core.OnConflict == ConflictReject:
		if !doc.Equal(e.mine, theirs.doc) {
			s.addEvent(EventConflict, ErrConflict)
			return ErrConflict
		}
	case s.core.OnConflict == ConflictLastWrite:
		e.merged.Replaced = true
	default:
		e.composed, e.merged, err = doc.MergeDocuments(base, e.mine, theirs.doc, rec, furtherBases)
	}
	return err
}

// runFunction puts what was composed into *T, decoded into a new T, runs Update's function, and composes *T anew.
func (e *edit) runFunction() (err error) {
	s := e.s
	value := e.merged.Value
	if value == nil {
		if value, err = s.core.docType.DecodeAgain(e.composed); err != nil {
			return err
		}
	}
	if before := s.live.replace(s.core, value); e.contentBefore == nil {
		e.contentBefore = before
	}
	e.merged.Value = nil
	if err := s.runUnlocked(e.fn); err != nil {
		return &protocol.Refusal{Err: err}
	}
	e.composed, err = s.live.encode(s.core, e.composed)
	return err
}

// putBack undoes what an Update that has failed did to *T.
func (e *edit) putBack() {
	if e.contentBefore != nil {
		e.s.live.set(e.s.core, e.contentBefore, nil)
		e.contentBefore = nil
	}
}

// renewalOf returns the renewal that the edit needs, or nil: the one that was asked for, or the one that a change
// of owner requires. A new owner has signed in, whether or not the handler says so; a
// session that belongs to nobody any more is not authenticated.
func (e *edit) renewalOf(owner string) (*renewal, error) {
	s := e.s
	switch {
	case owner == s.base.Owner || e.renewal != nil && e.renewal.kind == EventSignedIn:
		return e.renewal, nil
	case e.renewal != nil && e.renewal.sameOwner:
		return nil, errOtherUser
	case owner == "":
		return &renewal{kind: EventRenewed, changeHeader: authentication{}.putInto}, nil
	}
	return signInRenewal(s.began, authentication{at: s.began}), nil
}

var errOtherUser = errors.New("sessions: Reauthenticate: T has another owner than the session, so another user has proved who they are: call SignIn, or put the owner back")

// setLabelAndAttrsOnce asks for them once, also if Compose runs again.
func (e *edit) setLabelAndAttrsOnce(rec *record.Record) {
	if e.renewalEvent == 0 {
		e.s.setLabelAndAttrs(rec)
		e.label, e.attrs = rec.Label, rec.Attrs
		return
	}
	rec.Label = e.label
	if rec.Attrs == nil {
		rec.Attrs = e.attrs
	}
}
