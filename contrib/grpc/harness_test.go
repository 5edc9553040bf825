package grpcsessions_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/typedsessions/sessions"
	grpcsessions "github.com/typedsessions/sessions/contrib/grpc"
)

// Account is what the tests' server knows of a client.
type Account struct {
	UserID string
	Views  int
}

func (a *Account) SessionOwner() string { return a.UserID }

// failing is a store whose loads or saves can fail.
type failing struct {
	*sessions.MemoryStore
	load, save error
	calls      atomic.Int32
	touch      atomic.Int64 // what the last load restarted the expiry by
}

func (s *failing) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	s.calls.Add(1)
	s.touch.Store(int64(touch))
	if s.load != nil {
		return nil, 0, s.load
	}
	return s.MemoryStore.Load(ctx, key, touch)
}

func (s *failing) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.calls.Add(1)
	if s.save != nil {
		return s.save
	}
	return s.MemoryStore.Create(ctx, key, data, ttl)
}

func (s *failing) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	s.calls.Add(1)
	if s.save != nil {
		return sessions.Placed{}, s.save
	}
	return s.MemoryStore.Place(ctx, p)
}

func (s *failing) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.calls.Add(1)
	if s.save != nil {
		return nil, s.save
	}
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// A server serves gRPC's test service. Each test sets the functions that it calls, before the call.
type server struct {
	pb.UnimplementedTestServiceServer
	m      *sessions.Manager[Account]
	store  *failing
	unary  func(ctx context.Context) error
	output func(stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error
	input  func(stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error
	events chan sessions.EventKind // the last ones
	conn   *grpc.ClientConn
	t      *testing.T
}

func (s *server) UnaryCall(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	err := s.unary(ctx)
	views := 0
	if a, ok := sessions.Lookup[Account](ctx); ok {
		views = a.Views
	}
	return &pb.SimpleResponse{Username: strconv.Itoa(views)}, err
}

func (s *server) StreamingOutputCall(_ *pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	return s.output(stream)
}

func (s *server) StreamingInputCall(stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	return s.input(stream)
}

// newServer starts a server whose Manager has this Config; before and after are the interceptors around those of the
// Manager.
func newServer(t *testing.T, cfg sessions.Config, around ...grpc.UnaryServerInterceptor) *server {
	t.Helper()
	s := &server{store: &failing{MemoryStore: &sessions.MemoryStore{}}, events: make(chan sessions.EventKind, 100), t: t, unary: func(context.Context) error { return nil }}
	if cfg.Transport == nil {
		cfg.Transport = sessions.HeaderToken{}
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.OnEvent = func(_ context.Context, e sessions.Event) { s.events <- e.Kind }
	var err error
	if s.m, err = sessions.New[Account](s.store, cfg); err != nil {
		t.Fatal(err)
	}
	unary, at := []grpc.UnaryServerInterceptor{grpcsessions.Unary(s.m)}, 0
	for _, i := range around {
		if i == nil {
			at = len(unary) // what follows goes after the Manager's
			continue
		}
		unary = slices.Insert(unary, at, i)
	}
	listener := bufconn.Listen(1 << 16)
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(grpcsessions.Stream(s.m)))
	pb.RegisterTestServiceServer(srv, s)
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(srv.Stop)
	s.conn, err = grpc.NewClient("passthrough:///server",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("phone"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// A client keeps its token, as an app does.
type client struct {
	*server
	token  string      // with "Bearer ", as it comes and goes
	header metadata.MD // the last call's
}

func (s *server) client() *client { return &client{server: s} }

func (c *client) context() context.Context {
	if c.token == "" {
		return c.t.Context()
	}
	return metadata.AppendToOutgoingContext(c.t.Context(), "authorization", c.token)
}

func (c *client) keep(header metadata.MD) {
	if c.header = header; len(header["authorization"]) > 0 {
		c.token = header["authorization"][0]
	}
}

// call calls the unary method with a handler, and returns the views that it answers.
func (c *client) call(f func(ctx context.Context) error) (views string, err error) {
	return c.callBy(c.context(), f)
}

func (c *client) callBy(ctx context.Context, f func(ctx context.Context) error) (views string, err error) {
	c.unary = f
	var header metadata.MD
	res, err := pb.NewTestServiceClient(c.conn).UnaryCall(ctx, &pb.SimpleRequest{}, grpc.Header(&header))
	c.keep(header)
	return res.GetUsername(), err
}

// must is call that succeeds.
func (c *client) must(f func(ctx context.Context) error) string {
	c.t.Helper()
	views, err := c.call(f)
	if err != nil {
		c.t.Fatal(err)
	}
	return views
}

// stored is what the store has under the client's token.
func (c *client) stored() (a Account, ok bool) {
	c.t.Helper()
	ctx, err := c.m.Load(c.t.Context(), trimBearer(c.token))
	if err != nil {
		c.t.Fatal(err)
	}
	return *c.m.FromContext(ctx), !c.m.Info(ctx).New
}

func trimBearer(token string) string { return token[min(len("Bearer "), len(token)):] }

func count(ctx context.Context) error {
	sessions.FromContext[Account](ctx).Views++
	return nil
}

func wantCode(t *testing.T, err error, want codes.Code, text string) {
	t.Helper()
	if s, ok := status.FromError(err); !ok || s.Code() != want || s.Message() != text {
		t.Errorf("the error is %v, want %v with %q", err, want, text)
	}
}
