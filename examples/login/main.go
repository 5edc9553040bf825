// Command login is a small application with everything around a sign-in: sign up by mail, sign in, "keep me signed in",
// sign in with another site (OAuth), a step-up before the settings, "your devices", a limit of three sessions,
// and a live page that stops when its session is ended. The application is package site, beside this file.
//
// It needs nothing but Go: without -redis it runs a Redis of its own inside the process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/typedsessions/sessions/examples/login/site"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage): // flag has said it
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

// run serves the site until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", ":9094", "`address` to listen on")
	url := flags.String("redis", "", "redis://[:password@]host:port/db `URL`; without it an embedded Redis is used")
	fresh := flags.Duration("fresh", 5*time.Minute, "how long a proof of identity opens the settings, and lets other devices be signed out")
	insecure := flags.Bool("insecure", false, "let the cookie travel by plain HTTP: for a browser that keeps no Secure cookie of http://localhost, such as Safari")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	logger := slog.New(slog.NewTextHandler(out, nil))

	options := &redis.Options{}
	if *url == "" {
		embedded, stop, err := demo.Embed()
		if err != nil {
			return err
		}
		defer stop()
		options.Addr = embedded
	} else {
		var err error
		if options, err = redis.ParseURL(*url); err != nil {
			return fmt.Errorf("-redis: %w: use redis://[:password@]host:port/db", err)
		}
	}
	options.ContextTimeoutEnabled = true
	logging.Disable() // what go-redis logs, the store returns
	rdb := redis.NewClient(options)
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("cannot reach Redis on %s: %w", options.Addr, err)
	}

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	defer listener.Close()
	base := "http://" + demo.Display(listener.Addr())
	s, err := site.New(site.Config{
		Store:    sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "login:"}),
		Fresh:    *fresh,
		Insecure: *insecure,
		Logger:   logger,
		Mail: func(to, subject, path string) {
			fmt.Fprintf(out, "\n  mail to %s\n  %s: %s%s\n\n", to, subject, base, path)
		},
	})
	if err != nil {
		return err
	}
	password, err := s.AddUser("ada@example.com", "Ada Lovelace")
	if err != nil {
		return err
	}

	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // the live page extends its own
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(s.Close)
	fmt.Fprintf(out, "\n  open     %s\n  sign in  ada@example.com\n  with     %s\n\n", base, password)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}
