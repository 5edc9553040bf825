package main

import (
	"context"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/test/bufconn"

	"github.com/typedsessions/sessions"
)

func TestExample(t *testing.T) {
	t.Run("W17 L1 the client keeps its token, and each of its calls is counted", func(t *testing.T) {
		m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{Transport: sessions.HeaderToken{}})
		if err != nil {
			t.Fatal(err)
		}
		server, listener := newServer(m), bufconn.Listen(1<<16)
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		for range 2 { // clients
			conn, err := grpc.NewClient("passthrough:///server",
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithChainUnaryInterceptor(keepToken()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			for n := range 3 {
				res, err := pb.NewTestServiceClient(conn).UnaryCall(t.Context(), &pb.SimpleRequest{})
				if want := fmt.Sprintf("view %d", n+1); err != nil || res.GetUsername() != want {
					t.Errorf("%q, %v, want %q", res.GetUsername(), err, want)
				}
			}
		}
	})
}
