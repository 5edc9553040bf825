package sessions

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// A Manager loads and saves the sessions of a program as values of T. It is
// safe for concurrent use; New makes it. A program needs one for each T. Two in
// one program need a cookie name and a [Config].Realm each, or they answer for
// each other's sessions.
type Manager[T any] struct {
	core *core
}

// New returns a Manager that keeps its sessions in store. T is a struct that
// the codec can encode and decode. The error names every mistake in cfg and T
// at once, each with its field and its remedy; New does no I/O.
func New[T any](store Store, cfg Config) (*Manager[T], error) {
	typ := reflect.TypeFor[T]()
	info := typeInfo{
		typ: typ, name: typ.String(), key: typeKey[T]{},
		blank:  func() any { return new(T) },
		assign: func(dst, src any) { *dst.(*T) = *src.(*T) },
	}
	_, info.defaulted = any((*T)(nil)).(Defaulted)
	_, info.owned = any((*T)(nil)).(Owned)
	_, info.versioned = any((*T)(nil)).(Versioned)
	if _, ok := any((*T)(nil)).(Merging[T]); ok {
		info.mergeSession = func(mine, base, theirs any) error {
			return mine.(Merging[T]).MergeSession(base.(*T), theirs.(*T))
		}
	}
	c, err := newCore(store, cfg, info)
	if err != nil {
		return nil, err
	}
	return &Manager[T]{c}, nil
}

// typeKey finds the session of a type in a context.
type typeKey[T any] struct{}

// Handler gives every request that next serves its session. Whatever *T has
// become is saved before the first byte of the response leaves, by whatever
// door, so that whoever has seen a byte finds it saved; what changes after
// that is saved when next returns. A panic of next saves nothing more and goes
// on; a middleware that recovers belongs outside Handler. After a Hijack nothing
// is saved by itself: call Save.
//
// A request whose session cannot be loaded is answered by Config.ErrorHandler;
// next does not see it. Wrapping twice is wrapping once.
func (m *Manager[T]) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.core.serve(w, r, next)
	})
}

// Load finds the session of the first valid token and returns a context that
// carries it, for everything that is not HTTP: gRPC metadata, a WebSocket
// message, a job. It behaves as in Handler: at most four tokens are tried, an
// unknown one is no error, two different valid ones give neither. Skip, Passive
// and Label are for requests and not asked. On an error the context is ctx
// itself.
//
// Changes are saved by [Manager.Commit], and by the verbs; those after the last
// Commit are the caller's to lose.
func (m *Manager[T]) Load(ctx context.Context, tokens ...string) (context.Context, error) {
	s, err := m.core.load(ctx, tokens, false)
	if err != nil {
		return ctx, err
	}
	return s, nil
}

// Commit saves what has changed and tells what the client must learn of it: if
// the Outcome is OutcomeCreated or OutcomeRenewed its Token, if it is
// OutcomeDestroyed that its token is void. It may be called again; each call
// tells what happened since the last. The Outcome is valid with an error too: a
// verb may have made a new token before the save that failed. In an HTTP request Handler does all that:
// there Commit is Save, and tells what the response will say so far.
func (m *Manager[T]) Commit(ctx context.Context) (Outcome, error) {
	var o Outcome
	err := m.do(ctx, "commit", func(ctx context.Context, s *session) error {
		err := s.commit(ctx)
		o = s.result()
		if s.r == nil && err == nil {
			s.outcome = OutcomeUnchanged
		}
		return err
	})
	return o, err
}

// serve is a request from end to end.
func (m *core) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if s, ok := r.Context().Value(m).(*session); ok && s.m == m {
		next.ServeHTTP(w, r)
		return
	}
	if m.Skip != nil && m.Skip(r) {
		inner := r.WithContext(&session{Context: r.Context(), m: m, skipped: true})
		defer giveBack(r, inner)
		next.ServeHTTP(w, inner)
		return
	}
	passive := m.Passive != nil && m.Passive(r)
	s, err := m.load(r.Context(), m.Transport.Tokens(r), passive)
	if err != nil {
		// A later save would overwrite a record that nobody has seen.
		addVary(w.Header(), m.Transport.Vary(), nil)
		m.ErrorHandler(w, r, err)
		return
	}
	inner := r.WithContext(s)
	s.mu.Lock() // a hook may have started a verb
	s.r, s.inner, s.w = r, inner, s.writer.Init(w, s)
	s.mu.Unlock()
	defer s.close()
	defer giveBack(r, inner)
	defer s.settle()
	next.ServeHTTP(s.w, inner)
	s.finish()
}

// settle ends the panic by which a handler gives up on a response that could
// not be written, as httputil.ReverseProxy does: after a failed save the error
// response is complete, and over HTTP/2 the panic would break it off.
func (s *session) settle() {
	if s.w.Err() == nil {
		return
	}
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
}

// giveBack shows the server what became of its request: it looks there for
// temporary files to remove, and outer middleware for the route to log.
func giveBack(r, inner *http.Request) {
	r.MultipartForm, r.Form, r.PostForm, r.Pattern = inner.MultipartForm, inner.Form, inner.PostForm, inner.Pattern
}

// Commit implements [response.Committer]: the header is about to go.
func (s *session) Commit() error {
	err := s.saveAndWrite() // with its events: what a hook does to the token is in the header
	s.setSent(true)
	return err
}

// Reopen implements [response.Committer].
func (s *session) Reopen() { s.setSent(false) }

func (s *session) setSent(sent bool) {
	s.own()
	defer s.mu.Unlock()
	s.sent = sent
}

func (s *session) saveAndWrite() error {
	s.lock("commit")
	defer s.release()
	err := s.save()
	if err != nil {
		s.failed(err)
	}
	s.writeHeader()
	return err
}

// save is a commit that nobody asked for. Once a verb has told the handler that
// the session could not be saved, the response is the handler's: a second
// failure does not replace it, and a store that did not answer is not asked
// again. What a user changes by signing in must never be stored under the token
// from before: after a sign-in that failed, nothing is saved.
func (s *session) save() error {
	if s.barred != nil || errors.Is(s.told, ErrGone) || errors.Is(s.told, ErrUnavailable) {
		return nil
	}
	s.auto = true
	defer func() { s.auto = false }()
	err := s.commit(s)
	switch {
	case errors.Is(err, errLeft):
		s.event(EventLateChange, context.DeadlineExceeded)
		return nil
	case err != nil && s.told != nil:
		s.failed(err)
		return nil
	}
	return err
}

// Fail implements [response.Committer]: it answers for a failed commit. What a
// verb had completed, here or before, is in that answer.
func (s *session) Fail(w http.ResponseWriter, err error) {
	s.m.ErrorHandler(w, s.inner, err)
	s.lock("commit")
	defer s.release()
	s.writeInto(w.Header())
}

// Interim implements [response.Committer]: what the session has put into the
// header is for the final response.
func (s *session) Interim(h http.Header) (restore func()) {
	s.own()
	defer s.mu.Unlock()
	mine := http.Header{}
	if !s.m.Transport.Write(mine, s.r, s.result()) {
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

// finish is step 7: next has returned.
func (s *session) finish() {
	started := s.w.Started()
	s.w.Finish()
	if !started || s.w.Hijacked() || s.w.Err() != nil {
		return
	}
	s.lock("commit")
	defer s.release()
	if err := s.save(); err != nil {
		s.event(EventLateChange, err)
	}
}

// close ends the session's say in the response.
func (s *session) close() {
	s.lock("commit")
	defer s.release()
	s.sent = true
	switch s.outcome {
	case OutcomeCreated, OutcomeRenewed:
		if err := s.Err(); err != nil {
			s.event(EventUndelivered, err)
		}
	}
	s.r, s.inner, s.w = nil, nil, nil
}

// detach gives a save its own time: a client that hangs up loses nothing.
func (s *session) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.m.budget)
}

// writeHeader brings the outcome into the header, again each time.
func (s *session) writeHeader() {
	if s.w != nil && !s.sent {
		s.writeInto(s.w.Header())
	}
}

func (s *session) writeInto(h http.Header) {
	o := s.result()
	sent := s.m.Transport.Write(h, s.r, o)
	if !sent && !o.Used {
		return
	}
	addVary(h, s.m.Transport.Vary(), s.lines[:0:1])
	cacheControl(h, sent, s.lines[1:1:2])
	if proto, _, _ := strings.Cut(s.r.Header.Get("X-Forwarded-Proto"), ","); sent && s.r.TLS == nil && !strings.EqualFold(proto, "https") {
		t, ok := s.m.Transport.(interface{ Secure() bool })
		if ok && t.Secure() && s.m.warned.CompareAndSwap(false, true) {
			s.event(eventInsecure, nil)
		}
	}
}

// addVary adds the names to Vary that are not there yet; to space if there is
// no line.
func addVary(h http.Header, names string, space []string) {
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); !varies(h["Vary"], name) {
			lines := h["Vary"]
			if len(lines) == 0 {
				h["Vary"] = append(space, names)
				return
			}
			h["Vary"] = append(slices.Clip(lines), name)
		}
	}
}

func varies(lines []string, name string) bool {
	for _, line := range lines {
		for field := range strings.SplitSeq(line, ",") {
			if field = strings.TrimSpace(field); field == "*" || strings.EqualFold(field, name) {
				return true
			}
		}
	}
	return false
}

// cacheControl keeps shared caches away: from a response that used the session
// unless the handler said otherwise, from one that carries a token in any case
// (RFC 9111 section 5.2.2, ASVS 5.0 14.3.2).
func cacheControl(h http.Header, sent bool, space []string) {
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		lines = append(space, "private")
		h["Cache-Control"] = lines
	}
	if !sent {
		return
	}
	var kept []string
	stored := true
	for _, line := range lines {
		for _, d := range directives(line) {
			name, _, _ := strings.Cut(d, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "public", "s-maxage":
				continue
			case "no-store":
				stored = false
			}
			kept = append(kept, d)
		}
	}
	if stored {
		kept = append(kept, "no-store")
	}
	h["Cache-Control"] = []string{strings.Join(kept, ", ")}
}

// directives splits at the commas outside quotes.
func directives(line string) []string {
	quoted := false
	parts := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// respond is the default ErrorHandler: a status and its text. What the store
// said is for the log.
func respond(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNewerVersion):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, context.Canceled):
		status = http.StatusServiceUnavailable
	case errors.Is(err, ErrConflict), errors.Is(err, ErrGone):
		status = http.StatusConflict
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}
