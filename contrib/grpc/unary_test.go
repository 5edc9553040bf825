package grpcsessions_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/typedsessions/sessions"
)

func TestUnary(t *testing.T) {
	t.Run("W17 L1 W1 a new session's token is in the header, and the second call is counted", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		for want := range 3 {
			if got := c.must(count); got != fmt.Sprint(want+1) {
				t.Errorf("%s views, want %d", got, want+1)
			}
			if sent := c.header.Get("authorization"); (len(sent) == 1) != (want == 0) {
				t.Errorf("call %d sends %d tokens", want, len(sent))
			}
			for _, name := range []string{"cache-control", "vary"} {
				if len(c.header[name]) > 0 {
					t.Errorf("the header has %s", name)
				}
			}
		}
		if a, _ := c.stored(); a.Views != 3 || !strings.HasPrefix(c.token, "Bearer ") {
			t.Errorf("%+v is stored", a)
		}
	})

	t.Run("L2 who has no session and changes nothing gets no token and costs no call of the store", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		c.must(func(ctx context.Context) error { _ = sessions.FromContext[Account](ctx); return nil })
		if n := c.store.calls.Load(); n > 0 || c.token != "" {
			t.Errorf("%d calls, token %q", n, c.token)
		}
	})

	t.Run("L5 an error of the handler goes out as it is, and what it has changed is saved", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		_, err := c.call(func(ctx context.Context) error {
			_ = count(ctx)
			return status.Error(codes.AlreadyExists, "taken")
		})
		wantCode(t, err, codes.AlreadyExists, "taken")
		if a, _ := c.stored(); a.Views != 1 {
			t.Errorf("%+v is stored", a)
		}
		_, err = c.call(func(context.Context) error { return errors.New("a plain one") })
		wantCode(t, err, codes.Unknown, "a plain one")
		_, err = c.call(func(context.Context) error { return context.Canceled })
		wantCode(t, err, codes.Canceled, "context canceled")
	})

	t.Run("L12 L10 SignIn, Renew and Destroy", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		c.must(count)
		before := c.token
		c.must(func(ctx context.Context) error {
			sessions.FromContext[Account](ctx).UserID = "ann"
			return c.m.SignIn(ctx)
		})
		if a, _ := c.stored(); c.token == before || a.UserID != "ann" || a.Views != 1 {
			t.Errorf("%+v is stored; the token is the one from before: %t", a, c.token == before)
		}
		before = c.token
		c.must(c.m.Renew)
		if _, ok := c.stored(); c.token == before || !ok {
			t.Errorf("renewed: %t, stored: %t", c.token != before, ok)
		}
		c.must(c.m.Destroy)
		if _, ok := c.stored(); ok || len(c.header["authorization"]) > 0 {
			t.Errorf("stored: %t, header %v", ok, c.header["authorization"])
		}
	})

	t.Run("W17 W1 grpc.SendHeader saves first, and sends the token", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		c.must(func(ctx context.Context) error {
			_ = count(ctx)
			if err := grpc.SetHeader(ctx, metadata.Pairs("set", "1")); err != nil {
				return err
			}
			return grpc.SendHeader(ctx, metadata.Pairs("sent", "2"))
		})
		if a, _ := c.stored(); a.Views != 1 || c.header.Get("set")[0] != "1" || c.header.Get("sent")[0] != "2" {
			t.Errorf("%+v is stored, header %v", a, c.header)
		}
		c.store.save = sessions.ErrUnavailable
		_, err := c.call(func(ctx context.Context) error {
			_ = count(ctx)
			err := grpc.SendHeader(ctx, metadata.Pairs("sent", "3"))
			wantCode(t, err, codes.Unavailable, "Service Unavailable")
			return nil
		})
		wantCode(t, err, codes.Unavailable, "Service Unavailable")
		if len(c.header["sent"]) > 0 {
			t.Errorf("the header is sent: %v", c.header)
		}
	})

	t.Run("W12 F3 a client that goes does not keep the change from being saved, and the handler sees its deadline", func(t *testing.T) {
		c := newServer(t, sessions.Config{}).client()
		c.must(count)
		for len(c.events) > 0 {
			<-c.events
		}
		ctx, cancel := context.WithTimeout(c.context(), time.Hour)
		_, err := c.callBy(ctx, func(ctx context.Context) error {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Hour {
				t.Errorf("deadline %v, %t", at, ok)
			}
			_ = count(ctx)
			cancel()
			<-ctx.Done()
			return ctx.Err()
		})
		for <-c.events != sessions.EventSaved { // the client does not wait for it
		}
		if a, _ := c.stored(); a.Views != 2 || status.Code(err) != codes.Canceled {
			t.Errorf("%+v is stored, error %v", a, err)
		}
	})
}

func TestUnaryFailures(t *testing.T) {
	full := func(t *testing.T) *client { // ann has all sessions that she may have
		c := newServer(t, sessions.Config{MaxPerOwner: 1, OnOwnerLimit: sessions.Reject}).client()
		c.must(signIn(c, "ann"))
		return c.client()
	}
	for _, row := range []struct {
		desc string
		make func(t *testing.T) *client
		code codes.Code
		text string
		do   func(c *client) func(ctx context.Context) error
	}{
		{"the store does not answer", broken(sessions.ErrUnavailable), codes.Unavailable, "Service Unavailable", changes},
		{"another call has saved", stored, codes.Aborted, "Conflict", func(c *client) func(context.Context) error {
			return func(ctx context.Context) error {
				other, err := c.m.Load(context.Background(), trimBearer(c.token))
				if err != nil {
					return err
				}
				_ = count(ctx)
				return c.m.Update(other, func(a *Account) error { a.Views = 7; return nil })
			}
		}},
		{"the session has ended", stored, codes.Aborted, "Conflict", func(c *client) func(context.Context) error {
			return func(ctx context.Context) error {
				_ = count(ctx)
				_, err := c.m.RevokeAll(context.Background(), "ann")
				return err
			}
		}},
		{"the user has too many sessions", full, codes.FailedPrecondition, "Conflict", func(*client) func(context.Context) error {
			return func(ctx context.Context) error { sessions.FromContext[Account](ctx).UserID = "ann"; return nil }
		}},
		{"the record is too large", stored, codes.Internal, "Internal Server Error", func(*client) func(context.Context) error {
			return func(ctx context.Context) error {
				sessions.FromContext[Account](ctx).UserID = strings.Repeat("a", 70<<10)
				return nil
			}
		}},
	} {
		t.Run("W17 W7 a failed save fails the call: "+row.desc, func(t *testing.T) {
			c := row.make(t)
			views, err := c.call(row.do(c))
			wantCode(t, err, row.code, row.text)
			if views != "" {
				t.Errorf("the response is sent: %q", views)
			}
		})
		t.Run("W17 W7 the error of a verb that the handler returns has the same code: "+row.desc, func(t *testing.T) {
			c := row.make(t)
			do := row.do(c)
			_, err := c.call(func(ctx context.Context) error {
				if err := do(ctx); err != nil {
					return err
				}
				if err := c.m.Save(ctx); err != nil {
					return fmt.Errorf("saving: %w", err)
				}
				return nil
			})
			if got := status.Code(err); got != row.code && (row.code != codes.Internal || got != codes.Unknown) {
				t.Errorf("the error is %v, want %v", err, row.code)
			}
			if text := fmt.Sprint(err); row.code != codes.Internal && strings.Contains(text, "saving") {
				t.Errorf("the client is told %q", text)
			}
		})
	}

	t.Run("W17 C13 a failed load fails the call, and the handler does not run", func(t *testing.T) {
		c := stored(t)
		c.store.load = sessions.ErrUnavailable
		_, err := c.call(func(context.Context) error { t.Error("the handler runs"); return nil })
		wantCode(t, err, codes.Unavailable, "Service Unavailable")
		if after := c.header.Get("retry-after"); len(after) != 1 || after[0] != "1" {
			t.Errorf("retry-after %q", after)
		}
	})

	t.Run("W17 W7 ErrorHandler decides on the code and the message", func(t *testing.T) {
		for _, row := range []struct {
			status      int
			kind, body  string
			code        codes.Code
			wantMessage string
		}{
			{http.StatusUnauthorized, "text/plain; charset=utf-8", "sign in again\n", codes.Unauthenticated, "sign in again"},
			{http.StatusNotFound, "text/html", "<p>nothing here</p>", codes.NotFound, "Not Found"},
			{http.StatusTeapot, "", "", codes.Internal, "I'm a teapot"},
		} {
			for _, load := range []bool{true, false} {
				c := newServer(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
					if !errors.Is(err, sessions.ErrUnavailable) || r.URL.Path != "/grpc.testing.TestService/UnaryCall" {
						t.Errorf("%s: %v", r.URL.Path, err)
					}
					w.Header().Set("Content-Type", row.kind)
					w.WriteHeader(row.status)
					fmt.Fprint(w, row.body)
				}}).client()
				c.must(count)
				if c.store.save = sessions.ErrUnavailable; load {
					c.store.load = sessions.ErrUnavailable
				}
				_, err := c.call(count)
				wantCode(t, err, row.code, row.wantMessage)
			}
		}
	})
}

func stored(t *testing.T) *client {
	c := newServer(t, sessions.Config{OnConflict: sessions.ConflictReject}).client()
	c.must(signIn(c, "ann"))
	return c
}

func signIn(c *client, user string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		sessions.FromContext[Account](ctx).UserID = user
		return c.m.SignIn(ctx)
	}
}

func broken(err error) func(t *testing.T) *client {
	return func(t *testing.T) *client {
		c := stored(t)
		c.store.save = err
		return c
	}
}

func changes(*client) func(ctx context.Context) error { return count }

func TestPanic(t *testing.T) {
	recovers := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = status.Error(codes.Internal, fmt.Sprint(p))
			}
		}()
		return next(ctx, req)
	}
	t.Run("W17 W8 with a recovery outside a panic saves nothing more, and the token of a verb that had completed is sent", func(t *testing.T) {
		c := newServer(t, sessions.Config{}, recovers).client()
		_, err := c.call(func(ctx context.Context) error {
			_ = signIn(c, "ann")(ctx)
			_ = count(ctx)
			panic("half done")
		})
		wantCode(t, err, codes.Internal, "half done")
		if a, ok := c.stored(); !ok || a.UserID != "ann" || a.Views != 0 {
			t.Errorf("%+v is stored: %t", a, ok)
		}
	})
	t.Run("W17 W8 with a recovery inside a panic is a return like any other", func(t *testing.T) {
		c := newServer(t, sessions.Config{}, nil, recovers).client()
		_, err := c.call(func(ctx context.Context) error {
			_ = count(ctx)
			panic("half done")
		})
		wantCode(t, err, codes.Internal, "half done")
		if a, _ := c.stored(); a.Views != 1 {
			t.Errorf("%+v is stored", a)
		}
	})
	t.Run("W8 a recovery inside that reloads drops what the handler has changed", func(t *testing.T) {
		var m *sessions.Manager[Account]
		c := newServer(t, sessions.Config{}, nil, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
			defer func() {
				if p := recover(); p != nil {
					_ = m.Reload(ctx)
					err = status.Error(codes.Internal, fmt.Sprint(p))
				}
			}()
			return next(ctx, req)
		}).client()
		m = c.m
		c.must(count)
		_, err := c.call(func(ctx context.Context) error {
			_ = count(ctx)
			panic("half done")
		})
		wantCode(t, err, codes.Internal, "half done")
		if a, _ := c.stored(); a.Views != 1 {
			t.Errorf("%+v is stored", a)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Run("W17 L16 Skip, Passive and Label get the call as a request", func(t *testing.T) {
		var seen []*http.Request
		cfg := sessions.Config{
			Skip:    func(r *http.Request) bool { seen = append(seen, r); return r.Header.Get("Skip") != "" },
			Passive: func(r *http.Request) bool { return r.Header.Get("Passive") != "" },
			Label:   func(r *http.Request) string { return r.UserAgent() },
		}
		c := newServer(t, cfg).client()
		var info sessions.Info
		c.must(func(ctx context.Context) error {
			_ = count(ctx)
			err := c.m.Save(ctx)
			info = c.m.Info(ctx)
			return err
		})
		if !strings.HasPrefix(info.Label, "phone grpc-go/") {
			t.Errorf("label %q", info.Label)
		}
		if r := seen[0]; r.Method != "POST" || r.URL.Path != "/grpc.testing.TestService/UnaryCall" || r.Host != "server" || r.RemoteAddr == "" {
			t.Errorf("%s %s, host %q, from %q", r.Method, r.URL, r.Host, r.RemoteAddr)
		}
		if got := c.must(count); got != "2" {
			t.Errorf("%s views", got)
		}

		skipped := metadata.AppendToOutgoingContext(c.context(), "skip", "1")
		if got, err := c.callBy(skipped, count); got != "0" || err != nil { // Lookup says false
			t.Errorf("%s views: %v", got, err)
		}
		if a, _ := c.stored(); a.Views != 2 {
			t.Errorf("%+v is stored", a)
		}

		for name, want := range map[string]bool{"active": true, "passive": false} {
			ctx := metadata.AppendToOutgoingContext(c.context(), name, "1")
			if _, err := c.callBy(ctx, count); err != nil || c.store.touch.Load() > 0 != want {
				t.Errorf("an %s call restarts the idle timeout: %t, %v", name, !want, err)
			}
		}
	})

	t.Run("W17 L16 the request says whether the connection is encrypted", func(t *testing.T) {
		state := tls.ConnectionState{ServerName: "server.example"}
		seen := make(chan *tls.ConnectionState, 2)
		c := newServer(t, sessions.Config{Skip: func(r *http.Request) bool { seen <- r.TLS; return false }},
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				p, _ := peer.FromContext(ctx)
				if md, _ := metadata.FromIncomingContext(ctx); len(md["plain"]) == 0 {
					p = &peer.Peer{Addr: p.Addr, AuthInfo: credentials.TLSInfo{State: state}}
				}
				return next(peer.NewContext(ctx, p), req)
			}).client()
		c.must(count)
		if got := <-seen; got == nil || got.ServerName != state.ServerName {
			t.Errorf("by TLS: %v", got)
		}
		if _, err := c.callBy(metadata.AppendToOutgoingContext(t.Context(), "plain", "1"), count); err != nil {
			t.Error(err)
		}
		if got := <-seen; got != nil {
			t.Errorf("without TLS: %v", got)
		}
	})

	t.Run("T1 a cookie in the metadata serves as well", func(t *testing.T) {
		c := newServer(t, sessions.Config{Transport: sessions.Cookie{}}).client()
		c.must(count)
		cookie, err := http.ParseSetCookie(c.header.Get("set-cookie")[0])
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "cookie", cookie.Name+"="+cookie.Value)
		if got, err := c.callBy(ctx, count); got != "2" || err != nil {
			t.Errorf("%s views: %v", got, err)
		}
	})
}

func TestWithoutInterceptor(t *testing.T) {
	t.Run("L32 the panic names the interceptors", func(t *testing.T) {
		text := make(chan string, 1)
		c := newServer(t, sessions.Config{}, nil, func(_ context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
			defer func() { text <- fmt.Sprint(recover()) }()
			return next(context.Background(), req)
		}).client()
		_, _ = c.call(count)
		if got := <-text; !strings.Contains(got, "grpcsessions.Unary(m)") {
			t.Errorf("the panic says %q", got)
		}
	})
}
