// Package response has the [Writer] that runs a commit before the first byte of the final response leaves,
// whichever method sends it: Write, WriteString, WriteHeader, Flush, ReadFrom or Hijack. A client that has
// seen a byte of the response can rely on what the commit did. The package knows nothing of sessions.
//
// Each of these methods calls enter or afterCommit, and both call commit, which decides whether anything of
// the handler's response is sent.
package response

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A Committer decides what has to happen before the header leaves. Its methods must not use the Writer that
// calls them, but for Started and Err.
type Committer interface {
	// Commit runs before the header of the final response goes out, in the goroutine that called the Writer,
	// and may still change the header map. An error stops the response. status is the response's, 0 before a
	// Hijack. Commit runs once, with one exception: a Hijack or Flush that the inner writer refused has sent
	// nothing, so the next call commits again.
	Commit(status int) error

	// Reopen runs after such a refusal: the header can be changed again.
	Reopen()

	// Fail answers for the error of Commit, at most once, on a w that holds the answer back until Fail
	// returns: its length is then known. Headers that described the handler's response are gone; an answer
	// without a status is a 500.
	Fail(w http.ResponseWriter, err error)

	// Interim takes out of h what belongs to the final response only, before a 1xx response other than 101,
	// and returns what puts it back, or nil.
	Interim(h http.Header) (restore func())
}

// A Writer is an [http.ResponseWriter] that commits before its first byte. Like net/http's own it is for one
// goroutine at a time; but if several call it, only one commits and the others wait until it has.
type Writer struct {
	rw    http.ResponseWriter
	c     Committer
	state atomic.Uint32
	mu    sync.Mutex // held to change the state, so that nothing reaches rw during Commit
	// err is Commit's error, or errPanicked while Commit runs or after it panicked. It is constant once the
	// state is failing.
	err error
	// outer are the headers of a body that were set before Init: an outer middleware's, such as the
	// Content-Encoding of one that compresses.
	outer http.Header
	body  body
	early early

	asked    atomic.Uint32 // how often the handler has called Header
	informed bool          // a 1xx response was passed on: a writer that counts it as the response says Written
	bare     bool          // the connection was handed over while no header had been sent
}

// The states of a Writer. They change as follows, and in no other way:
//
//	open    → sent       a method sends the header after Commit, or Release
//	open    → hijacked   Hijack succeeds after Commit
//	sent    → hijacked   Hijack succeeds after the header
//	open    → failing    Commit has failed, or Finish finds that it panicked
//	failing → failed     the error response is sent
//	failing → sent       Release, because Fail has panicked and somebody else will answer
//
// Open stays open while Commit runs, and after it if rw refused a Flush or Hijack. Failing stays failing if
// Fail panics, until Finish answers.
const (
	open     = iota // nothing has been sent
	sent            // the header has been sent, or Handler has returned: calls are passed on to rw
	hijacked        // the connection is the handler's
	failing         // Commit has failed, and the error response is not sent yet
	failed          // the error response has been sent
)

var errPanicked = errors.New("sessions: commit panicked")

// Init makes a zero Writer one on rw and returns it. The Writer may be a field of another struct, which saves
// an allocation.
func (w *Writer) Init(rw http.ResponseWriter, c Committer) *Writer {
	w.rw, w.c = rw, c
	for name, lines := range w.InnerHeader() {
		if describesBody(name) {
			if w.outer == nil {
				w.outer = http.Header{}
			}
			w.outer[name] = slices.Clone(lines)
		}
	}
	return w
}

// Body returns what the handler gets as the body of a request by HTTP/1. One that an outer middleware has put there
// stays, because a handler may ask for its type.
func (w *Writer) Body(b io.ReadCloser) io.ReadCloser {
	if !isServers(b) {
		return b
	}
	w.body.ReadCloser = b
	return &w.body
}

// closeIfTooLong has the connection closed behind the response if the body was longer than a limit.
func (w *Writer) closeIfTooLong() {
	if w.body.limited.Load() {
		passLimit(w.rw)
	}
}

// Finish ends a response whose handler has returned. It commits if nothing has been sent, so that the
// response net/http then implies carries the headers, and answers 500 if a commit's panic was recovered on
// the way here. It is not for a handler that panicked: then nothing more is to be committed.
func (w *Writer) Finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state.Load()
	switch {
	case s == open && w.err == nil:
		if w.commit(http.StatusOK) == nil {
			w.state.Store(sent)
		}
	case s == open, s == failing:
		w.state.Store(failing) // so that Err has the error before the client can see it
		w.send(&answer{header: w.strip()})
	}
}

// Release ends the Writer's work, also after a panic: from then on it passes all calls on and calls no method of
// its Committer. A framework may keep it and write to it after a panic has left the handler, or for an error that
// the handler has returned. After a failed commit nothing is passed on, because the error response is complete.
// Release waits for a commit that another goroutine has begun.
func (w *Writer) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeIfTooLong()
	if s := w.state.Load(); s == open || s == failing {
		w.state.Store(sent)
	}
}

// Started reports whether the header can no longer be changed: it was sent, or the commit is done and it will
// be sent next, or the connection was hijacked. Started is false inside Commit and Fail.
func (w *Writer) Started() bool {
	s := w.state.Load()
	return s != open && s != failing
}

// Written is Started, for another Writer around this one that asks BegunElsewhere.
func (w *Writer) Written() bool { return w.Started() }

// BegunElsewhere reports whether the header is known to have gone although this Writer has not sent it, because the
// inner writer, or one behind its Unwrap, has a method Written that says so (gin's and negroni's have). It is for
// the time before the Writer has sent anything.
func (w *Writer) BegunElsewhere() bool {
	if w.informed {
		return false
	}
	for rw := w.rw; ; {
		if begun, ok := rw.(interface{ Written() bool }); ok && begun.Written() {
			return true
		}
		outer, ok := rw.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		rw = outer.Unwrap()
	}
}

// Hijacked reports whether the connection is the handler's.
func (w *Writer) Hijacked() bool { return w.state.Load() == hijacked }

// Asked counts the handler's calls of Header.
func (w *Writer) Asked() uint32 { return w.asked.Load() }

// Unseen reports whether the connection was handed over before a header had been sent, and the handler has called
// Header asked times and no more. What then sends a header of its own, as an Upgrade does, does not have from
// Header what was put there since those calls.
func (w *Writer) Unseen(asked uint32) bool { return w.Hijacked() && w.bare && w.Asked() == asked }

// Err returns the error of a Commit that failed, which every method now returns.
func (w *Writer) Err() error {
	if w.state.Load() < failing {
		return nil
	}
	return w.err
}

// Unwrap gives [http.ResponseController] the deadlines and the full duplex of the inner writer. Writing to
// that does not commit.
func (w *Writer) Unwrap() http.ResponseWriter { return w.rw }

// Header returns the inner writer's header map, and after a failed commit one that nobody reads: trailers,
// and inner writers that look at the map only when the handler is done, would otherwise decorate the error
// response.
func (w *Writer) Header() http.Header {
	w.asked.Add(1)
	if w.Err() != nil {
		return http.Header{}
	}
	h := w.rw.Header()
	w.early.takeOut(h)
	return h
}

// SetEarlyCacheControl puts a Cache-Control into the inner writer's header until the handler asks for that, see early.
func (w *Writer) SetEarlyCacheControl(value string, space []string) {
	w.early.set(w.InnerHeader(), value, space)
}

// InnerHeader returns the inner writer's header map, and does not count as a call of Header, here or in a Writer inside.
func (w *Writer) InnerHeader() http.Header {
	if inner, ok := w.rw.(*Writer); ok {
		return inner.InnerHeader()
	}
	return w.rw.Header()
}

// WriteHeader commits and sends the header. A 1xx status other than 101 does not commit, because the final
// response is still to come. A second call is passed on; net/http logs it.
func (w *Writer) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		w.interim(code)
	} else if w.enter(code) == nil {
		w.rw.WriteHeader(code)
	}
}

func (w *Writer) interim(code int) {
	if w.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Load() == open {
		if restore := w.c.Interim(w.InnerHeader()); restore != nil {
			defer restore()
		}
	}
	if w.Err() == nil {
		w.informed = true
		w.rw.WriteHeader(code)
	}
}

func (w *Writer) Write(p []byte) (int, error) {
	if err := w.enter(http.StatusOK); err != nil {
		return 0, err
	}
	return w.rw.Write(p)
}

// WriteString uses the inner writer's own, if it has one.
func (w *Writer) WriteString(s string) (int, error) {
	if err := w.enter(http.StatusOK); err != nil {
		return 0, err
	}
	return io.WriteString(w.rw, s)
}

// ReadFrom uses the inner writer's own, if it has one: that is sendfile. It does not look for one behind
// Unwrap, where the body would go past a wrapper that compresses or counts it.
func (w *Writer) ReadFrom(src io.Reader) (n int64, err error) {
	if w.state.Load() == open {
		// The first bytes through Write, as net/http does it too: a source that has none, or fails, commits
		// nothing and leaves the handler free to answer.
		n, err = io.CopyN(struct{ io.Writer }{w}, src, 512)
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
	if err := w.enter(http.StatusOK); err != nil {
		return n, err
	}
	rest, err := io.Copy(w.rw, src)
	return n + rest, err
}

// Flush is FlushError without the error.
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError commits and sends what was written. If the inner writer cannot flush, the error is
// [http.ErrNotSupported] and the response is still open.
func (w *Writer) FlushError() error {
	return w.afterCommit(http.StatusOK, func() (uint32, error) {
		err := http.NewResponseController(w.rw).Flush()
		if errors.Is(err, http.ErrNotSupported) {
			return open, err
		}
		return sent, err
	})
}

// Hijack commits and gives the connection to the handler. If the commit fails, the error response is sent
// instead. If the inner writer refuses, nothing has been sent, and the handler can answer in another way.
func (w *Writer) Hijack() (conn net.Conn, buf *bufio.ReadWriter, err error) {
	err = w.afterCommit(0, func() (uint32, error) {
		var err error
		if conn, buf, err = http.NewResponseController(w.rw).Hijack(); err != nil {
			return open, err
		}
		w.bare = w.state.Load() == open
		return hijacked, nil
	})
	return conn, buf, err
}

// Push calls the inner writer's and does not commit: a pushed resource is not part of the response.
func (w *Writer) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.rw.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// CloseNotify is the inner writer's, because gin's Context.Stream panics without one. Where there is none nothing is ever
// sent: the request's context tells, too.
func (w *Writer) CloseNotify() <-chan bool {
	if n, ok := w.rw.(interface{ CloseNotify() <-chan bool }); ok {
		return n.CloseNotify()
	}
	return nil
}

// enter commits, if the response is open, for a method that then sends the header in any case.
func (w *Writer) enter(status int) error {
	if w.state.Load() == sent {
		return nil
	}
	return w.afterCommit(status, func() (uint32, error) { return sent, nil })
}

// afterCommit commits, if the response is open, and then calls pass. That passes a call on to rw and returns
// the state which the response has then: open if rw refused the call and has sent nothing. If the commit
// fails or has failed before, pass is not called.
func (w *Writer) afterCommit(status int, pass func() (uint32, error)) error {
	if err := w.Err(); err != nil { // asked without the lock: Fail runs with it and may call a method of w
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.commit(status); err != nil {
		return err
	}
	before := w.state.Load()
	state, err := pass()
	switch {
	case state > before: // a later state: open, sent, hijacked is their order
		w.state.Store(state)
	case before == open:
		w.c.Reopen()
	}
	return err
}

// commit runs Commit if the response is open. Nothing of the handler's response reaches rw before Commit has
// returned nil: its caller holds mu and passes nothing on after an error. If Commit fails, what Fail answers
// is sent in place of the handler's response.
//
// On success the state stays open, because only the caller knows whether the header is then sent. After a
// Commit or Fail that panicked err is set, so neither runs a second time.
func (w *Writer) commit(status int) error {
	if w.state.Load() != open {
		return w.Err()
	}
	if w.err != nil {
		return w.err
	}
	w.closeIfTooLong()
	w.early.keep()
	w.err = errPanicked
	if w.err = w.c.Commit(status); w.err != nil {
		w.state.Store(failing)
		a := &answer{header: w.strip()}
		w.c.Fail(a, w.err)
		w.send(a)
	}
	return w.err
}

// strip removes what described the handler's response, and puts back what was there before it.
func (w *Writer) strip() http.Header {
	h := w.rw.Header()
	maps.DeleteFunc(h, func(name string, _ []string) bool { return describesBody(name) })
	maps.Copy(h, w.outer)
	h.Del("Content-Length") // of whatever response was expected outside, it is not that of this one
	return h
}

// describesBody tells whether a header says something of one response's body, or how long that can be kept: a 503
// with the page's max-age would be kept by every cache on the way.
func describesBody(name string) bool {
	switch http.CanonicalHeaderKey(name) { // h["ETag"] is a common spelling, and Del misses it
	case "Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range",
		"Content-Disposition", "Content-Location", "Content-Digest", "Repr-Digest", "Content-Md5",
		"Accept-Ranges", "Etag", "Last-Modified", "Expires", "Location", "Refresh",
		"Trailer", "Transfer-Encoding":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix) || IsCacheField(name)
}

// IsCacheField reports whether a header field of this name tells caches how long to keep the response, Expires apart:
// Cache-Control and the like for some caches only (RFC 9213: CDN-Cache-Control and the CDNs' own), Surrogate-Control,
// Akamai's Edge-Control and nginx' X-Accel-Expires.
func IsCacheField(name string) bool {
	return len(name) >= len(cacheControl) && strings.EqualFold(name[len(name)-len(cacheControl):], cacheControl) ||
		strings.EqualFold(name, "Surrogate-Control") || strings.EqualFold(name, "Edge-Control") || strings.EqualFold(name, "X-Accel-Expires")
}

// send writes the error response whole, with its length, and flushes it: the handler may run on for long, and
// one that panics at the error it now gets (httputil.ReverseProxy does) has its connection closed behind it.
// A Content-Encoding from outside says that the body is transformed on its way, so that its length is not known
// here; then there is none, as http.ServeContent does it too.
func (w *Writer) send(a *answer) {
	if a.code == 0 {
		a.code = http.StatusInternalServerError
	}
	bodyless := a.code == http.StatusNoContent || a.code == http.StatusNotModified
	if w.outer.Get("Content-Encoding") != "" {
		a.header.Del("Content-Length")
	} else if !bodyless && (a.body.Len() > 0 || a.header.Get("Content-Length") == "") {
		a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	w.rw.WriteHeader(a.code)
	if a.body.Len() > 0 {
		_, _ = w.rw.Write(a.body.Bytes()) // a client that is gone, or gets a 204, needs no body
	}
	flush(w.rw)
	w.state.Store(failed)
}
