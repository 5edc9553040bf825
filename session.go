package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/deadline"
	"github.com/typedsessions/sessions/internal/response"
)

// session is one session in one request. It is the request's context as well:
// that saves an allocation, and nothing else can find it.
//
// mu lets one verb or commit run at a time; look guards what FromContext
// touches, which must not wait for a store. Events are kept until mu is free
// again, so that a hook may call any verb, and may panic.
type session struct {
	context.Context
	m       *core
	r       *http.Request    // as it came; nil outside HTTP, like the next two
	inner   *http.Request    // as the handler sees it
	w       *response.Writer // for its header; &writer
	writer  response.Writer
	loading deadline.Context
	lines   [2]string // for the header: one array instead of two
	skipped bool

	look  sync.Mutex
	live  any       // the handler's *T; nil until somebody looks
	fresh []byte    // live encoded at birth, where T is Defaulted
	used  bool      // somebody looked
	ends  time.Time // the latest deadline, not the request's, of a context in which somebody looked
	by    string    // the goroutine that did

	mu      sync.Mutex
	token   string
	key     string
	stored  bool   // the store holds rec under key, as far as is known
	raw     []byte // the stored bytes; rec is views into them
	rec     Record
	base    encoded   // T as loaded or last saved
	asOf    time.Time // when rec was in the store
	seen    time.Time // the last touch or write
	until   time.Time // when the store will forget it
	trail   []string  // keys of sessions behind its tokens that it could not use
	void    string    // the token of the session it destroyed
	renewed bool      // its token was, by another request, moments ago
	gone    bool
	told    error // what a verb that saves has returned last
	barred  error // why a sign-in or a renewal has failed
	left    bool  // the handler goes on without us; its T is its own
	auto    bool  // nobody has asked for this commit
	wrote   bool
	sent    bool // the header has gone out
	outcome OutcomeKind
	events  []Event
	began   time.Time
	op      string
}

// encoded is a T and the codec that wrote it.
type encoded struct {
	codec Codec
	data  []byte
}

func (s *session) adopt(raw []byte, rec Record, base encoded, left time.Duration) {
	s.raw, s.rec, s.base = raw, rec, base
	s.asOf = time.Now()
	s.seen, s.until = s.asOf, s.asOf.Add(left)
}

// changed encodes *T by the codec of what was loaded and tells whether that is
// another T. Bytes that differ prove nothing: msgpack leaves most maps
// unsorted, and another build may have written the record.
//
// look is held while it encodes: whoever looks for the first time meanwhile, a
// handler given up by TimeoutHandler say, gets *T when that is done.
func (s *session) changed() (mine encoded, changed bool, err error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	base, data, err := s.encode((*buf)[:0])
	if err != nil {
		return mine, false, err
	}
	if cap(data) <= maxScratch {
		*buf = data
	}
	if bytes.Equal(data, base.data) {
		return base, false, nil
	}
	codec := base.codec
	data = bytes.Clone(data)
	mine = encoded{codec, data}
	loaded := s.m.blank()
	if codec.Unmarshal(base.data, loaded) != nil {
		return mine, true, nil
	}
	if bytes.Equal(data, reencode(codec, loaded)) { // so a NaN, unlike itself, is no change
		return mine, false, nil
	}
	now := s.m.blank()
	same := codec.Unmarshal(data, now) == nil && reflect.DeepEqual(now, loaded)
	return mine, !same, nil
}

// encode appends *T to dst, by the codec of what it is compared with.
func (s *session) encode(dst []byte) (base encoded, data []byte, err error) {
	s.look.Lock()
	defer s.look.Unlock()
	if s.auto && s.outlived() {
		return base, nil, errLeft
	}
	if s.live == nil {
		s.birth()
	}
	if base = s.base; base.codec == nil {
		base = encoded{s.m.Codec, s.m.zero}
		if s.fresh != nil {
			base.data = s.fresh
		}
	}
	if data, err = appendMarshal(dst, base.codec, s.live); err != nil {
		return base, nil, fmt.Errorf("sessions: encoding %s: %w", s.m.name, err)
	}
	return base, data, nil
}

// scratch holds an encoding for the time of a comparison.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 64 << 10

// appendMarshal is Marshal into a buffer, where the codec can do that.
func appendMarshal(dst []byte, c Codec, v any) ([]byte, error) {
	if a, ok := c.(interface {
		AppendMarshal([]byte, any) ([]byte, error)
	}); ok {
		return a.AppendMarshal(dst, v)
	}
	return c.Marshal(v)
}

// payload is what to store in place of rec: T by Config.Codec, unless rec
// holds fields that T does not know. Those stay, and with them rec's codec.
func (s *session) payload(rec *Record, mine encoded) (encoded, error) {
	stored := s.m.codecOf(rec)
	foreign := s.m.foreign(stored, rec.Payload)
	target := s.m.Codec
	if len(foreign) > 0 {
		target = stored
	}
	if target.Name() != mine.codec.Name() {
		data, err := target.Marshal(s.live)
		if err != nil {
			return mine, fmt.Errorf("sessions: encoding %s: %w", s.m.name, err)
		}
		mine = encoded{target, data}
	}
	if len(foreign) == 0 {
		return mine, nil
	}
	codec := target.(FieldCodec)
	fields, err := codec.Split(mine.data)
	if err == nil {
		mine.data, err = codec.Join(append(fields, foreign...))
	}
	if err != nil {
		return mine, fmt.Errorf("sessions: keeping fields unknown to %s: %w", s.m.name, err)
	}
	return mine, nil
}

// commit is steps 6 and 7: it brings *T into the store if it has changed.
func (s *session) commit(ctx context.Context) error {
	rewrite := s.stored && s.m.Rewrite && !s.wrote
	initial := !s.stored && s.m.SaveUninitialized && !s.wrote
	if !s.looked() && !rewrite && !initial {
		return nil
	}
	mine, changed, err := s.changed()
	switch {
	case err != nil:
		return err
	case s.over() && changed:
		return s.end()
	case s.over() || !changed && !rewrite && !initial:
		return nil
	}
	if s.auto { // a verb has its time already
		var cancel context.CancelFunc
		ctx, cancel = s.detach(ctx)
		defer cancel()
	}
	if !s.stored {
		return s.create(ctx, mine, s.newRecord())
	}
	before := s.outcome
	err = s.write(ctx, mine, changed)
	if !changed { // Rewrite has nothing to lose and nothing to tell
		s.outcome = before
		if errors.Is(err, ErrGone) {
			err = nil
		}
	}
	return err
}

// truncate cuts v to n bytes, between characters.
func truncate(v string, n int) []byte {
	if len(v) > n {
		for n > 0 && !utf8.RuneStart(v[n]) {
			n--
		}
		v = v[:n]
	}
	return []byte(v)
}

func (s *session) newRecord() Record {
	return Record{ID: s.id(), Created: time.Now()}
}

// create stores a new session under a new token. The header must not have
// gone: nobody could ever come back to a session without its token.
func (s *session) create(ctx context.Context, mine encoded, rec Record) error {
	if s.sent {
		return ErrCommitted
	}
	rec.Codec, rec.Payload = []byte(mine.codec.Name()), mine.data
	token, key, raw, rec, err := s.mint(ctx, rec)
	if err != nil {
		return err
	}
	s.token, s.key, s.stored, s.wrote = token, key, true, true
	rec.ID = idOf(&rec, key)
	s.adopt(raw, rec, mine, s.ttl(&rec))
	s.outcome = OutcomeCreated
	s.event(EventCreated, nil)
	return nil
}

// mint stores rec under a token of its own.
func (s *session) mint(ctx context.Context, rec Record) (token, key string, raw []byte, sealed Record, err error) {
	m := s.m
	if m.Label != nil && s.r != nil {
		rec.Label = truncate(m.Label(s.r), maxLabel)
	}
	nonce := m.nonce()
	rec.Writes = pushWrite(rec.Writes, nonce)
	for range 3 {
		drawn, err := m.NewToken()
		if err != nil {
			return "", "", nil, rec, fmt.Errorf("sessions: Config.NewToken: %w", err)
		}
		token = m.Layout.Mint(drawn, rec.Remembered)
		if _, _, ok := m.Layout.Parse(token); !ok {
			return "", "", nil, rec, errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn")
		}
		key = m.Layout.Key(m.Realm, token)
		if raw, sealed, err = m.seal(rec); err != nil {
			return "", "", nil, rec, err
		}
		err = s.check(m.store.Create(ctx, key, raw, s.ttl(&sealed)))
		if errors.Is(err, ErrExists) {
			// Either the reply to our own first attempt was lost, or
			// NewToken repeats itself.
			there, _, err := m.store.Load(ctx, key, 0)
			if err = s.check(err); err != nil && !errors.Is(err, ErrNotFound) || bytes.HasPrefix(there, raw[:sealed.Prefix]) {
				return token, key, raw, sealed, err
			}
			continue
		}
		return token, key, raw, sealed, err
	}
	return "", "", nil, rec, fmt.Errorf("sessions: Config.NewToken: %w: it draws the same token again and again", ErrExists)
}

// write replaces the stored record. Where another write has come in between,
// the later one stands; where the session has ended, it stays ended.
func (s *session) write(ctx context.Context, mine encoded, changed bool) error {
	nonce := s.m.nonce()
	for {
		next := s.rec
		next.Writes = pushWrite(next.Writes, nonce)
		payload, err := s.payload(&s.rec, mine)
		if err != nil {
			return err
		}
		next.Codec, next.Payload = []byte(payload.codec.Name()), payload.data
		raw, next, err := s.m.seal(next)
		if err != nil {
			return err
		}
		ttl := s.ttl(&next)
		if ttl <= 0 {
			s.event(EventExpired, nil)
			_, err := s.m.store.CompareAndSwap(ctx, s.key, s.raw[:s.rec.Prefix], nil, 0)
			_ = s.check(err) // its expiry in the store is near anyway
			return s.end()
		}
		current, err := s.m.store.CompareAndSwap(ctx, s.key, s.raw[:s.rec.Prefix], raw, ttl)
		switch err = s.check(err); {
		case err == nil:
			s.adopt(raw, next, payload, ttl)
			s.saved()
			return nil
		case errors.Is(err, ErrNotFound):
			return s.end()
		case !errors.Is(err, ErrConflict):
			return err
		}
		rec, _, err := s.m.read(current)
		switch {
		case err != nil:
			return err
		case rec.Successor != nil:
			return s.end()
		}
		s.raw, s.rec = current, rec
		if wrote(&rec, nonce) || bytes.Equal(current, raw) { // the reply to our own write was lost
			s.base = payload
			s.saved()
			return nil
		}
		if !changed { // theirs stands: Rewrite has nothing to put in its place
			s.wrote = true
			return nil
		}
		s.event(EventConflict, nil)
		if ctx.Err() != nil {
			return ErrConflict
		}
	}
}

func (s *session) saved() {
	s.wrote = true
	if s.outcome == OutcomeUnchanged {
		s.outcome = OutcomeChanged
	}
	s.event(EventSaved, nil)
}

// end notes that the session has ended elsewhere.
func (s *session) end() error {
	if !s.gone {
		s.gone = true
		s.event(EventGone, ErrGone)
	}
	return ErrGone
}

// over says that the session has ended elsewhere. So it has for a token that
// was renewed while the request was on its way: a session created now would
// send a cookie that replaces the renewed one in the browser. Only a sign-in
// may do that.
func (s *session) over() bool { return s.gone || s.renewed && !s.stored }

func (s *session) ttl(r *Record) time.Duration {
	return s.m.timeout[class(r.Remembered)].ttl(r, time.Now())
}

func (s *session) id() []byte {
	if len(s.rec.ID) == 0 {
		s.rec.ID = []byte(uuid.NewString())
	}
	return s.rec.ID
}

func class(remembered bool) int {
	if remembered {
		return 1
	}
	return 0
}

// lock begins a verb or a commit.
func (s *session) lock(op string) {
	s.mu.Lock()
	s.op, s.began = op, time.Now()
}

// release ends it and tells what happened.
func (s *session) release() {
	events := s.events
	s.events = nil
	s.mu.Unlock()
	for _, e := range events {
		s.m.tell(s, e)
	}
}

// nonce names a write: the process and a number of its own.
func (m *core) nonce() []byte {
	b := append(make([]byte, 0, 24), m.writer...)
	return strconv.AppendUint(append(b, '.'), m.writes.Add(1), 36)
}

// pushWrite puts a process's newest write first and drops its former one.
func pushWrite(writes [8][]byte, nonce []byte) [8][]byte {
	next := [8][]byte{nonce}
	writer := nonce[:bytes.IndexByte(nonce, '.')+1]
	n := 1
	for _, w := range writes {
		if n < len(next) && len(w) > 0 && !bytes.HasPrefix(w, writer) {
			next[n] = w
			n++
		}
	}
	return next
}

func wrote(r *Record, nonce []byte) bool {
	return slices.ContainsFunc(r.Writes[:], func(w []byte) bool { return bytes.Equal(w, nonce) })
}
