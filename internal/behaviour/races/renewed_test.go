package races_test

import (
	"testing"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Under a token that was renewed meanwhile nothing is saved, and no answer
// takes the new token away from the browser.
func TestRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	rows := []struct {
		path, step string
		status     int
		text       string
	}{
		{"/get", "after Load", 200, "ann"},
		{"/set?v=eve", "before CompareAndSwap", 409, "Conflict\n"},
		{"/save?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/touch", "after Load", 200, "ErrGone"},
		{"/reload", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "before CompareAndSwap", 200, "ErrGone"},
	}
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		start := func(t *testing.T) (b, other *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			b = p.Visitor("ann")
			return b, b.Clone().To(p.Other)
		}
		for _, row := range rows {
			t.Run("C4 C14 "+row.path+" "+row.step+" while another tab signs in", func(t *testing.T) {
				b, other := start(t)
				id := b.Get("/id").Text
				res := p.Park(b.Clone(), row.path, row.step, func() { other.MustGet("/signin?v=bob", "ok") })
				if res.StatusCode != row.status || res.Text != row.text {
					t.Errorf("it answers %d %q, want %d %q", res.StatusCode, res.Text, row.status, row.text)
				}
				wantNoCookie(t, res)
				wantUser(t, "the old token", b, "")
				wantUser(t, "the new token", other, "bob")
				if got := other.Get("/id").Text; got != id {
					t.Errorf("the ID has become %s, want %s", got, id)
				}
				wantRecords(t, p, 1)
			})
		}

		// A sign-in is a proof: the second click on the form is the one whose answer the browser shows.
		for _, step := range []string{"before Load", "after Load", "before Create", "after Create", "before CompareAndSwap"} {
			for _, last := range []string{"the parked one's", "the other one's"} {
				t.Run("L20 C18 C14 a sign-in "+step+" while another tab signs in: "+last+" cookie arrives last", func(t *testing.T) {
					b, other := start(t)
					parked := b.Clone()
					res := p.Park(parked, "/signin?v=ann", step, func() { other.MustGet("/signin?v=ann", "ok") })
					if res.StatusCode != 200 || res.Text != "ok" || len(res.SetCookies()) != 1 {
						t.Errorf("it answers %d %q and sends %q", res.StatusCode, res.Text, res.SetCookies())
					}
					if last == "the other one's" {
						parked = other
					}
					wantUser(t, "the cookie", parked, "ann")
					wantUser(t, "the parked one's token", b.As(kit.TokenOf(res.Header)), "ann")
					wantUser(t, "the other one's token", other, "ann")
					wantUser(t, "the old token", b, "")
					wantRecords(t, p, 2)
				})
			}
		}

		// The request was sent before the sign-in and reached the store after
		// it: to the browser that is no difference.
		for _, path := range []string{"/set?v=eve", "/save?v=eve", "/renew?v=eve"} {
			t.Run("C14 a request with the old token that loads after the sign-in sends no cookie, "+path, func(t *testing.T) {
				b, other := start(t)
				wantNoCookie(t, p.Park(b, path, "before Load", func() { other.MustGet("/signin?v=bob", "ok") }))
				wantUser(t, "the new token", other, "bob")
			})
		}
	})
}
