package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
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

	inside atomic.Pointer[string] // the goroutine that is in the function of an Update

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
	base    encoded      // T as loaded or last saved
	doubt   []unanswered // the saves since then that were not answered
	asOf    time.Time    // when rec was in the store
	seen    time.Time    // the last touch or write
	until   time.Time    // when the store will forget it
	trail   []string     // keys of sessions behind its tokens that it could not use
	since   time.Time    // when the first of them was known to be there
	void    string       // the token of the session it destroyed
	renewed bool         // its token was, by another request, moments ago
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

// encoded is a T, the codec that wrote it, and whose it is.
type encoded struct {
	codec Codec
	data  []byte
	owner string // what SessionOwner says, where T is Owned
	own   bool   // written by this process, and nothing else in it
}

// adopt makes a record that is in the store the one that the session goes by.
func (s *session) adopt(at *stored, left time.Duration) {
	s.raw, s.rec, s.base = at.raw, at.rec, at.base
	s.rec.ID = s.m.idOf(&s.rec, s.key)
	s.doubt = nil
	s.asOf = time.Now()
	s.seen, s.until = s.asOf, s.asOf.Add(left)
}

// changed encodes *T by the codec of what was loaded and tells whether that is
// another T.
//
// look is held while it encodes: whoever looks for the first time meanwhile, a
// handler given up by TimeoutHandler say, gets *T when that is done.
func (s *session) changed() (mine encoded, changed bool, err error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	base, mine, err := s.encode((*buf)[:0])
	if err != nil {
		return mine, false, err
	}
	if cap(mine.data) <= maxScratch {
		*buf = mine.data
	}
	if len(s.doubt) == 0 && bytes.Equal(mine.data, base.data) {
		return base, false, nil
	}
	mine.data = bytes.Clone(mine.data)
	return mine, len(s.doubt) > 0 || s.m.differ(base, mine), nil
}

// encode appends *T to dst, by the codec of what it is compared with.
func (s *session) encode(dst []byte) (base, mine encoded, err error) {
	s.look.Lock()
	defer s.look.Unlock()
	if s.auto && s.outlived() {
		return base, mine, errLeft
	}
	if s.live == nil {
		s.birth()
	}
	if base = s.base; base.codec == nil {
		base = encoded{codec: s.m.Codec, data: s.m.zero, own: true}
		if s.fresh != nil {
			base.data = s.fresh
		}
	}
	mine, err = s.m.encodeBy(base.codec, dst, s.live)
	return base, mine, err
}

// encodeBy appends v, a *T, to dst.
func (m *core) encodeBy(codec Codec, dst []byte, v any) (encoded, error) {
	data, err := appendMarshal(dst, codec, v)
	if err != nil {
		return encoded{}, fmt.Errorf("sessions: encoding %s: %w", m.name, err)
	}
	return encoded{codec, data, m.owner(v), true}, nil
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
	case !s.stored:
		return s.create(ctx, mine, s.newRecord())
	}
	if err = s.write(ctx, &change{mine: mine, changed: changed}); !changed && errors.Is(err, ErrGone) {
		err = nil // Rewrite has nothing to lose
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
// gone: nobody could ever come back to a session without its token. Whoever is
// somebody's from the start has just signed in.
func (s *session) create(ctx context.Context, mine encoded, rec Record) error {
	if s.sent {
		return ErrCommitted
	}
	ctx, cancel := s.detach(ctx)
	defer cancel()
	signedIn := mine.owner != "" || !rec.Authenticated.IsZero()
	if signedIn {
		rec.Authenticated = rec.Created
	}
	payload, err := s.m.payload(&Record{}, mine)
	if err != nil {
		return err
	}
	s.m.fill(&rec, payload)
	token, key, at, err := s.mint(ctx, rec)
	if err != nil {
		return err
	}
	at.base = payload
	s.token, s.key, s.stored, s.wrote = token, key, true, true
	s.adopt(&at, s.ttl(&at.rec))
	s.outcome = OutcomeCreated
	s.event(EventCreated, nil)
	if signedIn {
		s.event(EventSignedIn, nil)
	}
	return nil
}

// fill puts a T into a record.
func (m *core) fill(rec *Record, payload encoded) {
	rec.Codec, rec.Payload, rec.Version = []byte(payload.codec.Name()), payload.data, m.version
	if m.owned {
		rec.Owner = []byte(payload.owner)
	}
}

// attrs is what the Transport wants kept with a session that begins now.
func (m *core) attrs(r *http.Request, remembered bool) any {
	if t, ok := m.Transport.(interface {
		Attrs(r *http.Request, remembered bool) any
	}); ok {
		return t.Attrs(r, remembered)
	}
	return nil
}

// mint stores rec under a token of its own.
func (s *session) mint(ctx context.Context, rec Record) (token, key string, at stored, err error) {
	m := s.m
	if m.Label != nil && s.r != nil {
		rec.Label = truncate(m.Label(s.r), maxLabel)
	}
	if rec.Attrs == nil {
		rec.Attrs = m.attrs(s.r, rec.Remembered)
	}
	rec.Writes = pushWrite(rec.Writes, m.nonce())
	for range 3 {
		drawn, err := m.NewToken()
		if err != nil {
			return "", "", at, fmt.Errorf("sessions: Config.NewToken: %w", err)
		}
		token = m.Layout.Mint(drawn, rec.Remembered)
		if _, _, ok := m.Layout.Parse(token); !ok {
			return "", "", at, errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn")
		}
		key = m.Layout.Key(m.Realm, token)
		if at.raw, at.rec, err = m.seal(rec); err != nil {
			return "", "", at, err
		}
		err = s.check(m.store.Create(ctx, key, at.raw, s.ttl(&at.rec)))
		if errors.Is(err, ErrExists) {
			// Either the reply to our own first attempt was lost, or
			// NewToken repeats itself.
			there, _, err := m.store.Load(ctx, key, 0)
			if err = s.check(err); err != nil && !errors.Is(err, ErrNotFound) || bytes.HasPrefix(there, at.raw[:at.rec.Prefix]) {
				return token, key, at, unsure(err)
			}
			continue
		}
		return token, key, at, unsure(err)
	}
	return "", "", at, fmt.Errorf("sessions: Config.NewToken: %w: it draws the same token again and again", ErrExists)
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

// id is the ID of a session from its beginning, unless it is to be its key.
func (s *session) id() []byte {
	if _, ok := s.m.Layout.(identifier); !ok && len(s.rec.ID) == 0 {
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
	s.own()
	s.op, s.began = op, time.Now()
}

// own locks s for what the response needs of it. In the function of an Update
// it would wait for its own end.
func (s *session) own() {
	if s.updating() {
		panic("sessions: the function of an Update writes to the response, or ends the request: return from it before")
	}
	s.mu.Lock()
}

// updating says that the caller is in the function of an Update.
func (s *session) updating() bool {
	by := s.inside.Load()
	return by != nil && *by == goroutine()
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
