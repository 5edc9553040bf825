// Command express is the Go half of a pair: a service in front of an Express
// app (server.mjs) that has taken over some of its routes and passes the others
// on. Both halves read and write the same sessions. site.go is what to copy.
//
// It needs nothing but Go: without -redis it runs a Redis of its own inside
// the process. It prints how to start the other half.
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
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/typedsessions/sessions/examples/internal/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage): // flag has said it
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "express:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

// run serves the demo until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("express", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", ":9092", "`address` to listen on")
	redisURL := flags.String("redis", "", "redis://[:password@]host:port/db `URL`; without it an embedded Redis is used")
	nodeURL := flags.String("node", "http://localhost:9093", "`URL` of the Express app")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	node, err := url.Parse(*nodeURL)
	if err != nil || node.Host == "" || node.Scheme != "http" && node.Scheme != "https" {
		return fmt.Errorf("-node: %q is no URL such as http://localhost:9093", *nodeURL)
	}
	logger := log.New(out, "", log.LstdFlags)

	if *redisURL == "" {
		embedded, stop, err := demo.Embed()
		if err != nil {
			return err
		}
		defer stop()
		*redisURL = "redis://" + embedded
	}
	rdb, shown, err := connect(ctx, *redisURL)
	if err != nil {
		return err
	}
	defer rdb.Close()
	secret := os.Getenv("SESSION_SECRET")
	if secret == "" {
		secret = "keyboard cat"
	}
	m, err := manager(rdb, secret)
	if err != nil {
		return err
	}

	wake := fmt.Sprintf("  npm ci --prefix examples/express\n  node examples/express/server.mjs %s %s", shown, node.Port())
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("-addr: %w: choose another address, such as -addr :9096", err)
	}
	server := &http.Server{Handler: site(m, proxy(node, wake, logger)), ReadHeaderTimeout: 5 * time.Second, ErrorLog: logger}
	logger.Printf("listening on http://%s", demo.Display(listener.Addr()))
	logger.Printf("the other half, in another terminal:\n\n%s\n\n", wake)
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
