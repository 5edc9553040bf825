package protocol_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// An owned is a fixture whose store keeps indexes, by the library's own Layout. A session has a name, which is what was
// drawn for its token; so has its key in commands:
//
//	place new +new            store it and list it; "with 3", if it is given so many of those that are listed
//	place old> new -old +new  replace a record by a mark, store another one, and swap the entry
//	place old> -old           replace a record by a mark and take its entry off
//	place new= +new           make a copy the session, and list it
//	place !old -old           delete a record with its entry
//	place with 3              take off those that have ended
type owned struct {
	*fixture
	store *ownedStore
	ids   map[string]string // names, by ID
}

type ownedStore struct {
	*script
	inner *sessions.MemoryStore
	names map[string]string // by key; of an index, the owner's
	keys  []string          // all that have been stored, in this order
	mute  bool              // it does not say how long it keeps what is there
	lost  int               // indexes: one that was lost is looked for under another key
}

// A namedLayout is the library's, with keys that have names.
type namedLayout struct {
	sessions.DefaultLayout
	names map[string]string
}

func (l namedLayout) Key(realm, token string) string {
	key := l.DefaultLayout.Key(realm, token)
	l.names[key] = strings.TrimRight(token[5:], "-")
	return key
}

func (l namedLayout) Open(stored []byte) (record.Record, error) { return record.Open(stored) }

func (l namedLayout) Seal(r record.Record) ([]byte, error) { return record.Seal(r), nil }

// drawn is what NewToken has drawn for a session of this name.
func drawn(name string) string { return name + strings.Repeat("-", 26-len(name)) }

// ownedRow runs f in a bubble on an empty store.
func ownedRow(t *testing.T, name string, limit int, reject bool, f func(fx *owned)) {
	inBubble(t, name, layout{}, nil, func(fx *fixture) {
		o := &owned{fixture: fx, ids: map[string]string{}}
		o.store = &ownedStore{script: fx.script, inner: &sessions.MemoryStore{}, names: map[string]string{}}
		o.engine = o.process("me", func() (string, error) {
			if len(fx.draws) == 0 {
				return "", errors.New("no token left")
			}
			name := fx.draws[0]
			fx.draws = fx.draws[1:]
			return drawn(name), nil
		}, limit, reject)
		f(o)
		fx.end()
	})
}

func (o *owned) process(name string, draw func() (string, error), limit int, reject bool) *protocol.Engine {
	cfg := o.config(name, o.store, draw)
	l := namedLayout{names: o.store.names}
	cfg.Layout, cfg.Owners, cfg.Place, cfg.MaxPerOwner, cfg.RejectAtLimit = l, o.store, l.Place, limit, reject
	return protocol.New(cfg)
}

// header is the record of a session of that name that begins now.
func (o *owned) header(name, owner string) record.Record {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(o.ids))
	o.ids[id] = name
	return record.Record{ID: []byte(id), Owner: []byte(owner), Created: time.Now(), Payload: []byte("a"), Writes: [8][]byte{[]byte("seed.1")}}
}

// tokenOf is the token of that name, beside the owner's sessions.
func (o *owned) tokenOf(name, owner string) string {
	tag := "none"
	if owner != "" {
		tag = record.Tag(o.index(owner))
	}
	return sessions.DefaultLayout{}.Place(drawn(name), tag, false)
}

// keyOf is its key.
func (o *owned) keyOf(name, owner string) string {
	return namedLayout{names: o.store.names}.Key("", o.tokenOf(name, owner))
}

// index is where the index of an owner is, as the documentation of the stored format has it.
func (o *owned) index(owner string) string {
	sum := sha256.Sum256([]byte("\x00owner\x00" + owner))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	key := "{" + hash[:4] + "}o" + hash
	o.store.names[key] = owner + "'s"
	return key
}

// seed stores sessions of an owner, each a millisecond after the one before.
func (o *owned) seed(owner string, names ...string) {
	o.t.Helper()
	for _, name := range names {
		key, rec := o.keyOf(name, owner), o.header(name, owner)
		p := sessions.Placement{New: key, NewData: record.Seal(rec), NewTTL: idle}
		if p.Index = o.store.at(o.index(owner)); owner != "" {
			p.IndexTTL, p.Add, p.Created = idle, record.Member(rec.ID, key), rec.Created
		}
		if _, err := o.store.inner.Place(context.Background(), p); err != nil {
			o.t.Fatal(err)
		}
		o.store.stored(key)
		time.Sleep(time.Millisecond)
	}
}

// loaded is a session of that name that a request has loaded, before the row begins.
func (o *owned) loaded(name, owner string) *protocol.Session {
	o.t.Helper()
	happens := o.events
	o.events = nil
	s := o.session()
	if err := s.Load(o.ctx, []string{o.tokenOf(name, owner)}, protocol.AtOnce); err != nil || !s.Stored() {
		o.t.Fatalf("Load: %v, stored %t", err, s.Stored())
	}
	o.take()
	o.app.take()
	o.events = happens
	return s
}

// recordOf is the record of a session of ann's.
func (o *owned) recordOf(name string) record.Record {
	o.t.Helper()
	data, _, err := o.store.inner.Load(o.ctx, o.keyOf(name, "ann"), 0)
	rec, openErr := record.Open(data)
	if err != nil || openErr != nil {
		o.t.Fatal(err, openErr)
	}
	return rec
}

// overwrite stores other bytes in its place.
func (o *owned) overwrite(name string, data []byte) {
	o.t.Helper()
	if _, err := o.store.inner.CompareAndSwap(o.ctx, o.keyOf(name, "ann"), nil, data, idle); err != nil {
		o.t.Fatal(err)
	}
}

// begin makes it a session that has begun then.
func (o *owned) begin(name string, created time.Time) {
	o.t.Helper()
	rec := o.recordOf(name)
	rec.Created = created
	o.overwrite(name, record.Seal(rec))
}

// loadedBefore is a session of ann's that this process has not seen listed.
func (o *owned) loadedBefore(name string) *protocol.Session {
	o.t.Helper()
	me := o.engine
	o.engine = o.process("me", nil, 0, false)
	s := o.loaded(name, "ann")
	o.engine = me
	s.Init(me, o.app)
	return s
}

// aside does something without events and commands.
func (o *owned) aside(do func()) {
	o.script.mu.Lock()
	happens, log, times := o.events, o.log, o.times
	o.events, o.log, o.times = nil, nil, map[string]int{}
	o.script.mu.Unlock()
	do()
	o.script.mu.Lock()
	o.events, o.log, o.times = happens, log, times
	o.script.mu.Unlock()
}

// notices are those since the last call, with names for IDs.
func (o *owned) notices() string {
	var pairs []string
	for id, name := range o.ids {
		pairs = append(pairs, id, name)
	}
	return strings.NewReplacer(pairs...).Replace(o.app.take())
}

// String says what is stored, as a memory does: "a=ab", and "a>b" for a mark; "a=ab for 10s" if that is less than an idle
// timeout.
func (s *ownedStore) String() string {
	var words []string
	for _, key := range s.keys {
		data, left, err := s.inner.Load(context.Background(), key, 0)
		if err != nil {
			continue
		}
		word := s.names[key]
		if r, err := record.Open(data); err != nil {
			word += fmt.Sprintf("=%q", data)
		} else if r.IsMark() {
			word += ">" + s.names[string(r.Successor)]
		} else if word += "=" + string(r.Payload); left <= 10*time.Second {
			word += " for 10s"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// listed are the names of those on the index of an owner, those that have ended in brackets.
func (o *owned) listed(owner string) string {
	var words []string
	members, _ := o.store.inner.Members(context.Background(), o.store.at(o.index(owner)))
	for _, m := range members {
		_, key, _ := record.ReadMember(m, record.Tag(o.index(owner)))
		word := o.store.names[key]
		if _, _, err := o.store.inner.Load(context.Background(), key, 0); err != nil {
			word = "(" + word + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// wantLeft compares what is stored, and what is listed of ann's.
func (o *owned) wantLeft(stored, listed string) {
	o.t.Helper()
	o.want("stored", o.store.String(), stored)
	o.want("listed", o.listed("ann"), listed)
}

func (s *ownedStore) at(index string) string {
	if index == "" || s.lost == 0 {
		return index
	}
	return fmt.Sprint(index, "#", s.lost)
}

func (s *ownedStore) name(key string) string { return cmp.Or(s.names[key], key) }

// stored notes that a key was.
func (s *ownedStore) stored(key string) {
	if key != "" && !slices.Contains(s.keys, key) {
		s.keys = append(s.keys, key)
	}
}

func (s *ownedStore) member(m, index string) string {
	_, key, _ := record.ReadMember(m, record.Tag(index))
	return s.name(key)
}

func (s *ownedStore) command(p record.Placement) string {
	words := []string{"place"}
	switch r, err := record.Open(p.OldData); {
	case p.Old == "":
	case p.OldData == nil:
		words = append(words, "!"+s.name(p.Old))
	case err == nil && r.IsMark():
		words = append(words, s.name(p.Old)+">")
	default:
		words = append(words, s.name(p.Old)+"=")
	}
	if p.New != "" {
		words = append(words, s.name(p.New))
	}
	if p.Remove != "" {
		words = append(words, "-"+s.member(p.Remove, p.Index))
	}
	if p.Add != "" {
		words = append(words, "+"+s.member(p.Add, p.Index))
	}
	if len(p.Members) > 0 {
		words = append(words, fmt.Sprint("with ", len(p.Members)))
	}
	return strings.Join(words, " ")
}

func (s *ownedStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = s.run(ctx, "load "+s.name(key), func() (err error) {
		data, left, err = s.inner.Load(ctx, key, touch)
		return err
	})
	if s.mute {
		left = 0
	}
	return data, left, err
}

func (s *ownedStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.run(ctx, "create "+s.name(key), func() error {
		s.stored(key)
		return s.inner.Create(ctx, key, data, ttl)
	})
}

func (s *ownedStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	command := "swap " + s.name(key)
	if r, err := record.Open(data); data == nil {
		command = "delete " + s.name(key)
	} else if err == nil && r.IsMark() {
		command = "mark " + s.name(key)
	}
	err = s.run(ctx, command, func() (err error) {
		current, err = s.inner.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (s *ownedStore) Delete(ctx context.Context, key string) error {
	return s.run(ctx, "drop "+s.name(key), func() error { return s.inner.Delete(ctx, key) })
}

func (s *ownedStore) LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error) {
	err = s.run(ctx, fmt.Sprint("load ", len(keys)), func() (err error) {
		data, left, err = s.inner.LoadMany(ctx, keys, first)
		return err
	})
	if s.mute {
		clear(left)
	}
	return data, left, err
}

func (s *ownedStore) Members(ctx context.Context, index string) (members []string, err error) {
	err = s.run(ctx, "members", func() (err error) {
		members, err = s.inner.Members(ctx, s.at(index))
		return err
	})
	return members, err
}

func (s *ownedStore) Place(ctx context.Context, p record.Placement) (placed record.Placed, err error) {
	err = s.run(ctx, s.command(p), func() error {
		s.stored(p.New)
		at := sessions.Placement(p)
		at.Index = s.at(p.Index)
		got, err := s.inner.Place(ctx, at)
		placed = record.Placed(got)
		return err
	})
	return placed, err
}

func (s *ownedStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return s.run(ctx, "relist "+s.name(key), func() error {
		return s.inner.Relist(ctx, s.at(index), key, prefix, member, created, ttl)
	})
}

func (s *ownedStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return s.run(ctx, "revoke", func() error { return s.inner.Revoke(ctx, s.at(index), at, ttl) })
}

func (s *ownedStore) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	err = s.run(ctx, fmt.Sprint("end ", len(members)), func() (err error) {
		ended, err = s.inner.End(ctx, s.at(index), members, keys)
		return err
	})
	return ended, err
}
