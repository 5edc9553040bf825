package listing_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// check is what holds after every run.
func (e *explorer) check(found *tally) {
	for _, wrong := range e.store.wrong {
		e.t.Error(wrong)
	}
	for _, p := range e.participants {
		switch {
		case p.err == nil || p.dead || e.fault != none && errors.Is(p.err, sessions.ErrUnavailable):
		case errors.Is(p.err, sessions.ErrGone) && (!p.signsIn() || p.then != nil):
		case errors.Is(p.err, sessions.ErrOwnerLimit) && e.x.reject:
			found.failed["ErrOwnerLimit"]++
		default:
			e.t.Errorf("%s returns %v", p.name, p.err)
		}
	}
	time.Sleep(markTTL + time.Second) // so that marks and copies are gone
	if e.fault == indexLost {
		time.Sleep(time.Minute)
		e.readAll() // by a process that has read nothing for a minute
	}
	live, listed := e.store.live(), 0
	tokens := e.tokens()
	for _, l := range live {
		_, known := tokens[l.key]
		lists := e.store.lists(l)
		if lists && l.owner == "ann" {
			listed++
		}
		switch {
		case l.owner == "":
		case known && !lists:
			e.t.Errorf("%s is alive and not listed", e.names[l.key])
		case !known && e.fault == none:
			e.t.Errorf("%s is alive, listed %t, and nobody has its token", e.names[l.key], lists)
		case !known && lists:
			if found.ghosts[e.fault]++; e.fault != dies && e.fault != delayed {
				e.t.Errorf("%s is alive and listed, and nobody has its token", e.names[l.key])
			}
		case !known:
			found.lost[e.fault]++
		}
	}
	if e.x.limit > 0 && listed > e.x.limit {
		if e.fault != indexLost {
			e.t.Errorf("%d sessions are alive and listed", listed)
		}
		found.over++
	}
	e.checkSignIns(live)
	e.checkRevoked(live)
	e.checkSignedOut(live)
}

// tokens are those that a client has, by the key.
func (e *explorer) tokens() map[string]string {
	tokens := map[string]string{}
	for _, token := range e.seeds {
		if token != "" {
			tokens[kit.KeyOf(token)] = token
		}
	}
	for _, p := range e.participants {
		if p.given != "" {
			tokens[kit.KeyOf(p.given)] = p.given
		}
	}
	return tokens
}

// readAll reads every session of which a client has the token.
func (e *explorer) readAll() {
	tokens := e.tokens()
	for _, key := range slices.Sorted(maps.Keys(tokens)) {
		kit.Alive(e.t, e.m, tokens[key])
	}
}

// checkSignIns: what a sign-in has begun is alive, unless others have ended it, and as it was left.
func (e *explorer) checkSignIns(live []liveness) {
	for _, p := range e.participants {
		if p.err != nil || p.dead || !p.signsIn() && p.then == nil {
			continue
		}
		if p.given == "" {
			e.t.Errorf("%s returns nil and no token", p.name)
			continue
		}
		key := kit.KeyOf(p.given)
		by := e.store.endedBy[key]
		switch i := slices.IndexFunc(live, func(l liveness) bool { return l.key == key }); {
		case p.act.name == inAndOut.name && i >= 0:
			e.t.Errorf("what %s has ended is alive", p.name)
		case i < 0 && p.act.name != inAndOut.name && (by == "" || strings.HasPrefix(by, p.name)):
			e.t.Errorf("the session of %s has ended by %q", p.name, by)
		case i >= 0 && p.then != nil && !strings.Contains(live[i].payload, fmt.Sprint(`"Views":`, saved)):
			e.t.Errorf("%s has lost what it saved: %s", p.name, live[i].payload)
		}
	}
}

// checkRevoked: what was alive when a revocation began has ended when it has returned nil. What the index had lost is
// ended when it is met.
func (e *explorer) checkRevoked(live []liveness) {
	for _, p := range e.participants {
		if !p.revokes() || p.err != nil || p.dead || e.lostWhileRevoking {
			continue
		}
		for _, l := range live {
			_, known := e.tokens()[l.key]
			if l.owner == "ann" && p.revoked[l.id] && (known || e.fault == none) && !e.isLater(p, l.key) {
				e.t.Errorf("%s was alive before %s, and is after it", e.names[l.key], p.name)
			}
		}
	}
}

// checkSignedOut: a session that has been destroyed stays so, whatever it was renewed to.
func (e *explorer) checkSignedOut(live []liveness) {
	for _, p := range e.participants {
		if !p.signsOut() || p.err != nil || p.dead {
			continue
		}
		for _, l := range live {
			if l.id == e.ids[p.from] && !e.isLater(p, l.key) {
				e.t.Errorf("%s is alive after %s", e.names[l.key], p.name)
			}
		}
	}
}

// isLater tells whether the key is that of a sign-in that had not returned when p began to revoke, or had signed out.
func (e *explorer) isLater(p *participant, key string) bool {
	return slices.ContainsFunc(e.participants, func(q *participant) bool {
		return p.later[q] && q.given != "" && kit.KeyOf(q.given) == key
	})
}
