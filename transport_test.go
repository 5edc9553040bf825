package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestToken(t *testing.T) {
	t.Run("T1 a million draws are unique, and each of 26 places takes all 32 symbols", func(t *testing.T) {
		const n, places, symbols = 1_000_000, 26, 32 // 26 × 5 bits = 130
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		seen := make(map[string]struct{}, n)
		var used [places][256]bool
		for range n {
			token, err := sessions.DrawToken(d.Manager)
			if err != nil || len(token) != 1+places {
				t.Fatalf("%q, %v: want %d characters", token, err, 1+places)
			}
			seen[token] = struct{}{}
			for i := range places {
				used[i][token[1+i]] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d draws are unique", len(seen), n)
		}
		for i, set := range used {
			count := 0
			for _, in := range set {
				if in {
					count++
				}
			}
			if count != symbols {
				t.Errorf("place %d takes %d symbols, want %d", i, count, symbols)
			}
		}
	})
	t.Run("T1 a token needs no quotes in a cookie, and nothing public is in it", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Label: func(*http.Request) string { return "label" }})
		var id string
		res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).UserID = "alice"
			id = d.Info(r.Context()).ID
		})
		token := tokenOf(res.Header)
		if !tokenShape.MatchString(token) {
			t.Errorf("token %q", token)
		}
		if id == "" || strings.Contains(token, id) || strings.Contains(id, token[1:]) {
			t.Errorf("token %q, ID %q", token, id)
		}
	})

	failing := func(ok int, err error) func() (string, error) {
		n := 0
		return func() (string, error) {
			if n++; n > ok {
				return "", err
			}
			return wellFormed(n), nil
		}
	}
	t.Run("T1 a NewToken that fails gives an error response and no session", func(t *testing.T) {
		cause := errors.New("out of entropy")
		var handed error
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{
			NewToken: failing(2, cause), // New draws twice
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				handed = err
				w.WriteHeader(http.StatusInternalServerError)
			},
		})
		res := d.ask(viewOnce)
		if res.StatusCode != 500 || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d %v, want 500 without a cookie", res.StatusCode, res.Header)
		}
		if !errors.Is(handed, cause) {
			t.Errorf("ErrorHandler got %v, want %v", handed, cause)
		}
		if got := ops.take(); len(got) > 0 {
			t.Errorf("store calls %v, want none", got)
		}
	})
	t.Run("T1 the default answer to a failing NewToken says nothing of its error", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{NewToken: failing(2, errors.New("out of entropy"))})
		res := d.ask(viewOnce)
		wantMasked(t, res.Header, http.Header{
			"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"22"}, "X-Content-Type-Options": {"nosniff"},
			"Cache-Control": {"no-store"}, "Vary": {"Cookie"},
		})
		if body, _ := io.ReadAll(res.Body); string(body) != "Internal Server Error\n" {
			t.Errorf("body %q", body)
		}
	})
	t.Run("T1 a NewToken that begins to repeat itself never hands out a stored session", func(t *testing.T) {
		n := 0
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{NewToken: func() (string, error) {
			n++
			return wellFormed(min(n, 3)), nil
		}})
		first := tokenOf(d.ask(func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Views = 7
		}).Header)
		if first == "" {
			t.Fatal("the first session got no token")
		}
		res := d.ask(viewOnce)
		if res.StatusCode != 500 || tokenOf(res.Header) != "" {
			t.Errorf("second visitor: %d, token %q; want 500 and none", res.StatusCode, tokenOf(res.Header))
		}
		if got := d.views(first); got != 7 {
			t.Errorf("the first session has %d views, want 7", got)
		}
	})
	for _, tc := range []struct {
		desc string
		draw func() (string, error)
		want string
	}{
		{"fails", failing(0, errors.New("out of entropy")), "sessions: Config.NewToken: out of entropy"},
		{"repeats itself", func() (string, error) { return wellFormed(1), nil }, "draws the same token twice"},
		{"draws too little", drawing("AAAAAAAAAAAAAAAAAA%d"), "draw 20 to 128 letters"},
		{"draws nothing", drawing("%.0d"), "sessions: Config.NewToken"},
		{"draws too much", drawing(strings.Repeat("A", 128) + "%d"), "draw 20 to 128 letters"},
		{"draws a semicolon", drawing("AAAAAAAAAAAAAAAAAAAA;%d"), "draw 20 to 128 letters"},
		{"draws a newline", drawing("AAAAAAAAAAAAAAAAAAAA\r\n%d"), "draw 20 to 128 letters"},
		{"draws a space", drawing("AAAAAAAAAAAAAAAAAAAA %d"), "draw 20 to 128 letters"},
		{"draws what is not ASCII", drawing("AAAAAAAAAAAAAAAAAAAAé%d"), "draw 20 to 128 letters"},
		{"draws standard base64", drawing("AAAAAAAAAAAAAAAAAAAA+/==%d"), "draw 20 to 128 letters"},
	} {
		t.Run("T1 New refuses a NewToken that "+tc.desc, func(t *testing.T) {
			_, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{NewToken: tc.draw})
			if err == nil || !strings.Contains(err.Error(), "sessions: Config.NewToken: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}

	verbs := []struct {
		desc string
		cfg  sessions.Config
		do   func(m *sessions.Manager[Session], ctx context.Context) error
	}{
		{"a change", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return nil
		}},
		{"SaveUninitialized", sessions.Config{SaveUninitialized: true}, func(*sessions.Manager[Session], context.Context) error { return nil }},
		{"a change and Save", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return m.Save(ctx)
		}},
		{"a change and Renew", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return m.Renew(ctx)
		}},
		{"SignIn", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }},
		{"Destroy and a change", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			err := m.Destroy(ctx)
			m.FromContext(ctx).Views++
			return err
		}},
	}
	for _, tc := range verbs {
		t.Run("T2 a presented token that nobody knows is not adopted by "+tc.desc, func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, tc.cfg)
			planted := wellFormed(0)
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := tc.do(d.Manager, r.Context()); err != nil {
					t.Error(err)
				}
			}, cookieName+"="+planted)
			loaded, created := ops.keysOf("Load"), ops.keysOf("Create")
			if len(loaded) != 1 || len(created) != 1 {
				t.Fatalf("loaded %q, created %q; want one each", loaded, created)
			}
			if loaded[0] == created[0] {
				t.Error("the presented token became a key")
			}
			if got := tokenOf(res.Header); got == "" || got == planted {
				t.Errorf("sent token %q, presented %q", got, planted)
			}
			if ctx, _ := d.Load(context.Background(), planted); !d.Info(ctx).New {
				t.Error("the presented token is good for a session now")
			}
		})
	}
	t.Run("T2 the token of a destroyed session is not adopted either", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		old := d.seed(1)
		d.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := d.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		}, cookieName+"="+old)
		got := tokenOf(d.ask(viewOnce, cookieName+"="+old).Header)
		if got == "" || got == old || d.views(old) != 0 || d.views(got) != 1 {
			t.Errorf("token %q after %q; they give %d and %d views", got, old, d.views(got), d.views(old))
		}
	})
}

// drawing makes a NewToken of a format, each draw another.
func drawing(format string) func() (string, error) {
	n := 0
	return func() (string, error) {
		n++
		return fmt.Sprintf(format, n%10), nil
	}
}
