// Example is a Connect server with sessions.
package main

import (
	"context"
	"log"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/typedsessions/sessions"
	connectsessions "github.com/typedsessions/sessions/contrib/connect"
)

// Session is what the server knows about a client.
type Session struct {
	UserID string `json:"user_id"`
	Views  int    `json:"views"`
}

type service struct {
	m *sessions.Manager[Session]
}

func (s *service) Count(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.Int32Value, error) {
	session := sessions.FromContext[Session](ctx)
	session.Views++
	return wrapperspb.Int32(int32(session.Views)), nil
}

func (s *service) SignOut(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	if err := s.m.Destroy(ctx); err != nil {
		return nil, connectsessions.Error(err)
	}
	return &emptypb.Empty{}, nil
}

// newServiceHandler stands for what protoc-gen-connect-go makes of your service.
func newServiceHandler(s *service) (string, http.Handler) {
	mux := http.NewServeMux()
	mux.Handle("/views.v1.Views/Count", connect.NewUnaryHandlerSimple("/views.v1.Views/Count", s.Count))
	mux.Handle("/views.v1.Views/SignOut", connect.NewUnaryHandlerSimple("/views.v1.Views/SignOut", s.SignOut))
	return "/views.v1.Views/", mux
}

func routes(m *sessions.Manager[Session]) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(newServiceHandler(&service{m}))
	return m.Handler(mux)
}

func main() {
	store := &sessions.MemoryStore{} // or sessions.NewRedisStore(rdb, sessions.RedisConfig{})
	m, err := sessions.New[Session](store, sessions.Config{ErrorHandler: connectsessions.ErrorHandler})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", routes(m)))
}
