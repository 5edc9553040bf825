package main

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	ginsessions "github.com/typedsessions/sessions/contrib/gin"
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
	log.Fatal(routes(m).Run("localhost:8080"))
}

func routes(m *sessions.Manager[Session]) *gin.Engine {
	r := gin.Default()
	r.Use(ginsessions.Middleware(m))

	r.GET("/", func(c *gin.Context) {
		s := sessions.FromContext[Session](c)
		s.Views++
		c.String(http.StatusOK, "%q, view %d\n", s.User, s.Views)
	})
	r.POST("/login", func(c *gin.Context) {
		s := sessions.FromContext[Session](c)
		s.User = c.PostForm("user") // whose password has been checked
		if err := m.SignIn(c); err != nil {
			_ = c.AbortWithError(sessions.HTTPStatus(err), err)
			return
		}
		c.Redirect(http.StatusSeeOther, "/")
	})
	r.POST("/logout", func(c *gin.Context) {
		if err := m.Destroy(c); err != nil {
			_ = c.AbortWithError(sessions.HTTPStatus(err), err)
			return
		}
		c.Redirect(http.StatusSeeOther, "/")
	})
	return r
}
