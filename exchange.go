package sessions

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/typedsessions/sessions/internal/goroutine"
	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/response"
)

// exchange is one HTTP request and its response, with the session in it. They are one struct, so that a request
// needs one allocation for them.
type exchange struct {
	session
	innerRequest *http.Request // with the session in its context; nil after release
	writer       response.Writer
	headerValues [2]string // of Vary and of Cache-Control: the header map gets slices of it

	loaded bool   // the request came with a session
	varied bool   // the header tells caches that the session was used
	asked  uint32 // how often the handler had asked for the header when a token was last written into it
}

// serve handles one request: it loads the session, calls next and saves.
func (m *core) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if _, ok := r.Context().Value(m).(*session); ok { // this Manager serves the request already
		next.ServeHTTP(w, r)
		return
	}
	skips := m.Skip != nil && m.Skip(r)
	m.checkNesting(r, skips)
	if skips {
		inner := r.WithContext(&session{Context: r.Context(), core: m, served: true, skipped: true})
		defer copyParsedForm(r, inner)
		next.ServeHTTP(w, inner)
		return
	}
	x := new(exchange)
	x.served = true
	when := protocol.AtLook
	if m.Passive != nil && m.Passive(r) {
		when = protocol.Never
	}
	var space [protocol.MaxCandidates]string
	tokens, fromLast := tokensOf(m.Transport, r, space[:0])
	x.fromLast = fromLast
	if err := m.load(&x.session, r.Context(), tokens, when, r); err != nil {
		// next is not called, because its save would overwrite a record that it has not seen.
		errorCaching(w.Header())
		addVary(w.Header(), m.Transport.Vary(), nil)
		m.ErrorHandler(w, r, err)
		return
	}
	x.connect(w, r)
	defer x.release()
	defer copyParsedForm(r, x.innerRequest)
	defer x.endAbort()
	defer x.touchUnanswered()
	next.ServeHTTP(&x.writer, x.innerRequest)
	x.saveLate()
}

// checkNesting panics where two Managers that serve one request have their token in the same place: the outer one takes
// out of the response what the inner one has written, so that a sign-in leaves no valid token. If one of them skips the
// request, that is a mistake only where they would take each other's records for their own.
func (m *core) checkNesting(r *http.Request, skips bool) {
	for outer := range sessionsIn(r.Context()) {
		o := outer.core
		foreign := o.Realm == m.Realm && o.typ.reflected != m.typ.reflected
		if outer.served && (foreign || !skips && !outer.skipped) && sharePlaces(o.Transport, m.Transport, r) {
			panic(fmt.Sprintf("sessions: the Handler of a Manager[%v] is within that of another one, a Manager[%v], and both keep the token in the same cookie or header: give each a Cookie.Name (or HeaderToken.Name) and a Config.Realm of its own, or wrap with one Manager alone",
				m.typ.reflected, o.typ.reflected))
		}
	}
}

// copyParsedForm copies the parsed forms, the pattern and its values to the outer request. The server removes the
// temporary files that are named there, and outer middleware logs the route.
func copyParsedForm(r, inner *http.Request) {
	if r.MultipartForm == nil && inner.MultipartForm != nil && r.ProtoMajor == 2 {
		_ = inner.MultipartForm.RemoveAll() // net/http's HTTP/2 server of Go 1.27 leaves the files
	}
	r.MultipartForm, r.Form, r.PostForm, r.Pattern = inner.MultipartForm, inner.Form, inner.PostForm, inner.Pattern
	for _, after, ok := strings.Cut(r.Pattern, "{"); ok; _, after, ok = strings.Cut(after, "{") {
		if name, _, _ := strings.Cut(after, "}"); name != "$" {
			name = strings.TrimSuffix(name, "...")
			// A handler that goes on reads the same values, so they are not written where they are right.
			if value := inner.PathValue(name); r.PathValue(name) != value {
				r.SetPathValue(name, value)
			}
		}
	}
}

// connect gives the session its response: from then on verbs write the token into the header.
func (x *exchange) connect(w http.ResponseWriter, r *http.Request) {
	x.innerRequest = r.WithContext(&x.session)
	if r.ProtoMajor == 1 {
		x.innerRequest.Body = x.writer.Body(r.Body)
	}
	x.mu.Lock() // an OnEvent hook of the load may have started a verb in another goroutine
	defer x.mu.Unlock()
	x.writer.Init(w, x)
	x.request, x.response = r, x
	if x.loaded = x.stored.Stored(); x.loaded {
		x.writer.SetEarlyCacheControl(private, x.headerValues[1:1:2])
	}
}

// endAbort recovers http.ErrAbortHandler after a failed save: httputil.ReverseProxy panics with it when a write
// fails. The error response is complete then, and over HTTP/2 the panic would cut it off.
func (x *exchange) endAbort() {
	if x.writer.Err() == nil {
		return
	}
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
}

// saveLate runs when the handler has returned: what has changed since the response began is saved.
func (x *exchange) saveLate() {
	started := x.writer.Started()
	x.writer.Finish()
	hijacked := x.writer.Hijacked()
	if !started || x.writer.Err() != nil || hijacked && !x.writer.Unseen(0) {
		return
	}
	x.await(opCommit.name) // also for an Update that the handler has left behind
	defer x.end()
	if !hijacked {
		x.autosaveLate(nil)
	} else if x.byCommit {
		// The Upgrade sent a header of its own, and nobody has seen the token. If this fails the record expires by itself.
		x.startClock()
		saving := x.core.engine.SaveContext(x)
		defer saving.Stop()
		_ = x.stored.Discard(saving)
	}
}

// autosaveLate saves when the header has gone, and tells if the session is used that caches were not told of. why is
// nil if nobody looked in time.
func (x *exchange) autosaveLate(why error) {
	used := x.live.isUsed()
	if err := x.autosave(); err != nil {
		x.addRouteEvent(EventLateChange, err)
	} else if used && !x.varied {
		x.varied = true
		x.addRouteEvent(EventLateUse, why)
	}
}

// release runs when the request is over, also after a panic. It reports a token that may not have arrived, and
// drops the request and the response, because the context may live longer. Nothing is committed any more, also if
// a framework has kept the writer and answers later.
//
// It does not wait for the function of an Update that the handler has left behind.
func (x *exchange) release() {
	x.writer.Release() // before x.mu, which a commit takes while it holds the writer
	x.mu.Lock()
	err := x.Err()
	if err == nil && x.writer.Unseen(x.asked) {
		err = errUnseen
	}
	switch { // a panic has left the handler, and a framework may answer
	case x.headerSent:
	case x.outcome > OutcomeChanged: // what the handler has told caches since the verb does not count
		x.write()
	default:
		x.tellCaches(x.writer.InnerHeader(), false)
	}
	undelivered := (x.outcome == OutcomeCreated || x.outcome == OutcomeRenewed) && err != nil
	e := Event{Kind: EventUndelivered, Op: opCommit.name, Err: err}
	if undelivered {
		e.route = x.route()
		e.Session = x.info()
	}
	x.headerSent = true
	x.request, x.response, x.innerRequest = nil, nil, nil
	x.live.release()
	x.mu.Unlock()
	if undelivered {
		x.core.report(&x.session, e)
	}
}

var errUnseen = errors.New("sessions: an Upgrade sent a header of its own: call SignIn, Renew or Save before it, and give it w.Header()")

// begunElsewhere tells whether another writer is known to have begun the response.
func (x *exchange) begunElsewhere() bool { return x.writer.BegunElsewhere() }

// route is the request's method and the pattern by which it was routed, as far as that is known.
func (x *exchange) route() string {
	if x.innerRequest == nil {
		return ""
	}
	return routeOf(x.request.Method, x.innerRequest.Pattern)
}

// mustBegin begins a commit. It panics in the function of an Update, because the commit would wait for the
// Update, and the Update for its function. A handler that http.TimeoutHandler has given up may be in such a
// function: that is waited for.
func (x *exchange) mustBegin() {
	if x.begin(opCommit.name) {
		return
	}
	if !x.live.isAbandoned(x.core, x) {
		panic("sessions: the function of an Update writes to the response, or ends the request: return from it before")
	}
	x.await(opCommit.name)
}

// Commit implements [response.Committer]: it runs before the header is sent.
func (x *exchange) Commit(status int) error {
	if status == http.StatusServiceUnavailable && goroutine.CalledBy("net/http.(*timeoutHandler).ServeHTTP") {
		x.live.noteTimeout()
	}
	err := x.saveAndWriteHeader()
	x.setSent(true) // after the hooks have run: a token that a hook's verb has changed is still written
	return err
}

// saveAndWriteHeader saves the session and writes the token and the cache headers into the response header.
func (x *exchange) saveAndWriteHeader() error {
	x.mustBegin()
	defer x.end()
	lookDue := x.outcome <= OutcomeChanged && x.stored.BeginLook()
	if x.begunElsewhere() {
		x.autosaveLate(x.headerErr())
		x.look(lookDue)
		return nil
	}
	token := x.stored.Token
	err := x.autosave()
	if err != nil {
		x.noteFailure(opCommit, err)
	}
	if !errors.Is(err, ErrUnavailable) {
		x.look(lookDue)
	}
	if x.stored.Token != token {
		x.asked, x.byCommit = x.writer.Asked(), x.outcome == OutcomeCreated
	}
	x.write()
	return err
}

// look looks at the record once more, if that is due: a session that has been renewed or has ended since it was loaded
// has no token to send.
func (x *exchange) look(due bool) {
	if due && !x.unanswered {
		x.startClock()
		saving := x.core.engine.SaveContext(x)
		defer saving.Stop()
		x.stored.Look(saving)
	}
}

// touchUnanswered restarts the idle timeout if that was left to a header that was never written, because the handler
// has panicked.
func (x *exchange) touchUnanswered() {
	if x.writer.Started() {
		return
	}
	x.mu.Lock()
	due := x.stored.BeginLook()
	x.mu.Unlock()
	if due && x.begin(opCommit.name) {
		defer x.end()
		x.look(due)
	}
}

// Reopen implements [response.Committer].
func (x *exchange) Reopen() { x.setSent(false) }

func (x *exchange) setSent(sent bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.headerSent = sent
}

// Fail implements [response.Committer]: it answers for a failed commit. The answer also carries the token of a
// verb that succeeded, before or in the ErrorHandler, which may have changed the header.
func (x *exchange) Fail(w http.ResponseWriter, err error) {
	errorCaching(w.Header())
	x.core.ErrorHandler(w, x.innerRequest, err)
	x.mustBegin()
	defer x.end()
	x.writeInto(w.Header())
}

// Interim implements [response.Committer]: before a 1xx response it takes out the header fields that the Transport
// writes, whole fields, so the handler's own cookies wait for the final response too.
func (x *exchange) Interim(h http.Header) (restore func()) {
	x.mustBegin()
	defer x.end()
	mine := http.Header{}
	if !x.transport().Write(mine, x.request, x.result()) {
		return nil
	}
	kept := http.Header{}
	for name := range mine {
		kept[name] = h[name]
		delete(h, name)
	}
	return func() {
		for name, lines := range kept {
			if lines != nil {
				h[name] = lines
			}
		}
	}
}

// writeHeader writes the outcome of a verb that made or voided a token.
func (x *exchange) writeHeader() {
	x.asked = x.writer.Asked()
	x.write()
}

// write writes the outcome into the response header. It replaces what it wrote before.
func (x *exchange) write() {
	if !x.headerSent {
		x.writeInto(x.writer.InnerHeader())
	}
}

func (x *exchange) writeInto(h http.Header) {
	t, o := x.transport(), x.resultWithoutInfo()
	if needsInfo(t, o.Kind) {
		o.Info = x.info()
	}
	sent := t.Write(h, x.request, o)
	x.tellCaches(h, sent)
	if t, ok := t.(SecureTransport); ok && sent && !overHTTPS(x.request) && t.Secure() && x.core.warned.CompareAndSwap(false, true) {
		x.addEvent(eventInsecure, nil)
	}
}

// tellCaches writes the header fields for caches; sent says that the token is sent.
func (x *exchange) tellCaches(h http.Header, sent bool) {
	used := sent || x.live.isUsed()
	if used {
		x.varied = true
		addVary(h, x.core.Transport.Vary(), x.headerValues[:0:1])
	}
	if used || x.loaded {
		cacheControl(h, sent, x.headerValues[1:1:2])
	}
}

// overHTTPS tells whether the client has sent the request by HTTPS, to this server or to a proxy before it.
func overHTTPS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(proto, "https")
}
