package protocol_test

import (
	"context"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

func TestLoad(t *testing.T) {
	foreign, unknown := layout{foreign: true, classless: true}, layout{classless: true}
	empty := layout{open: standsForNothing}
	const readOnly, fail = protocol.UnreadableReadOnly, protocol.UnreadableFail
	for _, row := range []struct {
		name     string
		layout   layout
		stored   map[string]rec
		tokens   []string // old, if there are none
		passive  bool
		readOnly bool
		policy   protocol.UnreadablePolicy
		happens  events

		found    string // the token and what the application has adopted
		err      string // ok, if it is empty
		blocked  string // Unreadable, if the row says so
		commands string
		notices  string
		destroy  string // what a Destroy sends, and its result
		left     string // what is stored then
	}{
		{name: "L18 nothing", commands: "touch old", destroy: "none"},
		{
			name: "L1 L4 a record", stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "touch old", destroy: "delete old: had",
		},
		{
			name: "L16 passive", passive: true, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "load old", destroy: "delete old: had",
		},
		{
			name: "L9 a remembered one", tokens: []string{"old+r"}, stored: map[string]rec{"old+r": {payload: "a", remembered: true}},
			found: "old+r a", commands: "touch old+r 240h0m0s", destroy: "delete old+r: had",
		},
		{
			name: "L4 the store cannot touch", readOnly: true, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "touch old", notices: "TouchSkipped", destroy: "delete old: had",
		},

		{
			name: "L6 L17 past its Lifetime", stored: map[string]rec{"old": {payload: "a", age: lifetime}},
			commands: "touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "L17 when it began is not known", layout: layout{foreign: true}, stored: map[string]rec{"old": raw("- 0s false a.")},
			commands: "touch old, delete old", notices: "Expired OLD", destroy: "none",
		},
		{
			name: "L17 past its Lifetime, and it would not decode", stored: map[string]rec{"old": {payload: "?", age: lifetime}},
			commands: "touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "L17 past its Lifetime, and too large", stored: map[string]rec{"old": {payload: large, age: lifetime}},
			commands: "touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "L17 K4 past its Lifetime, and of a newer version", stored: map[string]rec{"old": {payload: "a", age: lifetime, version: 2}},
			commands: "touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "L17 past its Lifetime, and written just before it is deleted", stored: map[string]rec{"old": {payload: "a", age: lifetime}},
			happens:  events{"delete old": before(puts("old", rec{payload: "another", by: "them.1"}))},
			commands: "touch old, delete old", destroy: "none", left: "old=another",
		},
		{
			name: "L17 past its Lifetime, and the store does not delete it", stored: map[string]rec{"old": {payload: "a", age: lifetime}},
			happens: events{"delete old": notApplied}, commands: "touch old, delete old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "L6 just before the end of its Lifetime", stored: map[string]rec{"old": {payload: "a", age: lifetime - time.Second}},
			found: "old a", commands: "touch old", destroy: "delete old: had",
		},

		{
			name: "L12 C16 a mark", stored: map[string]rec{"old": mark("new"), "new": {payload: "a"}},
			commands: "touch old, touch old 9.999s", destroy: "load new, delete new: had", left: "old>new",
		},
		{
			name: "C16 a mark just before its end", stored: map[string]rec{"old": {successor: "new", age: 9998 * time.Millisecond}, "new": {payload: "a"}},
			commands: "touch old, touch old 1ms", destroy: "load new, delete new: had",
		},
		{
			name: "C16 a mark of ten seconds", stored: map[string]rec{"old": {successor: "new", age: 10 * time.Second}, "new": {payload: "a"}},
			commands: "touch old, delete old", destroy: "none", left: "new=a",
		},
		{
			name: "C16 C19 a mark, passive", passive: true, stored: map[string]rec{"old": mark("new"), "new": {payload: "a"}},
			commands: "load old", destroy: "load new, delete new: had", left: "old>new",
		},
		{
			name: "C16 C19 a mark, and the store cannot touch", readOnly: true, stored: map[string]rec{"old": mark("new"), "new": {payload: "a"}},
			commands: "touch old", destroy: "load new, delete new: had", left: "old>new",
		},
		{
			name: "C16 C19 a mark, and its deadline cannot be restored", stored: map[string]rec{"old": mark("new"), "new": {payload: "a"}}, happens: events{"touch old 9.999s": notApplied},
			commands: "touch old, touch old 9.999s", notices: "Unavailable first", destroy: "load new, delete new: had", left: "old>new",
		},
		{
			name: "C16 C19 a mark of a remembered session", tokens: []string{"old+r"}, stored: map[string]rec{"old+r": mark("new+r"), "new+r": {payload: "a"}},
			commands: "touch old+r 240h0m0s, touch old+r 9.999s", destroy: "load new+r, delete new+r: had", left: "old+r>new+r",
		},
		{
			name: "K4 C16 a mark of a newer version", stored: map[string]rec{"old": {successor: "new", version: 2}},
			commands: "touch old, touch old 9.999s", destroy: "load new, load old: had", left: "old>new",
		},

		{
			name: "K6 the header cannot be read", stored: map[string]rec{"old": raw("{}")},
			commands: "touch old", notices: "Undecodable : unreadable header", destroy: "load old, delete old: had",
		},
		{
			name: "K6 half of the header can be read", stored: map[string]rec{"old": raw(`{"id":"half","w":["x.1"],"created":0,"idle":-1}` + "\n")},
			commands: "touch old", notices: "Undecodable half: unreadable header", destroy: "load old, delete old: had",
		},
		{
			name: "K6 half of the header of a mark can be read", stored: map[string]rec{"old": raw(`{"id":"half","w":["x.1"],"successor":"new","idle":-1}` + "\n"), "new": {payload: "a"}},
			commands: "touch old", notices: "Undecodable half: unreadable header", destroy: "load old, delete old: had", left: "new=a",
		},
		{
			name: "K6 the payload cannot be decoded", stored: map[string]rec{"old": {payload: "?"}},
			commands: "touch old", notices: "Undecodable id: cannot decode", destroy: "load old, delete old: had",
		},
		{
			name: "K7 too large", stored: map[string]rec{"old": {payload: large}},
			commands: "touch old", notices: "Undecodable id: unreadable  ErrTooLarge", destroy: "load old, delete old: had",
		},
		{
			name: "K11 the header cannot be read, and the load fails", policy: fail, stored: map[string]rec{"old": raw("{}")},
			err: "unreadable header", commands: "touch old", notices: "Undecodable : unreadable header", destroy: "none", left: `old="{}"`,
		},
		{
			name: "K11 the payload cannot be decoded, and the load fails", policy: fail, stored: map[string]rec{"old": {payload: "?"}},
			err: "cannot decode", commands: "touch old", notices: "Undecodable id: cannot decode", destroy: "none", left: "old=?",
		},
		{
			name: "K7 K11 too large, and the load fails", policy: fail, stored: map[string]rec{"old": {payload: large}},
			err: "unreadable  ErrTooLarge", commands: "touch old", notices: "Undecodable id: unreadable  ErrTooLarge", destroy: "none", left: "old=large",
		},
		{
			name: "K11 the header cannot be read, and nothing may be stored", policy: readOnly, stored: map[string]rec{"old": raw("{}")},
			blocked: "unreadable header", commands: "touch old", notices: "Undecodable : unreadable header", destroy: "load old, delete old: had",
		},
		{
			name: "K11 the payload cannot be decoded, and nothing may be stored", policy: readOnly, stored: map[string]rec{"old": {payload: "?"}},
			blocked: "cannot decode", commands: "touch old", notices: "Undecodable id: cannot decode", destroy: "load old, delete old: had",
		},
		{
			name: "K11 what is written between the two loads cannot be decoded, and the load fails", policy: fail, layout: unknown, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(saves("?"))},
			err: "cannot decode", commands: "load old, touch old", notices: "Undecodable id: cannot decode", destroy: "none", left: "old=a?",
		},
		{
			name: "L17 K11 past its Lifetime, and it would not decode", policy: fail, stored: map[string]rec{"old": {payload: "?", age: lifetime}},
			commands: "touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "K11 the first of two cannot be read, and the load fails", policy: fail, tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "?"}, "older": {payload: "a"}},
			err: "cannot decode", commands: "load old", notices: "Undecodable id: cannot decode", destroy: "none", left: "old=? older=a",
		},
		{
			name: "K11 the second of two cannot be read, and the load fails", policy: fail, tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}, "older": {payload: "?"}},
			err: "cannot decode", commands: "load old, load older", notices: "Undecodable id: cannot decode", destroy: "none", left: "old=a older=?",
		},
		{
			name: "T4 K11 the first of two cannot be read, and nothing may be stored", policy: readOnly, tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "?"}, "older": {payload: "a"}},
			blocked: "cannot decode", commands: "load old, load older", notices: "Undecodable id: cannot decode", destroy: "load old, delete old, load older, delete older: had",
		},
		{
			name: "T4 K11 the second of two cannot be read, and nothing may be stored", policy: readOnly, tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}, "older": {payload: "?"}},
			blocked: "cannot decode", commands: "load old, load older", notices: "Undecodable id: cannot decode", destroy: "load older, delete older, load old, delete old: had",
		},
		{
			name: "T4 K11 one of three cannot be read, and nothing may be stored", policy: readOnly, tokens: []string{"old", "oldest", "older"}, stored: map[string]rec{"old": {payload: "a"}, "oldest": {payload: "?"}, "older": {payload: "b"}},
			blocked: "cannot decode", commands: "load old, load oldest, load older", notices: "Undecodable id: cannot decode, TwoSessions", destroy: "load oldest, delete oldest, load old, delete old, load older, delete older: had",
		},
		{
			name: "K11 F15 what stands for no session, and the load would fail", policy: fail, layout: empty, stored: map[string]rec{"old": raw("nothing")},
			commands: "touch old", destroy: "none", left: `old="nothing"`,
		},
		{
			name: "T4 K11 what stands for no session before a valid one", policy: readOnly, layout: empty, tokens: []string{"old", "older"}, stored: map[string]rec{"old": raw("nothing"), "older": {payload: "a"}},
			found: "older a", commands: "load old, touch older", destroy: "delete older: had", left: `old="nothing"`,
		},
		{
			name: "C6 K11 what stands for no session is written between the two loads", policy: readOnly, layout: layout{foreign: true, classless: true, open: standsForNothing}, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(puts("old", raw("nothing")))},
			commands: "load old, touch old", destroy: "none", left: `old="nothing"`,
		},
		{
			name: "K4 of a newer version", stored: map[string]rec{"old": {payload: "a", version: 2}},
			err: "ErrNewerVersion", commands: "touch old", destroy: "none", left: "old=a",
		},

		{
			name: "T4 two valid tokens", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}, "older": {payload: "b"}},
			commands: "load old, load older", notices: "TwoSessions", destroy: "load old, delete old, load older, delete older: had",
		},
		{
			name: "T4 two valid tokens and one that was renewed", tokens: []string{"older", "oldest", "old"},
			stored:   map[string]rec{"older": mark("new"), "new": {payload: "a"}, "old": {payload: "b"}, "oldest": {payload: "c"}},
			commands: "load older, load oldest, load old", notices: "TwoSessions",
			destroy: "load new, delete new, load oldest, delete oldest, load old, delete old: had", left: "older>new",
		},
		{
			name: "T4 the second of two is valid", tokens: []string{"unknown", "old"}, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "load unknown, touch old", destroy: "delete old: had",
		},
		{
			name: "T4 the first of two is valid", tokens: []string{"old", "unknown"}, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "load old, load unknown, touch old", destroy: "delete old: had",
		},
		{
			name: "T4 the second of two cannot be read", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}, "older": {payload: "?"}},
			found: "old a", commands: "load old, load older, touch old", notices: "Undecodable id: cannot decode", destroy: "load older, delete older, delete old: had",
		},
		{
			name: "L10 the first of two was renewed", tokens: []string{"older", "old"}, stored: map[string]rec{"older": mark("new"), "new": {payload: "a"}, "old": {payload: "b"}},
			found: "old b", commands: "load older, touch old", destroy: "load new, delete new, delete old: had", left: "older>new",
		},
		{
			name: "T4 the same token twice", tokens: []string{"old", "old"}, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "touch old", destroy: "delete old: had",
		},
		{
			name: "T4 five tokens", tokens: []string{"1", "2", "3", "4", "old"}, stored: map[string]rec{"old": {payload: "a"}},
			commands: "load 1, load 2, load 3, touch 4", destroy: "none", left: "old=a",
		},
		{
			name: "T3 a token of the wrong shape", tokens: []string{"!", "old"}, stored: map[string]rec{"!": {payload: "a"}, "old": {payload: "b"}},
			found: "old b", commands: "touch old", destroy: "delete old: had", left: "!=a",
		},
		{
			name: "T3 only tokens of the wrong shape", tokens: []string{"!", "!!"}, destroy: "none",
		},

		{
			name: "C13 the store does not answer", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"load old": notApplied},
			err: "ErrUnavailable", commands: "load old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "C13 the store does not answer to the touch of the valid one of two", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": notApplied},
			err: "ErrUnavailable", commands: "load old, load older, touch old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "C1 the valid one of two ends before it is touched", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(ends)},
			commands: "load old, load older, touch old", destroy: "none",
		},
		{
			name: "K4 the second of two is newer than this build", tokens: []string{"old", "older"}, stored: map[string]rec{"old": {payload: "a"}, "older": {payload: "b", version: 2}},
			err: "ErrNewerVersion", commands: "load old, load older", destroy: "none", left: "old=a older=b",
		},
		{
			name: "C13 the store answers too late", stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": lost},
			err: "ErrUnavailable", commands: "touch old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "F1 the store hangs", stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": hangs},
			err: "ErrUnavailable", commands: "touch old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "T4 two tokens have one time budget", tokens: []string{"older", "old"}, stored: map[string]rec{"old": {payload: "a"}},
			happens: events{"load older": slow(timeout * 3 / 4), "touch old": takes(timeout / 2)},
			err:     "ErrUnavailable", commands: "load older, touch old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},

		{
			name: "a class that is not known", layout: unknown, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "load old, touch old", destroy: "delete old: had",
		},
		{
			name: "a class that is not known, passive", layout: unknown, passive: true, stored: map[string]rec{"old": {payload: "a"}},
			found: "old a", commands: "load old", destroy: "delete old: had",
		},
		{
			name: "L9 it is found to be remembered", layout: unknown, stored: map[string]rec{"old": {payload: "a", remembered: true}},
			found: "old a", commands: "load old, touch old 240h0m0s", destroy: "delete old: had",
		},
		{
			name: "it has an idle timeout of its own", layout: foreign, stored: map[string]rec{"old": {payload: "a", idle: time.Hour}},
			found: "old a", commands: "load old, touch old 1h0m0s", destroy: "delete old: had",
		},
		{
			name: "L6 its Lifetime ends before", layout: unknown, stored: map[string]rec{"old": {payload: "a", age: lifetime - time.Minute}},
			found: "old a", commands: "load old", destroy: "delete old: had",
		},
		{
			name: "it is written between the two loads", layout: foreign, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(saves("b"))},
			found: "old ab", commands: "load old, touch old", destroy: "delete old: had",
		},
		{
			name: "it gets another timeout between the two loads", layout: foreign, stored: map[string]rec{"old": {payload: "a"}},
			happens: events{"touch old": before(puts("old", rec{payload: "b", idle: time.Hour}))},
			found:   "old b", commands: "load old, touch old, touch old 1h0m0s", destroy: "delete old: had",
		},
		{
			name: "it gets another timeout, and ends before the third load", layout: foreign, stored: map[string]rec{"old": {payload: "a"}},
			happens:  events{"touch old": before(puts("old", rec{payload: "b", idle: time.Hour})), "touch old 1h0m0s": before(expires("old"))},
			commands: "load old, touch old, touch old 1h0m0s", destroy: "none",
		},
		{
			name: "C6 it ends between the two loads", layout: foreign, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(ends)},
			commands: "load old, touch old", destroy: "none",
		},
		{
			name: "C13 the second load is not answered", layout: foreign, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": notApplied},
			err: "ErrUnavailable", commands: "load old, touch old", notices: "Unavailable first", destroy: "none", left: "old=a",
		},
		{
			name: "K6 what is written between the two loads cannot be decoded", layout: unknown, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(saves("?"))},
			commands: "load old, touch old", notices: "Undecodable id: cannot decode", destroy: "load old, delete old: had",
		},
		{
			name: "K6 what is written between the two loads has no header", layout: foreign, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(puts("old", raw("")))},
			commands: "load old, touch old", notices: "Undecodable OLD: unreadable header", destroy: "load old, delete old: had",
		},
		{
			name: "K4 what is written between the two loads is of a newer version", layout: unknown, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(puts("old", rec{payload: "b", version: 2}))},
			err: "ErrNewerVersion", commands: "load old, touch old", destroy: "none", left: "old=b",
		},
		{
			name: "C4 it is renewed between the two loads", layout: unknown, stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(renews("old", "theirs"))},
			commands: "load old, touch old, touch old 10s", destroy: "load theirs, delete theirs: had", left: "old>theirs",
		},
		{
			name: "C4 C19 it gets another timeout between the two loads, and is renewed before the third", layout: unknown, stored: map[string]rec{"old": {payload: "a"}},
			happens:  events{"touch old": before(puts("old", rec{payload: "b", idle: time.Hour})), "touch old 1h0m0s": before(renews("old", "theirs"))},
			commands: "load old, touch old, touch old 1h0m0s, touch old 10s", destroy: "load theirs, delete theirs: had", left: "old>theirs",
		},
		{
			name: "it gets another timeout between the two loads, and yet another before the third", layout: foreign, stored: map[string]rec{"old": {payload: "a"}},
			happens: events{"touch old": before(puts("old", rec{payload: "b", idle: time.Hour})), "touch old 1h0m0s": before(puts("old", rec{payload: "c", idle: 2 * time.Hour}))},
			found:   "old c", commands: "load old, touch old, touch old 1h0m0s", destroy: "delete old: had",
		},
		{
			name: "L6 what is written between the two loads is past its Lifetime", layout: unknown, stored: map[string]rec{"old": {payload: "a"}},
			happens:  events{"touch old": before(puts("old", rec{payload: "b", age: lifetime, by: "them.1"}))},
			commands: "load old, touch old, delete old", notices: "Expired id", destroy: "none",
		},
		{
			name: "C6 it ends just before the load", stored: map[string]rec{"old": {payload: "a"}}, happens: events{"touch old": before(ends)},
			commands: "touch old", destroy: "none",
		},
		{name: "an unknown token of a class that is not known", layout: unknown, commands: "load old", destroy: "none"},
	} {
		inBubble(t, row.name, row.layout, row.stored, func(fx *fixture) {
			fx.events, fx.readOnly = row.happens, row.readOnly
			fx.engine.OnUnreadable = row.policy
			if row.layout.foreign {
				fx.engine.IDOf = func(string) string { return "OLD" }
			}
			if row.tokens == nil {
				row.tokens = []string{"old"}
			}
			s := fx.session()
			err := s.Load(fx.ctx, row.tokens, when(row.passive))
			found := ""
			if s.Stored() {
				found = s.Token + " " + fx.app.adopted
				fx.want("the record found", string(s.Record.Payload), fx.app.adopted)
			}
			fx.want("found", found, row.found)
			if row.err == "" {
				row.err = "ok"
			}
			fx.want("Load", name(err), row.err)
			if row.blocked != "" || s.Unreadable != nil {
				fx.want("Unreadable", name(s.Unreadable), row.blocked)
			}
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			fx.end()
			fx.want("Destroy", fx.destroy(s), row.destroy)
			if s.Reset(); s.Unreadable != nil {
				fx.t.Errorf("it is as new, and %v", s.Unreadable)
			}
			fx.want("left", fx.memory.String(), row.left)
		})
	}

	inBubble(t, "C4 what is renewed between the two loads of a class that is not known is not found", unknown, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		fx.events = events{"touch old": before(renews("old", "theirs"))}
		s := fx.session()
		if err := s.Load(fx.ctx, []string{"old"}, protocol.AtOnce); err != nil || s.Stored() {
			fx.t.Errorf("%v, stored %t", err, s.Stored())
		}
	})
	inBubble(t, "F1 a request that was cancelled", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		ctx, cancel := context.WithCancel(fx.ctx)
		cancel()
		fx.want("Load", name(fx.session().Load(ctx, []string{"old"}, protocol.AtOnce)), "Canceled")
		fx.want("notices", fx.app.take(), "")
	})
}
