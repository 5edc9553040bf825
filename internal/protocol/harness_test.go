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

// epoch is when the clock of a bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A layout is a test's Layout: a token is a name, followed by "+r" if the session is remembered, and the
// key is the same. Its records are the library's own, or have neither names of writes nor marks.
type layout struct {
	foreign   bool
	classless bool // the class is not known from the token
	seal      func(r record.Record) error
	open      func(stored []byte) error
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
	created, _ := strconv.ParseInt(string(parts[0]), 10, 64)
	r.Idle, _ = time.ParseDuration(string(parts[1]))
	r.Created, r.Remembered, r.Payload, r.Prefix = time.UnixMilli(created), string(parts[2]) == "true", parts[3], len(stored)
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

// A world is a store, this process and what others do.
type world struct {
	t *testing.T
	*script
	engine *protocol.Engine
	app    *application
	draws  []string // what NewToken draws
	ctx    context.Context

	processes map[string]*protocol.Engine // other ones
	readOnly  bool                        // the store cannot touch
}

// inWorld runs f in a bubble, with what is stored.
func inWorld(t *testing.T, name string, l layout, stored map[string]rec, f func(w *world)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newWorld(t, l, stored)) })
	})
}

func newWorld(t *testing.T, l layout, stored map[string]rec) *world {
	w := &world{t: t, app: &application{}, ctx: t.Context(), draws: []string{"new", "newer", "newest"}, processes: map[string]*protocol.Engine{}}
	w.script = &script{memory: &memory{layout: l, entries: map[string]entry{}}, w: w, idle: idle, times: map[string]int{}}
	for key, r := range stored {
		w.put(key, r)
	}
	w.engine = protocol.New(w.config("me", w.script, func() (string, error) {
		if len(w.draws) == 0 {
			return "", errors.New("no token left")
		}
		drawn := w.draws[0]
		w.draws = w.draws[1:]
		return drawn, nil
	}))
	return w
}

func (w *world) config(process string, store protocol.Store, draw func() (string, error)) protocol.Config {
	return protocol.Config{
		Store: store, Timeout: timeout, Layout: w.layout, NewToken: draw, Process: process,
		Plain: record.Timeouts{Idle: idle, Lifetime: lifetime}, Remember: record.Timeouts{Idle: 240 * time.Hour},
		Version: 1, MaxSize: maxSize,
		Unreadable: func(_ []byte, part string, err error) error { return &unreadable{part, err} },
	}
}

func (w *world) put(key string, r rec) {
	w.entries[key] = entry{r.sealed(w.layout), time.Now().Add(idle)}
}

func (w *world) session() *protocol.Session {
	s := &protocol.Session{}
	s.Init(w.engine, w.app)
	return s
}

// loaded is a session that a request has loaded, before the row begins.
func (w *world) loaded() *protocol.Session {
	w.t.Helper()
	happens := w.events
	w.events = nil
	s := w.session()
	if err := s.Load(w.ctx, []string{"old"}, false); err != nil || !s.Stored() {
		w.t.Fatalf("Load: %v, stored %t", err, s.Stored())
	}
	w.take()
	w.app.take()
	w.events = happens
	return s
}

// end checks that everything has happened that a row wanted to happen.
func (w *world) end() {
	w.t.Helper()
	for command := range w.events {
		if !strings.HasSuffix(command, " *") {
			w.t.Errorf("%q was never sent", command)
		}
	}
}

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// An act is what another process does, or the time.
type act func(w *world)

func (w *world) others(acts []act) {
	for _, a := range acts {
		a(w)
	}
}

// elsewhere runs a request of another process with the token old.
func (w *world) elsewhere(process, token string, do func(s *protocol.Session) error) {
	w.t.Helper()
	e := w.processes[process]
	if e == nil {
		e = protocol.New(w.config(process, w.memory, func() (string, error) { return process, nil }))
		w.processes[process] = e
	}
	s := &protocol.Session{}
	s.Init(e, &application{})
	if err := s.Load(context.Background(), []string{token}, true); err != nil {
		w.t.Fatalf("%s loads: %v", process, err)
	}
	if err := do(s); err != nil {
		w.t.Fatalf("%s: %v", process, err)
	}
}

func (w *world) elsewhereWrites(process, token string, c compose) {
	w.t.Helper()
	w.elsewhere(process, token, func(s *protocol.Session) error {
		_, err := s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{c}}})
		return err
	})
}

// saves: another process appends a letter.
func saves(letter string) act {
	return func(w *world) { w.elsewhereWrites("them", "old", edit(letter)) }
}

// savesBy: so many processes append a letter, one after another, n times in all.
func savesBy(processes, n int, letter string) act {
	return func(w *world) {
		for i := range n {
			w.elsewhereWrites(fmt.Sprint("p", i%processes), "old", edit(letter))
		}
	}
}

// renews: another process renews the session; the new token is its name.
func renews(token, process string) act {
	return func(w *world) { w.elsewhereWrites(process, token, renew("")) }
}

// ends: another process destroys the session.
func ends(w *world) {
	w.elsewhere("them", "old", func(s *protocol.Session) error {
		_, err := s.Destroy(context.Background())
		return err
	})
}

// puts: something is there now.
func puts(key string, r rec) act { return func(w *world) { w.put(key, r) } }

// expires: the store has forgotten a key.
func expires(key string) act { return func(w *world) { delete(w.entries, key) } }

// passes: time goes by.
func passes(d time.Duration) act { return func(*world) { time.Sleep(d) } }

// destroy is what a Destroy sends, and its result: had, nothing or the error.
func (w *world) destroy(s *protocol.Session) string {
	had, err := s.Destroy(w.ctx)
	commands := w.take()
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
