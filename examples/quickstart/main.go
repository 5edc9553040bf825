// Command quickstart counts a visitor's views: the program of the README.
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

	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
	m, err := sessions.New[Session](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "views: %d\n", s.Views)
	})

	log.Fatal(http.ListenAndServe(":9090", m.Handler(mux)))
}
