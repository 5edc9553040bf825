// Command tabs lets two tabs of one browser race, each race with this library and with scs beside it. The application
// is package site, beside this file.
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
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/examples/internal/demo"
	"github.com/typedsessions/sessions/examples/tabs/site"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "tabs:", err)
		os.Exit(1)
	}
}

// run serves the site until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tabs", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", ":9095", "`address` to listen on")
	url := flags.String("redis", "", "redis://[:password@]host:port/db `URL`; without it an embedded Redis is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" {
		embedded, stop, err := demo.Embed()
		if err != nil {
			return err
		}
		defer stop()
		*url = "redis://" + embedded
	}
	options, err := redis.ParseURL(*url)
	if err != nil {
		return fmt.Errorf("-redis: %w: use redis://[:password@]host:port/db", err)
	}
	options.ContextTimeoutEnabled = true
	rdb := redis.NewClient(options)
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("cannot reach Redis on %s: %w", options.Addr, err)
	}
	handler, err := site.New(rdb, slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() }) // the log of an open page would hold up a Shutdown
	fmt.Fprintf(out, "\n  open  http://%s\n\n", demo.Display(listener.Addr()))
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
