package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// What only a Layout with the lifetime in the record shows.
func TestSeamsDocument(t *testing.T) {
	const day = 24 * time.Hour
	cfg := sessions.Config{IdleTimeout: 15 * time.Minute, Lifetime: -1, Layout: document{15 * time.Minute}, Transport: docCookie{}}
	run := func(name string, cfg sessions.Config, f func(t *testing.T, s *site, c *client, put func(string), get func() string)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const token = "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908"
				s := newSite(t, new(sessions.MemoryStore), cfg)
				c := s.client()
				c.jar.SetCookies(appURL, []*http.Cookie{{Name: "sid", Value: token + "." + proof(token), Path: "/app"}})
				put := func(doc string) {
					if err := s.store.Create(t.Context(), token, []byte(doc), 30*day); err != nil {
						t.Fatal(err)
					}
				}
				get := func() string {
					doc, _, err := s.store.Load(t.Context(), token, 0)
					if err != nil {
						return err.Error()
					}
					return string(doc)
				}
				f(t, s, c, put, get)
			})
		})
	}
	const long = `{"meta":{"maxAge":2592000000,"expires":"2000-01-31T00:00:00Z","path":"/app"},"views":7}`

	run("a foreign document is read, changed, and stays foreign", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(`{"nested":{"n":12345678901234567890},"meta":{"maxAge":60000,"expires":"2000-01-01T00:01:00Z","path":"/app"},"views":7}`)
		s.status(c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ }), 200)
		doc := get()
		for _, part := range []string{`{"meta":{"maxAge":60000,`, `"views":8`, `"nested":{"n":12345678901234567890}`} {
			if !strings.Contains(doc, part) {
				t.Errorf("no %s in %s", part, doc)
			}
		}
	})

	run("the record's lifetime wins", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		for range 3 {
			time.Sleep(29 * day)
			if got := c.views(); got != 7 {
				t.Fatalf("views %d", got)
			}
		}
		if doc := get(); doc != long {
			t.Errorf("written: %s", doc)
		}
		var until, seen time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			i := s.m.Info(r.Context())
			until, seen = time.Until(i.IdleUntil), time.Since(i.LastSeenAt)
		})
		if until != 30*day || seen != 0 {
			t.Errorf("idle until %v from now, seen %v ago", until, seen)
		}
	})

	run("loading costs two commands", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		var ops []string
		store := &stepStore{Store: s.store, before: func(op, _ string) error { ops = append(ops, op); return nil }}
		s2 := newSite(t, store, cfg)
		c.site = s2
		if c.views(); !slices.Equal(ops, []string{"Load", "Load"}) {
			t.Errorf("operations %v", ops)
		}
	})

	passive := cfg
	passive.Passive = func(*http.Request) bool { return true }
	run("a passive request knows when it was last seen", passive, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		time.Sleep(day)
		var seen time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			seen = time.Since(s.m.Info(r.Context()).LastSeenAt)
		})
		if seen != day {
			t.Errorf("seen %v ago", seen)
		}
	})

	run("R15 the stored attributes expire the cookie", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(strings.Replace(long, `"/app"`, `"/app/"`, 1))
		res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "sid=; Path=/app/; Expires=Thu, 01 Jan 1970") {
			t.Errorf("Set-Cookie %q", lines)
		}
	})

	run("R15 the stored attributes survive Renew", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(strings.Replace(long, `"/app"`, `"/app/"`, 1))
		res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "Path=/app/; Expires=Mon, 31 Jan 2000") {
			t.Errorf("Set-Cookie %q", lines)
		}
		if doc := get(); doc != sessions.ErrNotFound.Error() {
			t.Errorf("under the old token: %s", doc)
		}
	})

	rolling := cfg
	rolling.Transport = docCookie{rolling: true}
	run("a rolling cookie goes out with every response", rolling, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		for _, f := range []step{
			func(http.ResponseWriter, *http.Request, *Session) {},
			func(w http.ResponseWriter, _ *http.Request, _ *Session) { io.WriteString(w, "hello") },
			set(8),
		} {
			time.Sleep(29 * day)
			if lines := c.do(f).Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "Expires="+time.Now().Add(30*day).UTC().Format(http.TimeFormat)) {
				t.Errorf("Set-Cookie %q", lines)
			}
		}
	})

	rewrite := cfg
	spy := &spyTransport{Transport: docCookie{}}
	rewrite.Rewrite, rewrite.Transport = true, spy
	run("Rewrite is no change", rewrite, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		time.Sleep(day) // it expires later now
		c.views()
		if get() == long {
			t.Error("not written")
		}
		kept(t, spy.last.Kind == sessions.OutcomeUnchanged, "express sends the cookie with what was modified, not with what was only saved again: the Outcome is %v for both", spy.last.Kind)
	})

	run("the touch shows what another wrote meanwhile", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		loads := 0
		c.site = newSite(t, &stepStore{Store: s.store, before: func(op, key string) error {
			if loads++; op == "Load" && loads == 2 {
				_, err := s.store.CompareAndSwap(t.Context(), key, nil, []byte(strings.Replace(long, "7", "8", 1)), time.Hour)
				return err
			}
			return nil
		}}, cfg)
		got := c.views()
		kept(t, got == 8, "the second Load of a Layout that does not know the class is asked for its expiry alone: %d is read, 8 was stored", got)
	})

	run("C4 a rolling cookie does not overwrite the renewed one", rolling, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		other := c.clone()
		res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
			other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
			v.Views = 3
		})
		s.status(res, http.StatusConflict)
		lines := res.Header["Set-Cookie"]
		kept(t, len(lines) == 0, "an Outcome does not say that the session has ended: a rolling Transport sends the dead token again")
	})

	run("SignIn restarts the lifetime", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		put(long)
		var until time.Duration
		c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
			s.ok(s.m.SignIn(r.Context()))
			until = time.Until(s.m.Info(r.Context()).IdleUntil)
		})
		kept(t, until == 15*time.Minute, "SignIn hands Idle and Attrs of the old record on, so Remembered and its absence mean nothing where the record has its lifetime: %v", until)
	})

	bad := cfg
	bad.Lifetime, bad.Logger = 0, slog.New(slog.DiscardHandler) // 24 hours
	run("L6 without a time of creation there is no Lifetime to keep", cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
		m, err := sessions.New[Session](s.store, bad)
		if err != nil {
			if !strings.Contains(err.Error(), "Config.Lifetime") {
				t.Error(err)
			}
			return
		}
		put(long)
		ctx, err := m.Load(t.Context(), "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908")
		s.ok(err)
		sessions.FromContext[Session](ctx).Views = 1
		_, err = m.Commit(ctx)
		t.Errorf("the seam does not carry it: New takes a Lifetime for a Layout that stores no time of creation; what is stored is then deleted when it is loaded (%s), and every save fails (%v)", get(), err)
	})

	for verb, f := range map[string]func(s *site, r *http.Request, v *Session) error{
		"Save":    func(s *site, r *http.Request, v *Session) error { v.Views++; return s.m.Save(r.Context()) },
		"Renew":   func(s *site, r *http.Request, v *Session) error { v.Views++; return s.m.Renew(r.Context()) },
		"Destroy": func(s *site, r *http.Request, v *Session) error { return s.m.Destroy(r.Context()) },
	} {
		run("C10 lost replies, "+verb, cfg, func(t *testing.T, s *site, c *client, put func(string), _ func() string) {
			put(long)
			c.site = newSite(t, twice{s.store}, cfg)
			var err error
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) { err = f(c.site, r, v) })
			// Without marks a claim whose reply was lost looks like somebody
			// else's: a sign-out, and not two sessions.
			if verb == "Renew" && errors.Is(err, sessions.ErrGone) {
				return
			}
			want := 8
			if verb == "Destroy" {
				want = -1
			}
			if got := c.views(); got != want || err != nil {
				t.Errorf("views %d, want %d; error %v", got, want, err)
			}
		})
	}

	run("a Layout that wants objects refuses a codec that has none", cfg, func(t *testing.T, _ *site, _ *client, _ func(string), _ func() string) {
		for _, codec := range []sessions.Codec{gobCodec{}, sessions.MsgPack{}} {
			bad := cfg
			bad.Codec = codec
			if _, err := sessions.New[Session](new(sessions.MemoryStore), bad); err == nil {
				t.Errorf("New takes %s", codec.Name())
			}
		}
	})

	for _, doc := range []string{
		`{"views":1}`, `{"meta":null,"views":1}`, `{"meta":{},"views":1}`, `{"meta":{"maxAge":"900000","path":"/"},"views":1}`,
		``, `null`, `false`, `0`, `"s"`, `[]`, `TOMBSTONE`, "\ufeff" + long, long + "x", `{"meta":`,
		strings.Replace(long, "7", `"seven"`, 1),
	} {
		run(fmt.Sprintf("K6 %.40q", doc), cfg, func(t *testing.T, s *site, c *client, put func(string), get func() string) {
			put(doc)
			for range 2 {
				s.status(c.do(func(http.ResponseWriter, *http.Request, *Session) {}), 200)
				if kinds := s.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventUndecodable}) {
					t.Errorf("events %v", kinds)
				}
			}
			if got := get(); got != doc {
				t.Errorf("stored: %s", got)
			}
		})
	}
}

// spyTransport remembers the last Outcome.
type spyTransport struct {
	sessions.Transport
	last sessions.Outcome
}

func (s *spyTransport) Write(h http.Header, r *http.Request, o sessions.Outcome) bool {
	s.last = o
	return s.Transport.Write(h, r, o)
}

// twice is a store whose client loses the first reply to every write and
// repeats it.
type twice struct{ sessions.Store }

func (s twice) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.Store.Create(ctx, key, data, ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s twice) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}
