package protocol_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// names are those of a list, sorted, with what is unusual about each.
func (o *owned) memberNames(members []protocol.Member, err error) string {
	var words []string
	for _, m := range members {
		word := o.ids[m.ID]
		if key := o.store.name(m.Key); key != word {
			word += " under " + key
		}
		if m.Err != nil {
			word += " (" + name(m.Err) + ")"
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return strings.TrimPrefix(strings.Join(words, ", ")+": "+name(err), ": ")
}

func TestList(t *testing.T) {
	of := func(o *owned) string { return o.memberNames(o.session().ListOf(o.ctx, "ann")) }
	own := func(o *owned) string { return o.memberNames(o.loadedBefore("b").List(o.ctx, "ann")) }
	for _, row := range []struct {
		name    string
		seeds   string // a b c, if it is empty
		happens func(o *owned) events
		do      func(o *owned) string

		result   string
		commands string
		left     string // a=a b=a c=a, if it is empty
		listed   string // a b c, if it is empty
	}{
		{name: "O1", do: of, result: "a, b, c: ok", commands: "members, load 3"},
		{name: "O1 of nobody known", do: func(o *owned) string { return o.memberNames(o.session().ListOf(o.ctx, "bob")) }, result: "ok", commands: "members"},
		{
			name: "O5 what has ended leaves the index", happens: before0(func(o *owned) { o.lose("b") }), do: of,
			result: "a, c: ok", commands: "members, load 3, place with 1", left: "a=a c=a", listed: "a c",
		},
		{
			name: "O5 if the store does not answer, it stays", happens: func(o *owned) events { o.lose("b"); return events{"place with 1": notApplied} }, do: of,
			result: "a, c: ok", commands: "members, load 3, place with 1", left: "a=a c=a", listed: "a (b) c",
		},
		{
			name: "O1 it is renewed meanwhile", happens: func(o *owned) events { return events{"load 3": before(renewsAs(o, "b", "ann", renew("")))} }, do: of,
			result: "a, b under theirs, c: ok", commands: "members, load 3, load 1", left: "a=a b>theirs c=a theirs=a", listed: "a theirs c",
		},
		{
			name: "O1 it becomes bob's meanwhile", happens: func(o *owned) events { return events{"load 3": before(renewsAs(o, "b", "ann", as("bob")))} }, do: of,
			result: "a, c: ok", commands: "members, load 3, load 1", left: "a=a b>theirs c=a theirs=ab", listed: "a c",
		},
		{
			name: "L6 its time is up", happens: before0(func(o *owned) { o.begin("b", time.Now().Add(-lifetime)) }), do: of,
			result: "a, c: ok", commands: "members, load 3",
		},
		{name: "F2 the index is not answered", happens: at("members", notApplied), do: of, result: "ErrUnavailable", commands: "members"},
		{name: "F2 the records are not answered", happens: at("load 3", hangs), do: of, result: "ErrUnavailable", commands: "members, load 3"},
		{
			name: "K6 the header of one cannot be read", happens: before0(func(o *owned) { o.overwrite("b", []byte("x")) }), do: of,
			result: "a, b (unreadable header), c: ok", commands: "members, load 3", left: `a=a b="x" c=a`,
		},
		{
			name: "K6 one has been written by a newer build", happens: before0(func(o *owned) {
				rec := o.recordOf("b")
				rec.Version = 2
				o.overwrite("b", record.Seal(rec))
			}), do: of,
			result: "a, b (ErrNewerVersion), c: ok", commands: "members, load 3",
		},

		// One's own.
		{name: "O1 one's own", do: own, result: "a, b, c: ok", commands: "members, load 3"},
		{
			name: "O10 the index lacks it", do: func(o *owned) string {
				s := o.loadedBefore("b")
				loses(o)(nil)
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "b: ErrIncomplete", commands: "members, load 1, relist b", listed: "b",
		},
		{
			name: "O10 the index lacks it, and all were revoked", do: func(o *owned) string {
				s := o.loadedBefore("b")
				loses(o)(nil)
				revokes(o)(nil)
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "ErrGone", commands: "members, load 1, relist b", left: "a=a c=a", listed: "-",
		},
		{
			name: "O10 the index lacks it, and it is written meanwhile", do: func(o *owned) string {
				s := o.loadedBefore("b")
				loses(o)(nil)
				o.events = events{"relist b": before(savesBeside(o, "b", "ann"), loses(o))}
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "b: ErrIncomplete", commands: "members, load 1, relist b, load b, relist b", left: "a=a b=ax c=a", listed: "b",
		},
		{
			name: "O10 the index lacks it, and it is renewed meanwhile", do: func(o *owned) string {
				s := o.loadedBefore("b")
				loses(o)(nil)
				o.events = events{"relist b": before(renewsAs(o, "b", "ann", renew("")))}
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "b: ErrIncomplete", commands: "members, load 1, relist b, load b", left: "a=a b>theirs c=a theirs=a", listed: "theirs",
		},
		{
			name: "O10 the index lacks it, and it ends meanwhile", do: func(o *owned) string {
				s := o.loadedBefore("b")
				loses(o)(nil)
				o.events = events{"relist b": before(savesBeside(o, "b", "ann"), loses(o)), "load b": before(leaves(o, "b", "ann"))}
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "ErrGone", commands: "members, load 1, relist b, load b", left: "a=a c=a", listed: "-",
		},
		{
			name: "C15 it has ended", do: func(o *owned) string {
				s := o.loadedBefore("b")
				leaves(o, "b", "ann")(nil)
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "ErrGone", commands: "members, load 3", left: "a=a c=a", listed: "a c",
		},
		{
			name: "F2 one's own: the index is not answered", happens: nil, do: func(o *owned) string {
				s := o.loadedBefore("b")
				o.events = events{"members": notApplied}
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "ErrUnavailable", commands: "members",
		},
		{
			name: "F2 one's own: the records are not answered", do: func(o *owned) string {
				s := o.loadedBefore("b")
				o.events = events{"load 3": notApplied}
				return o.memberNames(s.List(o.ctx, "ann"))
			}, result: "ErrUnavailable", commands: "members, load 3",
		},
	} {
		ownedRow(t, row.name, 0, false, func(o *owned) {
			o.seed("ann", "a", "b", "c")
			if row.happens != nil {
				o.events = row.happens(o)
			}
			o.want("result", row.do(o), row.result)
			o.want("commands", o.take(), row.commands)
			if row.left == "" {
				row.left = "a=a b=a c=a"
			}
			switch row.listed {
			case "":
				row.listed = "a b c"
			case "-":
				row.listed = ""
			}
			o.wantLeft(row.left, row.listed)
		})
	}
}

// Members tell when they were used last and when they end.
func TestListTimes(t *testing.T) {
	ownedRow(t, "O1", 0, false, func(o *owned) {
		began := time.Now()
		o.seed("ann", "a")
		time.Sleep(10 * time.Minute)
		members, err := o.session().ListOf(o.ctx, "ann")
		if err != nil || len(members) != 1 || !members[0].LastSeen.Equal(began) || !members[0].Expires.Equal(began.Add(idle)) {
			o.t.Fatalf("%v, %v", members, err)
		}
		s := o.session()
		s.Attach(&members[0])
		if !s.Stored() || string(s.ID()) != members[0].ID || !s.Expires.Equal(began.Add(idle)) {
			o.t.Errorf("attached: %v, %s, %v", s.Stored(), s.ID(), s.Expires)
		}
		o.take()
		_, err = s.Write(o.ctx, protocol.Change{KeepsTime: true, Composer: &composer{steps: []compose{edit("b")}}})
		o.want("Write", name(err), "ok")
		o.want("commands", o.take(), "place a=")
		if _, left, _ := o.store.inner.Load(o.ctx, o.keyOf("a", "ann"), 0); left >= idle-10*time.Minute {
			o.t.Errorf("%v are left", left)
		}
	})
	ownedRow(t, "F5 the store does not say how long it keeps them", 0, false, func(o *owned) {
		o.seed("ann", "a")
		o.store.mute = true
		members, err := o.session().ListOf(o.ctx, "ann")
		if err != nil || len(members) != 1 || !members[0].LastSeen.IsZero() || time.Until(members[0].Expires) != idle {
			o.t.Errorf("%v, %v", members, err)
		}
		s := o.session()
		o.want("Load", name(s.Load(o.ctx, []string{o.tokenOf("a", "ann")}, protocol.Never)), "ok")
		if time.Until(s.Expires) != idle {
			o.t.Errorf("loaded, it expires in %v", time.Until(s.Expires))
		}
	})
}

func TestEnd(t *testing.T) {
	all := func(o *owned) string {
		n, err := o.session().EndAll(o.ctx, "ann", "")
		return fmt.Sprint(n, " ", name(err))
	}
	one := func(o *owned) string {
		n, err := o.session().EndOne(o.ctx, "ann", string(o.recordOf("b").ID))
		return fmt.Sprint(n, " ", name(err))
	}
	others := func(o *owned) string {
		n, err := o.loadedBefore("b").EndOthers(o.ctx, "ann")
		return fmt.Sprint(n, " ", name(err))
	}
	// then is others with what happens when its session is loaded.
	then := func(happens func(o *owned) events) func(o *owned) string {
		return func(o *owned) string {
			s := o.loadedBefore("b")
			o.events = happens(o)
			n, err := s.EndOthers(o.ctx, "ann")
			return fmt.Sprint(n, " ", name(err))
		}
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
		{name: "O3", do: all, result: "3 ok", commands: "revoke, members, end 3", notices: "Revoked a, Revoked b, Revoked c"},
		{name: "O3 again", do: func(o *owned) string { return all(o) + ", " + all(o) }, result: "3 ok, 0 ok", commands: "revoke, members, end 3, revoke, members", notices: "Revoked a, Revoked b, Revoked c"},
		{name: "O4 one", do: one, result: "1 ok", commands: "members, end 1", notices: "Revoked b", left: "a=a c=a", listed: "a c"},
		{
			name: "O4 one that nobody has", do: func(o *owned) string {
				n, err := o.session().EndOne(o.ctx, "ann", "x")
				return fmt.Sprint(n, " ", name(err))
			},
			result: "0 ok", commands: "members", left: "a=a b=a c=a", listed: "a b c",
		},
		{name: "O2 the others", do: others, result: "2 ok", commands: "members, revoke, members, end 2", notices: "Revoked a, Revoked c", left: "b=a", listed: "b"},
		{
			name: "O2 one's own is put on the index before", do: then(func(o *owned) events { loses(o)(nil); return nil }),
			result: "0 ok", commands: "members, relist b, revoke, members", left: "a=a b=a c=a", listed: "b",
		},
		{
			name: "O2 the index is not answered", do: then(func(o *owned) events { return events{"members": notApplied} }),
			result: "0 ErrUnavailable", commands: "members", notices: "Unavailable first", left: "a=a b=a c=a", listed: "a b c",
		},
		{
			name: "O2 one's own cannot be put on the index", do: then(func(o *owned) events { loses(o)(nil); return events{"relist b": broken} }),
			result: "0 an error of no type", commands: "members, relist b", left: "a=a b=a c=a",
		},
		{
			name: "O8 one is renewed before it ends", do: all, happens: func(o *owned) events { return events{"end 3": before(renewsAs(o, "b", "ann", renew("")))} },
			result: "3 ok", commands: "revoke, members, end 3, members, end 1", notices: "Revoked a, Revoked c, Revoked b", left: "b>theirs",
		},
		{
			name: "O8 one has ended before", do: all, happens: func(o *owned) events { return events{"end 3": before(leaves(o, "b", "ann"))} },
			result: "2 ok", commands: "revoke, members, end 3, members", notices: "Revoked a, Revoked c",
		},
		{
			name: "O8 one signs in meanwhile: it stays", do: all, happens: func(o *owned) events { return events{"end 3": before(signsIn(o, "d"))} },
			result: "3 ok", commands: "revoke, members, end 3", notices: "Revoked a, Revoked b, Revoked c", left: "d=a", listed: "d",
		},
		{
			name: "O8 the time is not noted", do: all, happens: at("revoke", notApplied),
			result: "0 ErrUnavailable", commands: "revoke", notices: "Unavailable first", left: "a=a b=a c=a", listed: "a b c",
		},
		{
			name: "O8 the index is not answered", do: all, happens: at("members", notApplied),
			result: "0 ErrUnavailable", commands: "revoke, members", notices: "Unavailable first", left: "a=a b=a c=a", listed: "a b c",
		},
		{
			name: "O8 the ends are not answered: the next one finishes it", do: func(o *owned) string { return all(o) + ", " + all(o) }, happens: at("end 3", notApplied),
			result: "0 ErrUnavailable, 3 ok", commands: "revoke, members, end 3, revoke, members, end 3", notices: "Unavailable first, Revoked a, Revoked b, Revoked c",
		},
	} {
		ownedRow(t, row.name, 0, false, func(o *owned) {
			o.seed("ann", "a", "b", "c")
			if row.happens != nil {
				o.events = row.happens(o)
			}
			o.want("result", row.do(o), row.result)
			o.want("commands", o.take(), row.commands)
			o.want("notices", o.notices(), row.notices)
			o.wantLeft(row.left, row.listed)
		})
	}
	ownedRow(t, "O8 renewed again and again", 0, false, func(o *owned) {
		o.seed("ann", "a")
		n := 0
		o.events = events{"end 1 *": before(func(*fixture) {
			from := "a"
			if n > 0 {
				from = fmt.Sprint("r", n)
			}
			n++
			o.byOtherAs(fmt.Sprint("r", n), from, "ann", func(s *protocol.Session) error {
				_, err := s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{renew("")}}})
				return err
			})
		})}
		o.want("EndAll", all(o), "0 ErrConflict")
		if n != 32 {
			o.t.Errorf("tried %d times", n)
		}
	})
}
