package races_test

import (
	"context"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The mark of a renewal stands for ten seconds. The clock is the bubble's.
func TestMarksEnd(t *testing.T) {
	t.Parallel()
	run := func(name string, f func(t *testing.T, m *sessions.Manager[kit.Session], old string)) {
		kit.Bubble(t, name, func(t *testing.T) {
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
			f(t, m, kit.MustRequest(t, m, "", kit.Put(m, "ann")))
		})
	}
	run("C16 ten seconds long Destroy with the old token ends the renewed session", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		renewed := kit.Verb(t, m, old, "Renew")
		time.Sleep(10*time.Second - time.Millisecond)
		kit.Verb(t, m, old, "Destroy")
		if kit.Alive(t, m, renewed) {
			t.Error("the renewed session lives")
		}
	})
	run("C16 after ten seconds the old token is like any unknown one", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		renewed := kit.Verb(t, m, old, "Renew")
		time.Sleep(10 * time.Second)
		kit.Verb(t, m, old, "Destroy")
		if !kit.Alive(t, m, renewed) {
			t.Error("an old token ends a session after ten seconds")
		}
	})
	run("C16 requests with the old token do not prolong its mark", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		renewed := kit.Verb(t, m, old, "Renew")
		for range 12 {
			if kit.Alive(t, m, old) {
				t.Fatal("the old token finds a session")
			}
			time.Sleep(time.Second)
		}
		kit.Verb(t, m, old, "Destroy")
		if !kit.Alive(t, m, renewed) {
			t.Error("an old token that was presented again and again ends a session after ten seconds")
		}
	})
	run("C16 each mark of a chain has ten seconds of its own", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		second := kit.Verb(t, m, old, "Renew")
		time.Sleep(8 * time.Second)
		third := kit.Verb(t, m, second, "Renew")
		time.Sleep(4 * time.Second)
		kit.Verb(t, m, old, "Destroy")
		if !kit.Alive(t, m, third) {
			t.Error("the first token, twelve seconds old, ends the session")
		}
		kit.Verb(t, m, second, "Destroy")
		if kit.Alive(t, m, third) {
			t.Error("the second token, four seconds old, does not end the session")
		}
	})
	run("C16 a session renewed and used for an hour is still found by the new token alone", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		renewed := kit.Verb(t, m, old, "Renew")
		for range 60 {
			time.Sleep(time.Minute)
			if kit.Alive(t, m, old) || !kit.Alive(t, m, renewed) {
				t.Fatal("the tokens have changed places")
			}
		}
	})
	run("C16 Destroy in a request that began before the renewal and took longer than a mark says that it missed", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		slow, _ := kit.Load(t, m, old)
		renewed := kit.Verb(t, m, old, "Renew")
		time.Sleep(11 * time.Second)
		missed(t, m, slow, renewed)
		if err := m.Destroy(slow); err != nil || m.FromContext(slow).UserID != "" {
			t.Errorf("the next Destroy = %v with %+v, want a fresh start", err, m.FromContext(slow))
		}
	})
	// Two renewals behind a token: what the mark led to when the request loaded
	// it has gone on, and its own mark has ended.
	run("C16 so does Destroy in a request that began after the first of two renewals and took longer than a mark", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		second := kit.Verb(t, m, old, "Renew")
		slow, _ := kit.Load(t, m, old)
		third := kit.Verb(t, m, second, "Renew")
		time.Sleep(11 * time.Second)
		missed(t, m, slow, third)
	})
	run("C16 and in one that was quick, but came when the first mark was near its end", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		second := kit.Verb(t, m, old, "Renew")
		time.Sleep(time.Second)
		third := kit.Verb(t, m, second, "Renew")
		time.Sleep(8 * time.Second)
		slow, _ := kit.Load(t, m, old)
		time.Sleep(3 * time.Second)
		missed(t, m, slow, third)
	})
}

// missed lets a request destroy a session whose renewal it cannot know.
func missed(t *testing.T, m *sessions.Manager[kit.Session], slow context.Context, renewed string) {
	t.Helper()
	kit.WantErr(t, "Destroy", m.Destroy(slow), sessions.ErrGone)
	if !kit.Alive(t, m, renewed) {
		t.Error("the renewed session is dead")
	}
}
