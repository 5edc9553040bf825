package main

import (
	"fmt"
	"log"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	fibersessions "github.com/typedsessions/sessions/contrib/fiber"
)

// Session is what the program knows about a visitor.
type Session struct {
	User  string `json:"user"`
	Views int    `json:"views"`
}

func main() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	m, err := sessions.New[Session](sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(routes(m).Listen("localhost:8080"))
}

func routes(m *sessions.Manager[Session]) *fiber.App {
	app := fiber.New()
	app.Use(recover.New(), fibersessions.Middleware(m))

	app.Get("/", func(c fiber.Ctx) error {
		s := sessions.FromContext[Session](c)
		s.Views++
		return c.SendString(fmt.Sprintf("%q, view %d\n", s.User, s.Views))
	})
	app.Post("/login", func(c fiber.Ctx) error {
		s := sessions.FromContext[Session](c)
		s.User = c.FormValue("user") // whose password has been checked
		if err := m.SignIn(c); err != nil {
			log.Print(err)
			return fiber.NewError(sessions.HTTPStatus(err))
		}
		return c.Redirect().Status(fiber.StatusSeeOther).To("/")
	})
	app.Post("/logout", func(c fiber.Ctx) error {
		if err := m.Destroy(c); err != nil {
			log.Print(err)
			return fiber.NewError(sessions.HTTPStatus(err))
		}
		return c.Redirect().Status(fiber.StatusSeeOther).To("/")
	})
	return app
}
