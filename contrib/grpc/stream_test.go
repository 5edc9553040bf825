package grpcsessions_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/typedsessions/sessions"
)

type outputStream = grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]

// stream calls the method that answers by a stream, and lets look see the session when each message arrives.
func (c *client) stream(f func(stream outputStream) error, look func()) (messages int, err error) {
	c.t.Helper()
	c.output = f
	stream, err := pb.NewTestServiceClient(c.conn).StreamingOutputCall(c.context(), &pb.StreamingOutputCallRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		_, err := stream.Recv()
		if header, headerErr := stream.Header(); headerErr == nil {
			c.keep(header)
		}
		if err == io.EOF {
			err = nil
		} else if err == nil {
			messages++
			look()
			continue
		}
		return messages, err
	}
}

func TestStream(t *testing.T) {
	send := func(s outputStream) error { return s.Send(&pb.StreamingOutputCallResponse{}) }

	t.Run("W17 W10 the session is saved before the first message, and a later change when the handler returns", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		arrived := make(chan struct{})
		n, err := c.stream(func(s outputStream) error {
			_ = count(s.Context())
			if err := send(s); err != nil {
				return err
			}
			<-arrived
			return count(s.Context())
		}, func() {
			if a, ok := c.stored(); !ok || a.Views != 1 {
				t.Errorf("when the message arrives %+v is stored: %t", a, ok)
			}
			close(arrived)
		})
		if a, _ := c.stored(); n != 1 || err != nil || a.Views != 2 {
			t.Errorf("%d messages, %v, %+v is stored", n, err, a)
		}
	})

	t.Run("W1 a header and a stream without messages carry the token, too", func(t *testing.T) {
		for name, f := range map[string]func(s outputStream) error{
			"Stream.SendHeader": func(s outputStream) error { return s.SendHeader(metadata.Pairs("sent", "1")) },
			"grpc.SendHeader":   func(s outputStream) error { return grpc.SendHeader(s.Context(), metadata.Pairs("sent", "1")) },
			"nothing":           func(outputStream) error { return nil },
		} {
			c := newServer(t, sessions.Config{}).client()
			_, err := c.stream(func(s outputStream) error { _ = count(s.Context()); return f(s) }, func() {})
			if a, ok := c.stored(); err != nil || !ok || a.Views != 1 || (len(c.header["sent"]) == 0) != (name == "nothing") {
				t.Errorf("%s: %v, %+v is stored: %t, header %v", name, err, a, ok, c.header)
			}
		}
	})

	t.Run("W17 W7 a failed save fails the stream at its first message, which is not sent", func(t *testing.T) {
		c := broken(sessions.ErrUnavailable)(t)
		n, err := c.stream(func(s outputStream) error {
			_ = count(s.Context())
			wantCode(t, send(s), codes.Unavailable, "Service Unavailable")
			wantCode(t, s.SendHeader(nil), codes.Unavailable, "Service Unavailable")
			wantCode(t, send(s), codes.Unavailable, "Service Unavailable")
			return nil // as if the handler had not looked
		}, func() {})
		wantCode(t, err, codes.Unavailable, "Service Unavailable")
		if n > 0 {
			t.Errorf("%d messages", n)
		}
	})

	t.Run("W6 a sign-in after the first message is ErrCommitted", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		_, err := c.stream(func(s outputStream) error {
			if err := send(s); err != nil {
				return err
			}
			if err := signIn(c, "ann")(s.Context()); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("SignIn: %v", err)
			}
			return nil
		}, func() {})
		if err != nil || c.token != "" {
			t.Errorf("%v, token %q", err, c.token)
		}
	})

	t.Run("W17 C13 a failed load fails the stream, and the handler does not run", func(t *testing.T) {
		c := stored(t)
		c.store.load = sessions.ErrUnavailable
		_, err := c.stream(func(outputStream) error { t.Error("the handler runs"); return nil }, func() {})
		wantCode(t, err, codes.Unavailable, "Service Unavailable")
	})

	t.Run("O15 Watch ends a stream when its session ends", func(t *testing.T) {
		c := newServer(t, sessions.Config{WatchInterval: 50 * time.Millisecond}).client()
		c.must(signIn(c, "ann"))
		_, err := c.stream(func(s outputStream) error {
			ctx, stop := c.m.Watch(s.Context())
			defer stop()
			if err := send(s); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, func() {
			if _, err := c.m.RevokeAll(t.Context(), "ann"); err != nil {
				t.Error(err)
			}
		})
		wantCode(t, err, codes.Aborted, "Conflict")
	})

	t.Run("W1 a stream of the client's has the session before its first message and after its last", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		c.input = func(s grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
			for {
				_ = count(s.Context())
				if _, err := s.Recv(); err == io.EOF {
					return s.SendAndClose(&pb.StreamingInputCallResponse{})
				} else if err != nil {
					return err
				}
			}
		}
		stream, err := pb.NewTestServiceClient(c.conn).StreamingInputCall(c.context())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := stream.Send(&pb.StreamingInputCallRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stream.CloseAndRecv(); err != nil {
			t.Fatal(err)
		}
		header, err := stream.Header()
		if err != nil {
			t.Fatal(err)
		}
		c.keep(header)
		if a, _ := c.stored(); a.Views != 3 {
			t.Errorf("%+v is stored", a)
		}
	})
}
