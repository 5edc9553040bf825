// Package response has the [Writer] that runs a commit before the first byte
// of the final response leaves, whichever method sends it: Write, WriteString,
// WriteHeader, Flush, ReadFrom or Hijack. A client that has seen a byte of the
// response can rely on what the commit did. It knows nothing of sessions.
package response

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A Committer decides what has to happen before the header leaves. Its methods
// must not use the Writer that calls them, but for Started and Err.
type Committer interface {
	// Commit runs before the header of the final response goes out, in the
	// goroutine that called the Writer, and may still change the header map.
	// An error stops the response. Commit runs once, with one exception: a
	// Hijack or Flush that the inner writer refused has sent nothing, so the
	// next call commits again.
	Commit() error

	// Reopen runs after such a refusal: the header can be changed again.
	Reopen()

	// Fail answers for the error of Commit, at most once, on a w that holds
	// the answer back until Fail returns: its length is then known. Headers
	// that described the handler's response are gone; an answer without a
	// status is a 500.
	Fail(w http.ResponseWriter, err error)

	// Interim takes out of h what belongs to the final response only, before
	// a 1xx response other than 101, and returns what puts it back, or nil.
	Interim(h http.Header) (restore func())
}

// A Writer is an [http.ResponseWriter] that commits before its first byte.
// Like net/http's own it is for one goroutine at a time; but if several call
// it, only one commits and the others wait until it has.
type Writer struct {
	rw    http.ResponseWriter
	c     Committer
	state atomic.Uint32
	mu    sync.Mutex // held while the state is left, so that nothing reaches rw during Commit
	err   error      // of Commit; errPanicked until it has returned. Not changed from failing on
}

const (
	open    = iota // nothing has gone out
	sent           // the header has gone: calls are passed on to rw
	handed         // the connection is the handler's
	failing        // Commit failed, Fail has not answered (yet)
	failed         // the error response has gone out
)

var errPanicked = errors.New("sessions: commit panicked")

// New returns a Writer on w.
func New(w http.ResponseWriter, c Committer) *Writer {
	return new(Writer).Init(w, c)
}

// Init makes a zero Writer what New returns: for one that lies in another
// struct.
func (w *Writer) Init(rw http.ResponseWriter, c Committer) *Writer {
	w.rw, w.c = rw, c
	return w
}

// Finish ends a response whose handler has returned. It commits if nothing has
// been sent, so that the response net/http then implies carries the headers, and
// answers 500 if a commit's panic was recovered on the way here. It is not for
// a handler that panicked: then nothing more is to be committed.
func (w *Writer) Finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state.Load()
	switch {
	case s == open && w.err == nil:
		if w.commit() == nil {
			w.state.Store(sent)
		}
	case s == open, s == failing:
		w.state.Store(failing) // Err is true before the client can know
		w.send(&answer{header: w.strip()})
	}
}

// Started reports whether the header can no longer be changed: sent, or about to be
// with nothing left to commit, or on a connection that was handed over. It is
// false inside Commit and Fail.
func (w *Writer) Started() bool {
	s := w.state.Load()
	return s != open && s != failing
}

// Hijacked reports whether the connection was handed over.
func (w *Writer) Hijacked() bool { return w.state.Load() == handed }

// Err returns the error of a Commit that failed, which every method now returns.
func (w *Writer) Err() error {
	if w.state.Load() < failing {
		return nil
	}
	return w.err
}

// Unwrap gives [http.ResponseController] the deadlines and the full duplex of
// the inner writer. Writing to it goes past the commit.
func (w *Writer) Unwrap() http.ResponseWriter { return w.rw }

// Header returns the inner writer's header map, and after a failed commit one
// that nobody reads: trailers, and inner writers that look at the map only
// when the handler is done, would otherwise decorate the error response.
func (w *Writer) Header() http.Header {
	if w.Err() != nil {
		return http.Header{}
	}
	return w.rw.Header()
}

// WriteHeader commits and sends the header. 1xx is no response yet and does
// not commit, but for 101, after which there is no other. A second call is
// passed on: to complain of it is net/http's business, and it does.
func (w *Writer) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		w.interim(code)
	} else if w.enter() == nil {
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
		if restore := w.c.Interim(w.rw.Header()); restore != nil {
			defer restore()
		}
	}
	if w.Err() == nil {
		w.rw.WriteHeader(code)
	}
}

func (w *Writer) Write(p []byte) (int, error) {
	if err := w.enter(); err != nil {
		return 0, err
	}
	return w.rw.Write(p)
}

// WriteString uses the inner writer's own, if it has one.
func (w *Writer) WriteString(s string) (int, error) {
	if err := w.enter(); err != nil {
		return 0, err
	}
	return io.WriteString(w.rw, s)
}

// ReadFrom uses the inner writer's own, if it has one: that is sendfile. It
// does not look for one behind Unwrap, where the body would go past a wrapper
// that compresses or counts it.
func (w *Writer) ReadFrom(src io.Reader) (n int64, err error) {
	if w.state.Load() == open {
		// The first bytes through Write, as net/http does it too: a source that
		// has none, or fails, commits nothing and leaves the handler free to answer.
		n, err = io.CopyN(struct{ io.Writer }{w}, src, 512)
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
	if err := w.enter(); err != nil {
		return n, err
	}
	rest, err := io.Copy(w.rw, src)
	return n + rest, err
}

// Flush is FlushError for those who do not ask.
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError commits and sends what there is. Where the inner writer cannot
// flush, the error is [http.ErrNotSupported] and the response is still open.
func (w *Writer) FlushError() error {
	if err := w.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(); err != nil {
		return err
	}
	err := http.NewResponseController(w.rw).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		w.state.CompareAndSwap(open, sent)
	} else if w.state.Load() == open {
		w.c.Reopen()
	}
	return err
}

// Hijack commits and hands the connection over. If the commit fails, the error
// response is sent instead. If the inner writer refuses, nothing has been sent,
// and the handler can answer in another way.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.Err(); err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(); err != nil {
		return nil, nil, err
	}
	conn, buf, err := http.NewResponseController(w.rw).Hijack()
	if err == nil {
		w.state.Store(handed)
	} else if w.state.Load() == open {
		w.c.Reopen()
	}
	return conn, buf, err
}

// Push passes on to the inner writer: a promise is not the response.
func (w *Writer) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.rw.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// enter commits, if that has not happened, for a method that sends the header
// in any case.
func (w *Writer) enter() error {
	if w.state.Load() == sent {
		return nil
	}
	return w.enterFirst()
}

func (w *Writer) enterFirst() error {
	if err := w.Err(); err != nil { // without the lock: Fail may hold it and end up here
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.ready()
	if err == nil {
		w.state.CompareAndSwap(open, sent)
	}
	return err
}

// ready commits if nobody has. It needs mu.
func (w *Writer) ready() error {
	if w.state.Load() == open {
		return w.commit()
	}
	return w.Err()
}

// commit leaves the state open on success: its caller knows whether the header
// goes out. A Commit or Fail that panics leaves err behind, so that there is no
// second one.
func (w *Writer) commit() error {
	if w.err != nil {
		return w.err
	}
	w.err = errPanicked
	if w.err = w.c.Commit(); w.err != nil {
		w.state.Store(failing)
		a := &answer{header: w.strip()}
		w.c.Fail(a, w.err)
		w.send(a)
	}
	return w.err
}

// strip removes what described the handler's response. Caching is among it: a
// 503 with the page's max-age would be kept by every cache on the way.
func (w *Writer) strip() http.Header {
	h := w.rw.Header()
	for k := range h {
		switch http.CanonicalHeaderKey(k) { // h["ETag"] is a common spelling, and Del misses it
		case "Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range",
			"Content-Disposition", "Content-Location", "Content-Digest", "Repr-Digest", "Content-Md5",
			"Accept-Ranges", "Etag", "Last-Modified", "Cache-Control", "Expires", "Location", "Refresh",
			"Trailer", "Transfer-Encoding":
			delete(h, k)
		default:
			if strings.HasPrefix(k, http.TrailerPrefix) {
				delete(h, k)
			}
		}
	}
	return h
}

// send writes the error response whole, with its length, and flushes it: the
// handler may run on for long, and one that panics at the error it now gets
// (httputil.ReverseProxy does) has its connection closed behind it.
func (w *Writer) send(a *answer) {
	if a.code == 0 {
		a.code = http.StatusInternalServerError
	}
	bodyless := a.code == http.StatusNoContent || a.code == http.StatusNotModified
	if !bodyless && (a.body.Len() > 0 || a.header.Get("Content-Length") == "") {
		a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	w.rw.WriteHeader(a.code)
	if a.body.Len() > 0 {
		_, _ = w.rw.Write(a.body.Bytes()) // a client that is gone, or gets a 204, needs no body
	}
	_ = http.NewResponseController(w.rw).Flush()
	w.state.Store(failed)
}

// An answer holds back what Fail writes.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && (code < 100 || code > 199) {
		a.code = code
	}
}
