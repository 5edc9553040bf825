package express_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

const (
	month = 30 * 24 * time.Hour
	never = time.Duration(-1)            // what Redis says of a key without an expiry
	ages  = time.Duration(math.MaxInt64) // the longest expiry that this side can give
)

// age is what a document says of how long its session lasts.
func age(document string) string {
	_, after, _ := strings.Cut(document, `"originalMaxAge":`)
	age, _, _ := strings.Cut(after, ",")
	return age
}

// expires is when a Set-Cookie line says that the cookie ends, as from now.
func expires(t *testing.T, line string) time.Duration {
	t.Helper()
	_, after, ok := strings.Cut(line, "; Expires=")
	if !ok {
		return 0
	}
	at, err := http.ParseTime(strings.Split(after, ";")[0])
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(at)
}

// near says that a duration is right up to the time that the test takes.
func near(got, want time.Duration) bool { return got <= want && got > want-time.Minute }

func TestStoredLifetimeWins(t *testing.T) {
	o := express.Options{Cookie: express.Cookie{MaxAge: quarter}, TTL: 2 * time.Hour}
	for _, row := range []struct {
		name, age string
		seconds   int // in Redis before; 0: for ever. More than age: it is kept for longer than that says
		f         handler
		after     time.Duration
		cookie    time.Duration // Expires of the cookie; 0: none; -1: no cookie
	}{
		{"30 days, read", "2592000000", 1000, nothing, month, -1},
		{"30 days, changed", "2592000000", 1000, view, month, month},
		{"a minute, read", "60000", 40, nothing, time.Minute, -1},
		{"a minute, read, and it is about to end", "60000", 20, nothing, time.Minute, -1},
		{"a minute, changed", "60000", 40, view, time.Minute, time.Minute},
		{"L28 a minute, read, and it is kept for longer", "60000", 1000, nothing, 1000 * time.Second, -1},
		{"L28 a minute, changed, and it is kept for longer", "60000", 1000, view, 1000 * time.Second, time.Minute},
		{"half a second more, rounded up", "1500", 1, nothing, 2 * time.Second, -1},
		{"no maxAge, read", "null", 1000, nothing, 2 * time.Hour, -1},
		{"no maxAge, changed: the browser has its cookie", "null", 1000, view, 2 * time.Hour, -1},
		{"maxAge false: Node sends it, without an end", "false", 1000, view, 2 * time.Hour, 0},
		{"L28 a key that never expires, read", "900000", 0, nothing, never, -1},
		{"L7 L28 a key that never expires, changed", "900000", 0, view, ages, quarter},
		{"L28 a key that never expires, without a maxAge", "null", 0, nothing, never, -1},
	} {
		t.Run("R14 R15 "+row.name, func(t *testing.T) {
			p := newPlace(t, o)
			p.put(sid, nodeDoc(row.age, `,"views":7`), max(row.seconds, 1))
			if row.seconds == 0 {
				p.ok(p.node.Persist(t.Context(), "sess:"+sid).Err())
			}
			was := p.doc(sid)
			lines := p.lines(p.ask(row.f, mine("")))
			if got := p.ttl(sid); got != row.after && (got < row.after-time.Second || got > row.after) {
				t.Errorf("it ends in %v, want %v", got, row.after)
			}
			now := p.doc(sid)
			if age(now) != age(was) {
				t.Errorf("stored %s, was %s", now, was)
			}
			switch {
			case row.cookie < 0 && len(lines) > 0, row.cookie >= 0 && len(lines) != 1:
				t.Errorf("Set-Cookie %q", lines)
			case row.cookie >= 0 && !near(expires(t, lines[0])-time.Second, row.cookie-time.Second):
				t.Errorf("Set-Cookie %q, want it to end in %v", lines, row.cookie)
			}
		})
	}

	t.Run("L5 a 30-day session lives in a 15-minute service, and a short one dies there", func(t *testing.T) {
		p := newPlace(t, o)
		p.put(sid, nodeDoc("2592000000", `,"views":7`), 2592000)
		for range 3 {
			p.server.FastForward(29 * 24 * time.Hour)
			p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
				if c.Views != 7 {
					t.Fatalf("%d views", c.Views)
				}
			}, mine(""))
		}
		p.put(sid, nodeDoc("60000", `,"views":7`), 60)
		p.server.FastForward(61 * time.Second)
		p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
			if c.Views != 0 {
				t.Errorf("%d views", c.Views)
			}
		}, mine(""))
	})

	t.Run("L16 a Passive request reads and restarts nothing", func(t *testing.T) {
		passive := o
		passive.Passive = func(*http.Request) bool { return true }
		p := newPlace(t, passive)
		p.put(sid, nodeDoc("2592000000", `,"views":7`), 1000)
		views := 0
		p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) { views = c.Views }, mine(""))
		if got := p.ttl(sid); got != 1000*time.Second || views != 7 {
			t.Errorf("%d views, it ends in %v", views, got)
		}
	})

	t.Run("Info says when it ends, and knows no other time", func(t *testing.T) {
		p := newPlace(t, o)
		p.put(sid, nodeDoc("2592000000", ""), 1000)
		p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
			i := p.Info(r.Context())
			if !near(time.Until(i.IdleUntil), month) || !near(-time.Since(i.LastSeenAt)+time.Second, time.Second) {
				t.Errorf("idle until %v, seen at %v", i.IdleUntil, i.LastSeenAt)
			}
			if !i.CreatedAt.IsZero() || !i.ExpiresAt.IsZero() || !i.AuthenticatedAt.IsZero() || i.New || !i.Current {
				t.Errorf("%+v", i)
			}
		}, mine(""))
	})
}

// The wire has no room for when and how a user has signed in, so no verb may pretend to keep that.
func TestAuthentication(t *testing.T) {
	p := newPlace(t, express.Options{Cookie: express.Cookie{MaxAge: quarter}})
	p.put(sid, nodeDoc("900000", `,"views":7`), 900)
	stored := p.doc(sid)
	for _, row := range []struct {
		name string
		verb func(ctx context.Context) error
	}{
		{"L23 Reauthenticate", func(ctx context.Context) error { return p.Reauthenticate(ctx) }},
		{"L29 AuthenticatedAt", func(ctx context.Context) error { return p.SignIn(ctx, sessions.AuthenticatedAt(time.Now())) }},
		{"L30 AuthenticatedBy", func(ctx context.Context) error { return p.SignIn(ctx, sessions.AuthenticatedBy("pwd")) }},
	} {
		t.Run(row.name+" is ErrUnsupported and leaves the session as it is", func(t *testing.T) {
			res := p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
				c.Views++
				if err := row.verb(r.Context()); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("the error is %v", err)
				}
			}, mine(""))
			if doc := p.doc(sid); doc != stored || len(p.lines(res)) > 0 {
				t.Errorf("stored %s, sent %q", doc, p.lines(res))
			}
		})
	}
	t.Run("O14 nobody is fresh, not even after a SignIn", func(t *testing.T) {
		p.ask(func(w http.ResponseWriter, r *http.Request, _ *cart) {
			if err := p.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("next is served") })
			p.Fresh(1<<62, next, http.NotFoundHandler()).ServeHTTP(w, r)
		}, mine(""))
	})
}

func TestSignInAndRenew(t *testing.T) {
	o := express.Options{Cookie: express.Cookie{MaxAge: quarter}}
	browser := express.Options{TTL: time.Hour} // without a maxAge
	signIn := func(p *place, opts ...sessions.SignInOption) handler {
		return p.do(func(ctx context.Context) error { return p.SignIn(ctx, opts...) })
	}
	const theirs = `{"cookie":{"originalMaxAge":60000,"expires":null,"secure":true,"httpOnly":false,"domain":"example.com","path":"/app","sameSite":"strict","priority":"low","theirs":[1]},"views":7,"kept":{"n":12345678901234567890}}`

	for _, row := range []struct {
		name   string
		o      express.Options
		remind time.Duration
		age    string
		lasts  time.Duration
	}{
		{"30 days unless said otherwise", o, 0, "2592000000", month},
		{"Options.Remember", o, 48 * time.Hour, "172800000", 48 * time.Hour},
		{"where others end with the browser", browser, 0, "2592000000", month},
	} {
		t.Run("L9 Remembered: "+row.name, func(t *testing.T) {
			row.o.Remember = row.remind
			p := newPlace(t, row.o)
			res := p.ask(signIn(p, sessions.Remembered))
			cookie, sid := p.cookieOf(res)
			check := func(what, sid string, res *http.Response) {
				t.Helper()
				if got := age(p.doc(sid)); got != row.age || p.ttl(sid) != row.lasts {
					t.Errorf("%s: %s, it ends in %v", what, p.doc(sid), p.ttl(sid))
				}
				if res != nil && !near(expires(t, p.lines(res)[0])-time.Second, row.lasts-time.Second) {
					t.Errorf("%s: sent %q", what, p.lines(res))
				}
			}
			check("at first", sid, res)
			check("changed", sid, p.ask(view, cookie))
			p.ask(nothing, cookie)
			check("touched", sid, nil)
			res = p.ask(p.do(p.Renew), cookie)
			cookie, sid = p.cookieOf(res)
			check("renewed", sid, res)

			res = p.ask(signIn(p), cookie)
			_, sid = p.cookieOf(res)
			want, lasts := "900000", quarter
			if row.o.Cookie.MaxAge == 0 {
				want, lasts = "null", time.Hour
			}
			if age(p.doc(sid)) != want || p.ttl(sid) != lasts {
				t.Errorf("a plain sign-in: %s, it ends in %v", p.doc(sid), p.ttl(sid))
			}
			if left := expires(t, p.lines(res)[0]); want == "null" && left != 0 {
				t.Errorf("a plain sign-in: sent %q", p.lines(res))
			}
		})
	}

	t.Run("R15 Renew keeps the stored cookie, and what T does not know", func(t *testing.T) {
		p := newPlace(t, o)
		p.put(sid, theirs, 60)
		res := p.ask(p.do(p.Renew), mine(""))
		_, now := p.cookieOf(res)
		doc := p.doc(now)
		want := strings.Replace(theirs, `"expires":null,`, doc[strings.Index(doc, `"expires"`):strings.Index(doc, `"secure"`)], 1)
		want = strings.Replace(want, `"expires":"`, `"expires":"`, 1)
		if unordered(want) != unordered(doc) || p.ttl(now) != time.Minute {
			t.Errorf("stored %s, want %s", doc, want)
		}
		line := p.lines(res)[0]
		_, attrs, _ := strings.Cut(line, "; ")
		before, after, _ := strings.Cut(attrs, "; Expires=")
		if _, after, _ = strings.Cut(after, "; "); before != "Domain=example.com; Path=/app" || after != "Secure; Priority=Low; SameSite=Strict" {
			t.Errorf("sent %q", line)
		}
		if !slices.Equal(p.keys(), []string{"sess:" + now}) {
			t.Errorf("keys %q", p.keys())
		}
	})

	t.Run("R15 SignIn gives the configured cookie, and keeps what T does not know", func(t *testing.T) {
		p := newPlace(t, o)
		p.put(sid, theirs, 60)
		sent := p.lines(p.ask(signIn(p), mine("")))
		const expired = "connect.sid=; Domain=example.com; Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; Priority=Low; SameSite=Strict"
		if len(sent) != 2 || sent[0] != expired {
			t.Fatalf("it sends %q, want %q and a new one", sent, expired)
		}
		now := sidIn(sent[1])
		doc := p.doc(now)
		if age(doc) != "900000" || strings.Contains(doc, "example.com") || !strings.Contains(doc, `"kept":{"n":12345678901234567890}`) || p.ttl(now) != quarter {
			t.Errorf("stored %s", doc)
		}
	})
}

// unordered is what is between the commas, in any order.
func unordered(document string) string {
	parts := strings.Split(document, ",")
	for i, p := range parts {
		parts[i] = strings.Trim(p, "{}")
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// When Node and this side write, and when they send the cookie, is recorded in
// testdata; these are the options through New, on Redis.
func TestWhatIsStoredAndSent(t *testing.T) {
	persists := express.Cookie{MaxAge: quarter}
	for _, row := range []struct {
		name         string
		o            express.Options
		loaded       bool
		f            handler
		stored, sent bool
	}{
		{"L2 a new session untouched", express.Options{}, false, nothing, false, false},
		{"L8 SaveUninitialized", express.Options{SaveUninitialized: true}, false, nothing, true, true},
		{"L1 a new session changed", express.Options{}, false, view, true, true},
		{"L3 a loaded one untouched", express.Options{Cookie: persists}, true, nothing, false, false},
		{"L3 a loaded one changed", express.Options{Cookie: persists}, true, view, true, true},
		{"Resave", express.Options{Resave: true, Cookie: persists}, true, nothing, true, false},
		{"Resave of a new one", express.Options{Resave: true}, false, nothing, false, false},
		{"Rolling", express.Options{Rolling: true, Cookie: persists}, true, nothing, false, true},
		{"Rolling, nothing stored", express.Options{Rolling: true, Cookie: persists}, false, nothing, false, false},
		{"Rolling and Resave", express.Options{Rolling: true, Resave: true}, true, nothing, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, row.o)
			was, cookie := "", ""
			if row.loaded {
				p.put(sid, nodeDoc("900000", `,"views":7`), 900)
				was, cookie = p.doc(sid), mine("")
			}
			res := p.ask(row.f, cookie)
			stored := fmt.Sprint(p.keys()) != "[]"
			if row.loaded {
				stored = p.doc(sid) != was
			}
			if stored != row.stored || len(p.lines(res)) > 0 != row.sent {
				t.Errorf("stored %v, sent %q, want %v, %v", stored, p.lines(res), row.stored, row.sent)
			}
		})
	}

	t.Run("Rolling sends what expires from now on", func(t *testing.T) {
		p := newPlace(t, express.Options{Rolling: true, Cookie: persists})
		p.put(sid, `{"cookie":{"originalMaxAge":2592000000,"expires":"2000-01-01T00:00:00.000Z","httpOnly":true,"path":"/"}}`, 900)
		lines := p.lines(p.ask(nothing, mine("")))
		if len(lines) != 1 || !near(expires(t, lines[0]), month) {
			t.Errorf("sent %q", lines)
		}
	})
	t.Run("Resave writes what expires from now on, and changes nothing else", func(t *testing.T) {
		p := newPlace(t, express.Options{Resave: true})
		const doc = `{"cookie":{"originalMaxAge":2592000000,"expires":"2000-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"theirs":1e400,"views":7}`
		p.put(sid, doc, 900)
		p.ask(nothing, mine(""))
		now := p.doc(sid)
		i, j := strings.Index(now, `"expires":"`)+11, strings.Index(now, `","httpOnly"`)
		at, err := time.Parse(time.RFC3339, now[i:j])
		p.ok(err)
		if !near(time.Until(at), month) || unordered(now) != unordered(strings.Replace(doc, "2000-01-01T00:00:00.000Z", now[i:j], 1)) {
			t.Errorf("stored %s", now)
		}
	})
}
