package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/goroutine"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
	"github.com/typedsessions/sessions/internal/shape"
	"github.com/typedsessions/sessions/internal/tally"
)

// core is what a Manager is except for T: everything behind it works on values as any, so that its machine code
// exists once, whatever the number of T's.
type core struct {
	Config  // with the defaults applied
	typ     typeInfo
	docType document.Type
	engine  *protocol.Engine

	zero     document.Document // the base while nothing is stored: a fresh T; for a Defaulted T, live.fresh replaces its Data
	freshTTL time.Duration     // how long a session lasts that is stored now and not used again
	keeps    keeps             // what the Layout keeps of an authentication
	unlisted error             // why users' sessions cannot be listed, nil if they can
	lines    tally.Tally       // of the log
	warned   atomic.Bool       // whether the warning about a Secure cookie on plain HTTP was logged

	goroutines goroutine.Census
}

// newCore applies the defaults and reports every mistake of cfg and T at once.
func newCore(store Store, cfg Config, typ typeInfo) (*core, error) {
	m := &core{Config: cfg, typ: typ}
	errs := []error{m.setDefaults()}
	plain, remember, err := m.timeouts()
	errs = append(errs, err, checkSeams(store, &m.Config), m.OnConflict.validate(), m.OnUndecodable.validate(),
		checkTokens(&m.Config, plain, remember))

	codecs := []Codec{m.Codec, JSON{}, MsgPack{}}
	found, err := checkType(&m.Config, &typ, codecs)
	if errs = append(errs, err); err != nil {
		return nil, errors.Join(errs...)
	}
	engine := protocol.Config{
		Store: store, Timeout: time.Second, Layout: layoutAdapter{m.Layout}, Realm: m.Realm, NewToken: m.NewToken,
		Plain: plain, Remember: remember, Version: found.version, MaxSize: m.MaxSize, Unreadable: unreadable,
		OnUnreadable:  protocol.UnreadablePolicy(m.OnUndecodable),
		Process:       rand.Text()[:12],
		WatchInterval: m.WatchInterval, OwnerOf: m.ownerOf,
	}
	if s, ok := store.(Timed); ok && !isNil(store) && s.Timeout() > 0 {
		engine.Timeout = s.Timeout()
	}
	if l, ok := m.Layout.(Identifier); ok {
		engine.IDOf = l.ID
	}
	errs = append(errs, m.setOwners(store, &engine))
	m.engine = protocol.New(engine)
	m.docType = document.Type{
		Name: typ.reflected.String(), New: typ.new, Version: found.version,
		Defaults: typ.defaults, Owner: typ.owner, Merge: typ.merge, Upgrade: typ.upgrade, Process: m.engine.Process,
	}
	for i, c := range codecs {
		d := withOptional(c, found.fields[i])
		switch c.(type) {
		case JSON, MsgPack: // and not what only has the name of one
			d.Snapshot = shape.SnapshotOf(typ.reflected, c.Name())
		}
		m.docType.Codecs = append(m.docType.Codecs, d)
		if typ.defaults != nil {
			m.docType.Codecs[i].NoteUnwritten(typ.fresh())
		}
	}
	errs = append(errs, m.checkRecord(found.fresh))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.zero = document.Document{Codec: m.docType.Codecs[0], Data: found.fresh, OwnEncoding: true}
	return m, nil
}

// ownerOf is the owner of the T in a record. If that cannot be read, it is whom the header names.
func (m *core) ownerOf(rec record.Record) string {
	if m.typ.owner == nil {
		return ""
	}
	if _, d, err := m.docType.Decode(rec, document.Document{}); err == nil {
		return d.Owner
	}
	return string(rec.Owner)
}

// setOwners has the engine keep an index of each user's sessions where all parts can, and sets unlisted where not.
func (m *core) setOwners(store Store, engine *protocol.Config) error {
	owners, isOwnerStore := store.(OwnerStore)
	layout, isOwnerLayout := m.Layout.(OwnerLayout)
	_, identifies := m.Layout.(Identifier)
	switch {
	case m.typ.owner == nil:
		m.unlisted = m.typ.bad("it does not say whose session it is: give *%s a method SessionOwner() string (%w)", m.typ.reflected.Name(), errors.ErrUnsupported)
	case !isOwnerStore || isNil(store):
		m.unlisted = fmt.Errorf("sessions: the store, a %T, is no OwnerStore, so it keeps no index of a user's sessions: use RedisStore, or implement OwnerStore (%w)", store, errors.ErrUnsupported)
	case !isOwnerLayout || identifies:
		m.unlisted = fmt.Errorf("sessions: the Layout, a %T, is no OwnerLayout without IDs of its own, so a user's sessions have no place beside each other: use DefaultLayout, or embed it (%w)", m.Layout, errors.ErrUnsupported)
	default:
		engine.Owners, engine.Place = ownerStoreAdapter{owners}, layout.Place
		if engine.Timeout > maxOwnerTimeout {
			return fmt.Errorf("sessions: the store's Timeout is %v, and T is Owned: %v at most, because what a change of owner needs lives for ten seconds", engine.Timeout, maxOwnerTimeout)
		}
	}
	switch {
	case m.MaxPerOwner < 0:
		return fmt.Errorf("sessions: Config.MaxPerOwner: %d is negative: leave it zero for any number", m.MaxPerOwner)
	case m.MaxPerOwner >= protocol.MaxChunk:
		return fmt.Errorf("sessions: Config.MaxPerOwner: %d is too many for one step of a store: less than %d, or zero for any number", m.MaxPerOwner, protocol.MaxChunk)
	case m.OnOwnerLimit < EvictOldest || m.OnOwnerLimit > Reject:
		return errors.New("sessions: Config.OnOwnerLimit: it is neither EvictOldest nor Reject")
	case m.MaxPerOwner > 0 && m.unlisted != nil:
		return fmt.Errorf("sessions: Config.MaxPerOwner: it needs a list of each user's sessions: %s", strings.TrimPrefix(m.unlisted.Error(), "sessions: "))
	}
	engine.MaxPerOwner, engine.RejectAtLimit = m.MaxPerOwner, m.OnOwnerLimit == Reject
	return nil
}

// maxOwnerTimeout leaves time for a change of owner: a copy and a mark live for ten seconds.
const maxOwnerTimeout = 4 * time.Second

// ownerStoreAdapter is an OwnerStore for package protocol, which uses the structs of package record: they have the same
// fields.
type ownerStoreAdapter struct{ OwnerStore }

func (s ownerStoreAdapter) Place(ctx context.Context, p record.Placement) (record.Placed, error) {
	placed, err := s.OwnerStore.Place(ctx, Placement(p))
	return record.Placed(placed), err
}

// keeps tells what of an authentication a record holds, and Info shows.
type keeps struct{ time, method bool }

// checkRecord refuses a Layout and a MaxSize that do not take a fresh T, and sets freshTTL and keeps.
func (m *core) checkRecord(fresh []byte) error {
	now := time.Now()
	rec := record.Record{
		ID: []byte(uuid.Nil.String()), Writes: [8][]byte{[]byte("x.x")}, Created: now, Authenticated: now, Method: []byte("x"),
		Attrs: transportAttrs(transportFor(m.Transport, 0), nil, false),
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
	m.keeps.time = !sealed.Created.IsZero() && !sealed.Authenticated.IsZero()
	m.keeps.method = m.keeps.time && len(sealed.Method) > 0
	m.freshTTL = m.engine.Plain.TTL(&record.Record{Created: now, Idle: sealed.Idle}, now)
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
