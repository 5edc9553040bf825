// Package connectsessions answers Connect's clients, and gRPC's, where a session could not be loaded or saved.
//
// A Connect handler is one of net/http, so the sessions themselves need no interceptor: Handler goes around the mux.
//
//	m, err := sessions.New[Session](store, sessions.Config{ErrorHandler: connectsessions.ErrorHandler})
//	…
//	mux.Handle(pingv1connect.NewPingServiceHandler(service{}))
//	http.ListenAndServe(addr, m.Handler(mux))
//
// In a handler of Connect [sessions.FromContext], the verbs and Watch take the call's context. Package connectv2, in the
// folder of that name, is the same for connectrpc.com/connect/v2.
package connectsessions

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/typedsessions/sessions"
)

// ErrorHandler is a [sessions.Config].ErrorHandler that answers calls by the Connect, gRPC and gRPC-Web protocols with
// [Error], so that every client has the same code, also before the first message of a stream. All other requests get
// [sessions.DefaultErrorHandler]'s answer. A call by Connect's protocol is known by its header Connect-Protocol-Version, or
// the connect in a GET's query, which every client of Connect sends.
func ErrorHandler(w http.ResponseWriter, r *http.Request, err error) {
	writer := connect.NewErrorWriter(connect.WithRequireConnectProtocolHeader())
	if !writer.IsSupported(r) {
		sessions.DefaultErrorHandler(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	_ = writer.Write(w, r, Error(err)) // it fails only where w does
}

// Error is the error to return from a handler for one of a verb, nil for nil. Its code is Unavailable, Aborted (the call may
// be made again, with the token that the client then has), FailedPrecondition for [sessions.ErrOwnerLimit], NotFound, or
// Internal, by the error's [sessions.HTTPStatus], and its message that status' text. An error of Connect stays as it is.
func Error(err error) error {
	if _, ok := errors.AsType[*connect.Error](err); ok || err == nil {
		return err
	}
	status, code := sessions.HTTPStatus(err), connect.CodeInternal
	switch {
	case errors.Is(err, sessions.ErrOwnerLimit):
		code = connect.CodeFailedPrecondition
	case status == http.StatusServiceUnavailable:
		code = connect.CodeUnavailable
	case status == http.StatusConflict:
		code = connect.CodeAborted
	case status == http.StatusNotFound:
		code = connect.CodeNotFound
	}
	return connect.NewError(code, errors.New(http.StatusText(status)))
}
