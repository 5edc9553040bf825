package express_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/redistest"
)

// All that docs/from-express.md shows in Go is in this file, so that it compiles. Its T is tested in check_test.go.

// Session is what the Go routes need of req.session.
type Session struct {
	Passport Passport            `json:"passport,omitzero"`  // passport.js keeps the user here
	ReturnTo string              `json:"returnTo,omitempty"` // the page that asked for the sign-in
	Messages []string            `json:"messages,omitempty"` // passport's failureMessage
	Flash    map[string][]string `json:"flash,omitempty"`    // connect-flash: read one kind, then delete(s.Flash, kind)
	Views    int                 `json:"views,omitempty"`
	Since    time.Time           `json:"since,omitzero"`
	Beta     *bool               `json:"beta,omitempty"`
}

type Passport struct {
	User UserID `json:"user,omitzero"`
}

// A UserID is what passport's serializeUser has chosen: a string, or a number, which is written as one again.
type UserID struct {
	Text   string // "" is nobody
	Number bool
}

func (id UserID) IsZero() bool { return id.Text == "" }

func (id UserID) MarshalJSON() ([]byte, error) {
	if id.Number {
		return []byte(id.Text), nil
	}
	return json.Marshal(id.Text)
}

func (id *UserID) UnmarshalJSON(data []byte) error {
	*id = UserID{}
	if json.Unmarshal(data, &id.Text) == nil { // null, too
		return nil
	}
	var n json.Number
	err := json.Unmarshal(data, &n)
	*id = UserID{Text: n.String(), Number: true}
	return err
}

func ExampleCheck() {
	ctx := context.Background()
	rdb, stop := redisOfMany()
	defer stop()

	report, err := express.Check[Session](ctx, rdb, express.Options{Prefix: "sess:"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(report)
	// Output:
	// 1204 sessions, 18 do not fit; the largest has 2112 bytes, the longest sid 36
	//      14 ("1b9d"…): json: cannot decode field "messages": a string does not fit []string
	//       3 ("9f6c"…): json: cannot decode field "since": not a time by RFC 3339
	//       1 ("6ec0"…): no "cookie" object, without which it is no session of express-session's
}

// What Check has found, for a program: here whether every session fits.
func ExampleReport() {
	rdb, stop := redisOfMany()
	defer stop()
	var report express.Report
	report, err := express.Check[Session](context.Background(), rdb, express.Options{Prefix: "sess:"})
	if err != nil {
		log.Fatal(err)
	}
	most := slices.MaxFunc(report.Misfits, func(a, b express.Misfit) int { return a.Sessions - b.Sessions })
	fmt.Println(report.Sessions, most.Sessions, most.Example)
	// Output: 1204 14 1b9d
}

// redisOfMany is the Redis of an app that has been there for a while.
func redisOfMany() (*redis.Client, func()) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	put := func(sid, document string) {
		_ = server.Set("sess:"+sid, document)
		server.SetTTL("sess:"+sid, time.Hour)
	}
	const cookie = `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}`
	for n := range 1186 {
		put(fmt.Sprintf("7d44%04x-9dc0-4fb2-8a53-93e0b3a6b58f", n), cookie+`,"passport":{"user":`+strconv.Itoa(n)+`}}`)
	}
	for n := range 14 {
		put(fmt.Sprintf("1b9d%04x-bbfd-4b2d-9b5d-ab8dfbbd4bed", n), cookie+`,"messages":"welcome"}`)
	}
	for n := range 3 {
		put(fmt.Sprintf("9f6c%04x-c33d-4c8e-8a5b-3c2d7a1f0e46", n), cookie+`,"since":""}`)
	}
	put("6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b", `{"note":"`+strings.Repeat("x", 2101)+`"}`)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	return rdb, func() { _ = rdb.Close(); server.Close() }
}

// The guide's blocks of statements, which are there to be compiled.
var _ = []any{guideNew, guideRoutes, guideProxy, guideSignIn, guideSignOut, guideMove}

func guideNew() (*sessions.Manager[Session], express.Options) {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", DB: 0})
	opts := express.Options{
		Name:    "connect.sid",
		Secrets: []string{os.Getenv("SESSION_SECRET")},
		Prefix:  "sess:",
		TTL:     24 * time.Hour,
		Proxy:   true, // TLS ends in front of this service
		Cookie:  express.Cookie{MaxAge: 15 * time.Minute, SameSite: express.Lax, Secure: express.True},
	}
	m, err := express.New[Session](rdb, opts)
	if err != nil {
		log.Fatal(err)
	}
	return m, opts
}

func guideRoutes(m *sessions.Manager[Session], node http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /profile", m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		fmt.Fprintf(w, "signed in: %t", !s.Passport.User.IsZero())
	})))
	mux.Handle("/", node) // everything else, and not through m.Handler
	return mux
}

func guideProxy(r *httputil.ProxyRequest) {
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
	r.Out.Header["X-Forwarded-Proto"] = r.In.Header["X-Forwarded-Proto"]
}

func guideSignIn(ctx context.Context, m *sessions.Manager[Session], s *Session, user struct{ ID int }) error {
	s.Passport.User = UserID{Text: strconv.Itoa(user.ID), Number: true} // UserID{Text: user.ID} for a string
	err := m.SignIn(ctx)                                                // req.session.regenerate, but the data stays
	return err
}

func guideSignOut(ctx context.Context, m *sessions.Manager[Session]) error {
	err := m.Destroy(ctx) // req.session.destroy, and res.clearCookie
	return err
}

func guideMove(rdb *redis.Client, opts express.Options, site http.Handler) (http.Handler, error) {
	opts.Passive = func(*http.Request) bool { return true } // the Options of step 3; old sessions run out
	opts.OnUndecodable = sessions.UndecodableFresh          // or those whose session does not fit T could not sign in
	old, err := express.New[Session](rdb, opts)
	if err != nil {
		return nil, err
	}
	m, err := sessions.New[Session](sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"}), sessions.Config{
		IdleTimeout: 15 * time.Minute, // MaxAge
		MaxSize:     1 << 20,          // as it was; the default is 64 KiB
	})
	if err != nil {
		return nil, err
	}
	move := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if m.Info(ctx).New && !old.Info(ctx).New {
			data, err := sessions.JSON{}.Marshal(old.FromContext(ctx))
			if err == nil { // decoded, so that the two share no map
				err = sessions.JSON{}.Unmarshal(data, m.FromContext(ctx))
			}
			if err == nil {
				err = m.Save(ctx)
			}
			if err == nil { // or it would be copied again when the new session has ended
				err = rdb.Expire(ctx, "sess:"+old.Info(ctx).ID, time.Minute).Err()
			}
			if err != nil {
				http.Error(w, "try again", http.StatusServiceUnavailable)
				return
			}
		}
		site.ServeHTTP(w, r)
	})
	handler := old.Handler(m.Handler(move)) // sessions.FromContext gives m's, the inner one's
	return handler, nil
}

// TestGuideMove is of step 8: nobody but those whose session cannot be read begins anew, and they can.
func TestGuideMove(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	opts := express.Options{Secrets: []string{secret}, Logger: slog.New(slog.DiscardHandler)}
	handler, err := guideMove(rdb, opts, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprint(w, s.Views)
	}))
	must(t, err)
	for _, row := range []struct{ name, stored, want string }{
		{"K11 what fits T", object(`,"views":7`), "8"},
		{"K7 what is as large as a session of Node's", object(`,"views":7,"messages":["` + strings.Repeat("x", 1<<19) + `"]`), "8"},
		{"K11 what does not fit T", object(`,"views":"7"`), "1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			must(t, rdb.Set(t.Context(), "sess:doc", row.stored, time.Hour).Err())
			w := httptest.NewRecorder()
			r := get("https://shop.example/", signed("connect.sid", "doc", secret))
			handler.ServeHTTP(w, r)
			if cookies := w.Result().Cookies(); w.Code != http.StatusOK || w.Body.String() != row.want || len(cookies) != 1 {
				t.Errorf("%d %s, with %d cookies, want %s and one", w.Code, w.Body, len(cookies), row.want)
			}
		})
	}
}

// TestGuide compares the guide with this file, line by line.
func TestGuide(t *testing.T) {
	lines := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if words := strings.Fields(line); len(words) > 0 {
				lines = append(lines, strings.Join(words, " "))
			}
		}
		return lines
	}
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	guide, code := read("../docs/from-express.md"), "\n"+strings.Join(lines(read("guide_test.go")), "\n")+"\n"
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(guide, -1)
	if len(blocks) < 6 {
		t.Fatalf("the guide has %d blocks of Go", len(blocks))
	}
	for _, block := range blocks {
		for part := range strings.SplitSeq(block[1], "\n…\n") {
			if !strings.Contains(code, "\n"+strings.Join(lines(part), "\n")+"\n") {
				t.Errorf("this is in the guide, and not in guide_test.go:\n%s", part)
			}
		}
	}
	_, output, _ := strings.Cut(read("guide_test.go"), "\t// Output:\n")
	output, _, _ = strings.Cut(output, "\n}\n")
	if output = strings.ReplaceAll(output, "\t// ", ""); !strings.Contains(guide, "\n```\n"+output+"\n```\n") {
		t.Errorf("the guide does not show what Check prints:\n%s", output)
	}
}
