// Example is a gRPC server with sessions and a client of it, in one program.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing" // in your program the package of your service
	"google.golang.org/grpc/metadata"

	"github.com/typedsessions/sessions"
	grpcsessions "github.com/typedsessions/sessions/contrib/grpc"
)

// Session is what the server knows about a client.
type Session struct {
	UserID string `json:"user_id"`
	Views  int    `json:"views"`
}

type service struct {
	pb.UnimplementedTestServiceServer
}

func (service) UnaryCall(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	s := sessions.FromContext[Session](ctx)
	s.Views++
	return &pb.SimpleResponse{Username: fmt.Sprintf("view %d", s.Views)}, nil
}

func newServer(m *sessions.Manager[Session]) *grpc.Server {
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcsessions.Unary(m)),
		grpc.ChainStreamInterceptor(grpcsessions.Stream(m)),
	)
	pb.RegisterTestServiceServer(server, service{})
	return server
}

// keepToken is an interceptor of a client: it keeps the token of the last response that has one, and sends it.
func keepToken() grpc.UnaryClientInterceptor {
	var token atomic.Value
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if kept, ok := token.Load().(string); ok {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", kept)
		}
		var header metadata.MD
		err := invoke(ctx, method, req, reply, conn, append(opts, grpc.Header(&header))...)
		if sent := header.Get("authorization"); len(sent) > 0 { // with an error, too
			token.Store(sent[0])
		}
		return err
	}
}

func main() {
	store := &sessions.MemoryStore{} // or sessions.NewRedisStore(rdb, sessions.RedisConfig{})
	m, err := sessions.New[Session](store, sessions.Config{Transport: sessions.HeaderToken{}})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(newServer(m).Serve(listener)) }()

	conn, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(keepToken()))
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		res, err := pb.NewTestServiceClient(conn).UnaryCall(context.Background(), &pb.SimpleRequest{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.GetUsername())
	}
}
