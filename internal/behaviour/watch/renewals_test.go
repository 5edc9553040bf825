package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A renewal is no end, and the watch goes on with the session.
func TestRenewals(t *testing.T) {
	t.Parallel()
	type renewal struct {
		name string
		act  func(h *host[account], token string, ctx context.Context) string
	}
	for _, r := range []renewal{
		{"a renewal", func(h *host[account], token string, _ context.Context) string { return h.verb(token, "Renew") }},
		{"a step-up", func(h *host[account], token string, _ context.Context) string { return h.verb(token, "Reauthenticate") }},
		{"a sign-in by the same user", func(h *host[account], token string, _ context.Context) string { return h.verb(token, "SignIn") }},
		{"a sign-in that is remembered", func(h *host[account], token string, _ context.Context) string { return h.verb(token, "Remember") }},
		{"a chain of thirty renewals", func(h *host[account], token string, _ context.Context) string {
			for range 30 {
				token = h.verb(token, "Renew")
			}
			return token
		}},
		{"a renewal in each second of a minute", func(h *host[account], token string, _ context.Context) string {
			for range 60 {
				token = h.verb(token, "Renew")
				time.Sleep(time.Second)
			}
			return token
		}},
		{"its own request's renewal", func(h *host[account], _ string, ctx context.Context) string {
			kit.OK(h.t, h.mine.Renew(ctx))
			return tokenOf(h, ctx)
		}},
		{"its own request's renewal of what another has renewed before", func(h *host[account], _ string, ctx context.Context) string {
			kit.OK(h.t, h.mine.Renew(ctx))
			return h.verb(tokenOf(h, ctx), "Renew")
		}},
	} {
		for _, s := range stores {
			kit.Bubble(t, "O15 "+r.name+" does not end the watch, on "+s.name, func(t *testing.T) {
				h := newHost[account](t, kit.Memory(), sessions.Config{}, s.edit)
				token := h.edit("", user("ann"))
				ctx, stop := h.watch(token)
				defer stop()
				token = r.act(h, token, ctx)
				wantGoingOn(t, ctx, 5*interval)
				h.verb(token, "Destroy")
				wantEnd(t, ctx, interval)
			})
		}
	}

	kit.Bubble(t, "O15 the watches of a session before and after its renewal become one", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", func(a *account) { a.User, a.Note = "ann", strings.Repeat("n", 5000) })
		before, stop := h.watch(token)
		defer stop()
		token = h.verb(token, "Renew")
		after, stop := h.watch(token)
		defer stop()
		wantGoingOn(t, before, interval+1)
		h.store.Calls()
		wantGoingOn(t, before, interval)
		if keys, calls := h.store.Keys("LoadMany"), h.store.Calls(); calls != "LoadMany" {
			t.Errorf("an interval is %q, want one LoadMany", calls)
		} else if len(keys) != 1 || keys[0] != kit.KeyOf(token) {
			t.Errorf("it asks for %q, want the one key", keys)
		}
		h.verb(token, "Destroy")
		wantEnd(t, before, interval)
		wantEnd(t, after, 0)
	})

	kit.Bubble(t, "O15 who watched ann's session hears that it is nobody's, and who watches nobody's does not", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", user("ann"))
		anns, stop := h.watch(token)
		defer stop()
		token = h.edit(token, func(a *account) { *a = account{Note: "somebody was here"} })
		nobodys, stop := h.watch(token)
		defer stop()
		wantEnd(t, anns, interval)
		wantGoingOn(t, nobodys, 5*interval)
	})

	kit.Bubble(t, "O15 a look during a renewal that leaves no mark does not take it for the end", func(t *testing.T) {
		h := newHost[visit](t, kit.Memory(), sessions.Config{Layout: markless{}})
		token := h.edit("", func(v *visit) { v.User = "ann" })
		ctx, stop := h.watch(token)
		defer stop()
		g := h.store.At("after CompareAndSwap")
		renewed := make(chan string)
		go func() { renewed <- kit.Verb(t, h.mine, token, "Renew") }()
		g.Wait()
		wantGoingOn(t, ctx, 5*interval)
		g.Open()
		token = <-renewed
		wantGoingOn(t, ctx, 5*interval)
		h.verb(token, "Destroy")
		wantEnd(t, ctx, interval)
	})

	kit.Bubble(t, "O15 marks of a Layout that pads its records are marks", func(t *testing.T) {
		h := newHost[visit](t, kit.Memory(), sessions.Config{Layout: padding{}})
		token := h.edit("", func(v *visit) { v.User = "ann" })
		ctx, stop := h.watch(token)
		defer stop()
		h.verb(h.verb(token, "Renew"), "Destroy")
		wantEnd(t, ctx, interval)
	})

	kit.Bubble(t, "O15 a session of a T without an owner is followed, too", func(t *testing.T) {
		for _, s := range stores {
			h := newHost[visit](t, kit.Memory(), sessions.Config{}, s.edit)
			token := h.edit("", func(v *visit) { v.User = "ann" })
			ctx, stop := h.watch(token)
			for range 5 {
				token = h.verb(token, "Renew")
				wantGoingOn(t, ctx, 5*time.Second)
			}
			h.verb(token, "Destroy")
			wantEnd(t, ctx, interval)
			stop()
		}
	})
}

// tokenOf is the token that the session of ctx has by now.
func tokenOf(h *host[account], ctx context.Context) string {
	h.t.Helper()
	return kit.Commit(h.t, h.mine, ctx, sessions.OutcomeRenewed).Token.Reveal()
}

// A mark lives for ten seconds. If the watch has been kept from seeing it for longer, the index says where the session
// is.
func TestWithoutMark(t *testing.T) {
	t.Parallel()
	for _, renewals := range []int{1, 3} {
		kit.Bubble(t, fmt.Sprintf("O15 %d renewals during an outage that outlasts their marks do not end the watch of an owner's session", renewals), func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{})
			h.edit("", user("ann")) // another one
			token := h.edit("", user("ann"))
			ctx, stop := h.watch(token)
			defer stop()
			h.store.Fail(sessions.ErrUnavailable, "before LoadMany")
			for range renewals {
				token = h.verb(token, "Renew")
				wantGoingOn(t, ctx, 15*time.Second)
			}
			h.store.Heal()
			h.store.Fail(sessions.ErrUnavailable, "before Members")
			wantGoingOn(t, ctx, time.Minute)
			h.store.Heal()
			wantGoingOn(t, ctx, time.Minute)
			h.verb(token, "Destroy")
			wantEnd(t, ctx, interval)
		})
	}

	kit.Bubble(t, "O15 nor do they end the watch of a visitor who has signed in since", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", func(a *account) { a.Note = "a visitor" })
		ctx, stop := h.watch(token)
		defer stop()
		token = h.edit(token, user("ann"))
		wantGoingOn(t, ctx, 2*interval)
		h.store.Fail(sessions.ErrUnavailable, "before LoadMany")
		token = h.verb(token, "Renew")
		wantGoingOn(t, ctx, 15*time.Second)
		h.store.Heal()
		wantGoingOn(t, ctx, time.Minute)
		h.verb(token, "Destroy")
		wantEnd(t, ctx, interval)
	})

	kit.Bubble(t, "O15 what ended during such an outage ends after it", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", user("ann"))
		ctx, stop := h.watch(token)
		defer stop()
		h.store.Fail(sessions.ErrUnavailable, "before LoadMany")
		token = h.verb(token, "Renew")
		wantGoingOn(t, ctx, 15*time.Second)
		h.verb(token, "Destroy")
		h.store.Heal()
		wantEnd(t, ctx, interval)
	})

	kit.Bubble(t, "O15 a mark that was seen before the outage is remembered", func(t *testing.T) {
		h := newHost[visit](t, kit.Memory(), sessions.Config{})
		token := h.edit("", func(v *visit) { v.User = "ann" })
		loads := 0
		h.store.Before = func(op, _ string) error { // the mark is read, and then nothing more for a minute
			if op != "LoadMany" {
				return nil
			}
			if loads++; loads > 1 && loads < 30 {
				return sessions.ErrUnavailable
			}
			return nil
		}
		ctx, stop := h.watch(token)
		defer stop()
		token = h.verb(token, "Renew")
		wantGoingOn(t, ctx, 2*time.Minute)
		h.verb(token, "Destroy")
		wantEnd(t, ctx, interval)
	})

	kit.Bubble(t, "O15 the index is asked once for a session that has ended", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", user("ann"))
		ctx, stop := h.watch(token)
		defer stop()
		h.verb(token, "Destroy")
		wantEnd(t, ctx, interval)
		h.store.WantCalls(t, "the end", "LoadMany Members")
	})
}

// padding is a Layout whose records tell nobody how long they are.
type padding struct{ sessions.DefaultLayout }

func (p padding) Seal(r sessions.Record) ([]byte, error) {
	stored, err := p.DefaultLayout.Seal(r)
	return append(stored, make([]byte, 4096-len(stored))...), err
}

func (p padding) Open(stored []byte) (sessions.Record, error) {
	r, err := p.DefaultLayout.Open(bytes.TrimRight(stored, "\x00"))
	r.Payload = bytes.TrimRight(r.Payload, "\x00")
	return r, err
}

// markless is a Layout that has no word for a session that was renewed.
type markless struct{ sessions.DefaultLayout }

func (m markless) Seal(r sessions.Record) ([]byte, error) {
	if r.Successor != nil {
		return nil, errors.ErrUnsupported
	}
	return m.DefaultLayout.Seal(r)
}
