package sessions

import (
	"context"
)

// load prepares the zero session s and loads the record that one of the tokens stands for.
func (m *core) load(s *session, parent context.Context, tokens []string, passive bool) error {
	s.init(parent, m)
	s.begin("load")
	defer s.end()
	err := s.stored.Load(parent, tokens, passive)
	s.decoded = decoded{} // what was decoded and not adopted is not kept
	return err
}

// reload replaces *T by what is stored now and restarts the idle timeout.
func (s *session) reload(ctx context.Context) error {
	if !s.stored.Stored() {
		s.resetT() // what is known of the request's tokens stays true
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
