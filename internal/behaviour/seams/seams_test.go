package seams_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A third party's Store, Codec, Transport and Layout, and a Manager that works
// on each alone and on all of them. None of them has anything of ours but the
// interface.

func TestSeams(t *testing.T) {
	t.Parallel()
	const idle = 15 * time.Minute
	foreign := func() sessions.Store { return new(mapStore) }
	// A document knows no time of creation, so its Manager has no Lifetime.
	ofDocuments := func(codec sessions.Codec, transport sessions.Transport) sessions.Config {
		return sessions.Config{IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}, Codec: codec, Transport: transport}
	}
	for _, tt := range []struct {
		name  string
		store func() sessions.Store
		cfg   sessions.Config
		marks bool
	}{
		{"ours", kit.Memory, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Store", foreign, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Codec", kit.Memory, sessions.Config{IdleTimeout: idle, Codec: gobCodec{}}, true},
		{"foreign Transport", kit.Memory, sessions.Config{IdleTimeout: idle, Transport: twoHeaders{}}, true},
		{"foreign cookie", kit.Memory, sessions.Config{IdleTimeout: idle, Transport: docCookie{}}, true},
		{"foreign Layout", kit.Memory, ofDocuments(nil, nil), false},
		{"all foreign", foreign, ofDocuments(plainCodec{}, docCookie{}), false},
		{"all foreign, headers", foreign, ofDocuments(plainCodec{}, twoHeaders{}), false},
	} {
		// run runs a test in a bubble with a new visitor, withSession with one of one view.
		run := func(name string, f func(t *testing.T, a *kit.App, b *kit.Browser)) {
			kit.Bubble(t, tt.name+"/"+name, func(t *testing.T) {
				a := kit.NewApp(t, kit.InProcess, tt.store(), tt.cfg)
				f(t, a, newBrowser(a))
			})
		}
		withSession := func(name string, f func(t *testing.T, a *kit.App, b *kit.Browser)) {
			run(name, func(t *testing.T, a *kit.App, b *kit.Browser) {
				b.Edit(set(1))
				a.Events.Take()
				f(t, a, b)
			})
		}

		run("L1 a change is stored and read again", func(t *testing.T, _ *kit.App, b *kit.Browser) {
			res := b.Edit(func(s *kit.Session) { *s = kit.Full() })
			wantStatus(t, res, 200)
			if sent(res) == "" {
				t.Error("no token")
			}
			res = b.Edit(func(s *kit.Session) {
				if s.UserID != "u1" || s.Views != 3 || len(s.Cart) != 2 || s.Cart[1].Qty != 2 || s.Prefs["h"] != 8 {
					t.Errorf("read %+v", s)
				}
			})
			if got := sent(res); got != "" {
				t.Errorf("the second response sends %q", got)
			}
		})

		run("L2 nobody looks, nothing happens", func(t *testing.T, a *kit.App, b *kit.Browser) {
			for _, res := range []kit.Response{
				b.Edit(func(*kit.Session) {}),
				b.Raw(func(http.ResponseWriter, *http.Request) {}),
			} {
				if sent(res) != "" {
					t.Errorf("the response sends %q", sent(res))
				}
			}
			a.WantCalls(t, "both requests", "")
			a.WantEvents(t)
		})

		run("L3 a session that is read is not written", func(t *testing.T, a *kit.App, b *kit.Browser) {
			b.Edit(func(s *kit.Session) { *s = kit.Full() })
			a.Events.Take()
			for range 20 {
				wantViews(t, "the token", b, 3)
			}
			a.WantEvents(t)
		})

		withSession("L12 SignIn gives a new token and refuses the old one", func(t *testing.T, a *kit.App, b *kit.Browser) {
			old := clone(b)
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.UserID = "u"
				kit.OK(t, a.SignIn(r.Context()))
			})
			if sent(res) == "" {
				t.Error("no token")
			}
			wantViews(t, "the new token", b, 1)
			wantViews(t, "the old token", old, -1)
		})

		withSession("L12 Renew keeps data and id", func(t *testing.T, a *kit.App, b *kit.Browser) {
			var before, after string
			old := clone(b)
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				before = a.Info(r.Context()).ID
				s.Views++
				kit.OK(t, a.Renew(r.Context()))
				after = a.Info(r.Context()).ID
			})
			a.WantEvents(t, sessions.EventRenewed)
			wantViews(t, "the new token", b, 2)
			wantViews(t, "the old token", old, -1)
			_, later := b.Peek()
			// A format without an ID has one of the key, and the key changes.
			carried(t, before != "" && after == later.ID && (before == after || !tt.marks), "Info.ID is %q before, %q after Renew, %q in the next request", before, after, later.ID)
		})

		withSession("L23 L29 L30 an authentication is kept, or its verb says that it is not", func(t *testing.T, a *kit.App, b *kit.Browser) {
			verb := func(verb string, opts ...sessions.SignInOption) {
				t.Helper()
				b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
					run := a.SignIn
					if verb == "Reauthenticate" {
						run = a.Reauthenticate
					}
					err := run(r.Context(), opts...)
					if plain := verb == "SignIn" && len(opts) == 0; tt.marks || plain {
						kit.OK(t, err)
					} else {
						kit.WantErr(t, verb, err, errors.ErrUnsupported)
					}
				})
			}
			verb("SignIn")
			at := time.Now().Add(-time.Minute)
			verb("Reauthenticate")
			verb("SignIn", sessions.AuthenticatedAt(at))
			verb("SignIn", sessions.AuthenticatedBy("pwd"))
			verb("Reauthenticate", sessions.AuthenticatedAt(at), sessions.AuthenticatedBy("passkey"))
			if _, i := b.Peek(); i.New || i.AuthenticatedAt.Equal(at) != tt.marks || i.AuthenticatedWithin(time.Hour) != tt.marks || (i.Method == "passkey") != tt.marks {
				t.Errorf("%+v", i)
			}
		})

		withSession("L10 Destroy", func(t *testing.T, _ *kit.App, b *kit.Browser) {
			replay := clone(b)
			if sent(b.Verb("Destroy")) == "" {
				t.Error("the client is not told")
			}
			wantViews(t, "the replayed token", replay, -1)
			if cookies := b.Cookies(); len(cookies) > 0 {
				t.Errorf("the browser keeps %v", cookies)
			}
		})

		withSession("L11 writing after Destroy starts a new session", func(t *testing.T, a *kit.App, b *kit.Browser) {
			old := clone(b)
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				kit.OK(t, a.Destroy(r.Context()))
				s.Flash = "bye"
			})
			wantViews(t, "the new token", b, 0)
			wantViews(t, "the old token", old, -1)
		})

		withSession("L5 activity keeps it, silence ends it", func(t *testing.T, _ *kit.App, b *kit.Browser) {
			for range 20 {
				time.Sleep(idle - time.Second)
				wantViews(t, "the token", b, 1)
			}
			time.Sleep(idle + time.Second)
			wantViews(t, "the token after the idle timeout", b, -1)
		})

		withSession("C12 a conflict", func(t *testing.T, a *kit.App, b *kit.Browser) {
			res := b.Edit(func(s *kit.Session) {
				clone(b).Edit(set(2))
				s.Views = 3
			})
			wantStatus(t, res, 200)
			wantViews(t, "the token", b, 3)
			if !slices.Contains(a.Events.Kinds(), sessions.EventConflict) {
				t.Error("no event")
			}
		})

		// ended: another request has ended or renewed the session, so this one cannot save.
		ended := func(name, verb string, other int) {
			withSession(name, func(t *testing.T, _ *kit.App, b *kit.Browser) {
				old, there := clone(b), clone(b)
				res := b.Edit(func(s *kit.Session) {
					there.Verb(verb)
					s.Views = 3
				})
				wantStatus(t, res, http.StatusConflict)
				if got := sent(res); got != "" {
					t.Errorf("the loser sends %q", got)
				}
				wantViews(t, "the old token", old, -1)
				wantViews(t, "the other request's token", there, other)
			})
		}
		ended("C1 destroyed meanwhile", "Destroy", -1)
		ended("C4 renewed meanwhile", "Renew", 1)

		withSession("C15 destroyed by the old token while it is renewed", func(t *testing.T, a *kit.App, b *kit.Browser) {
			other := clone(b)
			b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
				other.Verb("Renew")
				kit.OK(t, a.Destroy(r.Context()))
			})
			if tt.marks { // without marks nothing leads to it
				wantViews(t, "the renewed token", other, -1)
			}
		})

		run("L18 Load and Commit", func(t *testing.T, a *kit.App, _ *kit.Browser) {
			ctx, s := kit.Load(t, a.Manager)
			s.Views = 1
			created := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			if created.Token == "" {
				t.Fatal("no token")
			}
			ctx, s = kit.Load(t, a.Manager, created.Token.Reveal())
			if s.Views != 1 {
				t.Errorf("%d views", s.Views)
			}
			kit.OK(t, a.Renew(ctx))
			renewed := kit.Commit(t, a.Manager, ctx, sessions.OutcomeRenewed)
			if renewed.Token == created.Token {
				t.Error("the token is the old one")
			}
			kit.OK(t, a.Destroy(ctx))
			destroyed := kit.Commit(t, a.Manager, ctx, sessions.OutcomeDestroyed)
			carried(t, destroyed.Token == renewed.Token, "Outcome.Token is documented as the token presented, and of OutcomeDestroyed it is empty")
		})

		run("T9 Vary", func(t *testing.T, a *kit.App, b *kit.Browser) {
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views = 1
				kit.OK(t, a.Save(r.Context()))
				kit.OK(t, a.Renew(r.Context()))
			})
			lines := res.Header["Vary"]
			carried(t, len(lines) == 1, "a Transport that reads two headers has no way to say so: Vary is %q", lines)
		})
	}
}
