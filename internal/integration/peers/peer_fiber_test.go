package peers_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/compress"
	"github.com/gofiber/fiber/v3/middleware/recover"
	fibersession "github.com/gofiber/fiber/v3/middleware/session"
	"github.com/gofiber/storage/redis/v3"
)

var fiberPeer = peer{
	name:    "fiber",
	modules: []string{"github.com/gofiber/fiber/v3", "github.com/gofiber/storage/redis/v3"},
	deaf:    true,
	start: func(t *testing.T, addr string, h *hall) string {
		storage := redis.New(redis.Config{Addrs: []string{addr}})
		t.Cleanup(func() { storage.Close() })
		app := fiber.New()
		app.Use(
			func(c fiber.Ctx) error {
				defer h.enter(context.Background(), strings.Clone(c.Query("visit")))()
				return c.Next()
			},
			compress.New(compress.Config{Next: func(c fiber.Ctx) bool { return c.Path() != "/compressed" }}),
			recover.New(), // the session middleware panics if it cannot load
			fibersession.New(fibersession.Config{Storage: storage, IdleTimeout: idle}),
			func(c fiber.Ctx) error {
				query := func(name string) string { return strings.Clone(c.Query(name)) }
				act(h, strings.Clone(c.Path()), query, fiberSession{c, fibersession.FromContext(c)}, fiberPage{c})
				return nil
			},
		)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
		t.Cleanup(func() {
			if err := app.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return "http://" + l.Addr().String()
	},
}

type fiberSession struct {
	c context.Context
	m *fibersession.Middleware
}

func (s fiberSession) get(field string) string {
	if v := s.m.Get(field); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (s fiberSession) set(field, value string) { s.m.Set(field, value) }

func (s fiberSession) increment() error {
	n, _ := s.m.Get("Count").(int)
	s.m.Set("Count", n+1)
	return nil
}

func (s fiberSession) renew() error             { return s.m.Regenerate() }
func (s fiberSession) signIn(user string) error { return renewFor(s, user) }
func (s fiberSession) destroy() error           { return s.m.Destroy() }
func (s fiberSession) save() error              { return nil } // the middleware does

func (s fiberSession) context() context.Context { return s.c }

func (s fiberSession) under(ctx context.Context) session {
	return fiberSession{ctx, fibersession.FromContext(ctx)}
}

// fiberPage is a page of fiber, which sends it when all handlers are done.
type fiberPage struct{ c fiber.Ctx }

func (p fiberPage) header(name, value string) { p.c.Set(name, value) }
func (p fiberPage) write(s string)            { p.c.WriteString(s) }
func (p fiberPage) fail(status int)           { p.c.SendStatus(status) }

// upgrade is what fasthttp's WebSockets do: the 101 is the response of all handlers, sent before the connection
// is handed over.
func (p fiberPage) upgrade() {
	p.c.Status(http.StatusSwitchingProtocols)
	p.c.Set("Connection", "Upgrade")
	p.c.Set("Upgrade", "websocket")
	p.c.RequestCtx().Hijack(func(net.Conn) {})
}
