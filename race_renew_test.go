package sessions_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// Under a token that was renewed meanwhile nothing is saved, and no answer
// takes the new token away from the browser.
func TestRenewedMeanwhile(t *testing.T) {
	rows := []struct {
		path, step string
		status     int
		body       string
	}{
		{"/get", "after Load", 200, "ann"},
		{"/set?v=eve", "after Load", 409, "Conflict\n"},
		{"/set?v=eve", "before CompareAndSwap", 409, "Conflict\n"},
		{"/set?v=eve", "after CompareAndSwap", 200, "ok"},
		{"/save?v=eve", "after Load", 200, "ErrGone"},
		{"/save?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/touch", "after Load", 200, "ErrGone"},
		{"/reload", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "before Create", 200, "ErrGone"},
		{"/renew?v=eve", "after Create", 200, "ErrGone"},
		{"/renew?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/signin?v=eve", "after Load", 200, "ErrGone"},
		{"/signin?v=eve", "before CompareAndSwap", 200, "ErrGone"},
	}
	eachRig(t, func(t *testing.T, r *rig) {
		for _, verb := range []string{"/renew", "/signin"} {
			for _, row := range rows {
				name := fmt.Sprintf("C4 C14 %s %s while another tab does %s", row.path, row.step, verb)
				t.Run(name, func(t *testing.T) {
					r.rdb.FlushAll(t.Context())
					b := r.visitor("ann")
					old, other := b.clone(), r.elsewhere(b.clone())
					id := b.get("/id").body
					a := r.park(b.clone(), row.path, row.step, func() { other.mustGet(verb+"?v=bob", "ok") })
					if a.StatusCode != row.status || a.body != row.body {
						t.Errorf("it answers %d %q, want %d %q", a.StatusCode, a.body, row.status, row.body)
					}
					if c := a.setCookies(); len(c) > 0 {
						t.Errorf("it sends a cookie: %q", c)
					}
					if a := old.get("/get"); a.body != "" {
						t.Errorf("the old token still finds %q", a.body)
					}
					if a := other.get("/get"); a.body != "bob" {
						t.Errorf("the new token finds %q, want bob", a.body)
					}
					if got := other.get("/id").body; got != id {
						t.Errorf("the ID has become %s, want %s", got, id)
					}
					if left := r.records(); len(left) != 1 {
						t.Errorf("%d records, want the renewed one alone: %q", len(left), left)
					}
				})
			}
		}

		t.Run("C4 a save that succeeds while a renewal stands before its claim is in the renewed session", func(t *testing.T) {
			for _, step := range []string{"after Load", "before Create", "before CompareAndSwap"} {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := r.elsewhere(b.clone())
				a := r.park(b, "/renew", step, func() { other.mustGet("/save?v=eve", "ok") })
				if a.body != "ok" {
					t.Fatalf("Renew = %s", a.body)
				}
				if a := b.get("/get"); a.body != "eve" {
					t.Errorf("%s: the renewed session has %q, and eve was saved", step, a.body)
				}
			}
		})

		// The request was sent before the sign-in and reached the store after
		// it: to the browser that is no difference.
		for _, path := range []string{"/set?v=eve", "/save?v=eve", "/renew?v=eve"} {
			t.Run("C14 a request with the old token that loads after the sign-in sends no cookie, "+path, func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := r.elsewhere(b.clone())
				a := r.park(b.clone(), path, "before Load", func() { other.mustGet("/signin?v=bob", "ok") })
				if c := a.setCookies(); len(c) > 0 {
					t.Errorf("it sends a cookie, which replaces the signed-in one in the browser: %d %q %q", a.StatusCode, a.body, c)
				}
				if a := other.get("/get"); a.body != "bob" {
					t.Errorf("the new token finds %q, want bob", a.body)
				}
			})
		}
	})
}

// The mark of a renewal stands for ten seconds. The clock is the bubble's.
func TestMarksEnd(t *testing.T) {
	run := func(name string, f func(t *testing.T, m *sessions.Manager[Session], old string)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := mustNew(t, new(sessions.MemoryStore), sessions.Config{})
				f(t, m, mustRequest(t, m, "", put(m, "ann")))
			})
		})
	}
	run("C16 ten seconds long Destroy with the old token ends the renewed session", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(10*time.Second - time.Millisecond)
		mustRequest(t, m, old, m.Destroy)
		if alive(t, m, renewed) {
			t.Error("the renewed session lives")
		}
	})
	run("C16 after ten seconds the old token is like any unknown one", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(10 * time.Second)
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, renewed) {
			t.Error("an old token ends a session after ten seconds")
		}
	})
	run("C16 requests with the old token do not prolong its mark", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		for range 12 {
			if alive(t, m, old) {
				t.Fatal("the old token finds a session")
			}
			time.Sleep(time.Second)
		}
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, renewed) {
			t.Error("an old token that was presented again and again ends a session after ten seconds")
		}
	})
	run("C16 each mark of a chain has ten seconds of its own", func(t *testing.T, m *sessions.Manager[Session], old string) {
		second := mustRequest(t, m, old, m.Renew)
		time.Sleep(8 * time.Second)
		third := mustRequest(t, m, second, m.Renew)
		time.Sleep(4 * time.Second)
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, third) {
			t.Error("the first token, twelve seconds old, ends the session")
		}
		mustRequest(t, m, second, m.Destroy)
		if alive(t, m, third) {
			t.Error("the second token, four seconds old, does not end the session")
		}
	})
	run("C16 a session renewed and used for an hour is still found by the new token alone", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		for range 60 {
			time.Sleep(time.Minute)
			if alive(t, m, old) || !alive(t, m, renewed) {
				t.Fatal("the tokens have changed places")
			}
		}
	})
	run("C16 Destroy in a request that began before the renewal and took longer than a mark says that it missed", func(t *testing.T, m *sessions.Manager[Session], old string) {
		slow, err := m.Load(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(11 * time.Second)
		if err := m.Destroy(slow); !errors.Is(err, sessions.ErrGone) || !alive(t, m, renewed) {
			t.Errorf("Destroy = %v, renewed session alive %t; want ErrGone, for it cannot know where the session went", err, alive(t, m, renewed))
		}
		if err := m.Destroy(slow); err != nil || m.FromContext(slow).UserID != "" {
			t.Errorf("the next Destroy = %v with %+v, want a fresh start", err, m.FromContext(slow))
		}
	})
	// Two renewals behind a token: what the mark led to when the request loaded
	// it has gone on, and its own mark has ended.
	run("C16 so does Destroy in a request that began after the first of two renewals and took longer than a mark", func(t *testing.T, m *sessions.Manager[Session], old string) {
		second := mustRequest(t, m, old, m.Renew)
		slow, err := m.Load(t.Context(), old)
		must(t, err)
		third := mustRequest(t, m, second, m.Renew)
		time.Sleep(11 * time.Second)
		if err := m.Destroy(slow); !errors.Is(err, sessions.ErrGone) || !alive(t, m, third) {
			t.Errorf("Destroy = %v, renewed session alive %t; want ErrGone", err, alive(t, m, third))
		}
	})
	run("C16 and in one that was quick, but came when the first mark was near its end", func(t *testing.T, m *sessions.Manager[Session], old string) {
		second := mustRequest(t, m, old, m.Renew)
		time.Sleep(time.Second)
		third := mustRequest(t, m, second, m.Renew)
		time.Sleep(8 * time.Second)
		slow, err := m.Load(t.Context(), old)
		must(t, err)
		time.Sleep(3 * time.Second)
		if err := m.Destroy(slow); !errors.Is(err, sessions.ErrGone) || !alive(t, m, third) {
			t.Errorf("Destroy = %v, renewed session alive %t; want ErrGone", err, alive(t, m, third))
		}
	})
}
