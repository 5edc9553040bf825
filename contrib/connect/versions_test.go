package connectsessions_test

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"
	connect2 "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	connectsessions "github.com/typedsessions/sessions/contrib/connect"
	"github.com/typedsessions/sessions/contrib/connect/connectv2"
)

const (
	unaryMethod  = "/views.v1.Views/Count"
	streamMethod = "/views.v1.Views/Watch"
)

// A service has the two methods; the tests set them.
type service struct {
	unary  func(ctx context.Context) (string, error)
	stream func(ctx context.Context, send func(string) error) error
}

// A caller is a client of a service.
type caller struct {
	unary  func(ctx context.Context) (string, error)
	stream func(ctx context.Context) ([]string, error)
	code   func(err error) string
}

// A version is one of Connect's, with what this module has for it.
type version struct {
	name         string
	errorHandler func(w http.ResponseWriter, r *http.Request, err error)
	toError      func(err error) error
	mount        func(mux *http.ServeMux, s *service)
	client       func(c *http.Client, url, protocol string) caller
}

var versions = []version{
	{
		"v1", connectsessions.ErrorHandler, connectsessions.Error,
		func(mux *http.ServeMux, s *service) {
			mux.Handle(unaryMethod, connect.NewUnaryHandlerSimple(unaryMethod, func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
				text, err := s.unary(ctx)
				return wrapperspb.String(text), err
			}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
			mux.Handle(streamMethod, connect.NewServerStreamHandlerSimple(streamMethod, func(ctx context.Context, _ *emptypb.Empty, stream *connect.ServerStream[wrapperspb.StringValue]) error {
				return s.stream(ctx, func(text string) error { return stream.Send(wrapperspb.String(text)) })
			}))
		},
		func(c *http.Client, url, protocol string) caller {
			options := map[string][]connect.ClientOption{"connect": nil, "get": {connect.WithHTTPGet()}, "grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()}}[protocol]
			unary := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](c, url+unaryMethod, append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects))...)
			stream := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](c, url+streamMethod, options...)
			return caller{
				func(ctx context.Context) (string, error) {
					res, err := unary.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{}))
					if err != nil {
						return "", err
					}
					return res.Msg.GetValue(), nil
				},
				func(ctx context.Context) (texts []string, err error) {
					s, err := stream.CallServerStream(ctx, connect.NewRequest(&emptypb.Empty{}))
					if err != nil {
						return nil, err
					}
					defer s.Close()
					for s.Receive() {
						texts = append(texts, s.Msg().GetValue())
					}
					return texts, s.Err()
				},
				func(err error) string { return connect.CodeOf(err).String() },
			}
		},
	},
	{
		"v2", connectv2.ErrorHandler, connectv2.Error,
		func(mux *http.ServeMux, s *service) {
			server := connect2.NewServer()
			server.Register(connect2.Method{Spec: unarySpec, Handler: func(ctx context.Context, _ connect2.Spec, stream connect2.ServerStream) error {
				if err := stream.Receive(&emptypb.Empty{}); err != nil {
					return err
				}
				text, err := s.unary(ctx)
				if err != nil {
					return err
				}
				return stream.Send(wrapperspb.String(text))
			}}, connect2.Method{Spec: streamSpec, Handler: func(ctx context.Context, _ connect2.Spec, stream connect2.ServerStream) error {
				if err := stream.Receive(&emptypb.Empty{}); err != nil {
					return err
				}
				return s.stream(ctx, func(text string) error { return stream.Send(wrapperspb.String(text)) })
			}})
			connecthttp.Mount(mux, server)
		},
		func(c *http.Client, url, protocol string) caller {
			options := map[string][]connecthttp.Option{"connect": nil, "get": {connecthttp.WithHTTPGet()}, "grpc": {connecthttp.WithGRPC()}, "grpcweb": {connecthttp.WithGRPCWeb()}}[protocol]
			client := connect2.NewClient(connecthttp.NewTransport(c, url, options...))
			return caller{
				func(ctx context.Context) (string, error) {
					var text wrapperspb.StringValue
					err := client.CallUnary(ctx, unarySpec, &emptypb.Empty{}, &text)
					return text.GetValue(), err
				},
				func(ctx context.Context) (texts []string, err error) {
					s, err := client.CallServerStream(ctx, streamSpec, &emptypb.Empty{})
					if err != nil {
						return nil, err
					}
					defer s.Close()
					for {
						var text wrapperspb.StringValue
						if err := s.Receive(&text); errors.Is(err, io.EOF) {
							return texts, nil
						} else if err != nil {
							return texts, err
						}
						texts = append(texts, text.GetValue())
					}
				},
				func(err error) string { return connect2.CodeOf(err).String() },
			}
		},
	},
}

var (
	unarySpec  = connect2.Spec{Procedure: unaryMethod, IdempotencyLevel: connect2.IdempotencyNoSideEffects}
	streamSpec = connect2.Spec{Procedure: streamMethod, StreamType: connect2.StreamTypeServer}
)
