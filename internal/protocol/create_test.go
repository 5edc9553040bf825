package protocol_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

func TestCreate(t *testing.T) {
	refused := errors.New("refused by the layout")
	for _, row := range []struct {
		name    string
		layout  layout
		stored  map[string]rec
		draws   []string // new, newer and newest, if there are none
		rec     record.Record
		happens events

		err      string // ok, if it is empty
		commands string
		notices  string
		token    string // new, if it is empty and there is no error
		left     string // what is stored, new=a if it is empty and there is no error
	}{
		{name: "L1", commands: "create new"},
		{name: "L9 a remembered one", rec: record.Record{Remembered: true}, commands: "create new+r", token: "new+r", left: "new+r=a"},
		{name: "no names of writes", layout: layout{foreign: true}, commands: "create new"},

		{
			name: "T1 the token that is drawn has been given away", stored: map[string]rec{"old": {payload: "b"}}, draws: []string{"old", "new"},
			commands: "create old, load old, create new", left: "new=a old=b",
		},
		{
			name: "T1 it is drawn again and again", stored: map[string]rec{"old": {payload: "b"}}, draws: []string{"old", "old", "old", "new"},
			err: "ErrExists", commands: "create old, load old, create old, load old, create old, load old", left: "old=b",
		},
		{
			name: "T1 who had it is gone before the look", stored: map[string]rec{"old": {payload: "b"}}, draws: []string{"old", "new"},
			happens: events{"load old": before(expires("old"))}, commands: "create old, load old, create new",
		},
		{name: "T1 none can be drawn", draws: []string{}, err: "sessions: Config.NewToken: no token left"},
		{name: "T1 none that the Layout takes back can be drawn", draws: []string{"!"}, err: "sessions: Config.NewToken: the Layout does not take back what was drawn"},

		{
			name: "C10 the reply is lost, and the client sends it again", happens: events{"create new": repeated()},
			commands: "create new, load new",
		},
		{
			name: "C10 the same without names of writes", layout: layout{foreign: true}, happens: events{"create new": repeated()},
			commands: "create new, load new",
		},
		{
			name: "C10 the reply is lost", happens: events{"create new": lost},
			err: "ErrUnavailable unknown", commands: "create new", notices: "Unavailable first", left: "new=a",
		},
		{
			name: "F2 the store does not answer", happens: events{"create new": notApplied},
			err: "ErrUnavailable unknown", commands: "create new", notices: "Unavailable first",
		},
		{
			name: "F5 the store refuses: nothing is stored", happens: events{"create new": full},
			err: "ErrUnavailable refused", commands: "create new", notices: "Unavailable first",
		},
		{
			name: "F1 the store hangs", happens: events{"create new": hangs},
			err: "ErrUnavailable unknown", commands: "create new", notices: "Unavailable first",
		},
		{
			name: "F2 the store does not say who has the token", stored: map[string]rec{"old": {payload: "b"}}, draws: []string{"old"}, happens: events{"load old": notApplied},
			err: "ErrUnavailable unknown", commands: "create old, load old", notices: "Unavailable first", left: "old=b",
		},
		{
			name: "all draws have the time of one save", stored: map[string]rec{"old": {payload: "b"}}, draws: []string{"old", "new"},
			happens: events{"create old": slow(timeout - roundTrip), "load old": hangs},
			err:     "ErrUnavailable unknown", commands: "create old, load old", notices: "Unavailable first", left: "old=b",
		},
		{name: "an error of no type", happens: events{"create new": broken}, err: "an error of no type", commands: "create new"},

		{name: "K7 too large", rec: record.Record{Payload: []byte(large)}, err: "ErrTooLarge"},
		{name: "the Layout does not seal it", layout: layout{seal: func(record.Record) error { return refused }}, err: "sessions: Layout: refused by the layout"},
		{name: "the Layout does not open what it has sealed", layout: layout{open: func([]byte) error { return refused }}, err: "sessions: Layout: it cannot open what it sealed: refused by the layout"},
	} {
		inBubble(t, row.name, row.layout, row.stored, func(fx *fixture) {
			fx.events = row.happens
			if row.draws != nil {
				fx.draws = row.draws
			}
			s := fx.session()
			row.rec.ID, row.rec.Created = s.ID(), time.Now()
			if row.rec.Payload == nil {
				row.rec.Payload = []byte("a")
			}
			err := s.Create(fx.ctx, row.rec)
			switch {
			case row.err == "":
				row.err = "ok"
				row.token = cmp.Or(row.token, "new")
				row.left = cmp.Or(row.left, "new=a")
				fx.want("the ID", string(s.Record.ID), string(s.ID()))
			case s.Stored():
				fx.t.Error("it failed, and the session is stored")
			}
			fx.want("Create", name(err), row.err)
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			fx.want("token", s.Token, row.token)
			fx.want("key", s.Key, row.token)
			fx.want("stored", fx.memory.String(), row.left)
			fx.end()
		})
	}

	inBubble(t, "F3 a client that hangs up does not stop it", layout{}, nil, func(fx *fixture) {
		ctx, cancel := context.WithCancel(fx.ctx)
		fx.events = events{"create new": func(_ *fixture, _ context.Context, apply func() error) error { cancel(); return apply() }}
		fx.want("Create", name(fx.session().Create(ctx, record.Record{ID: []byte("id"), Created: time.Now()})), "ok")
	})
	inBubble(t, "T11 the realm is in the key and not in the token", layout{}, nil, func(fx *fixture) {
		fx.engine.Realm = "here"
		s := fx.session()
		fx.want("Create", name(s.Create(fx.ctx, record.Record{ID: []byte("id"), Created: time.Now(), Payload: []byte("a")})), "ok")
		fx.want("token", s.Token, "new")
		fx.want("Load", name(fx.session().Load(fx.ctx, []string{"new"}, protocol.AtOnce)), "ok")
		fx.want("commands", fx.take(), "create here/new, touch here/new")
	})
}

// Whoever reads the store or a log gets an ID, and it is not the token.
func TestID(t *testing.T) {
	inBubble(t, "a session that is not stored draws one, once", layout{}, nil, func(fx *fixture) {
		s := fx.session()
		if id := string(s.ID()); len(id) != 36 || string(s.ID()) != id || string(fx.session().ID()) == id {
			fx.t.Errorf("%s, then %s", id, s.ID())
		}
	})
	inBubble(t, "a record without one has the same one at each load", layout{foreign: true}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		first, second := fx.loaded(), fx.loaded()
		if id := string(first.ID()); len(id) != 36 || string(second.ID()) != id || strings.Contains(id, "old") {
			fx.t.Errorf("%s, then %s", id, second.ID())
		}
	})
	inBubble(t, "it is made of the key where the Layout does that", layout{foreign: true}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		fx.engine.IDOf = func(key string) string { return "of " + key }
		fx.want("before it is stored", string(fx.session().ID()), "")
		fx.want("when it is loaded", string(fx.loaded().ID()), "of old")
	})
}
