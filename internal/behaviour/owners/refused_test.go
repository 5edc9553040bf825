package owners_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A sign-in that a limit refuses is answered by 409, and is nothing that an operator has to look after.
func TestRefusedSignIn(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"SignIn", "the save at the end"} {
		t.Run("O9 "+by+" that the limit refuses is 409, stores nothing, sends no cookie, and is a line of level INFO", func(t *testing.T) {
			log, events, store := &kit.Log{}, &kit.Events{}, &kit.Store{Store: kit.Memory()}
			m := kit.New[session](t, store, sessions.Config{
				MaxPerOwner: 1, OnOwnerLimit: sessions.Reject, Logger: log.Logger(), OnEvent: events.On,
			})
			first := begin(t, m, func(s *session) { s.User = "ann" })
			events.Take()
			handler := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).User = "ann"
				if by == "SignIn" {
					kit.WantErr(t, by, m.SignIn(r.Context()), sessions.ErrOwnerLimit)
					http.Error(w, "you are signed in elsewhere", http.StatusConflict)
					return
				}
				fmt.Fprint(w, "the first page of a user who is signed in")
			}))
			res := kit.Serve(handler, kit.With("", "/"))
			if res.StatusCode != http.StatusConflict || kit.TokenOf(res.Header) != "" {
				t.Errorf("it answers %d with %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			events.Want(t, sessions.EventFailed)
			if lines := log.Take(); len(lines) != 1 || !strings.HasPrefix(lines[0], "level=INFO ") {
				t.Errorf("the log says %q", lines)
			}
			if live, _ := store.Left(t); live != 1 || !kit.Alive(t, m, first) {
				t.Errorf("%d sessions are left", live)
			}
		})
	}
}
