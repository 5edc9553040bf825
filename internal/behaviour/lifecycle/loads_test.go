package lifecycle_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestLoadEvents(t *testing.T) {
	t.Parallel()
	const loaded, notFound = sessions.EventLoaded, sessions.EventNotFound
	for _, tc := range []struct {
		desc   string
		tokens func(token string) []string
		fail   bool
		want   []sessions.EventKind
	}{
		{"a session is loaded", func(token string) []string { return []string{token} }, false, []sessions.EventKind{loaded}},
		{"behind an unknown token", func(token string) []string { return []string{kit.UnknownToken(1), token} }, false, []sessions.EventKind{loaded}},
		{"an unknown token finds none", func(string) []string { return []string{kit.UnknownToken(1)} }, false, []sessions.EventKind{notFound}},
		{"no token asks for none", func(string) []string { return nil }, false, nil},
		{"nor does one that is no token", func(string) []string { return []string{"{}", ""} }, false, nil},
		{"a load that fails is unavailable alone", func(token string) []string { return []string{token} }, true, []sessions.EventKind{sessions.EventUnavailable}},
	} {
		kit.Bubble(t, "L31 "+tc.desc, func(t *testing.T) {
			var events []sessions.Event
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[kit.Session](t, store, sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) { events = append(events, e) }})
			token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			if tc.fail {
				store.Fail(sessions.ErrUnavailable)
			}
			store.Before = func(string, string) error { time.Sleep(time.Millisecond); return nil }
			tokens := tc.tokens(token)
			events = nil
			began := time.Now()
			ctx, err := m.Load(t.Context(), tokens...)
			took := time.Since(began)
			if (err != nil) != tc.fail {
				t.Fatal(err)
			}
			var kinds []sessions.EventKind
			for _, e := range events {
				kinds = append(kinds, e.Kind)
				if e.Op != "load" || e.Duration != took || e.Err != nil != tc.fail {
					t.Errorf("%v: op %q, %v, %v; want load and %v", e.Kind, e.Op, e.Duration, e.Err, took)
				}
				if e.Kind == loaded && (e.Session != m.Info(ctx) || e.Session.New) {
					t.Errorf("the session is %+v, want %+v", e.Session, m.Info(ctx))
				}
				if e.Kind == notFound && !e.Session.New {
					t.Errorf("a session that is not there is %+v", e.Session)
				}
			}
			if !slices.Equal(kinds, tc.want) {
				t.Errorf("events %v, want %v", kinds, tc.want)
			}
		})
	}

	kit.Bubble(t, "L31 each event of an operation has its duration, the store's answer included", func(t *testing.T) {
		got := map[sessions.EventKind]time.Duration{}
		store := &kit.Store{Store: kit.Memory()}
		store.Before = func(string, string) error { time.Sleep(time.Millisecond); return nil }
		m := kit.New[kit.Session](t, store, sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) { got[e.Kind] = e.Duration }})
		ctx, s := kit.Load(t, m)
		s.Views++
		token := kit.Commit(t, m, ctx).Token.Reveal()
		for _, verb := range []string{"change", "Renew", "SignIn", "Destroy"} {
			ctx, s := kit.Load(t, m, token)
			if verb == "change" {
				s.Views++
			} else {
				kit.Must(t, kit.Call(m, ctx, verb))
			}
			if o := kit.Commit(t, m, ctx); o.Kind == sessions.OutcomeRenewed {
				token = o.Token.Reveal()
			}
		}
		for _, kind := range []sessions.EventKind{loaded, sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventDestroyed} {
			if got[kind] < time.Millisecond {
				t.Errorf("%v took %v, want at least a millisecond", kind, got[kind])
			}
		}
	})
}

func TestLoadEventAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates too")
	}
	t.Run("L31 without an OnEvent a load makes no event", func(t *testing.T) {
		cost := func(on func(context.Context, sessions.Event)) float64 {
			m := kit.New[kit.Session](t, new(sessions.MemoryStore), sessions.Config{OnEvent: on})
			token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			return testing.AllocsPerRun(100, func() { kit.Load(t, m, token) })
		}
		silent, heard := cost(nil), cost(func(context.Context, sessions.Event) {})
		if silent >= heard {
			t.Errorf("%v allocations, with one %v", silent, heard)
		}
	})
}
