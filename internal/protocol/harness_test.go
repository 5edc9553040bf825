package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

const (
	idle     = 30 * time.Minute
	lifetime = 12 * time.Hour
	timeout  = time.Second
	maxSize  = 1000
)

// A layout is a test's Layout: a token is a name, followed by "+r" if the session is remembered, and the
// key is the same. Its records are the library's own, or have neither names of writes nor marks.
type layout struct {
	foreign   bool
	classless bool // the class is not known from the token
	seal      func(r record.Record) error
	open      func(stored []byte) error
}

// standsForNothing is an open of a Layout whose format has words for no session.
func standsForNothing(stored []byte) error {
	if string(stored) == "nothing" {
		return fmt.Errorf("the layout says: %w", protocol.ErrNotFound)
	}
	return nil
}

var errForeign = errors.New("not a record")

func (layout) Mint(drawn string, remembered bool) string {
	if remembered {
		return drawn + "+r"
	}
	return drawn
}

func (l layout) Parse(token string) (remembered, known, ok bool) {
	if l.classless {
		return false, false, true
	}
	return strings.HasSuffix(token, "+r"), true, !strings.Contains(token, "!")
}

func (layout) Key(realm, token string) string {
	if realm != "" {
		return realm + "/" + token
	}
	return token
}

func (l layout) Open(stored []byte) (r record.Record, err error) {
	if l.open != nil {
		if err := l.open(stored); err != nil {
			return r, err
		}
	}
	if !l.foreign {
		return record.Open(stored)
	}
	line, ok := bytes.CutSuffix(stored, []byte{'.'}) // so that none begins with another one
	parts := bytes.SplitN(line, []byte{' '}, 4)
	if !ok || len(parts) != 4 {
		return r, errForeign
	}
	if created, err := strconv.ParseInt(string(parts[0]), 10, 64); err == nil { // otherwise it has none
		r.Created = time.UnixMilli(created)
	}
	r.Idle, _ = time.ParseDuration(string(parts[1]))
	r.Remembered, r.Payload, r.Prefix = string(parts[2]) == "true", parts[3], len(stored)
	r.Attrs = "attributes"
	return r, nil
}

func (l layout) Seal(r record.Record) ([]byte, error) {
	if l.seal != nil {
		if err := l.seal(r); err != nil {
			return nil, err
		}
	}
	if !l.foreign {
		return record.Seal(r), nil
	}
	if r.Successor != nil {
		return nil, errors.ErrUnsupported
	}
	return fmt.Appendf(nil, "%d %v %t %s.", r.Created.UnixMilli(), r.Idle, r.Remembered, r.Payload), nil
}

// A rec is a stored record in a row.
type rec struct {
	payload    string
	age        time.Duration // since its creation
	idle       time.Duration
	remembered bool
	version    int
	successor  string  // of a mark
	by         string  // the name of its write, seed.1 if it is empty
	raw        *string // all of it
}

func raw(s string) rec          { return rec{raw: &s} }
func mark(successor string) rec { return rec{successor: successor} }

var large = strings.Repeat("a", maxSize)

func (r rec) sealed(l layout) []byte {
	if r.raw != nil {
		return []byte(*r.raw)
	}
	sealed := record.Record{
		ID: []byte("id"), Writes: [8][]byte{[]byte("seed.1")}, Created: time.Now().Add(-r.age),
		Idle: r.idle, Remembered: r.remembered, Version: r.version, Payload: []byte(r.payload),
	}
	if r.successor != "" {
		sealed.Successor = []byte(r.successor)
	}
	if r.by != "" {
		sealed.Writes[0] = []byte(r.by)
	}
	data, err := layout{foreign: l.foreign}.Seal(sealed)
	if err != nil {
		panic(err)
	}
	return data
}

// A fixture is a store, this process and what others do.
type fixture struct {
	t *testing.T
	*script
	engine *protocol.Engine
	app    *application
	draws  []string // what NewToken draws
	ctx    context.Context

	processes map[string]*protocol.Engine // other ones
	readOnly  bool                        // the store cannot touch
}

// inBubble runs f in a bubble, with what is stored.
func inBubble(t *testing.T, name string, l layout, stored map[string]rec, f func(fx *fixture)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newFixture(t, l, stored)) })
	})
}

func newFixture(t *testing.T, l layout, stored map[string]rec) *fixture {
	fx := &fixture{t: t, app: &application{}, ctx: t.Context(), draws: []string{"new", "newer", "newest"}, processes: map[string]*protocol.Engine{}}
	fx.script = &script{memory: &memory{layout: l, entries: map[string]entry{}}, fx: fx, idle: idle, times: map[string]int{}}
	for key, r := range stored {
		fx.put(key, r)
	}
	fx.engine = protocol.New(fx.config("me", fx.script, func() (string, error) {
		if len(fx.draws) == 0 {
			return "", errors.New("no token left")
		}
		drawn := fx.draws[0]
		fx.draws = fx.draws[1:]
		return drawn, nil
	}))
	return fx
}

func (fx *fixture) config(process string, store protocol.Store, draw func() (string, error)) protocol.Config {
	return protocol.Config{
		Store: store, Timeout: timeout, Layout: fx.layout, NewToken: draw, Process: process,
		Plain: record.Timeouts{Idle: idle, Lifetime: lifetime}, Remember: record.Timeouts{Idle: 240 * time.Hour},
		Version: 1, MaxSize: maxSize,
		Unreadable: func(_ []byte, part string, err error) error { return &unreadable{part, err} },
	}
}

func (fx *fixture) put(key string, r rec) {
	fx.entries[key] = entry{r.sealed(fx.layout), time.Now().Add(idle)}
}

func (fx *fixture) session() *protocol.Session {
	s := &protocol.Session{}
	s.Init(fx.engine, fx.app)
	return s
}

// loaded is a session that a request has loaded, before the row begins.
func (fx *fixture) loaded() *protocol.Session {
	fx.t.Helper()
	happens := fx.events
	fx.events = nil
	s := fx.session()
	if err := s.Load(fx.ctx, []string{"old"}, protocol.AtOnce); err != nil || !s.Stored() {
		fx.t.Fatalf("Load: %v, stored %t", err, s.Stored())
	}
	fx.take()
	fx.app.take()
	fx.events = happens
	return s
}

// end checks that everything has happened that a row wanted to happen.
func (fx *fixture) end() {
	fx.t.Helper()
	for command := range fx.events {
		if !strings.HasSuffix(command, " *") {
			fx.t.Errorf("%q was never sent", command)
		}
	}
}

func (fx *fixture) want(what, got, want string) {
	fx.t.Helper()
	if got != want {
		fx.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// An act is what another process does, or the time.
type act func(fx *fixture)

func (fx *fixture) others(acts []act) {
	for _, a := range acts {
		a(fx)
	}
}

// elsewhere runs a request of another process with the token old.
func (fx *fixture) elsewhere(process, token string, do func(s *protocol.Session) error) {
	fx.t.Helper()
	e := fx.processes[process]
	if e == nil {
		e = protocol.New(fx.config(process, fx.memory, func() (string, error) { return process, nil }))
		fx.processes[process] = e
	}
	s := &protocol.Session{}
	s.Init(e, &application{})
	if err := s.Load(context.Background(), []string{token}, protocol.Never); err != nil {
		fx.t.Fatalf("%s loads: %v", process, err)
	}
	if err := do(s); err != nil {
		fx.t.Fatalf("%s: %v", process, err)
	}
}

func (fx *fixture) elsewhereWrites(process, token string, c compose) {
	fx.t.Helper()
	fx.elsewhere(process, token, func(s *protocol.Session) error {
		_, err := s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{c}}})
		return err
	})
}

// saves: another process appends a letter.
func saves(letter string) act {
	return func(fx *fixture) { fx.elsewhereWrites("them", "old", edit(letter)) }
}

// savesBy: so many processes append a letter, one after another, n times in all.
func savesBy(processes, n int, letter string) act {
	return func(fx *fixture) {
		for i := range n {
			fx.elsewhereWrites(fmt.Sprint("p", i%processes), "old", edit(letter))
		}
	}
}

// renews: another process renews the session; the new token is its name.
func renews(token, process string) act {
	return func(fx *fixture) { fx.elsewhereWrites(process, token, renew("")) }
}

// ends: another process destroys the session.
func ends(fx *fixture) {
	fx.elsewhere("them", "old", func(s *protocol.Session) error {
		_, err := s.Destroy(context.Background())
		return err
	})
}

// puts: something is there now.
func puts(key string, r rec) act { return func(fx *fixture) { fx.put(key, r) } }

// expires: the store has forgotten a key.
func expires(key string) act { return func(fx *fixture) { delete(fx.entries, key) } }

// passes: time goes by.
func passes(d time.Duration) act { return func(*fixture) { time.Sleep(d) } }

// destroy is what a Destroy sends, and its result: had, nothing or the error.
func (fx *fixture) destroy(s *protocol.Session) string {
	had, err := s.Destroy(fx.ctx)
	commands := fx.take()
	switch {
	case err != nil:
		return commands + ": " + name(err)
	case had:
		return commands + ": had"
	case commands == "":
		return "none"
	}
	return commands + ": nothing"
}

func when(passive bool) protocol.When {
	if passive {
		return protocol.Never
	}
	return protocol.AtOnce
}
