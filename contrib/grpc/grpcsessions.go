// Package grpcsessions gives the calls of a gRPC server the sessions of package sessions.
//
//	m, err := sessions.New[Session](store, sessions.Config{Transport: sessions.HeaderToken{}})
//	…
//	server := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(grpcsessions.Unary(m)),
//		grpc.ChainStreamInterceptor(grpcsessions.Stream(m)),
//	)
//
// In a handler everything is as with net/http: [sessions.FromContext], the verbs and Watch take the call's context.
package grpcsessions

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/typedsessions/sessions"
)

// Unary returns an interceptor that gives every call its session by [sessions.Manager.Handler] of m. *T is saved when the
// handler has returned, also with an error, and before the client sees anything of the response. Interceptors that recover
// from panics go before it: then a panic saves nothing.
//
// Config's functions get the call as a request: a POST whose URL.Path is the full method, with the metadata as its header.
// Config.Transport carries the token in the metadata, so it is a [sessions.HeaderToken]. If the session cannot be loaded or
// saved, the call fails: the status by which Config.ErrorHandler answers becomes the code, and a plain text the message.
// 503 is Unavailable; 409 is Aborted, or FailedPrecondition for [sessions.ErrOwnerLimit]; 404 is NotFound, 401
// Unauthenticated, and anything else Internal. An error that the handler returns without a code, as from a verb, gets that
// of its [sessions.HTTPStatus], unless that is 500.
//
// In a handler behind it grpc.SetSendCompressor and grpc.ClientSupportedCompressors return an error: call them in an
// interceptor before it.
func Unary[T any](m *sessions.Manager[T]) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		err = serve(ctx, m.Handler, info.FullMethod, func(ctx context.Context, _ *response) (err error) {
			resp, err = handler(ctx, req)
			return err
		})
		return resp, err
	}
}

// Stream is [Unary] for streams. *T is saved before the first message or header that the handler sends; if that fails,
// nothing is sent, and SendMsg returns the error of the call. What is changed later is saved when the handler has returned,
// but a new token, as of SignIn, can no longer be sent then: the verb is [sessions.ErrCommitted].
func Stream[T any](m *sessions.Manager[T]) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return serve(stream.Context(), m.Handler, info.FullMethod, func(ctx context.Context, w *response) error {
			return handler(srv, &serverStream{stream, ctx, w})
		})
	}
}

// serve calls a handler within Handler, and returns the error of the call.
func serve(ctx context.Context, wrap func(http.Handler) http.Handler, method string, handler func(context.Context, *response) error) (err error) {
	stream := grpc.ServerTransportStreamFromContext(ctx)
	w := &response{header: http.Header{}, setHeader: stream.SetHeader}
	defer w.WriteHeader(http.StatusOK) // after a panic too: a verb that was done has put its token into the header
	wrap(http.HandlerFunc(func(inner http.ResponseWriter, r *http.Request) {
		w.inner = inner
		err = handler(grpc.NewContextWithServerTransportStream(r.Context(), callStream{stream, w}), w)
		if failed := w.commit(); failed != nil {
			err = failed
		}
	})).ServeHTTP(w, request(ctx, method))
	if w.inner == nil {
		return w.error(nil)
	}
	s := sessions.HTTPStatus(err)
	if _, known := status.FromError(err); !known && s != http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		err = status.Error(code(s, err), http.StatusText(s))
	}
	return err
}

// request is the call as Config's functions and the Transport see it.
func request(ctx context.Context, method string) *http.Request {
	r := &http.Request{Method: "POST", URL: &url.URL{Path: method}, Pattern: method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}, Body: http.NoBody}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	r.Host = strings.Join(r.Header[":authority"], "")
	delete(r.Header, ":authority")
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	return r.WithContext(ctx)
}

// A response is the http.ResponseWriter of a call. Its header becomes metadata. There is a body only if ErrorHandler
// answers.
type response struct {
	setHeader func(metadata.MD) error
	inner     http.ResponseWriter // Handler's, around this one, or this one where Config.Skip names the call
	header    http.Header
	status    int
	body      strings.Builder
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	md := metadata.MD{}
	for name, values := range w.header {
		switch name {
		case "Cache-Control", "Vary", "Content-Type", "Content-Length", "X-Content-Type-Options": // say nothing of a call
		default:
			md.Append(name, values...)
		}
	}
	_ = w.setHeader(md) // fails only where the stream is over
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// commit saves, once. If that fails, it returns the error of the call, every time.
func (w *response) commit() error {
	if _, err := w.inner.Write(nil); err != nil {
		return w.error(err)
	}
	return nil
}

func (w *response) sendHeader(stream interface{ SendHeader(metadata.MD) error }, md metadata.MD) error {
	if err := w.commit(); err != nil {
		return err
	}
	return stream.SendHeader(md)
}

// error is the error of a call that ErrorHandler has answered. err is that of the save, nil for a load.
func (w *response) error(err error) error {
	text := http.StatusText(w.status)
	if strings.HasPrefix(w.header.Get("Content-Type"), "text/plain") {
		text = strings.TrimSpace(w.body.String())
	}
	return status.Error(code(w.status, err), text)
}

// code is that for an error which is answered by this status in HTTP.
func code(status int, err error) codes.Code {
	switch {
	case errors.Is(err, sessions.ErrOwnerLimit):
		return codes.FailedPrecondition
	case status == http.StatusServiceUnavailable:
		return codes.Unavailable
	case status == http.StatusConflict:
		return codes.Aborted
	case status == http.StatusNotFound:
		return codes.NotFound
	case status == http.StatusUnauthorized:
		return codes.Unauthenticated
	}
	return codes.Internal
}

// A serverStream saves before the first message or header.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
	w   *response
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) SendMsg(msg any) error {
	if err := s.w.commit(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(msg)
}

func (s *serverStream) SendHeader(md metadata.MD) error { return s.w.sendHeader(s.ServerStream, md) }

// A callStream is the transport's stream in the handler's context: it saves before grpc.SendHeader.
type callStream struct {
	grpc.ServerTransportStream
	w *response
}

func (s callStream) SendHeader(md metadata.MD) error {
	return s.w.sendHeader(s.ServerTransportStream, md)
}
