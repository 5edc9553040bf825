package secrets_test

import (
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.MainForEachOwner(m) }

// history makes sessions of every kind and ends some. It returns the tokens that
// were ever given out: those that still find a session, and the others.
func history(t *testing.T, m *sessions.Manager[kit.Session]) (live, dead []string) {
	t.Helper()
	user := func(name string) string { return kit.MustRequest(t, m, "", kit.Put(m, name)) }
	anonymous := user("ann")
	signedIn := kit.Verb(t, m, anonymous, "SignIn")
	renewed := kit.Verb(t, m, signedIn, "Renew")
	kit.MustRequest(t, m, renewed, kit.Put(m, "ann again"))
	kit.Verb(t, m, renewed, "Touch")
	kit.Alive(t, m, anonymous) // which follows a mark
	remembered := kit.Verb(t, m, user("kim"), "Remember")

	gone := user("bob")
	successor := kit.Verb(t, m, gone, "Renew")
	kit.Verb(t, m, gone, "Destroy") // which follows a mark

	late := user("eve")
	ctx, s := kit.Load(t, m, late)
	kit.Verb(t, m, late, "Destroy")
	s.Views++
	kit.WantErr(t, "Save of a destroyed session", m.Save(ctx), sessions.ErrGone)
	return []string{renewed, remembered}, []string{anonymous, signedIn, gone, successor, late}
}
