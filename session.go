package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/goroutine"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// session is one session in one request. It is the request's context as well: that saves an allocation, and
// nothing else can find it.
type session struct {
	context.Context // the parent
	core            *core
	served          bool  // by Handler, and not made by Load
	skipped         bool  // by Config.Skip: then only Context, core and live are in use
	fromLast        uint8 // which of a FirstOf serves the request, see transport

	live live // the handler's *T, with a lock of its own

	// turn lets one verb or commit run at a time. mu guards everything below. The holder of the turn also
	// holds mu, except while the function of an Update runs, in which Info and FromContext work.
	turn turn
	mu   sync.Mutex

	// The stored session. stored and base are both empty or both set, except during a load.
	stored      protocol.Session
	base        document.Document // T as loaded or last saved; it has no Codec exactly if nothing is stored
	decoded     decoded           // what Decode has read; empty again after Adopt
	unconfirmed []unconfirmedSave // the saves since base that were not answered

	// What this request has done.
	byCommit       bool        // a commit has stored the session, and no verb has run since
	wrote          bool        // it has stored or destroyed: Rewrite and SaveUninitialized do nothing more
	clientHas      bool        // the client has a token that Destroy takes back: it came with it, or Commit has told it
	unanswered     bool        // the store did not answer a verb, and has answered none since: it is not asked by itself
	lossTold       bool        // with unanswered: the verb's error, or an event, has told that T is not saved
	toldAbandoned  bool        // it has told that *T was left alone because its handler goes on
	toldWithheld   bool        // it has told that an automatic save created nothing, see isWithheld
	headerSent     bool        // the response header was sent, or Handler has returned
	outcome        OutcomeKind // what the client must learn
	destroyedToken string      // the token of the session it destroyed
	ended          []any       // Outcome.Ended
	saveErr        error       // of the last verb that failed; nil after one that settled it. With it the response is the handler's
	signErr        error       // why a sign-in or a renewal has failed; nothing is saved until one succeeds, or Reload or Destroy resets T

	// The response. request and response are nil outside HTTP and after Handler has returned.
	request  *http.Request // as it came, without the session in its context
	response interface {
		writeHeader()
		begunElsewhere() bool
		route() string
	}

	// The verb or commit that runs.
	op     string
	began  time.Time // zero until it has something to do
	events []Event   // reported when the operation ends, so that a hook may call any verb, and may panic
}

// decoded is a T that was loaded, and its encoded form.
type decoded struct {
	value any
	doc   document.Document
}

// An unconfirmedSave was sent and not answered: it may be stored. If the request saves again and finds it stored,
// its changes count from mine, which T was then. They do not count from what was stored, because the changes of
// other requests, or of Update's function, are not in *T.
type unconfirmedSave struct {
	protocol.Unconfirmed
	mine       document.Document
	storedMore bool // the write also held what others had saved, or what the function of an Update made
}

// init prepares a zero session.
func (s *session) init(parent context.Context, c *core) {
	s.Context, s.core = parent, c
	s.stored.Init(c.engine, s)
}

// transport is the one that serves the request; outside HTTP the last of a FirstOf.
func (s *session) transport() Transport { return transportFor(s.core.Transport, s.fromLast) }

// find returns the session that a context has by a key, nil if it has none, and the context to go on with: the caller's,
// or the request's, where the caller's is a framework's own context or was made of one.
func find(ctx context.Context, key any) (*session, context.Context) {
	if s, ok := ctx.Value(key).(*session); ok {
		return s, ctx
	}
	request := requestContext(rootOf(ctx))
	if request == nil {
		return nil, ctx
	}
	s, _ := request.Value(key).(*session)
	if _, ok := ctx.Deadline(); s != nil && !ok {
		ctx = request
	}
	return s, ctx
}

// sessionOf is find for the session of a Manager. One that was skipped is none.
func (m *core) sessionOf(ctx context.Context) (*session, context.Context) {
	s, ctx := find(ctx, m)
	if s != nil && s.skipped {
		s = nil
	}
	return s, ctx
}

// requestContext returns the context of the request that a framework's own context stands for, nil if it is none. It has
// a method Context, as fiber's, or a field Request, as gin's, which is asked because gin passes Value on only by
// Engine.ContextWithFallback.
func requestContext(ctx context.Context) context.Context {
	if c, ok := ctx.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	if f, ok := field(ctx, "Request"); ok {
		if r, ok := f.Interface().(*http.Request); ok && r != nil {
			return r.Context()
		}
	}
	return nil
}

// rootOf returns the context of which ctx was made, so that a framework's context is known behind a context.WithTimeout
// too. It goes by types, because what contexts print holds values.
func rootOf(ctx context.Context) context.Context {
	for range 1 << 12 { // no further, because a context's field Context may lead back to it
		parent, ok := field(ctx, "Context")
		if !ok || parent.Kind() != reflect.Interface || parent.IsNil() {
			break
		}
		inner, ok := parent.Interface().(context.Context)
		if !ok {
			break
		}
		ctx = inner
	}
	return ctx
}

// field returns a field of a context that is a struct or points to one.
func field(ctx context.Context, name string) (f reflect.Value, ok bool) {
	v := reflect.Indirect(reflect.ValueOf(ctx))
	if v.Kind() != reflect.Struct {
		return f, false
	}
	at, ok := v.Type().FieldByName(name)
	if !ok {
		return f, false
	}
	f, err := v.FieldByIndexErr(at.Index) // an error says that it would be in an embedded pointer which is nil
	return f, err == nil && f.CanInterface()
}

// Value implements [context.Context]: for the keys of its T and of its Manager, and for innermost, it returns s.
func (s *session) Value(key any) any {
	if key == s.core.typ.contextKey || key == any(s.core) || key == any(innermost{}) {
		return s
	}
	return s.Context.Value(key)
}

// innermost is the key of a context's session, whatever its Manager.
type innermost struct{}

// sessionsIn are all sessions of a context, the innermost first.
func sessionsIn(ctx context.Context) iter.Seq[*session] {
	return func(yield func(*session) bool) {
		s, _ := ctx.Value(innermost{}).(*session)
		for s != nil && yield(s) {
			s, _ = s.Context.Value(innermost{}).(*session)
		}
	}
}

// String keeps the session's content out of whatever prints a context.
func (s *session) String() string { return "sessions.Session" }

// Format prints the same for every format, because %#v and %d do not call String.
func (s *session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// begin begins an operation. It fails if the function of an Update has been running for the store's Timeout.
func (s *session) begin(op string) bool {
	if !s.turn.take(s.core.engine.Timeout) {
		return false
	}
	s.start(op)
	return true
}

// await begins an operation when all before it have ended, however long that takes.
func (s *session) await(op string) {
	s.turn.wait()
	s.start(op)
}

func (s *session) start(op string) {
	s.mu.Lock()
	s.op, s.began = op, time.Time{}
	if op != commitName { // most commits have nothing to do
		s.startClock()
	}
}

// commitName is the operation of each response.
const commitName = "commit"

// startClock notes that the operation has something to do from now on.
func (s *session) startClock() {
	if s.began.IsZero() {
		s.began = time.Now()
	}
}

// end ends an operation, and calls the log and the OnEvent hook for what happened in it.
func (s *session) end() {
	events := s.events
	s.events = nil
	s.mu.Unlock()
	s.turn.pass()
	s.core.report(s, events...)
}

// addEvent keeps an event until the operation ends, if there is anybody to tell it to.
func (s *session) addEvent(kind EventKind, err error, fields ...string) (kept bool) {
	if !s.core.hears(kind) {
		return false
	}
	s.startClock()
	s.events = append(s.events, Event{
		Kind: kind, Session: s.info(), Op: s.op, Duration: time.Since(s.began), Fields: fields, Err: err, route: s.routeFor(kind),
	})
	return true
}

// routeFor is the route of an event, if the log tells of it and this goroutine serves the request. In another one a router
// might be about to write the pattern.
func (s *session) routeFor(kind EventKind) string {
	if _, logged := logLines[kind]; logged && s.response != nil && goroutine.CalledBy("github.com/typedsessions/sessions.(*core).serve") {
		return s.response.route()
	}
	return ""
}

// addRouteEvent is addEvent where the request waits for this goroutine, so that it may ask for the route.
func (s *session) addRouteEvent(kind EventKind, err error) {
	if s.addEvent(kind, err) && s.response != nil {
		s.events[len(s.events)-1].route = s.response.route()
	}
}

// Notice implements [protocol.Application]: it keeps a notice of package protocol as an event.
func (s *session) Notice(n protocol.Notice) {
	if !s.addEvent(noticeEvents[n.Kind], n.Err) {
		return
	}
	e := &s.events[len(s.events)-1]
	e.outage, e.Count = n.Outage, n.Count
	if n.Record != nil {
		e.Session = s.core.infoOf(n.Record)
	}
}

var noticeEvents = [...]EventKind{
	protocol.Unavailable: EventUnavailable, protocol.Recovered: EventRecovered, protocol.Expired: EventExpired,
	protocol.Undecodable: EventUndecodable, protocol.TwoSessions: EventTwoSessions, protocol.TouchSkipped: EventTouchSkipped,
	protocol.Gone: EventGone, protocol.OutOfTime: EventConflict,
	protocol.ManyUnknown: EventUnknownTokens, protocol.Revoked: EventRevoked, protocol.Evicted: EventEvicted,
}

// Decode implements [protocol.Application]: it decodes T and keeps it for Adopt.
func (s *session) Decode(rec record.Record) (err error) {
	s.decoded, err = s.core.decode(rec, document.Document{})
	return err
}

// Adopt implements [protocol.Application]: *T becomes what Decode has read.
func (s *session) Adopt() {
	s.live.set(s.core, s.decoded.value, s.decoded.doc.Data)
	s.setBase(s.decoded.doc)
	s.decoded = decoded{}
}

// setBase notes that d is stored: from now on T is compared with it.
func (s *session) setBase(d document.Document) { s.base, s.unconfirmed = d, nil }

// reset makes s a session that is not stored. *T becomes fresh; the pointer that the handler may hold stays
// valid. The Attrs stay: by them the Transport takes back what the client has.
func (s *session) reset() {
	attrs := s.stored.Record.Attrs
	s.stored.Reset()
	s.stored.Record.Attrs = attrs
	s.resetT()
}

// resetT makes *T fresh, and forgets the verbs that failed.
func (s *session) resetT() {
	s.setBase(document.Document{})
	s.saveErr, s.signErr = nil, nil
	s.live.reset(s.core)
}

// info is the session's Info as of now.
func (s *session) info() Info {
	p := &s.stored
	if !p.Stored() {
		return Info{
			ID: string(p.Record.ID), New: true, Current: true, RenewedElsewhere: p.RenewedElsewhere,
			IdleUntil: time.Now().Add(s.core.freshTTL),
		}
	}
	i := s.core.infoOf(&p.Record)
	i.Current, i.LastSeenAt, i.IdleUntil = true, p.LastSeen, p.IdleUntil()
	if s.core.typ.owner != nil {
		i.Owner = s.base.Owner
	}
	if !i.ExpiresAt.IsZero() && i.ExpiresAt.Before(i.IdleUntil) {
		i.IdleUntil = i.ExpiresAt
	}
	return i
}

// result is the Outcome as of now.
func (s *session) result() Outcome {
	o := s.resultWithoutInfo()
	o.Info = s.info()
	return o
}

// resultWithoutInfo is result without its Info, which is two allocations. A session that has ended elsewhere has no token
// to send.
func (s *session) resultWithoutInfo() Outcome {
	o := Outcome{Kind: s.outcome, Used: s.live.isUsed(), Touched: s.stored.Touched, Attrs: s.stored.Record.Attrs, Ended: s.ended}
	switch {
	case s.stored.Gone:
	case s.stored.Token == "" && s.outcome == OutcomeDestroyed:
		o.Token = Token(s.destroyedToken)
	default:
		o.Token = Token(s.stored.Token)
	}
	if o.Token == "" && (o.Kind == OutcomeCreated || o.Kind == OutcomeRenewed) {
		o.Kind = OutcomeUnchanged // there is nothing to send: what the client has is no longer valid, or newer
	}
	return o
}

// readOnlyErr is why nothing of the request can be stored, nil if it can.
func (s *session) readOnlyErr() error {
	if s.stored.Unreadable == nil {
		return nil
	}
	return fmt.Errorf("sessions: nothing is stored, because the record that the request came with cannot be read and must not be replaced (UndecodableReadOnly): mend T or the record, or call Destroy: %w", s.stored.Unreadable)
}

// headerErr is ErrCommitted if a new token can no longer be sent.
func (s *session) headerErr() error {
	switch {
	case s.headerSent:
		return ErrCommitted
	case s.response != nil && s.response.begunElsewhere():
		return fmt.Errorf("%w, by another writer than the one that Handler passes on: give that to the framework (with gin, use the middleware of contrib/gin)", ErrCommitted)
	}
	return nil
}

// runUnlocked runs the function of an Update, in which Info must not wait for the end of the Update.
func (s *session) runUnlocked(fn func() error) error {
	s.turn.enterFunction()
	defer s.turn.leaveFunction()
	s.mu.Unlock()
	defer s.mu.Lock()
	return fn()
}

// decode reads the payload of a record. Fields that were added to T since it was written are as in like, or if that is
// empty as in a fresh T.
func (m *core) decode(rec record.Record, like document.Document) (decoded, error) {
	v, d, err := m.docType.Decode(rec, like)
	if err != nil {
		part := ""
		if e, ok := errors.AsType[*document.PartError](err); ok {
			part, err = e.Part, e.Err
		}
		return decoded{}, unreadable(rec.ID, part, err)
	}
	return decoded{v, d}, nil
}
