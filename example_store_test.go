package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Keys lists every session in Redis, by the hash of its token.
func ExampleRedisStore_Keys() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "shop:", Timeout: 500 * time.Millisecond})

	ctx := context.Background()
	store.Create(ctx, "b", []byte("…"), time.Hour)
	store.Create(ctx, "a", []byte("…"), time.Hour)
	var keys []string
	for key, err := range store.Keys(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	fmt.Println(keys)
	// Output: [a b]
}

// A record that cannot be read is left as it is; the event names the session
// and the part.
func ExampleDecodeError() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{
		Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(_ context.Context, e sessions.Event) {
			if broken, ok := errors.AsType[*sessions.DecodeError](e.Err); ok && e.Kind == sessions.EventUndecodable {
				fmt.Println("field", broken.Path)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// The same store held sessions of another T before.
	old, err := sessions.New[struct {
		Views string `json:"views"`
	}](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := old.Load(context.Background())
	old.FromContext(ctx).Views = "many"
	outcome, _ := old.Commit(ctx)

	ctx, err = m.Load(context.Background(), outcome.Token.Reveal())
	fmt.Println(sessions.FromContext[Visitor](ctx).Views, err)
	// Output:
	// field views
	// 0 <nil>
}
