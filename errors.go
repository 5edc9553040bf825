package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Errors for [errors.Is], and in brackets their [HTTPStatus].
var (
	// ErrUnavailable (503) says that the store did not answer in time or refused. What was sent may be stored or not.
	ErrUnavailable = protocol.ErrUnavailable
	// ErrRefused (503) is the ErrUnavailable of a store that answered and refused a write: nothing was stored.
	ErrRefused = protocol.ErrRefused
	// ErrNewerVersion (503) says that a newer build of the program wrote the record. It is not touched.
	ErrNewerVersion = protocol.ErrNewerVersion
	// ErrConflict (409) says that others saved until the time was up, or that [ConflictReject] or, with two valid sessions,
	// [Config].OnUndecodable forbids the save. Nothing was stored.
	ErrConflict = protocol.ErrConflict
	// ErrGone (409) says that the session has ended elsewhere. Nothing was stored, nor will be until [Manager.Destroy] or [Manager.SignIn].
	ErrGone = protocol.ErrGone
	// ErrOwnerLimit (409) says that the user has [Config].MaxPerOwner sessions, and that OnOwnerLimit is [Reject]. Nothing was
	// stored. It is an [OwnerStore]'s, too.
	ErrOwnerLimit = protocol.ErrOwnerLimit
	// ErrIncomplete comes with a list, of [Manager.Sessions], which may lack other sessions: the index had lost the caller's.
	ErrIncomplete = protocol.ErrIncomplete
	// ErrTooLarge (500) says that the record would exceed [Config].MaxSize. Nothing was stored.
	ErrTooLarge = protocol.ErrTooLarge
	// ErrCommitted says that a new cookie was needed after the header had been sent. Nothing was stored.
	ErrCommitted = errors.New("sessions: response header already sent")
	// ErrNoSession says that ctx did not pass through Handler or Load, or that [Config].Skip named the request.
	ErrNoSession = errors.New("sessions: no session of this Manager in this context: wrap the handler with its Handler, and do not Skip the request")
	// ErrNotFound is a [Store]'s: nothing is stored under the key. From [Manager.Revoke]: the user has no such session.
	ErrNotFound = protocol.ErrNotFound
	// ErrExists is a [Store]'s: Create found a value under the key.
	ErrExists = protocol.ErrExists
)

// A DecodeError (500) says that a stored record cannot be read. It is left as it is. [Config].OnUndecodable decides
// whether the request that came with it fails.
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

// HTTPStatus is the status for err in a response: the one in brackets above, 404 for ErrNotFound, 503 for [context.Canceled],
// and 500 for any other error. It is 200 for nil.
func HTTPStatus(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case mayPass(err), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrConflict), errors.Is(err, ErrGone), errors.Is(err, ErrOwnerLimit):
		return http.StatusConflict
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// DefaultErrorHandler is the default of [Config].ErrorHandler. It answers with [HTTPStatus] and its text, with Retry-After
// where the same request may succeed a second later. Nothing of err is in the response, because it is for the log. A
// handler may call it for the error of a verb, and an ErrorHandler of your own for what it does not answer itself.
func DefaultErrorHandler(w http.ResponseWriter, _ *http.Request, err error) {
	if mayPass(err) {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(HTTPStatus(err)), HTTPStatus(err))
}

// mayPass tells of an error that has nothing to do with the request.
func mayPass(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNewerVersion)
}
