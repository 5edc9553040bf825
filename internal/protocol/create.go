package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/typedsessions/sessions/internal/record"
)

// Create stores a new session under a new token, and s is that session from then on. If the one before has ended, that
// stays so, and Destroy still ends what else the request's tokens stand for.
func (s *Session) Create(ctx context.Context, rec record.Record) error {
	ctx, cancel := s.engine.SaveContext(ctx)
	defer cancel()
	token, key, created, err := s.createUnderNewToken(ctx, rec)
	if err != nil {
		return err
	}
	s.Token, s.Key, s.Gone = token, key, false
	s.Adopt(&created, s.engine.TTL(&created.Record))
	return nil
}

// createUnderNewToken stores rec under a token that nobody else has.
func (s *Session) createUnderNewToken(ctx context.Context, rec record.Record) (token, key string, created Found, err error) {
	e := s.engine
	rec.AddWrite(e.writeName())
	for range 3 {
		drawn, err := e.NewToken()
		if err != nil {
			return "", "", created, fmt.Errorf("sessions: Config.NewToken: %w", err)
		}
		token = e.Layout.Mint(drawn, rec.Remembered)
		if _, _, ok := e.Layout.Parse(token); !ok {
			return "", "", created, errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn")
		}
		key = e.Layout.Key(e.Realm, token)
		if created.Raw, created.Record, err = e.Seal(rec); err != nil {
			return "", "", created, err
		}
		err = e.store.Create(ctx, s.app, key, created.Raw, e.TTL(&created.Record))
		if !errors.Is(err, ErrExists) {
			return token, key, created, maybeStored(err)
		}
		// Either the reply to our own first attempt was lost, or NewToken repeats itself.
		current, _, err := e.store.Load(ctx, s.app, key, 0)
		if err != nil && !errors.Is(err, ErrNotFound) || bytes.HasPrefix(current, created.Raw[:created.Record.Prefix]) {
			return token, key, created, maybeStored(err)
		}
	}
	return "", "", created, fmt.Errorf("sessions: Config.NewToken: %w: it draws the same token again and again", ErrExists)
}
