package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Errors for [errors.Is], and in brackets the status of the default response.
var (
	// ErrUnavailable (503) says that the store did not answer in time or refused. What was sent may be stored or not.
	ErrUnavailable = protocol.ErrUnavailable
	// ErrRefused (503) is the ErrUnavailable of a store that answered and refused a write: nothing was stored.
	ErrRefused = protocol.ErrRefused
	// ErrNewerVersion (503) says that a newer build of the program wrote the record. It is not touched.
	ErrNewerVersion = protocol.ErrNewerVersion
	// ErrConflict (409) says that others saved until the time was up, or [ConflictReject] applies. Nothing was stored.
	ErrConflict = protocol.ErrConflict
	// ErrGone (409) says that the session has ended elsewhere. Nothing was stored, nor will be until [Manager.Destroy] or [Manager.SignIn].
	ErrGone = protocol.ErrGone
	// ErrTooLarge (500) says that the record would exceed [Config].MaxSize. Nothing was stored.
	ErrTooLarge = protocol.ErrTooLarge
	// ErrCommitted says that a new cookie was needed after the header had been sent. Nothing was stored.
	ErrCommitted = errors.New("sessions: response header already sent")
	// ErrNoSession says that ctx did not pass through Handler or Load, or that [Config].Skip named the request.
	ErrNoSession = errors.New("sessions: no session in this context: wrap the handler with Manager.Handler, and do not Skip the request")
	// ErrNotFound is a [Store]'s: nothing is stored under the key.
	ErrNotFound = protocol.ErrNotFound
	// ErrExists is a [Store]'s: Create found a value under the key.
	ErrExists = protocol.ErrExists
)

// A DecodeError says that a stored record cannot be read. It is left as it is.
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

// defaultErrorHandler is the default ErrorHandler: a status and its text. What the store said is for the log.
func defaultErrorHandler(w http.ResponseWriter, _ *http.Request, err error) {
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
