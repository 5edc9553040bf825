// Program is the whole program with which the routers' part of docs/frameworks.md begins.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Session is what the program knows about a visitor.
type Session struct {
	UserID string `json:"user_id"`
	Views  int    `json:"views"`
}

func main() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	m, err := sessions.New[Session](sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", routes(m)))
}

func routes(m *sessions.Manager[Session]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "%q, view %d\n", s.UserID, s.Views)
	})
	mux.HandleFunc("POST /login/{user}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.UserID = r.PathValue("user") // who has just proved to be that
		if err := m.SignIn(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return m.Handler(mux)
}
