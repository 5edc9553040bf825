package sessions

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/goroutine"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
	"github.com/typedsessions/sessions/internal/tally"
)

// core is what a Manager is except for T: everything behind it works on values as any, so that its machine code
// exists once, whatever the number of T's.
type core struct {
	Config  // with the defaults applied
	typ     typeInfo
	docType document.Type
	engine  *protocol.Engine

	zero   document.Document // the base while nothing is stored: a fresh T; for a Defaulted T, live.fresh replaces its Data
	lines  tally.Tally       // of the log
	warned atomic.Bool       // whether the warning about a Secure cookie on plain HTTP was logged

	goroutines goroutine.Census
}

// newCore applies the defaults and reports every mistake of cfg and T at once.
func newCore(store Store, cfg Config, typ typeInfo) (*core, error) {
	m := &core{Config: cfg, typ: typ}
	errs := []error{m.setDefaults()}
	plain, remember, err := m.timeouts()
	errs = append(errs, err, checkSeams(store, &m.Config), m.OnConflict.validate(), checkTokens(&m.Config, plain, remember))

	codecs := []Codec{m.Codec, JSON{}, MsgPack{}}
	shape, err := checkType(&m.Config, &typ, codecs)
	if errs = append(errs, err); err != nil {
		return nil, errors.Join(errs...)
	}
	m.engine = protocol.New(protocol.Config{
		Store: store, Timeout: time.Second, Layout: layoutAdapter{m.Layout}, Realm: m.Realm, NewToken: m.NewToken,
		Plain: plain, Remember: remember, Version: shape.version, MaxSize: m.MaxSize, Unreadable: unreadable,
		Process: rand.Text()[:12],
	})
	if s, ok := store.(Timed); ok && !isNil(store) && s.Timeout() > 0 {
		m.engine.Timeout = s.Timeout()
	}
	if l, ok := m.Layout.(Identifier); ok {
		m.engine.IDOf = l.ID
	}
	m.docType = document.Type{
		Name: typ.reflected.String(), New: typ.new, Version: shape.version,
		Defaults: typ.defaults, Owner: typ.owner, Merge: typ.merge, Upgrade: typ.upgrade, Process: m.engine.Process,
	}
	for i, c := range codecs {
		m.docType.Codecs = append(m.docType.Codecs, withOptional(c, shape.fields[i]))
		if typ.defaults != nil {
			m.docType.Codecs[i].NoteUnwritten(typ.fresh())
		}
	}
	errs = append(errs, m.checkRecord(shape.fresh))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.zero = document.Document{Codec: m.docType.Codecs[0], Data: shape.fresh, OwnEncoding: true}
	return m, nil
}

// checkRecord refuses a Layout and a MaxSize that do not take a fresh T.
func (m *core) checkRecord(fresh []byte) error {
	rec := record.Record{
		ID: []byte(uuid.Nil.String()), Writes: [8][]byte{[]byte("x.x")}, Created: time.Now(), Attrs: transportAttrs(m.Transport, nil, false),
	}
	m.docType.PutInto(&rec, document.Document{Codec: m.docType.Codecs[0], Data: fresh})
	_, sealed, err := m.engine.Seal(rec)
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("sessions: Config.MaxSize: %d bytes are too few even for a fresh %s: raise it", m.MaxSize, m.docType.Name)
	case err != nil:
		return err
	case sealed.Version != m.docType.Version:
		return m.typ.bad("it is Versioned, and the Layout keeps no version, so that every load would upgrade it again: keep a version in T")
	case sealed.Created.IsZero() && m.engine.Plain.Lifetime > 0:
		return errors.New("sessions: Config.Lifetime: the Layout keeps no creation time, so every session would be past it: set it to -1")
	}
	return nil
}

// layoutAdapter is a Layout for package protocol, which uses the Record of package record: it has the same
// fields.
type layoutAdapter struct{ Layout }

func (l layoutAdapter) Open(stored []byte) (record.Record, error) {
	r, err := l.Layout.Open(stored)
	return record.Record(r), err
}

func (l layoutAdapter) Seal(r record.Record) ([]byte, error) { return l.Layout.Seal(Record(r)) }
