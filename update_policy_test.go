package sessions_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

// updateMerging adds Views up where two requests meet, and refuses to where
// they are odd.
type updateMerging struct {
	Views int    `json:"views"`
	Name  string `json:"name"`
}

func (s *updateMerging) MergeSession(base, theirs *updateMerging) error {
	if theirs.Name == "refused" {
		return io.EOF
	}
	s.Views += theirs.Views - base.Views
	if s.Name == base.Name {
		s.Name = theirs.Name
	}
	return nil
}

// What Config.OnConflict says is of the plain changes of a request. fn works on
// what comes of them, and is called again as often as it takes.
func TestUpdateAndPolicies(t *testing.T) {
	type pair struct {
		mine, other *sessions.Manager[Session]
		script      *updateScript
		token       string
		ctx         context.Context
		s           *Session
	}
	// begin is a request that has loaded a session which says ann and 1 view.
	begin := func(t *testing.T, c sessions.Codec, policy sessions.ConflictPolicy) *pair {
		store, cfg := &sessions.MemoryStore{}, sessions.Config{Codec: c, OnConflict: policy}
		p := &pair{other: mustNew(t, store, cfg)}
		p.mine, p.script = scripted(t, store, cfg)
		p.token = mustRequest(t, p.other, "", func(ctx context.Context) error {
			*p.other.FromContext(ctx) = Session{UserID: "ann", Views: 1}
			return nil
		})
		var err error
		p.ctx, err = p.mine.Load(t.Context(), p.token)
		must(t, err)
		p.s = p.mine.FromContext(p.ctx)
		p.script.clear()
		return p
	}
	elsewhere := func(t *testing.T, p *pair, f func(s *Session)) {
		mustRequest(t, p.other, p.token, func(ctx context.Context) error {
			f(p.other.FromContext(ctx))
			return nil
		})
	}
	want := func(t *testing.T, p *pair, want Session) {
		t.Helper()
		mustRequest(t, p.other, p.token, func(ctx context.Context) error {
			if got := p.other.FromContext(ctx); got.Views != want.Views || got.UserID != want.UserID || got.Flash != want.Flash {
				t.Errorf("stored is %+v, want %+v", *got, want)
			}
			return nil
		})
	}
	row := func(name string, policy sessions.ConflictPolicy, f func(t *testing.T, p *pair)) {
		t.Run(name, func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, begin(t, c, policy)) })
		})
	}
	bob := func(s *Session) { s.UserID, s.Views = "bob", s.Views+10 }

	for name, policy := range map[string]sessions.ConflictPolicy{
		"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
	} {
		row("C9 C12 an Update by a request without changes of its own counts on what others have stored: "+name, policy, func(t *testing.T, p *pair) {
			elsewhere(t, p, bob)
			p.script.acts["before CompareAndSwap 2"] = func() { elsewhere(t, p, bob) }
			must(t, p.mine.Update(p.ctx, viewed))
			want(t, p, Session{UserID: "bob", Views: 22})
		})
	}

	row("C12 reject: an Update by a request whose changes meet another's is ErrConflict, and fn is not called", sessions.ConflictReject, func(t *testing.T, p *pair) {
		p.s.Flash = "mine"
		calls := 0
		p.script.acts["before CompareAndSwap 1"] = func() { elsewhere(t, p, bob) }
		err := p.mine.Update(p.ctx, func(s *Session) error { calls++; return viewed(s) })
		if !errors.Is(err, sessions.ErrConflict) || calls != 1 {
			t.Errorf("Update = %v after %d calls of fn, want ErrConflict after the one before the conflict", err, calls)
		}
		if p.s.Flash != "mine" || p.s.Views != 1 {
			t.Errorf("*T is %+v", *p.s)
		}
		want(t, p, Session{UserID: "bob", Views: 11})
	})

	row("C12 last write: an Update by a request with changes works on this request's T, as a whole", sessions.ConflictLastWrite, func(t *testing.T, p *pair) {
		p.s.Flash = "mine"
		elsewhere(t, p, bob)
		must(t, p.mine.Update(p.ctx, viewed))
		want(t, p, Session{UserID: "ann", Flash: "mine", Views: 2})
	})

	// One process writes and has no answer yet, another process writes, and a
	// request of the first one loads that: what its neighbour then leaves to it
	// is older than what it has loaded.
	for _, verb := range []string{"save", "Update"} {
		for name, policy := range map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "reject": sessions.ConflictReject} {
			updateBubble(t, "C12 "+name+": a "+verb+" is not in conflict with a write that it had loaded, whatever the writer before it in its process has left", func(t *testing.T, c sessions.Codec) {
				p := begin(t, c, policy)
				arrived, open := make(chan struct{}), make(chan struct{})
				p.script.acts["after CompareAndSwap 1"] = func() { close(arrived); <-open }
				first := make(chan error)
				go func() { first <- p.mine.Update(p.ctx, viewed) }()
				<-arrived
				elsewhere(t, p, bob)
				ctx, err := p.mine.Load(t.Context(), p.token)
				must(t, err)
				s := p.mine.FromContext(ctx)
				s.Flash = "mine"
				second := make(chan error)
				go func() {
					if verb == "save" {
						second <- p.mine.Save(ctx)
					} else {
						second <- p.mine.Update(ctx, viewed)
					}
				}()
				synctest.Wait() // until it is its turn
				close(open)
				must(t, <-first)
				if err := <-second; err != nil {
					t.Errorf("%s = %v", verb, err)
				}
				views := 12
				if verb == "Update" {
					views++
				}
				want(t, p, Session{UserID: "bob", Flash: "mine", Views: views})
			})
		}
	}

	merging := func(t *testing.T, name string, c sessions.Codec) (mine, other *sessions.Manager[updateMerging], ctx context.Context, token string) {
		store := &sessions.MemoryStore{}
		mine, other = newManager[updateMerging](t, store, sessions.Config{Codec: c}), newManager[updateMerging](t, store, sessions.Config{Codec: c})
		ctx, err := other.Load(t.Context())
		must(t, err)
		other.FromContext(ctx).Views = 1
		o, err := other.Commit(ctx)
		must(t, err)
		token = o.Token.Reveal()
		ctx, err = mine.Load(t.Context(), token)
		must(t, err)
		mine.FromContext(ctx).Views += 100
		theirs, err := other.Load(t.Context(), token)
		must(t, err)
		other.FromContext(theirs).Views += 10
		other.FromContext(theirs).Name = name
		must(t, other.Save(theirs))
		return mine, other, ctx, token
	}
	t.Run("C9 fn works on what T's own MergeSession has made of the changes of two requests", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			mine, other, ctx, token := merging(t, "bob", c)
			must(t, mine.Update(ctx, func(s *updateMerging) error { s.Views++; return nil }))
			again, err := other.Load(t.Context(), token)
			must(t, err)
			for _, got := range []*updateMerging{mine.FromContext(ctx), other.FromContext(again)} {
				if *got != (updateMerging{112, "bob"}) {
					t.Errorf("%+v", *got)
				}
			}
		})
	})
	t.Run("C9 an error of T's own MergeSession comes back unchanged from an Update, which stores nothing and puts *T back", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			mine, other, ctx, token := merging(t, "refused", c)
			if err := mine.Update(ctx, func(s *updateMerging) error { s.Views = 0; return nil }); err != io.EOF {
				t.Errorf("Update = %v", err)
			}
			if got := mine.FromContext(ctx); *got != (updateMerging{101, ""}) {
				t.Errorf("*T is %+v", *got)
			}
			again, err := other.Load(t.Context(), token)
			must(t, err)
			if got := other.FromContext(again); *got != (updateMerging{11, "refused"}) {
				t.Errorf("stored is %+v", *got)
			}
		})
	})
}
