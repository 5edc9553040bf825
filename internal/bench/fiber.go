package bench

import (
	"fmt"
	"net"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/session"
	fiberredis "github.com/gofiber/storage/redis/v3"
	"github.com/valyala/fasthttp"
)

// fiberOwn is fiber's own middleware with its own storage. It saves each session at the end of the request.
func fiberOwn(name string) subject {
	return subject{name, func(c setting) (site, error) {
		storage := fiberredis.New(fiberredis.Config{Addrs: []string{c.Redis}, PoolSize: c.Conns})
		app := fiber.New()
		middleware := session.New(session.Config{Storage: storage, IdleTimeout: idle, CookieHTTPOnly: true, CookieSecure: true})
		app.Use(middleware)
		route := func(o op, act func(s *session.Middleware) error) {
			app.Get(o.path(), func(c fiber.Ctx) error {
				if err := act(session.FromContext(c)); err != nil {
					return err
				}
				return c.SendStatus(http.StatusNoContent)
			})
		}
		route(read, func(s *session.Middleware) error {
			_, err := shopOf(s.Get(field))
			return err
		})
		route(changed, func(s *session.Middleware) error {
			shop, err := shopOf(s.Get(field))
			shop.Views++
			s.Set(field, shop)
			return err
		})
		route(begun, func(s *session.Middleware) error {
			s.Set(field, newShop(c.Size))
			return nil
		})
		route(none, func(*session.Middleware) error { return nil })
		return &fiberSite{app, app.Handler(), storage}, nil
	}}
}

type fiberSite struct {
	app     *fiber.App
	handler fasthttp.RequestHandler
	storage *fiberredis.Storage
}

func (s *fiberSite) close() { s.storage.Close() }

func (s *fiberSite) serve(l net.Listener) error {
	return s.app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
}

func (s *fiberSite) caller(o op, cookies ...string) (caller, error) {
	if len(cookies) == 0 && (o == read || o == changed) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("https://example.com" + begun.path())
		s.handler(&ctx)
		var cookie fasthttp.Cookie
		cookie.SetKey("session_id")
		if !ctx.Response.Header.Cookie(&cookie) {
			return nil, fmt.Errorf("fiber: status %d and no cookie", ctx.Response.StatusCode())
		}
		cookies = []string{string(cookie.Key()) + "=" + string(cookie.Value())}
	}
	ctx, next := new(fasthttp.RequestCtx), 0
	return func() error {
		ctx.Request.Reset()
		ctx.Response.Reset()
		ctx.ResetUserValues()
		ctx.Request.SetRequestURI("https://example.com" + o.path())
		if len(cookies) > 0 {
			ctx.Request.Header.Set("Cookie", cookies[next])
			next = (next + 1) % len(cookies)
		}
		s.handler(ctx)
		if status := ctx.Response.StatusCode(); status != http.StatusNoContent {
			return fmt.Errorf("status %d: %s", status, ctx.Response.Body())
		}
		return nil
	}, nil
}
