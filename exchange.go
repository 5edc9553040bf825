package sessions

import (
	"net/http"
	"strings"

	"github.com/typedsessions/sessions/internal/response"
)

// exchange is one HTTP request and its response, with the session in it. All of it is one allocation.
type exchange struct {
	session
	innerRequest *http.Request // as the handler sees it
	writer       response.Writer
	headerValues [2]string // for values of headers: one array instead of two
}

// serve is a request from end to end.
func (m *core) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if _, ok := r.Context().Value(m).(*session); ok { // this Manager serves the request already
		next.ServeHTTP(w, r)
		return
	}
	if m.Skip != nil && m.Skip(r) {
		inner := r.WithContext(&session{Context: r.Context(), core: m, skipped: true})
		defer copyParsedForm(r, inner)
		next.ServeHTTP(w, inner)
		return
	}
	x := new(exchange)
	passive := m.Passive != nil && m.Passive(r)
	if err := m.load(&x.session, r.Context(), m.Transport.Tokens(r), passive); err != nil {
		// The handler does not see the request: a later save would overwrite a record that nobody has seen.
		addVary(w.Header(), m.Transport.Vary(), nil)
		m.ErrorHandler(w, r, err)
		return
	}
	x.connect(w, r)
	defer x.release()
	defer copyParsedForm(r, x.innerRequest)
	defer x.endAbort()
	next.ServeHTTP(&x.writer, x.innerRequest)
	x.saveLate()
}

// copyParsedForm shows the server what became of its request: it looks there for temporary files to remove, and
// outer middleware for the route to log.
func copyParsedForm(r, inner *http.Request) {
	r.MultipartForm, r.Form, r.PostForm, r.Pattern = inner.MultipartForm, inner.Form, inner.PostForm, inner.Pattern
}

// begin gives the session its response.
func (x *exchange) connect(w http.ResponseWriter, r *http.Request) {
	x.innerRequest = r.WithContext(&x.session)
	x.mu.Lock() // a hook may have started a verb
	defer x.mu.Unlock()
	x.writer.Init(w, x)
	x.request, x.response = r, x
}

// endAbort ends the panic by which a handler gives up on a response that could not be written, as
// httputil.ReverseProxy does. After a failed save the error response is complete, and over HTTP/2 the panic
// would break it off.
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
	if !started || x.writer.Hijacked() || x.writer.Err() != nil {
		return
	}
	x.mustBegin()
	defer x.end()
	if err := x.autosave(); err != nil {
		x.addEvent(EventLateChange, err)
	}
}

// close ends the session's part in the response.
func (x *exchange) release() {
	x.mustBegin()
	defer x.end()
	x.headerSent = true
	switch x.outcome {
	case OutcomeCreated, OutcomeRenewed:
		if err := x.Err(); err != nil {
			x.addEvent(EventUndelivered, err)
		}
	}
	x.request, x.response, x.innerRequest = nil, nil, nil
}

// mustBegin begins a commit. In the function of an Update that would wait for its own end.
func (x *exchange) mustBegin() {
	if !x.begin(opCommit.name) {
		panic("sessions: the function of an Update writes to the response, or ends the request: return from it before")
	}
}

// Commit implements [response.Committer]: the header is about to go.
func (x *exchange) Commit() error {
	err := x.saveAndWriteHeader()
	x.setSent(true) // after the events are told: what a hook does to the token is in the header
	return err
}

// save saves the session and brings what came of it into the header.
func (x *exchange) saveAndWriteHeader() error {
	x.mustBegin()
	defer x.end()
	err := x.autosave()
	if err != nil {
		x.noteFailure(opCommit, err)
	}
	x.writeHeader()
	return err
}

// Reopen implements [response.Committer].
func (x *exchange) Reopen() { x.setSent(false) }

func (x *exchange) setSent(sent bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.headerSent = sent
}

// Fail implements [response.Committer]: it answers for a failed commit. What a verb had completed, here or
// before, is in that answer.
func (x *exchange) Fail(w http.ResponseWriter, err error) {
	x.core.ErrorHandler(w, x.innerRequest, err)
	x.mustBegin()
	defer x.end()
	x.writeInto(w.Header())
}

// Interim implements [response.Committer]: what the session has put into the header is for the final
// response.
func (x *exchange) Interim(h http.Header) (restore func()) {
	x.mustBegin()
	defer x.end()
	mine := http.Header{}
	if !x.core.Transport.Write(mine, x.request, x.result()) {
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

// writeHeader brings the outcome into the header, in place of what an earlier call wrote.
func (x *exchange) writeHeader() {
	if !x.headerSent {
		x.writeInto(x.writer.Header())
	}
}

func (x *exchange) writeInto(h http.Header) {
	o := x.result()
	sent := x.core.Transport.Write(h, x.request, o)
	if !sent && !o.Used {
		return
	}
	addVary(h, x.core.Transport.Vary(), x.headerValues[:0:1])
	cacheControl(h, sent, x.headerValues[1:1:2])
	if t, ok := x.core.Transport.(SecureTransport); ok && sent && !overHTTPS(x.request) && t.Secure() && x.core.warned.CompareAndSwap(false, true) {
		x.addEvent(eventInsecure, nil)
	}
}

// overHTTPS tells whether the client has sent the request by HTTPS, to this server or to a proxy before it.
func overHTTPS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(proto, "https")
}
