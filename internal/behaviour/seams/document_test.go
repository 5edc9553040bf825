package seams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

const (
	day      = 24 * time.Hour
	docToken = "6f1f1d6e-6f0e-4b0f-9d0e-0d0c0b0a0908"
	docLong  = `{"meta":{"maxAge":2592000000,"expires":"2000-01-31T00:00:00Z","path":"/app"},"views":7}`
)

// documents is the Config for documents that this program creates for 15 minutes.
func documents() sessions.Config {
	return sessions.Config{IdleTimeout: 15 * time.Minute, Lifetime: -1, Layout: document{15 * time.Minute}, Transport: docCookie{}}
}

// placeDoc stores a document for 30 days.
func placeDoc(t testing.TB, store sessions.Store, token, doc string) {
	t.Helper()
	kit.Must(t, store.Create(context.Background(), token, []byte(doc), 30*day))
}

// docUnder is what is stored under a token, or the error.
func docUnder(t testing.TB, store sessions.Store, token string) string {
	t.Helper()
	doc, _, err := store.Load(context.Background(), token, 0)
	if err != nil {
		return err.Error()
	}
	return string(doc)
}

// docBrowser has the cookie of docToken.
func docBrowser(a *kit.App) *kit.Browser {
	b := a.Browser()
	b.SetCookies(&http.Cookie{Name: "sid", Value: signed(docToken)})
	return b
}

// withDocument runs a test in a bubble with a stored document, which get looks up.
func withDocument(t *testing.T, name, doc string, cfg sessions.Config, f func(t *testing.T, a *kit.App, b *kit.Browser, get func() string)) {
	kit.Bubble(t, name, func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
		placeDoc(t, a.Store.Store, docToken, doc)
		f(t, a, docBrowser(a), func() string { return docUnder(t, a.Store.Store, docToken) })
	})
}

// What only a Layout with the lifetime in the record shows.
func TestDocument(t *testing.T) {
	t.Parallel()
	cfg := documents()
	passive, rolling, rewrite := documents(), documents(), documents()
	passive.Passive = func(*http.Request) bool { return true }
	rolling.Transport = docCookie{rolling: true}
	spy := &spyTransport{Transport: docCookie{}}
	rewrite.Rewrite, rewrite.Transport = true, spy

	withDocument(t, "a foreign document is read, changed, and stays foreign",
		`{"nested":{"n":12345678901234567890},"meta":{"maxAge":60000,"expires":"2000-01-01T00:01:00Z","path":"/app"},"views":7}`,
		cfg, func(t *testing.T, _ *kit.App, b *kit.Browser, get func() string) {
			wantStatus(t, b.Edit(func(s *kit.Session) { s.Views++ }), 200)
			doc := get()
			for _, part := range []string{`{"meta":{"maxAge":60000,`, `"views":8`, `"nested":{"n":12345678901234567890}`} {
				if !strings.Contains(doc, part) {
					t.Errorf("no %s in %s", part, doc)
				}
			}
		})

	withDocument(t, "the record's lifetime wins", docLong, cfg, func(t *testing.T, _ *kit.App, b *kit.Browser, get func() string) {
		for range 3 {
			time.Sleep(29 * day)
			wantViews(t, "the token", b, 7)
		}
		if doc := get(); doc != docLong {
			t.Errorf("written: %s", doc)
		}
		if _, i := b.Peek(); time.Until(i.IdleUntil) != 30*day || time.Since(i.LastSeenAt) != 0 {
			t.Errorf("idle until %v from now, seen %v ago", time.Until(i.IdleUntil), time.Since(i.LastSeenAt))
		}
	})

	withDocument(t, "loading costs two commands", docLong, cfg, func(t *testing.T, a *kit.App, b *kit.Browser, _ func() string) {
		b.Edit(func(*kit.Session) {})
		a.WantCalls(t, "a read", "Load Load")
	})

	withDocument(t, "a passive request knows when it was last seen", docLong, passive, func(t *testing.T, _ *kit.App, b *kit.Browser, _ func() string) {
		time.Sleep(day)
		if _, i := b.Peek(); time.Since(i.LastSeenAt) != day {
			t.Errorf("seen %v ago", time.Since(i.LastSeenAt))
		}
	})

	elsewhere := strings.Replace(docLong, `"/app"`, `"/app/"`, 1)
	wantCookie := func(t *testing.T, res kit.Response, part string) {
		t.Helper()
		if lines := res.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], part) {
			t.Errorf("Set-Cookie %q, want one with %q", lines, part)
		}
	}
	withDocument(t, "R15 the stored attributes expire the cookie", elsewhere, cfg, func(t *testing.T, _ *kit.App, b *kit.Browser, _ func() string) {
		wantCookie(t, b.Verb("Destroy"), "sid=; Path=/app/; Expires=Thu, 01 Jan 1970")
	})
	withDocument(t, "R15 the stored attributes survive Renew", elsewhere, cfg, func(t *testing.T, _ *kit.App, b *kit.Browser, get func() string) {
		wantCookie(t, b.Verb("Renew"), "Path=/app/; Expires=Mon, 31 Jan 2000")
		if doc := get(); doc != sessions.ErrNotFound.Error() {
			t.Errorf("under the old token: %s", doc)
		}
	})

	withDocument(t, "a rolling cookie goes out with every response", docLong, rolling, func(t *testing.T, _ *kit.App, b *kit.Browser, _ func() string) {
		for _, f := range []func(w http.ResponseWriter, r *http.Request, s *kit.Session){
			func(http.ResponseWriter, *http.Request, *kit.Session) {},
			func(w http.ResponseWriter, _ *http.Request, _ *kit.Session) { io.WriteString(w, "hello") },
			func(_ http.ResponseWriter, _ *http.Request, s *kit.Session) { s.Views = 8 },
		} {
			time.Sleep(29 * day)
			wantCookie(t, b.Visit(f), "Expires="+time.Now().Add(30*day).UTC().Format(http.TimeFormat))
		}
	})

	withDocument(t, "Rewrite is no change", docLong, rewrite, func(t *testing.T, _ *kit.App, b *kit.Browser, get func() string) {
		time.Sleep(day) // it expires later now
		b.Edit(func(*kit.Session) {})
		if get() == docLong {
			t.Error("not written")
		}
		carried(t, spy.last.Kind == sessions.OutcomeUnchanged, "express sends the cookie with what was modified, not with what was only saved again: the Outcome is %v for both", spy.last.Kind)
	})

	withDocument(t, "the touch shows what another wrote meanwhile", docLong, cfg, func(t *testing.T, a *kit.App, b *kit.Browser, _ func() string) {
		time.Sleep(29 * day) // so little is left that it is touched at once
		loads := 0
		a.Store.Before = func(op, key string) error {
			if loads++; op == "Load" && loads == 2 {
				_, err := a.Store.Store.CompareAndSwap(t.Context(), key, nil, []byte(strings.Replace(docLong, "7", "8", 1)), time.Hour)
				return err
			}
			return nil
		}
		got := views(t, b)
		carried(t, got == 8, "the second Load of a Layout that does not know the class is asked for its expiry alone: %d is read, 8 was stored", got)
	})

	withDocument(t, "C4 a rolling cookie does not overwrite the renewed one", docLong, rolling, func(t *testing.T, _ *kit.App, b *kit.Browser, _ func() string) {
		other := b.Clone()
		res := b.Edit(func(s *kit.Session) {
			other.Verb("Renew")
			s.Views = 3
		})
		wantStatus(t, res, http.StatusConflict)
		carried(t, len(res.Header["Set-Cookie"]) == 0, "an Outcome does not say that the session has ended: a rolling Transport sends the dead token again")
	})

	withDocument(t, "SignIn restarts the lifetime", docLong, cfg, func(t *testing.T, a *kit.App, b *kit.Browser, _ func() string) {
		var until time.Duration
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			kit.OK(t, a.SignIn(r.Context()))
			until = time.Until(a.Info(r.Context()).IdleUntil)
		})
		carried(t, until == 15*time.Minute, "SignIn hands Idle and Attrs of the old record on, so Remembered and its absence mean nothing where the record has its lifetime: %v", until)
	})

	t.Run("L6 without a time of creation there is no Lifetime to keep", func(t *testing.T) {
		bad := documents()
		bad.Lifetime = 0 // 24 hours
		if _, err := sessions.New[kit.Session](kit.Memory(), bad); err == nil || !strings.Contains(err.Error(), "Config.Lifetime") {
			t.Errorf("New = %v: what is stored would be deleted when it is loaded, and every save would fail", err)
		}
	})

	for _, verb := range []string{"Save", "Renew", "Destroy"} {
		kit.Bubble(t, "C10 lost replies, "+verb, func(t *testing.T) {
			store := kit.Memory()
			placeDoc(t, store, docToken, docLong)
			a := kit.NewApp(t, kit.InProcess, twice{store}, cfg)
			b := docBrowser(a)
			var err error
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				if verb != "Destroy" {
					s.Views++
				}
				err = kit.Call(a.Manager, r.Context(), verb)
			})
			// Without marks a claim whose reply was lost looks like somebody
			// else's: a sign-out, and not two sessions.
			if verb == "Renew" && errors.Is(err, sessions.ErrGone) {
				return
			}
			want := 8
			if verb == "Destroy" {
				want = -1
			}
			if got := views(t, b); got != want || err != nil {
				t.Errorf("views %d, want %d; error %v", got, want, err)
			}
		})
	}

	t.Run("a Layout that wants objects refuses a codec that has none", func(t *testing.T) {
		for _, codec := range []sessions.Codec{gobCodec{}, sessions.MsgPack{}} {
			bad := documents()
			bad.Codec = codec
			if _, err := sessions.New[kit.Session](kit.Memory(), bad); err == nil {
				t.Errorf("New takes %s", codec.Name())
			}
		}
	})

	for _, doc := range []string{
		`{"views":1}`, `{"meta":null,"views":1}`, `{"meta":{},"views":1}`, `{"meta":{"maxAge":"900000","path":"/"},"views":1}`,
		``, `null`, `false`, `0`, `"s"`, `[]`, `TOMBSTONE`, "\ufeff" + docLong, docLong + "x", `{"meta":`,
		strings.Replace(docLong, "7", `"seven"`, 1),
	} {
		withDocument(t, fmt.Sprintf("K6 %.40q", doc), doc, cfg, func(t *testing.T, a *kit.App, b *kit.Browser, get func() string) {
			for range 2 {
				wantStatus(t, b.Edit(func(*kit.Session) {}), 200)
				a.WantEvents(t, sessions.EventUndecodable)
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
	_ = s.Store.Create(ctx, key, data, ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s twice) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	_, _ = s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}
