package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// Create stores a new session under a new token, and s is that session from then on. If the one before has ended, that
// stays so, and Destroy still ends what else the request's tokens stand for.
func (s *Session) Create(ctx context.Context, rec record.Record) error {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	created, err := s.createUnderNewToken(ctx, rec, (*Session).storeNew)
	if err != nil {
		return err
	}
	s.Token, s.Key, s.Gone, s.endNoted = created.token, created.key, false, false
	s.Adopt(&created.Found, s.engine.TTL(&created.Record))
	s.Touched = true
	return nil
}

// An underToken is a record, the key that it is to be under, and the token that leads there.
type underToken struct {
	token, key string
	Found
}

// draw returns a new token and its key. It is beside the other sessions of the record's owner, if those are listed.
func (e *Engine) draw(rec *record.Record) (token, key string, err error) {
	drawn, err := e.NewToken()
	if err != nil {
		return "", "", fmt.Errorf("sessions: Config.NewToken: %w", err)
	}
	if e.Owners != nil && len(rec.Owner) > 0 {
		_, tag := e.indexOf(string(rec.Owner))
		token = e.Place(drawn, tag, rec.Remembered)
	} else {
		token = e.Layout.Mint(drawn, rec.Remembered)
	}
	if _, _, ok := e.Layout.Parse(token); !ok {
		return "", "", errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn")
	}
	return token, e.Layout.Key(e.Realm, token), nil
}

// underNewToken makes the record that is to be stored under a new token.
func (e *Engine) underNewToken(rec record.Record) (*underToken, error) {
	token, key, err := e.draw(&rec)
	if err != nil {
		return nil, err
	}
	rec.AddWrite(e.writeName())
	u := &underToken{token: token, key: key}
	u.Raw, u.Record, err = e.Seal(rec)
	return u, err
}

// createUnderNewToken stores rec by store under a token that nobody else has.
func (s *Session) createUnderNewToken(ctx context.Context, rec record.Record, store func(*Session, context.Context, *underToken) ([]byte, error)) (*underToken, error) {
	for try := 1; ; try++ {
		created, err := s.engine.underNewToken(rec)
		if err != nil {
			return nil, err
		}
		current, err := store(s, ctx, created)
		switch {
		case unanswered(err) && s.takeBack(ctx, created) && try < 3:
		case !errors.Is(err, ErrExists):
			return created, maybeStored(err)
		// Either the reply to our own first attempt was lost, or NewToken repeats itself.
		case bytes.HasPrefix(current, created.Raw[:created.Record.Prefix]):
			return created, nil
		case try == 3:
			return nil, errDrawnAgain
		}
	}
}

var errDrawnAgain = fmt.Errorf("sessions: Config.NewToken: %w: it draws the same token again and again", ErrExists)

// storeNew stores the record of a session that begins, and lists it. With [ErrExists] it returns what is under the key.
func (s *Session) storeNew(ctx context.Context, c *underToken) (current []byte, err error) {
	e := s.engine
	at, ttl := e.entryOf(&c.Record, c.key), e.TTL(&c.Record)
	if at.index == "" {
		return s.storeUnlisted(ctx, c, ttl)
	}
	if ttl <= 0 { // its time has run out meanwhile
		return nil, s.NoteEnded()
	}
	answer, err := s.placeWithinLimit(ctx, c.Record.Owner, e.placement(at, c.key, &c.Found, ttl))
	return answer.Current, err
}

// storeUnlisted stores a record that no index has, as storeNew does.
func (s *Session) storeUnlisted(ctx context.Context, c *underToken, ttl time.Duration) (current []byte, err error) {
	if ttl <= 0 {
		return nil, s.NoteEnded()
	}
	if err = s.engine.store.Create(ctx, s.app, c.key, c.Raw, ttl); errors.Is(err, ErrExists) {
		var loadErr error
		if current, _, loadErr = s.engine.store.Load(ctx, s.app, c.key, 0); loadErr != nil && !errors.Is(loadErr, ErrNotFound) {
			return nil, loadErr
		}
	}
	return current, err
}

// takeBack deletes a record whose reply was lost, with its entry, because a session that is listed must be somebody's. It
// tells whether the record is certain not to be there.
func (s *Session) takeBack(ctx context.Context, c *underToken) bool {
	if s.engine.entryOf(&c.Record, c.key).index == "" || ctx.Err() != nil {
		return false
	}
	_, err := s.remove(ctx, c.key, c.Raw[:c.Record.Prefix], &c.Record)
	return err == nil || errors.Is(err, ErrNotFound)
}
