package sessions

import (
	"context"
	"net/http"

	"github.com/typedsessions/sessions/internal/protocol"
)

// load prepares the zero session s and loads the record that one of the tokens stands for.
// r is nil outside HTTP.
func (m *core) load(s *session, parent context.Context, tokens []string, when protocol.When, r *http.Request) error {
	s.init(parent, m)
	s.begin("load")
	defer s.end()
	err := s.stored.Load(parent, tokens, when)
	s.decoded = decoded{} // what was decoded and not adopted is not kept
	if m.OnEvent != nil && s.stored.Asked && err == nil {
		if s.stored.Stored() {
			s.addEvent(EventLoaded, nil)
		} else {
			s.addEvent(EventNotFound, nil)
		}
	}
	for i := range s.events {
		if _, logged := logLines[s.events[i].Kind]; logged && r != nil {
			s.events[i].route = routeOf(r.Method, r.Pattern)
		}
	}
	s.clientHas = s.stored.Destroys()
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
