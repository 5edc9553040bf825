package watch_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

const patience = 20 * time.Second // of what takes an interval

// A site has one page for each kind of live connection. Each begins with "on", and ends with "off" when its session has
// ended.
type site struct {
	*host[account]
	server *kit.Server
	done   chan error // gets the Cause of each connection that has ended
}

func newSite(t testing.TB, via kit.Via, rdb *redis.Client) *site {
	s := &site{newHost[account](t, kit.RedisStore(rdb), sessions.Config{WatchInterval: 50 * time.Millisecond}), nil, make(chan error, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { // an event stream
		ctx, stop := s.mine.Watch(r.Context())
		defer stop()
		fmt.Fprint(w, "on\n")
		kit.OK(t, http.NewResponseController(w).Flush())
		<-ctx.Done()
		s.done <- context.Cause(ctx)
		fmt.Fprint(w, "off\n")
	})
	mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) { // the watch begins after the header, elsewhere
		fmt.Fprint(w, "on\n")
		kit.OK(t, http.NewResponseController(w).Flush())
		ended := make(chan error)
		go func() {
			ctx, stop := s.mine.Watch(r.Context())
			defer stop()
			<-ctx.Done()
			ended <- context.Cause(ctx)
		}()
		s.done <- <-ended
		fmt.Fprint(w, "off\n")
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) { // as a WebSocket that outlives its handler
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer conn.Close()
			ctx, stop := s.mine.Watch(context.WithoutCancel(r.Context()))
			defer stop()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\non\n")
			<-ctx.Done()
			s.done <- context.Cause(ctx)
			fmt.Fprint(conn, "off\n")
		}()
	})
	s.server = kit.NewServer(t, via, s.mine.Handler(mux))
	return s
}

// open is a connection to a page, once it is on.
func (s *site) open(ctx context.Context, path, token string) (body *bufio.Reader, end func()) {
	s.t.Helper()
	if path == "/socket" {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.server.URL, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		kit.Must(s.t, err)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: example.com\r\nCookie: %s=%s\r\n\r\n", path, kit.CookieName, token)
		body, end = bufio.NewReader(conn), func() { conn.Close() }
		for line := ""; line != "\r\n"; {
			line, err = body.ReadString('\n')
			kit.Must(s.t, err)
		}
	} else {
		b := s.server.Browser().As(token)
		res, err := b.Send(b.Request("GET", path).WithContext(ctx))
		kit.Must(s.t, err)
		body, end = bufio.NewReader(res.Body), func() { res.Body.Close() }
	}
	if line, err := body.ReadString('\n'); line != "on\n" {
		s.t.Fatalf("the connection begins with %q (%v)", line, err)
	}
	return body, end
}

func TestConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		via  kit.Via
		path string
	}{{kit.HTTP1, "/events"}, {kit.HTTP2, "/events"}, {kit.Proxied, "/events"}, {kit.HTTP1, "/late"}, {kit.HTTP2, "/late"}, {kit.HTTP1, "/socket"}} {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			t.Run(fmt.Sprintf("O15 the session's end ends %s over %s", tt.path, tt.via), func(t *testing.T) {
				s := newSite(t, tt.via, rdb)
				token := s.edit("", user("ann"))
				body, end := s.open(t.Context(), tt.path, token)
				defer end()
				token = s.verb(token, "Renew")
				other, end := s.open(t.Context(), tt.path, s.edit("", user("ann")))
				defer end()
				s.verb(token, "Destroy")
				kit.WantErr(t, "the cause", <-s.done, sessions.ErrGone)
				if rest, err := io.ReadAll(body); string(rest) != "off\n" || err != nil {
					t.Errorf("it ends with %q (%v)", rest, err)
				}
				select {
				case err := <-s.done:
					t.Errorf("the other session's connection has ended, too: %v", err)
				default:
				}
				_ = other
				rdb.FlushAll(context.Background())
				<-s.done
			})

			if tt.path == "/socket" {
				return // after a Hijack nobody but the handler sees that the client has gone
			}
			t.Run(fmt.Sprintf("O16 a client that goes away ends the watch of %s over %s", tt.path, tt.via), func(t *testing.T) {
				s := newSite(t, tt.via, rdb)
				ctx, leave := context.WithCancel(t.Context())
				_, end := s.open(ctx, tt.path, s.edit("", user("ann")))
				defer end()
				leave()
				if err := <-s.done; !errors.Is(err, context.Canceled) {
					t.Errorf("the cause: %v, want that the request was cancelled", err)
				}
			})
		})
	}
}

// Node's sessions have no marks, no index, no header.
func TestExpress(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		m, err := express.New[account](rdb, express.Options{Secrets: []string{"a secret for tests"}, WatchInterval: 50 * time.Millisecond})
		kit.Must(t, err)
		for name, act := range map[string]func(sid string, ctx context.Context){
			"Node's destroy":           func(sid string, _ context.Context) { rdb.Del(t.Context(), "sess:"+sid) },
			"connect-redis' TOMBSTONE": func(sid string, _ context.Context) { rdb.Set(t.Context(), "sess:"+sid, "TOMBSTONE", time.Hour) },
			"another process' Renew":   func(sid string, _ context.Context) { kit.Verb(t, m, sid, "Renew"); rdb.FlushAll(t.Context()) },
			"the end after its own request's Renew": func(_ string, ctx context.Context) {
				kit.OK(t, m.Renew(ctx))
				o := kit.Commit(t, m, ctx, sessions.OutcomeRenewed)
				wantGoingOn(t, ctx, 200*time.Millisecond)
				rdb.Del(t.Context(), "sess:"+o.Token.Reveal())
			},
		} {
			t.Run("O15 "+name+" ends the watch of a session of Node's", func(t *testing.T) {
				sid := kit.Edit(t, m, "", user("ann"))
				ctx, _ := kit.Load(t, m, sid)
				ctx, stop := m.Watch(ctx)
				defer stop()
				act(sid, ctx)
				wantEnd(t, ctx, patience)
			})
		}
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	t.Run("O15 O16 sessions on all nodes of a cluster are watched by one call, and each ends by itself", func(t *testing.T) {
		rdb := redistest.StartCluster(t, 3).Client(t)
		h := newHost[account](t, kit.RedisStore(rdb), sessions.Config{WatchInterval: 50 * time.Millisecond})
		var tokens []string
		var watches []context.Context
		for i := range 30 {
			token := h.edit("", user(fmt.Sprint("u", i)))
			ctx, stop := h.watch(token)
			defer stop()
			tokens, watches = append(tokens, h.verb(token, "Renew")), append(watches, ctx)
		}
		for i, ctx := range watches {
			if err := ctx.Err(); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
			h.verb(tokens[i], "Destroy")
			wantEnd(t, ctx, patience)
		}
		for call := range strings.FieldsSeq(h.store.Calls()) {
			if call != "LoadMany" && call != "Members" {
				t.Errorf("a %s, want LoadMany and Members", call)
			}
		}
	})
}
