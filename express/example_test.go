package express_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// An Express app has begun a session and stored it. This is the same route in
// Go, beside it: one Redis, one cookie.
func ExampleNew() {
	// What req.session holds, by the names that it has there.
	type Session struct {
		User  string `json:"user"`
		Views int    `json:"views"`
	}
	server := redisOfTheApp()
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	m, err := express.New[Session](rdb, express.Options{
		Secrets: []string{"keyboard cat"},
		Cookie:  express.Cookie{MaxAge: 15 * time.Minute},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /views", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "%s, this is visit %d.", s.User, s.Views)
	})

	r := httptest.NewRequest("GET", "/views", nil)
	r.Header.Set("Cookie", "connect.sid=s%3Aapple.D8Y%2BpkTAmeR0PobOhY4G97PRW%2Bj7bUnP%2F5m6%2FOn1MCU")
	w := httptest.NewRecorder()
	m.Handler(mux).ServeHTTP(w, r)

	stored, _ := server.Get("sess:apple")
	_, data, _ := strings.Cut(stored, `},`)
	fmt.Println(w.Body)
	fmt.Println(data)
	// Output:
	// Ann, this is visit 42.
	// "user":"Ann","theme":{"dark":true},"views":42}
}

// The options of an app's session({…}), in the same words. What the app has not given is left out here, too.
func ExampleOptions() {
	options := express.Options{
		Secrets: []string{"new secret", "keyboard cat"},
		Name:    "sid",
		Rolling: true,
		Cookie: express.Cookie{
			MaxAge:      15 * time.Minute,
			Secure:      express.Auto,
			HttpOnly:    express.True,
			SameSite:    express.Lax,  // or Strict, None, True, False, Auto
			Priority:    express.High, // or Medium, Low
			Partitioned: express.False,
		},
	}
	for _, s := range []express.Setting{express.Strict, express.None, express.Low, express.Medium} {
		fmt.Print(s, " ")
	}
	fmt.Println(options.Cookie.Secure)
	// Output: strict none low medium auto
}

// redisOfTheApp holds one session, as connect-redis has stored it.
func redisOfTheApp() *miniredis.Miniredis {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	_ = server.Set("sess:apple", `{"cookie":{"originalMaxAge":900000,"expires":"2026-11-23T06:12:09.884Z","httpOnly":true,"path":"/"},"user":"Ann","theme":{"dark":true},"views":41}`)
	server.SetTTL("sess:apple", 15*time.Minute)
	return server
}
