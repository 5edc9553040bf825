package owners_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// form lets f answer a form of another site, which browsers send without the
// cookie, and returns the kinds of the events.
func form[T any](t *testing.T, c sessions.Codec, f func(*T)) []sessions.EventKind {
	t.Helper()
	store, events := &kit.Store{Store: kit.Memory()}, &kit.Events{}
	m := kit.New[T](t, store, sessions.Config{Codec: c, OnEvent: events.On})
	r := httptest.NewRequest("POST", "https://example.com/", nil)
	r.Header = kit.Header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(m.FromContext(r.Context())) })), r)
	kinds := events.Kinds()
	created := slices.Contains(kinds, sessions.EventCreated)
	if stored, sent := store.Calls() == "Place", kit.TokenOf(res.Header) != ""; stored != created || sent != created {
		t.Errorf("stored: %t, sent: %t, with the events %v", stored, sent, kinds)
	}
	return kinds
}

func TestWithheldCookie(t *testing.T) {
	t.Parallel()
	signedIn := []sessions.EventKind{sessions.EventCreated, sessions.EventSignedIn}
	withheld := []sessions.EventKind{sessions.EventWithheld}
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		for _, row := range []struct {
			name string
			got  []sessions.EventKind
			want []sessions.EventKind
		}{
			{"T14 a save that takes T from nobody to an owner creates", form(t, c, func(s *session) { s.User = "u1" }), signedIn},
			{"T14 a save of T that belongs to nobody creates nothing", form(t, c, func(s *session) { s.Views++ }), withheld},
			{"T14 an owner that SessionDefaults has drawn is no sign-in", form(t, c, func(g *guest) { g.Views++ }), withheld},
			{"T14 an owner in the place of the one that SessionDefaults has drawn is a sign-in", form(t, c, func(g *guest) { g.Owner = "u1" }), signedIn},
			{"T14 no owner in the place of the one that SessionDefaults has drawn is no sign-in", form(t, c, func(g *guest) { g.Owner = "" }), withheld},
		} {
			t.Run(row.name, func(t *testing.T) {
				if !slices.Equal(row.got, row.want) {
					t.Errorf("events %v, want %v", row.got, row.want)
				}
			})
		}
	})
}
