package protocol_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// What reads or writes a session sees that it is listed, once a minute.
func TestRelist(t *testing.T) {
	load := func(o *owned) string {
		s := o.session()
		err := s.Load(o.ctx, []string{o.tokenOf("a", "ann")}, protocol.AtOnce)
		return fmt.Sprint(name(err), " ", s.Stored())
	}
	touch := func(o *owned) string { return name(o.loadedBefore("a").Touch(o.ctx)) }
	save := func(o *owned) string {
		result, err := o.loadedBefore("a").Write(o.ctx, protocol.Change{Composer: &composer{steps: []compose{edit("b")}}})
		return resultOf(result, err)
	}
	relisting := func(acts func(o *owned) []act) func(o *owned) events {
		return func(o *owned) events { return events{"relist a": before(acts(o)...)} }
	}
	for _, row := range []struct {
		name    string
		happens func(o *owned) events
		do      func(o *owned) string

		result   string
		commands string
		notices  string
		left     string
		listed   string
	}{
		{name: "O12 a load", do: load, result: "ok true", commands: "load a, relist a", left: "a=a", listed: "a"},
		{name: "O12 a touch", do: touch, result: "ok", commands: "load a, relist a", left: "a=a", listed: "a"},
		{name: "O12 a save", do: save, result: "ok", commands: "swap a, relist a", left: "a=ab", listed: "a"},
		{
			name: "O10 the index was lost: it is listed again", happens: before0(func(o *owned) { o.store.lost++ }), do: load,
			result: "ok true", commands: "load a, relist a", left: "a=a", listed: "a",
		},
		{
			name: "O10 all were revoked when the index had been lost: a load ends it", happens: before0(func(o *owned) { loses(o)(nil); revokes(o)(nil) }), do: load,
			result: "ok false", commands: "load a, relist a", notices: "Revoked a",
		},
		{
			name: "O10 a touch ends it", happens: relisting(func(o *owned) []act { return []act{loses(o), revokes(o)} }), do: touch,
			result: "ErrGone", commands: "load a, relist a", notices: "Revoked a, Gone",
		},
		{
			name: "O10 a save ends it", happens: relisting(func(o *owned) []act { return []act{loses(o), revokes(o)} }), do: save,
			result: "ErrGone", commands: "swap a, relist a", notices: "Revoked a, Gone",
		},
		{
			name: "C1 it has ended since it was saved: it was saved", happens: relisting(func(o *owned) []act { return []act{leaves(o, "a", "ann")} }), do: save,
			result: "ok", commands: "swap a, relist a",
		},
		{
			name: "C15 it has ended since it was read", happens: relisting(func(o *owned) []act { return []act{leaves(o, "a", "ann")} }), do: load,
			result: "ok false", commands: "load a, relist a",
		},
		{
			name: "O6 it has been renewed since: a mark is not listed", happens: relisting(func(o *owned) []act { return []act{loses(o), renewsAs(o, "a", "ann", renew(""))} }), do: load,
			result: "ok true", commands: "load a, relist a", left: "a>theirs theirs=a", listed: "theirs",
		},
		{
			name: "O6 it has been written since: the next one looks again", happens: relisting(func(o *owned) []act { return []act{savesBeside(o, "a", "ann")} }),
			do:     func(o *owned) string { return load(o) + ", " + load(o) + ", " + load(o) },
			result: "ok true, ok true, ok true", commands: "load a, relist a, load a, relist a, load a", left: "a=ax", listed: "a",
		},
		{
			name: "F1 the store does not answer: that ends nobody", happens: at("relist a", hangs), do: load,
			result: "ok true", commands: "load a, relist a", notices: "Unavailable first", left: "a=a", listed: "a",
		},
		{
			name: "F5 the store is full", happens: at("relist a", full), do: load,
			result: "ok true", commands: "load a, relist a", notices: "Unavailable first", left: "a=a", listed: "a",
		},
		{
			name: "O12 again within a minute", do: func(o *owned) string {
				first, s := load(o), o.session()
				_ = s.Load(o.ctx, []string{o.tokenOf("a", "ann")}, protocol.AtOnce)
				_, err := s.Write(o.ctx, protocol.Change{Composer: &composer{steps: []compose{edit("b")}}})
				return first + name(s.Touch(o.ctx)) + name(err)
			},
			result: "ok trueokok", commands: "load a, relist a, load a, swap a, load a", left: "a=ab", listed: "a",
		},
		{
			name: "O10 again after a minute", do: func(o *owned) string {
				first := load(o)
				loses(o)(nil)
				time.Sleep(time.Minute)
				return first + load(o)
			},
			result: "ok trueok true", commands: "load a, relist a, load a, relist a", left: "a=a", listed: "a",
		},
		{
			name: "O12 a session that this process has begun is listed", do: func(o *owned) string {
				s := o.session()
				err := s.Create(o.ctx, o.header("new", "ann"))
				return name(err) + name(s.Touch(o.ctx))
			},
			result: "okok", commands: "place new +new, load new", left: "a=a new=a", listed: "a new",
		},
		{
			name: "O10 one that this process has ended is looked for again", do: func(o *owned) string {
				result := load(o)
				n, err := o.session().EndAll(o.ctx, "ann", "")
				o.seed("ann", "a")
				return fmt.Sprint(result, n, name(err), load(o))
			},
			result: "ok true1okok true", commands: "load a, relist a, revoke, members, end 1, load a, relist a", notices: "Revoked a", left: "a=a", listed: "a",
		},
		{
			name: "L6 it has expired: its entry goes with it", do: func(o *owned) string {
				o.begin("a", time.Now().Add(-lifetime))
				return load(o)
			},
			result: "ok false", commands: "load a, place !a -a", notices: "Expired a",
		},
	} {
		ownedRow(t, row.name, 0, false, func(o *owned) {
			o.seed("ann", "a")
			if row.happens != nil {
				o.events = row.happens(o)
			}
			o.want("result", row.do(o), row.result)
			o.want("commands", o.take(), row.commands)
			o.want("notices", o.notices(), row.notices)
			o.wantLeft(row.left, row.listed)
		})
	}
}

// What a process knows to be listed is bounded, and to forget it costs a look.
func TestRelistIsBounded(t *testing.T) {
	ownedRow(t, "O12 one of very many sessions", 0, false, func(o *owned) {
		o.seed("ann", "a")
		o.loaded("a", "ann")
		o.engine.NoteListed(1 << 16)
		s := o.session()
		o.want("Load", name(s.Load(o.ctx, []string{o.tokenOf("a", "ann")}, protocol.AtOnce)), "ok")
		o.want("commands", o.take(), "load a, relist a")
	})
}

// Only what is under a key beside its owner's is listed.
func TestListed(t *testing.T) {
	ownedRow(t, "O6", 0, false, func(o *owned) {
		ann, bob, nobody := o.keyOf("a", "ann"), o.keyOf("b", "bob"), o.keyOf("c", "")
		plain := protocol.New(o.config("plain", o.memory, nil))
		for _, row := range []struct {
			engine     *protocol.Engine
			key, owner string
			listed     bool
			misplaced  bool // a session under that key
		}{
			{o.engine, ann, "ann", true, false},
			{o.engine, ann, "bob", false, true},
			{o.engine, ann, "", false, false},
			{o.engine, bob, "bob", true, false},
			{o.engine, nobody, "ann", false, true},
			{o.engine, nobody, "", false, false},
			{o.engine, "", "ann", false, false},
			{o.engine, "key", "ann", false, true},
			{plain, ann, "ann", false, false},
		} {
			if got := row.engine.Listed(row.key, row.owner); got != row.listed {
				o.t.Errorf("%s of %q is listed: %t", o.store.name(row.key), row.owner, got)
			}
			s := &protocol.Session{Key: row.key}
			s.Init(row.engine, o.app)
			if got := s.Misplaced(row.owner); got != row.misplaced {
				o.t.Errorf("%s of %q is misplaced: %t", o.store.name(row.key), row.owner, got)
			}
		}
	})
	ownedRow(t, "O6 a session of ann's under nobody's key is not listed", 0, false, func(o *owned) {
		rec, key := o.header("a", "ann"), o.keyOf("a", "")
		if err := o.store.inner.Create(o.ctx, key, record.Seal(rec), idle); err != nil {
			o.t.Fatal(err)
		}
		s := o.session()
		o.want("Load", name(s.Load(o.ctx, []string{o.tokenOf("a", "")}, protocol.AtOnce)), "ok")
		o.want("commands", o.take(), "load a")
		if o.want("listed", o.listed("ann"), ""); !s.Misplaced("ann") {
			o.t.Error("nor is it to be moved")
		}
	})
	ownedRow(t, "O6 a session whose ID is no UUID is not", 0, false, func(o *owned) {
		rec := o.header("new", "ann")
		rec.ID = []byte("no UUID")
		s := o.session()
		o.want("Create", name(s.Create(o.ctx, rec)), "ok")
		o.want("Touch", name(s.Touch(o.ctx)), "ok")
		o.want("commands", o.take(), "create new, load new")
		o.wantLeft("new=a", "")
		_, err := s.Destroy(o.ctx)
		o.want("Destroy", name(err), "ok")
		o.want("commands", o.take(), "delete new")
	})
}

// A sign-out takes the session off the index.
func TestOwnersDestroy(t *testing.T) {
	for _, row := range []struct {
		name    string
		happens func(o *owned) events
		do      func(s *protocol.Session, ctx context.Context) error

		result   string
		commands string
		left     string
		listed   string
	}{
		{name: "O6", commands: "place !a -a", listed: "b", left: "b=a"},
		{name: "C10 the client sends it again", happens: at("place !a -a", repeated()), commands: "place !a -a", listed: "b", left: "b=a"},
		{
			name: "C15 it has been renewed", happens: func(o *owned) events { return events{"place !a -a": before(renewsAs(o, "a", "ann", renew("")))} },
			commands: "place !a -a, load theirs, place !theirs -theirs", left: "a>theirs b=a", listed: "b",
		},
		{
			name: "C15 it has been written", happens: func(o *owned) events { return events{"place !a -a": before(savesBeside(o, "a", "ann"))} },
			commands: "place !a -a, place !a -a", left: "b=a", listed: "b",
		},
		{
			name: "C15 it has been renewed for bob", happens: func(o *owned) events { return events{"place !a -a": before(renewsAs(o, "a", "ann", as("bob")))} },
			commands: "place !a -a, load theirs, place !theirs -theirs", left: "a>theirs b=a", listed: "b",
		},
		{name: "F2 it is not answered", happens: at("place !a -a", lost), result: "ErrUnavailable", commands: "place !a -a", left: "b=a", listed: "b"},
		{
			name: "a session whose token was given to nobody is discarded", do: (*protocol.Session).Discard,
			commands: "place !a -a", left: "b=a", listed: "b",
		},
	} {
		ownedRow(t, row.name, 0, false, func(o *owned) {
			o.seed("ann", "a", "b")
			s := o.loaded("a", "ann")
			if row.happens != nil {
				o.events = row.happens(o)
			}
			if row.do == nil {
				row.do = func(s *protocol.Session, ctx context.Context) error { _, err := s.Destroy(ctx); return err }
			}
			err := row.do(s, o.ctx)
			if row.result == "" {
				row.result = "ok"
			}
			o.want("result", name(err), row.result)
			o.want("commands", o.take(), row.commands)
			o.wantLeft(row.left, row.listed)
		})
	}
}
