package sessions

import (
	"context"

	"github.com/typedsessions/sessions/internal/document"
)

// load finds the session of the tokens for a zero session.
func (m *core) load(s *session, parent context.Context, tokens []string, passive bool) error {
	s.init(parent, m)
	s.begin("load")
	defer s.end()
	err := s.stored.Load(parent, tokens, passive)
	s.decoded = decoded{}                          // of a record that was not adopted
	if !s.stored.Stored() && s.base.Codec != nil { // two valid sessions: neither is used
		s.live.reset(s.core)
		s.setBase(document.Document{})
	}
	return err
}

// reload replaces *T by what is stored now and restarts the idle timeout.
func (s *session) reload(ctx context.Context) error {
	if !s.stored.Stored() {
		s.reset()
		return nil
	}
	return s.stored.Reread(ctx)
}

// touch restarts the idle timeout and leaves *T alone.
func (s *session) touch(ctx context.Context) error {
	if !s.stored.Stored() {
		return nil
	}
	return s.stored.Touch(ctx)
}
