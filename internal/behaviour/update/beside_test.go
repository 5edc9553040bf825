package update_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Verbs of one request beside each other wait for their turn. The wait for the
// function of an Update has an end.
func TestBesideEachOther(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "L12 L13 SignIn waits for a Touch that takes longer than the store's Timeout, and succeeds", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
		old := a.Seed(1)
		res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			s := a.FromContext(r.Context())
			g, touched := a.Store.At("before Load"), make(chan struct{})
			go func() {
				defer close(touched)
				_ = a.Touch(r.Context()) // it is out of time
			}()
			g.Wait()
			go func() {
				time.Sleep(3 * a.Store.Timeout())
				g.Open()
			}()
			s.UserID = "ann"
			kit.OK(t, a.SignIn(r.Context()))
			<-touched
		}, kit.CookieName+"="+old)
		if kit.Alive(t, a.Manager, old) {
			t.Error("the old token is still accepted")
		}
		if got := kit.Stored(t, a.Manager, kit.TokenOf(res.Header)).UserID; got != "ann" {
			t.Errorf("the new token's user is %q", got)
		}
	})

	// during runs f while the function of an Update of the request is running.
	during := func(t *testing.T, m *sessions.Manager[kit.Session], ctx context.Context, f func()) {
		t.Helper()
		in, done := kit.NewGate(), make(chan error)
		go func() {
			done <- m.Update(ctx, func(s *kit.Session) error {
				in.Pass()
				return viewed(s)
			})
		}()
		in.Wait()
		f()
		in.Open()
		kit.OK(t, <-done)
	}

	for _, verb := range []string{"SignIn", "Renew", "Reauthenticate"} {
		kit.EachBubble(t, "L12 L13 after a "+verb+" that was ErrConflict beside an Update nothing is saved under the old token", func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
			token := a.Seed(1)
			res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				during(t, a.Manager, ctx, func() { kit.WantErr(t, verb, kit.Call(a.Manager, ctx, verb), sessions.ErrConflict) })
				a.FromContext(ctx).UserID = "ann"
				kit.WantErr(t, "Save", a.Save(ctx), sessions.ErrConflict)
			}, kit.CookieName+"="+token)
			if got := kit.TokenOf(res.Header); got != "" {
				t.Error("the response has a token")
			}
			if s := kit.Stored(t, a.Manager, token); s.UserID != "" || s.Views != 2 {
				t.Errorf("stored is %+v, want what the Update has done only", s)
			}
		})
	}

	for verb, told := range map[string][]sessions.EventKind{
		"Save": {sessions.EventFailed}, "SignIn": {sessions.EventFailed}, "Renew": {sessions.EventFailed}, "Reauthenticate": {sessions.EventFailed}, "Destroy": {sessions.EventFailed},
		"Touch": nil, "Reload": nil,
	} {
		kit.EachBubble(t, "L13 a verb that is ErrConflict beside an Update is told to the hook if it would have saved, "+verb, func(t *testing.T, c sessions.Codec) {
			events := &kit.Events{}
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Codec: c, OnEvent: events.On})
			ctx, _ := kit.Load(t, m, kit.MustRequest(t, m, "", kit.Put(m, "ann")))
			events.Take()
			during(t, m, ctx, func() {
				kit.WantErr(t, verb, kit.Call(m, ctx, verb), sessions.ErrConflict)
				events.Want(t, told...)
			})
			events.Want(t, sessions.EventSaved)
		})
	}

	kit.EachBubble(t, "L13 a verb in fn fails early enough for other requests of the session to have their turn", func(t *testing.T, c sessions.Codec) {
		m := kit.New[kit.Session](t, limited{kit.Memory(), timeout}, sessions.Config{Codec: c})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		ctx, _ := kit.Load(t, m, token)
		other, s := kit.Load(t, m, token)
		done := make(chan error)
		go func() {
			done <- m.Update(ctx, func(s *kit.Session) error {
				time.Sleep(timeout / 2)
				kit.WantErr(t, "Save in fn", m.Save(ctx), sessions.ErrConflict)
				return viewed(s)
			})
		}()
		synctest.Wait()
		s.Flash = "other"
		kit.OK(t, m.Save(other))
		kit.OK(t, <-done)
		if got := kit.Stored(t, m, token); got.Flash != "other" || got.Views != 1 {
			t.Errorf("stored is %+v", got)
		}
	})
}
