package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Errors that callers branch on. Test with [errors.Is].
var (
	// ErrUnavailable says that the store did not answer in time, could not be reached, or refused. What was
	// sent may or may not be stored. Default response: 503 with Retry-After; the cookie is kept. A request
	// cancelled by its client is never this error, it is [context.Canceled].
	ErrUnavailable = protocol.ErrUnavailable

	// ErrNewerVersion says that a newer build of the program wrote the record. It is not touched. Default
	// response: 503 with Retry-After.
	ErrNewerVersion = protocol.ErrNewerVersion

	// ErrConflict says that other writers kept changing the session until the time was up; the stored
	// record stands. Default response: 409. A [Store] returns it from CompareAndSwap.
	ErrConflict = protocol.ErrConflict

	// ErrGone says that the session ended meanwhile: signed out, renewed or expired elsewhere. The change
	// was dropped. *T stays readable, and every save returns ErrGone until [Manager.Destroy] starts afresh.
	// Default response: 409.
	ErrGone = protocol.ErrGone

	// ErrTooLarge says that the record would exceed [Config].MaxSize; the stored one stands. Default
	// response: 500.
	ErrTooLarge = protocol.ErrTooLarge

	// ErrCommitted says that a new cookie was needed after the response header had gone; nothing was
	// stored.
	ErrCommitted = errors.New("sessions: response header already sent")

	// ErrNoSession says that the context carries no session of this Manager: the request did not pass
	// through [Manager.Handler], or Skip left it out.
	ErrNoSession = errors.New("sessions: no session in this context: wrap the handler with Manager.Handler, and do not Skip the request")

	// ErrNotFound is a [Store]'s: nothing is stored under the key.
	ErrNotFound = protocol.ErrNotFound

	// ErrExists is a [Store]'s: Create found a value under the key.
	ErrExists = protocol.ErrExists
)

// A DecodeError says that a stored record cannot be read: it is broken, or foreign, or larger than
// [Config].MaxSize. The record is left as it is.
type DecodeError struct {
	ID   string // the session's, as far as it could be read
	Path string // the field of T, or the part of the record, as far as known
	Err  error
}

// Error names the session and the part, never the content.
func (e *DecodeError) Error() string {
	msg := "sessions: record"
	if e.ID != "" {
		msg += fmt.Sprintf(" %.64q", e.ID)
	}
	if e.Path != "" {
		msg += ": " + e.Path
	}
	return msg + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// unreadable makes the error for a record that cannot be read.
func unreadable(id []byte, part string, err error) error {
	return &DecodeError{ID: string(id), Path: part, Err: err}
}

// respond is the default ErrorHandler: a status and its text. What the store said is for the log.
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
