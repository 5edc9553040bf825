package express_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/redistest"
)

// object is a session without a maxAge; members begin with a comma.
func object(members string) string {
	return `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}` + members + `}`
}

// TestCheck stores one document at a time. What Check passes is loaded by a Manager, and nothing else is.
func TestCheck(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	long := strings.Repeat("s", 5000)
	for _, row := range []struct {
		name, sid, stored string
		want              string // the reason; "" if it fits
	}{
		{"a session", "", object(`,"views":7`), ""},
		{"a session of nothing", "", object(""), ""},
		{"a numeric id", "", object(`,"passport":{"user":7}`), ""},
		{"an id that is text", "", object(`,"passport":{"user":"ada"}`), ""},
		{"a member that T does not know", "", object(`,"csrfSecret":{"any":["thing"]}`), ""},
		{"null for all members", "", object(`,"passport":null,"returnTo":null,"messages":null,"flash":null,"views":null,"since":null,"beta":null`), ""},

		{"text for a number", "", object(`,"views":"s3cret"`), `json: cannot decode field "views": a string does not fit int`},
		{"a fraction", "", object(`,"views":1.5`), `json: cannot decode field "views": a number does not fit int`},
		{"text for a list", "", object(`,"messages":"s3cret"`), `json: cannot decode field "messages": a string does not fit []string`},
		{"an object for text", "", object(`,"flash":{"s3cret":[{"msg":"s3cret"}]}`), `json: cannot decode field "flash": an object does not fit string`},
		{"an object for an id", "", object(`,"passport":{"user":{"name":"s3cret"}}`), `json: cannot decode field "passport": an object does not fit json.Number`},
		{"no text for a date", "", object(`,"since":""`), `json: cannot decode field "since": not a time by RFC 3339`},
		{"deeper than 100", "", object(`,"x":` + strings.Repeat("[", 101) + strings.Repeat("]", 101)), `json: deeper than 100`},

		{"no cookie object", "", `{"passport":{"user":"s3cret"}}`, `no "cookie" object, without which it is no session of express-session's`},
		{"an originalMaxAge that is text", "", `{"cookie":{"originalMaxAge":"900000"}}`, "cookie.originalMaxAge is neither null nor a positive number of milliseconds"},
		{"of another serializer", "", "\x81\xa5views\x07", "json: not valid"},
		{"cut off", "", object(`,"returnTo":"s3cret`), "json: not valid"},
		{"no object", "", `["s3cret"]`, "json: not an object"},
		{"too large", "", object(`,"returnTo":"` + strings.Repeat("x", 1<<20) + `"`), "the record is larger than MaxSize"},
		{"a long sid", long, object(""), ""},
	} {
		t.Run("K12 "+row.name, func(t *testing.T) {
			sid := row.sid
			if sid == "" {
				sid = "0123456789abcdef"
			}
			must(t, rdb.FlushAll(t.Context()).Err())
			must(t, rdb.Set(t.Context(), "sess:"+sid, row.stored, time.Hour).Err())
			want := express.Report{Sessions: 1, Largest: len(row.stored), LongestID: len(sid)}
			if row.want != "" {
				want.Misfits = []express.Misfit{{Reason: row.want, Sessions: 1, Example: sid[:4]}}
			}
			got, err := express.Check[Session](t.Context(), rdb, express.Options{})
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
			if text := got.String(); strings.Contains(text, "s3cret") || strings.Contains(text, sid) {
				t.Errorf("%q tells what is stored", text)
			}
			if loads := loaded(t, rdb, sid); loads != (row.want == "") {
				t.Errorf("a Manager loads it: %t", loads)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loaded tells whether the guide's T is loaded for a request with that sid.
func loaded(t *testing.T, rdb redis.UniversalClient, sid string) (found bool) {
	t.Helper()
	m, err := express.New[Session](rdb, express.Options{Secrets: []string{secret}, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		found = !m.Info(r.Context()).New
	})).ServeHTTP(httptest.NewRecorder(), get("/", signed("connect.sid", sid, secret)))
	return found
}

func TestCheckOfMany(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	node := server.Client(t)
	ctx := t.Context()

	var want express.Report
	put := func(prefix, sid, document string, ttl time.Duration) {
		t.Helper()
		must(t, node.Set(ctx, prefix+sid, document, ttl).Err())
	}
	for n := range 1500 {
		put("my[app]:", fmt.Sprintf("good-%011d", n), object(`,"views":1`), time.Hour)
	}
	for n := range 3 {
		put("my[app]:", fmt.Sprintf("text-%011d", n), object(`,"views":"1"`), time.Hour)
	}
	put("my[app]:", "none-of-Node's", object(`,"cookie":1`), time.Hour)
	put("my[app]:", "endless-and-longer", object(""), 0)
	put("my[app]:", "", object(""), time.Hour)
	for _, none := range []string{"null", "0", "TOMBSTONE"} { // which are sessions to nobody
		put("my[app]:", "of "+none, none, time.Hour)
	}
	put("other:", "0123456789abcdef", "{}", time.Hour)
	for _, sid := range []string{"list", "list of a long name"} {
		must(t, node.RPush(ctx, "my[app]:"+sid, "x").Err())
	}
	want = express.Report{
		Sessions: 1508, Largest: len(object(`,"views":"1"`)), LongestID: len("list of a long name"), NoExpiry: 1,
		Misfits: []express.Misfit{
			{Reason: `json: cannot decode field "views": a string does not fit int`, Sessions: 3, Example: "text"},
			{Reason: "what is stored is no string", Sessions: 2, Example: "list"},
			{Reason: `no "cookie" object, without which it is no session of express-session's`, Sessions: 1, Example: "none"},
			{Reason: "the sid is empty", Sessions: 1},
		},
	}
	o := express.Options{
		Prefix:  "my[app]:",
		OnEvent: func(context.Context, sessions.Event) { t.Error("the event of a request") },
		Logger:  slog.New(slog.NewTextHandler(failingWriter{t}, nil)),
	}
	t.Run("K12 every session counts once, and nothing is written or touched", func(t *testing.T) {
		var mu sync.Mutex
		var sent []string
		proxy.On(func(cmd []string) redistest.Action {
			mu.Lock()
			defer mu.Unlock()
			if name := strings.ToLower(cmd[0]); !slices.Contains(sent, name) {
				sent = append(sent, name)
			}
			return redistest.Pass
		})
		defer proxy.On(nil)
		before := node.PTTL(ctx, "my[app]:good-00000000000").Val()
		got, err := express.Check[Session](ctx, rdb, o)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v,\nwant %+v", got, err, want)
		}
		if after := node.PTTL(ctx, "my[app]:good-00000000000").Val(); after > before {
			t.Errorf("the expiry was %v, and is %v", before, after)
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(sent)
		if sent = slices.DeleteFunc(sent, func(name string) bool { return name == "hello" || name == "client" }); !slices.Equal(sent, []string{"get", "pttl", "scan"}) {
			t.Errorf("sent were %q", sent)
		}
		const line = `1508 sessions, 7 do not fit; the largest has 88 bytes, the longest sid 19; 1 never end` + "\n"
		if text := got.String(); !strings.HasPrefix(text, line) || strings.Count(text, "\n") != 5 {
			t.Errorf("%s\nwant %s", text, line)
		}
	})
	t.Run("K12 a Redis that stops answering is an error, with what was read until then", func(t *testing.T) {
		var gets atomic.Int32
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "get") && gets.Add(1) > 700 {
				return redistest.Close
			}
			return redistest.Pass
		})
		defer proxy.On(nil)
		got, err := express.Check[Session](ctx, rdb, o)
		if !errors.Is(err, sessions.ErrUnavailable) || got.Sessions < 697 || got.Sessions > 700 { // three of the records may be none
			t.Errorf("%d sessions, %v", got.Sessions, err)
		}
	})
	t.Run("K12 where no session is, the report asks for what was given wrongly", func(t *testing.T) {
		got, err := express.Check[Session](ctx, rdb, express.Options{Prefix: "mine:"})
		const want = "no sessions: are the database and Prefix those of Node?\n"
		if err != nil || got.String() != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	})
	t.Run("K12 a T that New refuses is refused", func(t *testing.T) {
		_, err := express.Check[struct {
			ID string `json:"id"`
		}](ctx, rdb, o)
		if err == nil || !strings.Contains(err.Error(), `field "id"`) {
			t.Errorf("%v", err)
		}
	})
}

// TestUserID is of the guide's T: what passport has stored is read, stays as it is, and is written as passport would.
func TestUserID(t *testing.T) {
	for _, row := range []struct {
		name, stored string
		want         UserID
		signedIn     string // what a sign-in as that user then writes
	}{
		{"a number", `{"user":7}`, UserID{"7", true}, `{"user":7}`},
		{"a number that is no int", `{"user":9007199254740993}`, UserID{"9007199254740993", true}, `{"user":9007199254740993}`},
		{"text", `{"user":"507f1f77bcf86cd799439011"}`, UserID{"507f1f77bcf86cd799439011", false}, `{"user":"507f1f77bcf86cd799439011"}`},
		{"text that looks like a number", `{"user":"007"}`, UserID{"007", false}, `{"user":"007"}`},
		{"text with more than ASCII", `{"user":"é\u0022"}`, UserID{`é"`, false}, `{"user":"é\""}`},
		{"nobody", `{}`, UserID{}, "{}"},
		{"null", `{"user":null}`, UserID{}, `{"user":null}`},
		{"no passport", `null`, UserID{}, "null"},
	} {
		t.Run("R10 R12 "+row.name, func(t *testing.T) {
			desk := newDesk[Session](t, express.Options{Secrets: []string{secret}}, "new")
			stored := func(sid string) (passport string) {
				t.Helper()
				data, _, err := desk.shelf.MemoryStore.Load(t.Context(), sid, 0)
				must(t, err)
				_, values := members(t, string(data))
				return string(values["passport"])
			}
			desk.put(t, "doc", object(`,"passport":`+row.stored), time.Hour)
			ask := func(handle func(ctx context.Context, s *Session)) {
				t.Helper()
				desk.serve(get("/", signed("connect.sid", "doc", secret)), func(_ http.ResponseWriter, r *http.Request) {
					s := sessions.FromContext[Session](r.Context())
					if s.Passport.User != row.want {
						t.Errorf("it is %+v, want %+v", s.Passport.User, row.want)
					}
					handle(r.Context(), s)
				})
			}
			ask(func(_ context.Context, s *Session) { s.Views++ })
			if got := stored("doc"); got != row.stored {
				t.Errorf("it was %s, and is %s", row.stored, got)
			}
			ask(func(ctx context.Context, s *Session) {
				*s = Session{}
				must(t, desk.Save(ctx))
				s.Passport.User = row.want
				must(t, desk.SignIn(ctx))
			})
			if got := stored("new"); got != row.signedIn {
				t.Errorf("a sign-in writes %s, want %s", got, row.signedIn)
			}
		})
	}
}

// A failingWriter is where nothing is to be logged.
type failingWriter struct{ t *testing.T }

func (w failingWriter) Write(line []byte) (int, error) {
	w.t.Errorf("logged: %s", line)
	return len(line), nil
}
