package sessions

import (
	"context"
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
	_, mine, err := s.live.encode(s.core, nil, nil, document.Document{})
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

// create stores a new session under a new token. It fails after the response header was sent, because the client
// could not get the token. An owner that the request has given to T has signed in; one of SessionDefaults has not.
func (s *session) create(ctx context.Context, mine document.Document, rec record.Record) (err error) {
	if err := s.headerErr(); err != nil {
		return err
	}
	signedIn := !rec.Authenticated.IsZero() || s.signsIn(mine)
	if signedIn {
		rec.Authenticated = rec.Created
		if err = s.endRefused(ctx); err != nil {
			return err
		}
	}
	payload, err := s.core.docType.Preserve(&record.Record{}, mine)
	if err != nil {
		return err
	}
	s.core.docType.PutInto(&rec, payload)
	s.setLabelAndAttrs(&rec)
	if err = s.stored.Create(ctx, rec); err != nil {
		return err
	}
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

const maxLabel = 256

// setLabelAndAttrs sets the Label and the Attrs of a record from the request, when the session is created and when
// it gets a new token.
func (s *session) setLabelAndAttrs(rec *record.Record) {
	if s.core.Label != nil && s.request != nil {
		rec.Label = truncate(s.core.Label(s.request), maxLabel)
	}
	if rec.Attrs == nil {
		rec.Attrs = transportAttrs(s.core.Transport, s.request, rec.Remembered)
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
