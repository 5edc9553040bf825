package seams_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A session that its Layout calls by the key.
func TestLayoutID(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *kit.App {
		return kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: callsByKey{}, Transport: docCookie{},
		})
	}
	const good = `{"meta":{"maxAge":60000,"expires":"2000-01-01T00:00:00Z","path":"/"},"views":7}`
	cookie := "sid=" + signed(docToken)
	read := func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[kit.Session](r.Context()) }
	// loggedAs is the session of each line of the log.
	loggedAs := func(a *kit.App) (ids []string) {
		for _, line := range a.Log.Take() {
			_, id, _ := strings.Cut(line, "session=")
			id, _, _ = strings.Cut(id, " ")
			ids = append(ids, id)
		}
		return ids
	}
	// wantEvents compares kind and session of each event.
	wantEvents := func(t *testing.T, a *kit.App, kind sessions.EventKind, ids ...string) {
		t.Helper()
		var got []string
		for _, e := range a.Events.Take() {
			if got = append(got, e.Session.ID); e.Kind != kind {
				t.Errorf("event %v, want %v", e.Kind, kind)
			}
			if e.Err != nil && strings.Contains(e.Err.Error(), docToken) {
				t.Errorf("the error says %q", e.Err)
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("events of %q, want %q", got, ids)
		}
	}

	t.Run("Info.ID is what the Layout says, from when the session is stored until it has another token", func(t *testing.T) {
		a := start(t)
		var ids, tokens []string
		a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			look := func() {
				ids = append(ids, a.Info(r.Context()).ID)
				tokens = append(tokens, kit.Commit(t, a.Manager, r.Context()).Token.Reveal())
			}
			look()
			a.FromContext(r.Context()).Views = 1
			kit.Must(t, a.Save(r.Context()))
			look()
			kit.Must(t, a.Renew(r.Context()))
			look()
		})
		if want := []string{"", "sid of " + tokens[1], "sid of " + tokens[2]}; !slices.Equal(ids, want) || tokens[1] == tokens[2] {
			t.Errorf("%q, want %q", ids, want)
		}
	})

	t.Run("so it is for a stored one, and in its events", func(t *testing.T) {
		a := start(t)
		placeDoc(t, a.Store, docToken, good)
		a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			if got := a.Info(r.Context()).ID; got != "sid of "+docToken {
				t.Errorf("Info.ID %q", got)
			}
			a.FromContext(r.Context()).Views++
		}, cookie)
		wantEvents(t, a, sessions.EventSaved, "sid of "+docToken)
	})

	kit.Bubble(t, "X2 the log shows a hash, the same for every line of a session, and another one for another", func(t *testing.T) {
		a := start(t)
		other := "another" + docToken
		placeDoc(t, a.Store, docToken, `TOMBSTONE`)
		placeDoc(t, a.Store, other, `TOMBSTONE`)
		for _, c := range []string{cookie, cookie, "sid=" + signed(other)} {
			a.Ask(read, c)
			time.Sleep(time.Minute) // a line more often is only counted
		}
		wantEvents(t, a, sessions.EventUndecodable, "sid of "+docToken, "sid of "+docToken, "sid of "+other)
		ids := loggedAs(a)
		if len(ids) != 3 || len(ids[0]) != 36 || ids[0] != ids[1] || ids[0] == ids[2] || strings.Contains(strings.Join(ids, ""), docToken[:8]) {
			t.Errorf("the log says %q", ids)
		}
	})

	t.Run("X2 a session that nobody has stored has no hash", func(t *testing.T) {
		a := start(t)
		a.Store.Fail(sessions.ErrUnavailable)
		a.Ask(func(_ http.ResponseWriter, r *http.Request) { a.FromContext(r.Context()).Views++ })
		if ids := loggedAs(a); !slices.Equal(ids, []string{`""`}) {
			t.Errorf("the log says %q", ids)
		}
	})

	t.Run("K6 a record that breaks between its two loads has its ID too", func(t *testing.T) {
		a := start(t)
		kit.Must(t, a.Store.Create(t.Context(), docToken, []byte(good), time.Second)) // so little that it is touched at once
		loads := 0
		a.Store.Before = func(op, key string) error {
			if loads++; op == "Load" && loads == 2 {
				_, err := a.Store.Store.CompareAndSwap(t.Context(), key, nil, []byte("TOMBSTONE"), time.Hour)
				return err
			}
			return nil
		}
		a.Ask(read, cookie)
		wantEvents(t, a, sessions.EventUndecodable, "sid of "+docToken)
	})
}
