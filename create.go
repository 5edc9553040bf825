package sessions

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/record"
)

// signsIn tells whether mine has an owner where the session has had none: its user has just proved who they are,
// as with SignIn, and that does not depend on what has become of the session.
func (s *session) signsIn(mine document.Document) bool {
	before := s.base.Owner
	if !s.stored.Stored() {
		before = s.live.freshOwner()
	} else if before != "" {
		return false
	}
	return mine.Owner != "" && mine.Owner != before
}

// newRecord is the header of a session that begins now.
func (s *session) newRecord() record.Record {
	return record.Record{ID: s.stored.ID(), Created: time.Now()}
}

// createSignedIn stores T as a new session of a user who has just proved who they are. If the one from before has
// ended, the new one has another ID, and T as the request has it, encoded afresh: nothing is brought back. changeHeader
// is nil if a change of owner alone is the sign-in.
func (s *session) createSignedIn(ctx context.Context, changeHeader func(*record.Record)) error {
	mine, err := s.live.encode(s.core, document.Document{})
	if err != nil {
		return err
	}
	rec := s.newRecord()
	if s.stored.Gone {
		rec.ID = s.core.engine.NewID()
	}
	if changeHeader != nil {
		changeHeader(&rec)
	}
	if err = s.create(ctx, mine, rec); err != nil {
		return err
	}
	s.saveErr = nil
	s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == EventGone }) // nothing was dropped
	return nil
}

var errTwoSessions = fmt.Errorf("%w: the request carries two valid sessions, and nobody can tell which is the user's, so nothing is stored until SignIn or Destroy ends both", ErrConflict)

// keepsOthers tells whether the cookie of a session that begins now could replace that of a session which the request
// could not use, and must not. Only Destroy, or a sign-in where they can be read, makes way for a new one.
func (s *session) keepsOthers() bool {
	return s.stored.Unreadable != nil || s.core.OnUndecodable != UndecodableFresh && len(s.stored.RefusedAttrs()) > 0
}

// createErr is why no session can be created: nothing may replace the record that cannot be read, or the client could
// not get the token.
func (s *session) createErr() error {
	if err := s.readOnlyErr(); err != nil {
		return err
	}
	return s.headerErr()
}

// create stores a new session under a new token. An owner that the request has given to T has signed in; one of
// SessionDefaults has not.
func (s *session) create(ctx context.Context, mine document.Document, rec record.Record) (err error) {
	s.startClock()
	if err := cmp.Or(s.createErr(), s.core.docType.CheckOwner(mine)); err != nil {
		return err
	}
	signedIn := !rec.Authenticated.IsZero() || s.signsIn(mine)
	switch {
	case signedIn:
		if rec.Authenticated.IsZero() {
			rec.Authenticated = rec.Created
		}
		if err = s.endRefused(ctx); err != nil {
			return err
		}
	case s.keepsOthers():
		return errTwoSessions
	}
	payload, err := s.core.docType.Preserve(&record.Record{}, s.base, mine)
	if err != nil {
		return err
	}
	s.core.docType.PutInto(&rec, payload)
	s.setLabelAndAttrs(&rec)
	before := s.stored.Record.Attrs
	if err = s.stored.Create(ctx, rec); err != nil {
		return err
	}
	s.addEnded(before)
	s.wrote = true
	s.setBase(payload)
	s.outcome = OutcomeCreated
	s.addEvent(EventCreated, nil)
	if signedIn {
		s.addEvent(EventSignedIn, nil)
	}
	return nil
}

// endRefused ends the two valid sessions that the request could not use: its user has just proved who they are.
func (s *session) endRefused(ctx context.Context) error {
	ended, err := s.stored.EndRefused(ctx)
	s.ended = append(s.ended, ended...)
	return err
}

// addEnded notes Attrs that the client may hold, and that others have taken the place of.
func (s *session) addEnded(attrs any) {
	if attrs != nil {
		s.ended = append(s.ended, attrs)
	}
}

const maxLabel = 256

// setLabelAndAttrs sets the Label and the Attrs of a record from the request, when the session is created and when
// it gets a new token.
func (s *session) setLabelAndAttrs(rec *record.Record) {
	if s.core.Label != nil && s.request != nil {
		rec.Label = truncate(s.core.Label(s.request), maxLabel)
	}
	if rec.Attrs == nil {
		rec.Attrs = transportAttrs(s.transport(), s.request, rec.Remembered)
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
