package protocol_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// A changeRow is one Write that gives a session a new token. It was loaded as "a" under the key old.
type changeRow struct {
	name    string
	limit   int
	reject  bool
	owner   string // of the session: ann, or nobody for "-"
	seeds   string // other sessions of ann's
	compose []compose
	happens func(o *owned) events

	result   string // ok renewed, if it is empty
	commands string
	notices  string
	left     string
	listed   string // of ann's
	bobs     string
}

func (row changeRow) run(t *testing.T) {
	t.Helper()
	ownedRow(t, row.name, row.limit, row.reject, func(o *owned) {
		o.seed("ann", strings.Fields(row.seeds)...)
		owner := map[string]string{"": "ann", "-": ""}[row.owner]
		o.seed(owner, "old")
		s := o.loaded("old", owner)
		if row.happens != nil {
			o.events = row.happens(o)
		}
		result, err := s.Write(o.ctx, protocol.Change{Composer: &composer{steps: row.compose}})
		if row.result == "" {
			row.result = "ok renewed"
		}
		o.want("result", resultOf(result, err), row.result)
		o.want("commands", o.take(), row.commands)
		o.want("notices", o.notices(), row.notices)
		o.wantLeft(row.left, row.listed)
		o.want("bob's", o.listed("bob"), row.bobs)
		if gone := strings.Contains(row.result, "ErrGone"); s.Gone != gone {
			o.t.Errorf("gone: %t", s.Gone)
		}
	})
}

// as is a sign-in: another token, another owner, and the session begins now.
func as(owner string) compose {
	return func(found protocol.Found) (protocol.Proposal, error) {
		p, err := renew("b")(found)
		p.Record.Owner, p.Record.Created = []byte(owner), time.Now()
		return p, err
	}
}

// moved is a renewal of a session that its owner's index does not have, because its key is in another slot.
func moved(found protocol.Found) (protocol.Proposal, error) {
	p, err := renew("b")(found)
	p.Record.Owner = []byte("ann")
	return p, err
}

// savesBeside: another process saves the session of that name.
func savesBeside(o *owned, name, owner string) act {
	return func(*fixture) {
		o.byOther(name, owner, func(s *protocol.Session) error {
			_, err := s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{edit("x")}}})
			return err
		})
	}
}

// leaves: another process destroys it.
func leaves(o *owned, name, owner string) act {
	return func(*fixture) {
		o.byOther(name, owner, func(s *protocol.Session) error { _, err := s.Destroy(context.Background()); return err })
	}
}

// renewsAs: another process renews it.
func renewsAs(o *owned, name, owner string, c compose) act {
	return func(*fixture) {
		o.byOther(name, owner, func(s *protocol.Session) error {
			_, err := s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{c}}})
			return err
		})
	}
}

// revokes: somebody revokes all of ann's sessions.
func revokes(o *owned) act {
	return func(*fixture) {
		s := &protocol.Session{}
		s.Init(o.process("they", nil, 0, false), &application{})
		o.aside(func() {
			if _, err := s.EndAll(context.Background(), "ann", ""); err != nil {
				o.t.Error(err)
			}
		})
	}
}

// evicts: the store has forgotten a record.
func evicts(o *owned, name, owner string) act {
	return func(*fixture) { _ = o.store.inner.Delete(context.Background(), o.keyOf(name, owner)) }
}

// loses: the store has lost all indexes.
func loses(o *owned) act { return func(*fixture) { o.store.lost++ } }

func (o *owned) byOther(name, owner string, do func(s *protocol.Session) error) {
	o.t.Helper()
	o.byOtherAs("theirs", name, owner, do)
}

// byOtherAs draws that name.
func (o *owned) byOtherAs(draws, name, owner string, do func(s *protocol.Session) error) {
	o.t.Helper()
	s := &protocol.Session{}
	s.Init(o.process("they", func() (string, error) { return drawn(draws), nil }, 0, false), &application{})
	o.aside(func() {
		if err := s.Load(context.Background(), []string{o.tokenOf(name, owner)}, protocol.Never); err != nil {
			o.t.Fatal(err)
		}
		if err := do(s); err != nil {
			o.t.Fatal(err)
		}
	})
}

// Where the old and the new key are in one slot a renewal is one step.
func TestRenewInOneStep(t *testing.T) {
	b := []compose{renew("b")}
	const step = "place old> new -old +new"
	const relist = ", relist new" // the answer to another send says nothing of the index
	for _, row := range []changeRow{
		{name: "L12 O6", compose: b, commands: step, left: "old>new new=ab", listed: "new"},
		{name: "L12 a sign-in by the same owner", compose: []compose{as("ann")}, commands: step, left: "old>new new=ab", listed: "new"},
		{name: "O9 it needs no room", limit: 1, compose: b, commands: step, left: "old>new new=ab", listed: "new"},
		{name: "O9 nor under Reject", limit: 1, reject: true, compose: b, commands: step, left: "old>new new=ab", listed: "new"},
		{name: "C10 the client has lost the reply and sends it again: its own mark tells", compose: b, happens: at(step, repeated()), commands: step + relist, left: "old>new new=ab", listed: "new"},
		{
			name: "C5 the reply is lost", compose: b, happens: at(step, lost),
			commands: step + ", " + step + relist, notices: "Unavailable first", left: "old>new new=ab", listed: "new",
		},
		{
			name: "C5 two replies are lost", compose: b, happens: at(step, lost, step+" #2", lost),
			commands: step + ", " + step + ", " + step + relist, notices: "Unavailable first, Unavailable", left: "old>new new=ab", listed: "new",
		},
		{
			name: "C5 three replies are lost: the session may be under the new token", compose: b, happens: at(step+" *", lost),
			result: "ErrUnavailable unknown", commands: step + ", " + step + ", " + step, notices: "Unavailable first, Unavailable, Unavailable", left: "old>new new=ab", listed: "new",
		},
		{
			name: "L12 it is not applied: the old token is valid", compose: b, happens: at(step+" *", notApplied),
			result: "ErrUnavailable unknown", commands: step + ", " + step + ", " + step, notices: "Unavailable first, Unavailable, Unavailable", left: "old=a", listed: "old",
		},
		{
			name: "F5 it is refused", compose: b, happens: at(step, full),
			result: "ErrUnavailable refused", commands: step, notices: "Unavailable first", left: "old=a", listed: "old",
		},
		{
			name: "F5 C5 the reply is lost, and the next one refused", compose: b, happens: at(step, lost, step+" #2", full),
			result: "ErrUnavailable unknown", commands: step + ", " + step, notices: "Unavailable first, Unavailable first", left: "old>new new=ab", listed: "new",
		},
		{
			name: "T1 the token that is drawn has been given away", seeds: "new", compose: b,
			result: "ErrExists", commands: step, left: "new=a old=a", listed: "new old",
		},
		{
			name: "C4 another process has written: that goes along", compose: b, happens: func(o *owned) events { return events{step: before(savesBeside(o, "old", "ann"))} },
			commands: step + ", place old> newer -old +newer", left: "old>newer newer=axb", listed: "newer",
		},
		{
			name: "C4 no new token is wanted for what it has written", compose: []compose{renew("b"), edit("c")}, happens: func(o *owned) events { return events{step: before(savesBeside(o, "old", "ann"))} },
			result: "ok", commands: step + ", swap old", left: "old=axc", listed: "old",
		},
		{
			name: "C5 another process has renewed: its mark tells", compose: b, happens: func(o *owned) events { return events{step: before(renewsAs(o, "old", "ann", renew("")))} },
			result: "ErrGone", commands: step, notices: "Gone", left: "old>theirs theirs=a", listed: "theirs",
		},
		{
			name: "C15 it has ended", compose: b, happens: func(o *owned) events { return events{step: before(leaves(o, "old", "ann"))} },
			result: "ErrGone", commands: step, notices: "Gone",
		},
		{
			name: "O8 all were revoked", compose: b, happens: func(o *owned) events { return events{step: before(revokes(o))} },
			result: "ErrGone", commands: step, notices: "Gone",
		},
		{
			name: "O8 the reply is lost, and all were revoked: the renewal was before", compose: b, happens: func(o *owned) events { return events{step: lost, step + " #2": before(revokes(o))} },
			commands: step + ", " + step + relist, notices: "Unavailable first", left: "old>new",
		},
		{
			name: "O8 the index was lost before all were revoked", compose: b, happens: func(o *owned) events { return events{step: before(loses(o), revokes(o))} },
			result: "ErrGone", commands: step, notices: "Gone", left: "old=a",
		},
		{
			name: "O6 the index was lost: it is listed again", compose: b, happens: func(o *owned) events { return events{step: before(loses(o))} },
			commands: step, left: "old>new new=ab", listed: "new",
		},
		{
			name: "T1 none can be drawn", compose: b, happens: before0(func(o *owned) { o.draws = nil }),
			result: "sessions: Config.NewToken: no token left", left: "old=a", listed: "old",
		},
		{
			name: "an error of no type", compose: b, happens: at(step, broken),
			result: "an error of no type", commands: step, left: "old=a", listed: "old",
		},
	} {
		row.run(t)
	}
}

// To another owner a renewal is three steps, and each of them is a way to end.
func TestChangeOfOwner(t *testing.T) {
	ann, bob := []compose{as("ann")}, []compose{as("bob")}
	const first, confirm = "create new, mark old", "place new= +new"
	const reserve = "place new +new"
	for _, row := range []changeRow{
		{name: "L12 O6 from nobody", owner: "-", compose: ann, commands: first + ", " + confirm, left: "old>new new=ab", listed: "new"},
		{name: "O6 from ann to bob", compose: bob, commands: "create new, place old> -old, " + confirm, left: "old>new new=ab", bobs: "new"},
		{name: "O6 from ann to nobody", compose: []compose{as("")}, commands: "create new, place old> -old", left: "old>new new=ab"},
		{name: "L12 between nobody and nobody", owner: "-", compose: []compose{renew("b")}, commands: first, left: "old>new new=ab"},

		// The copy.
		{
			name: "O8 the reply to the copy is lost: it is taken back", owner: "-", compose: ann, happens: at("create new", lost),
			commands: "create new, place !new -new, create newer, mark old, place newer= +newer", notices: "Unavailable first", left: "old>newer newer=ab", listed: "newer",
		},
		{
			name: "C4 another process has written: the copy is brought up to date", owner: "-", compose: ann,
			happens:  func(o *owned) events { return events{"mark old": before(savesBeside(o, "old", ""))} },
			commands: first + ", swap new, mark old, " + confirm, left: "old>new new=axb", listed: "new",
		},
		{
			name: "C4 the owner is another one for what it has written: there is another copy", owner: "-", compose: []compose{as("bob"), as("ann")},
			happens:  func(o *owned) events { return events{"mark old": before(savesBeside(o, "old", ""))} },
			commands: first + ", drop new, create newer, mark old, place newer= +newer", left: "old>newer newer=axb", listed: "newer",
		},
		{
			name: "C4 the owner is the same one for what it has written: it is one step", compose: []compose{as("bob"), renew("b")},
			happens:  func(o *owned) events { return events{"place old> -old": before(savesBeside(o, "old", "ann"))} },
			commands: "create new, place old> -old, drop new, place old> newer -old +newer", left: "old>newer newer=axb", listed: "newer",
		},
		{
			name: "C4 and the other way round", compose: []compose{renew("b"), as("bob")},
			happens:  func(o *owned) events { return events{"place old> new -old +new": before(savesBeside(o, "old", "ann"))} },
			commands: "place old> new -old +new, create newer, place old> -old, place newer= +newer", left: "old>newer newer=axb", bobs: "newer",
		},
		{
			name: "F6 the copy has been evicted before the claim", owner: "-", compose: ann,
			happens: func(o *owned) events { return events{"mark old": before(evicts(o, "new", "ann"))} },
			result:  "ErrGone", commands: first + ", " + confirm + ", drop new", notices: "Gone", left: "old>new",
		},

		// The claim.
		{
			name: "C18 another one has signed in", owner: "-", compose: ann,
			happens: func(o *owned) events { return events{"mark old": before(renewsAs(o, "old", "", as("bob")))} },
			result:  "ErrGone", commands: first + ", drop new", notices: "Gone", left: "old>theirs theirs=ab", bobs: "theirs",
		},
		{
			name: "C15 ann's session has ended", compose: bob, happens: func(o *owned) events { return events{"place old> -old": before(leaves(o, "old", "ann"))} },
			result: "ErrGone", commands: "create new, place old> -old, drop new", notices: "Gone",
		},
		{
			name: "C5 the reply to the claim is lost", compose: bob, happens: at("place old> -old", lost),
			commands: "create new, place old> -old, place old> -old, " + confirm, notices: "Unavailable first", left: "old>new new=ab", bobs: "new",
		},
		{
			name: "O8 no reply to the claim comes: the copy is not listed, and ends", compose: bob, happens: at("place old> -old *", lost),
			result: "ErrUnavailable unknown", commands: "create new, place old> -old, place old> -old, place old> -old", notices: "Unavailable first, Unavailable, Unavailable", left: "old>new new=ab for 10s",
		},

		// The confirmation.
		{
			name: "O8 the reply to it is lost", owner: "-", compose: ann, happens: at(confirm, lost),
			commands: first + ", " + confirm + ", " + confirm, notices: "Unavailable first", left: "old>new new=ab", listed: "new",
		},
		{
			name: "O8 two replies are lost", owner: "-", compose: ann, happens: at(confirm, lost, confirm+" #2", lost),
			commands: first + ", " + confirm + ", " + confirm + ", " + confirm, notices: "Unavailable first, Unavailable", left: "old>new new=ab", listed: "new",
		},
		{
			name: "O8 no reply comes: the copy ends", owner: "-", compose: ann, happens: at(confirm+" *", notApplied),
			result: "ErrUnavailable unknown", commands: first + ", " + confirm + ", " + confirm + ", " + confirm, notices: "Unavailable first, Unavailable, Unavailable", left: "old>new new=ab for 10s",
		},
		{
			name: "O8 it hangs", owner: "-", compose: ann, happens: at(confirm, hangs),
			result: "ErrUnavailable unknown", commands: first + ", " + confirm, notices: "Unavailable first", left: "old>new new=ab for 10s",
		},
		{
			name: "F5 it is refused", owner: "-", compose: ann, happens: at(confirm, full),
			result: "ErrUnavailable refused", commands: first + ", " + confirm, notices: "Unavailable first", left: "old>new new=ab for 10s",
		},
		{
			name: "F6 the copy has been evicted after the claim", owner: "-", compose: ann, happens: func(o *owned) events { return events{confirm: before(evicts(o, "new", "ann"))} },
			result: "ErrGone", commands: first + ", " + confirm + ", drop new", notices: "Gone", left: "old>new",
		},
		{
			name: "C15 somebody signs out by the mark", owner: "-", compose: []compose{moved}, happens: func(o *owned) events { return events{confirm: before(leaves(o, "old", ""))} },
			result: "ErrGone", commands: first + ", " + confirm + ", drop new", notices: "Gone", left: "old>new",
		},
		{
			name: "O8 the reply is lost, and all were revoked", owner: "-", compose: []compose{moved}, happens: func(o *owned) events { return events{confirm: lost, confirm + " #2": before(revokes(o))} },
			result: "ErrGone", commands: first + ", " + confirm + ", " + confirm + ", drop new", notices: "Unavailable first, Gone", left: "old>new",
		},
		{
			name: "O10 all were revoked since the session began", owner: "-", compose: []compose{moved}, happens: func(o *owned) events { return events{"mark old": before(revokes(o))} },
			result: "ErrGone", commands: first + ", " + confirm + ", drop new", notices: "Gone", left: "old>new",
		},
		{
			name: "O9 the oldest one ends", limit: 2, owner: "-", seeds: "a b", compose: ann,
			commands: first + ", " + confirm + ", " + confirm + " with 2", notices: "Evicted a", left: "b=a old>new new=ab", listed: "b new",
		},

		// Under Reject the copy has a place.
		{
			name: "O9 Reject", limit: 2, reject: true, owner: "-", seeds: "a", compose: ann,
			commands: reserve + ", " + reserve + " with 1, mark old, " + confirm, left: "a=a old>new new=ab", listed: "a new",
		},
		{
			name: "O9 Reject at the limit: the old token stays", limit: 1, reject: true, owner: "-", seeds: "a", compose: ann,
			result: "ErrOwnerLimit", commands: reserve + ", " + reserve + " with 1", left: "a=a old=a", listed: "a",
		},
		{
			name: "O9 Reject, and the claim fails: the place is free again", limit: 1, reject: true, owner: "-", compose: ann,
			happens: func(o *owned) events { return events{"mark old": before(leaves(o, "old", ""))} },
			result:  "ErrGone", commands: reserve + ", mark old, place !new -new", notices: "Gone",
		},
		{
			name: "O9 Reject, and the place is lost with the index: the limit holds as long as that exists", limit: 1, reject: true, owner: "-", compose: ann,
			happens:  func(o *owned) events { return events{confirm: before(loses(o), signsIn(o, "c"))} },
			commands: reserve + ", mark old, " + confirm, left: "old>new new=ab c=a", listed: "new c",
		},
		{
			name: "O9 Reject, and the reply to the copy is lost", limit: 1, reject: true, owner: "-", compose: ann, happens: at(reserve, lost),
			commands: "place new +new, place !new -new, place newer +newer, mark old, place newer= +newer", notices: "Unavailable first", left: "old>newer newer=ab", listed: "newer",
		},
		{
			name: "O9 Reject, and the copy is written again", limit: 1, reject: true, owner: "-", compose: ann,
			happens:  func(o *owned) events { return events{"mark old": before(savesBeside(o, "old", ""))} },
			commands: reserve + ", mark old, swap new, mark old, " + confirm, left: "old>new new=axb", listed: "new",
		},
	} {
		row.run(t)
	}
}
