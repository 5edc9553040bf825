package listing_test

import (
	"context"
	"slices"
	"strings"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A session is the T of the explorer.
type session struct {
	User  string
	Views int
}

func (s *session) SessionOwner() string { return s.User }

type manager = sessions.Manager[session]

// An unowned session is the same one of a build whose T was not Owned: no index has it.
type unowned struct {
	User  string
	Views int
}

// An act is what a request does with the session of a token: "first" is one of ann's, "visitor" is nobody's, "moved"
// is one of ann's of before T was Owned.
type act struct {
	name string
	from string
	do   func(m *manager, ctx context.Context) error
	then func(m *manager, ctx context.Context) error // in a second request, with the token of the first
}

// signsIn tells whether it is a sign-in, which must not depend on what others do.
func (a act) signsIn() bool { return strings.Contains(a.name, "sign-in") }

// signsOut tells whether the session that it comes with ends.
func (a act) signsOut() bool { return strings.HasPrefix(a.name, "sign-out") }

func (a act) revokes() bool { return strings.HasPrefix(a.name, "revoke") }

func signInAs(user string) func(m *manager, ctx context.Context) error {
	return func(m *manager, ctx context.Context) error {
		m.FromContext(ctx).User = user
		return m.SignIn(ctx)
	}
}

func save(m *manager, ctx context.Context) error {
	m.FromContext(ctx).Views = saved
	return m.Save(ctx)
}

const saved = 7

var (
	newcomer = act{name: "new sign-in", do: signInAs("ann")}
	visitor  = act{name: "sign-in of a visitor", from: "visitor", do: signInAs("ann")}
	second   = act{name: "sign-in of another visitor", from: "visitor 2", do: signInAs("ann")}
	again    = act{name: "sign-in again", from: "first", do: signInAs("ann")}
	toBob    = act{name: "sign-in as bob", from: "first", do: signInAs("bob")}
	renewal  = act{name: "renewal", from: "first", do: (*manager).Renew}
	moving   = act{name: "move", from: "moved", do: (*manager).Renew}
	signOut  = act{name: "sign-out", from: "first", do: (*manager).Destroy}
	leaving  = act{name: "sign-out before the move", from: "moved", do: (*manager).Destroy}
	saving   = act{name: "save", from: "first", do: save}
	read     = act{name: "read", from: "first", do: func(*manager, context.Context) error { return nil }}
	inAndOut = act{name: "sign-in and out", from: "visitor", do: signInAs("ann"), then: (*manager).Destroy}
	inAndOn  = act{name: "sign-in and save", from: "visitor", do: signInAs("ann"), then: save}
	moveOn   = act{name: "move and save", from: "moved", do: (*manager).Renew, then: save}
	revoking = act{name: "revoke all", do: func(m *manager, ctx context.Context) error {
		_, err := m.RevokeAll(ctx, "ann")
		return err
	}}
	revokingOthers = act{name: "revoke others", from: "first", do: func(m *manager, ctx context.Context) error {
		if m.Info(ctx).New { // it has ended
			return sessions.ErrGone
		}
		_, err := m.RevokeOthers(ctx)
		return err
	}}
	listing = act{name: "list", do: func(m *manager, ctx context.Context) error {
		_, err := m.SessionsOf(ctx, "ann")
		return err
	}}

	acts = []act{
		newcomer, visitor, second, again, toBob, renewal, moving, signOut, leaving, saving, read, inAndOut, inAndOn, moveOn,
		revoking, revokingOthers, listing,
	}
)

// run is the request, or the two, without HTTP.
func (a act) run(ctx context.Context, e *explorer, p *participant) (token string, err error) {
	request := func(token string, do func(m *manager, ctx context.Context) error) (string, error) {
		out, err := kit.Request(ctx, p.m, token, func(ctx context.Context) error {
			if err := e.begin(ctx, p); err != nil {
				return err
			}
			return do(p.m, ctx)
		})
		if out.Kind == sessions.OutcomeCreated || out.Kind == sessions.OutcomeRenewed {
			token = out.Token.Reveal()
		}
		return token, err
	}
	before := p.token
	if token, err = request(before, a.do); err == nil && a.then != nil {
		p.given, before = token, token
		token, err = request(token, a.then)
	}
	if a.signsOut() {
		e.signedOut(p)
	}
	if p.dead {
		return "", errDead
	}
	if token == before && a.then == nil {
		token = ""
	}
	return token, err
}

// begin waits until a revocation may begin, and notes what is alive then. A sign-in that has not returned yet is one
// that comes later.
func (e *explorer) begin(ctx context.Context, p *participant) error {
	if !p.revokes() {
		return nil
	}
	return e.step(ctx, "begin", "", func() error {
		p.revoked, p.later = map[string]bool{}, map[*participant]bool{}
		for _, l := range e.store.live() {
			if l.owner == "ann" && !slices.Contains(e.store.copies, l.key) && (p.from == "" || l.id != e.ids[p.from]) {
				p.revoked[l.id] = true
			}
		}
		for _, q := range e.participants {
			p.later[q] = q.signsIn() && !q.ended.Load()
		}
		return nil
	})
}

// signedOut notes which sign-ins had not returned by then: they come later, also where they began with the session that
// has ended.
func (e *explorer) signedOut(p *participant) {
	p.later = map[*participant]bool{}
	for _, q := range e.participants {
		p.later[q] = q.signsIn() && !q.ended.Load()
	}
}
