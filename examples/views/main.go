// Command views counts a visitor's views and says in how many seconds the
// session expires: the demo page of express-session, in Go.
//
// It needs nothing but Go: without -redis it runs a Redis of its own inside
// the process and prints its address, so that redis-cli can look inside.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/examples/internal/demo"
)

// Session is everything the demo knows about a visitor.
type Session struct {
	Views int `json:"views"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage): // flag has said it
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "views:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

// run serves the demo until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("views", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", ":9090", "`address` to listen on")
	url := flags.String("redis", "", "redis://[:password@]host:port/db `URL`; without it an embedded Redis is used")
	prefix := flags.String("prefix", "userSession:", "put before every key in Redis")
	maxAge := flags.Duration("max-age", 15*time.Minute, "how long a session lives without a visit")
	codec := flags.String("codec", "json", "how sessions are stored: json or msgpack")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	codecs := map[string]sessions.Codec{"json": sessions.JSON{}, "msgpack": sessions.MsgPack{}}
	if codecs[*codec] == nil {
		return fmt.Errorf("unknown codec %q: use json or msgpack", *codec)
	}
	if *maxAge < time.Second {
		return fmt.Errorf("-max-age: %v is too short: use at least 1s", *maxAge)
	}
	logger := log.New(out, "", log.LstdFlags)

	options := &redis.Options{}
	if *url == "" {
		embedded, stop, err := demo.Embed()
		if err != nil {
			return err
		}
		defer stop()
		options.Addr = embedded
		logger.Printf("embedded Redis on %s", embedded)
	} else {
		var err error
		if options, err = redis.ParseURL(*url); err != nil {
			return fmt.Errorf("-redis: %w: use redis://[:password@]host:port/db", err)
		}
	}
	options.ContextTimeoutEnabled = true
	options.DialerRetries = 1 // a server that is not there is said at once
	logging.Disable()         // and once: what go-redis logs, the store returns
	rdb := redis.NewClient(options)
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: *prefix})
	if err := reachable(ctx, store); err != nil {
		return fmt.Errorf("cannot reach Redis on %s: %w", options.Addr, err)
	}

	m, err := sessions.New[Session](store, sessions.Config{
		Codec:       codecs[*codec],
		IdleTimeout: *maxAge,
		Lifetime:    max(24*time.Hour, *maxAge),
		// Insecure because the demo speaks plain HTTP; leave it out behind TLS.
		Transport: sessions.Cookie{Name: "session", Persist: true, Insecure: true},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page(m, logger))

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: m.Handler(mux), ReadHeaderTimeout: 5 * time.Second, ErrorLog: logger}
	logger.Printf("listening on http://%s", demo.Display(listener.Addr()))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	logger.Print("shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}

// page counts.
func page(m *sessions.Manager[Session], logger *log.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		info := m.Info(r.Context())
		logger.Printf("session %s: %d views", info.ID, s.Views)
		if info.New {
			fmt.Fprint(w, "welcome to the session demo. refresh!")
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<p>views: %d</p>\n", s.Views)
		fmt.Fprintf(w, "<p>expires in: %.0fs</p>\n", time.Until(info.IdleUntil).Seconds())
	}
}

// reachable asks the store for a key that cannot be there.
func reachable(ctx context.Context, store *sessions.RedisStore) error {
	_, _, err := store.Load(ctx, "ping", 0)
	if errors.Is(err, sessions.ErrNotFound) {
		return nil
	}
	return err
}
