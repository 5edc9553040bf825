package moving_test

import (
	"context"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	gorilla "github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	. "github.com/typedsessions/sessions/internal/integration/moving"
)

var (
	rdb  = redis.NewClient(&redis.Options{})
	keys = []byte(key)
)

func revokedAt(context.Context, string) (time.Time, error) { return time.Time{}, nil }

func routes(*Moving) http.Handler { return nil }

func signIn(v *Moving) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user")
		// Handler begins.
		next := *sessions.FromContext[Session](r.Context())
		if next.UserID != user {
			next = Session{UserID: user} // and what an anonymous visitor may keep
		}
		if err := v.SignIn(w, r, next, r.FormValue("remember") != ""); err != nil {
			http.Error(w, "Not signed in, please try again.", http.StatusServiceUnavailable)
			return
		}
		// Handler ends.
	}
}

func Example_scs() {
	old := scs.New() // with every option that the old builds give it
	old.Store = goredisstore.New(rdb)

	m, err := sessions.New[Session](sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{
		IdleTimeout: -1, Lifetime: old.Lifetime, // the defaults of scs
		Transport: sessions.Cookie{Persist: true}, // with Insecure, for development: also a Name that is not "session"
	})
	if err != nil {
		log.Fatal(err)
	}
	v := &Moving{Manager: m, Old: SCS{old, rdb}, Beside: true, RevokedAt: revokedAt}
	log.Fatal(http.ListenAndServe(":8080", v.Handler(routes(v))))
}

func Example_gorilla() {
	store := gorilla.NewCookieStore(keys) // with every option that the old builds give it

	const month = 30 * 24 * time.Hour
	m, err := sessions.New[Session](sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{
		IdleTimeout: month, Lifetime: month, // the default of gorilla
		Transport: sessions.Cookie{Persist: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	v := &Moving{Manager: m, Old: Gorilla{store, "app", month}, Beside: true, RevokedAt: revokedAt}
	log.Fatal(http.ListenAndServe(":8080", v.Handler(routes(v))))
}

// The code of the pages is the code of the tests.
func TestPages(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	example := func(name string) string {
		_, body, _ := strings.Cut(read("example_test.go"), "func Example_"+name+"() {\n")
		body, _, _ = strings.Cut(body, "}\n\n")
		return regexp.MustCompile(`(?m)^\t`).ReplaceAllString(body, "")
	}
	_, handler, _ := strings.Cut(read("example_test.go"), "// Handler begins.\n")
	handler, _, _ = strings.Cut(handler, "\t\t// Handler ends.")
	for page, want := range map[string][]string{
		"moving":       {read("session.go"), read("moving.go"), read("verbs.go"), regexp.MustCompile(`(?m)^\t\t`).ReplaceAllString(handler, "")},
		"from-scs":     {read("scs.go"), read("touch.go"), example("scs")},
		"from-gorilla": {read("gorilla.go"), example("gorilla")},
	} {
		var got []string
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../../../docs/"+page+".md"), -1) {
			got = append(got, block[1])
		}
		if len(got) != len(want) {
			t.Errorf("docs/%s.md has %d blocks of Go, not %d", page, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("docs/%s.md shows other code than the tests run:\n%s", page, want[i])
			}
			if n := codeLines(want[i]); n > 60 {
				t.Errorf("docs/%s.md: %d lines of code are no short file", page, n)
			}
		}
	}
}

// codeLines counts the lines behind the imports that are neither empty nor comments.
func codeLines(code string) (n int) {
	if _, body, ok := strings.Cut(code, "\n)\n"); ok {
		code = body
	}
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	return n
}
