package transport_test

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

// forgetful keeps nothing, so that a million sessions have room.
type forgetful struct{ sessions.MemoryStore }

func (*forgetful) Create(context.Context, string, []byte, time.Duration) error { return nil }

func TestToken(t *testing.T) {
	t.Parallel()
	t.Run("T1 a million draws are unique, and each of 26 places takes all 32 symbols", func(t *testing.T) {
		t.Parallel()
		n := 1_000_000
		if testing.Short() || kit.RaceEnabled {
			n /= 50 // still each symbol 600 times in each place
		}
		const places, symbols = 26, 32 // 26 × 5 bits = 130
		m := kit.New[struct{}](t, &forgetful{}, sessions.Config{SaveUninitialized: true})
		seen := make(map[[places]byte]struct{}, n)
		var used [places][256]bool
		for range n {
			ctx, err := m.Load(t.Context())
			kit.Must(t, err)
			o, err := m.Commit(ctx)
			kit.Must(t, err)
			token := o.Token.Reveal()
			if len(token) != 5+places {
				t.Fatalf("%q, want %d characters", token, 5+places)
			}
			seen[[places]byte([]byte(token[5:]))] = struct{}{}
			for i := range places {
				used[i][token[5+i]] = true
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
		a := newApp(t, sessions.Config{Label: func(*http.Request) string { return "label" }})
		var id string
		res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			a.FromContext(r.Context()).UserID = "alice"
			id = a.Info(r.Context()).ID
		})
		token := kit.TokenOf(res.Header)
		if !kit.TokenShape.MatchString(token) {
			t.Errorf("token %q", token)
		}
		if id == "" || strings.Contains(token, id) || strings.Contains(id, token[1:]) {
			t.Errorf("token %q, ID %q", token, id)
		}
	})

	for _, tc := range []struct {
		desc  string
		cfg   sessions.Config
		steps string
	}{
		{"a change", sessions.Config{}, "change"},
		{"SaveUninitialized", sessions.Config{SaveUninitialized: true}, ""},
		{"a change and Save", sessions.Config{}, "change Save"},
		{"a change and Renew", sessions.Config{}, "change Renew"},
		{"SignIn", sessions.Config{}, "SignIn"},
		{"Destroy and a change", sessions.Config{}, "Destroy change"},
	} {
		t.Run("T2 a presented token that nobody knows is not adopted by "+tc.desc, func(t *testing.T) {
			a, planted := newApp(t, tc.cfg), kit.UnknownToken(0)
			res := a.Ask(call(t, a, tc.steps), pairs(planted))
			loaded, created := a.Store.Keys("Load"), a.Store.Keys("Create")
			if len(loaded) != 1 || len(created) != 1 {
				t.Fatalf("loaded %q, created %q; want one each", loaded, created)
			}
			if loaded[0] == created[0] {
				t.Error("the presented token became a key")
			}
			if got := kit.TokenOf(res.Header); got == "" || got == planted {
				t.Errorf("sent token %q, presented %q", got, planted)
			}
			if kit.Alive(t, a.Manager, planted) {
				t.Error("the presented token is good for a session now")
			}
		})
	}

	t.Run("T2 the token of a destroyed session is not adopted either", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		old := a.Seed(1)
		a.Ask(call(t, a, "Destroy"), pairs(old))
		got := kit.TokenOf(a.Ask(change, pairs(old)).Header)
		if got == "" || got == old || a.Views(old) != 0 || a.Views(got) != 1 {
			t.Errorf("token %q after %q; they give %d and %d views", got, old, a.Views(got), a.Views(old))
		}
	})
}

func TestNewToken(t *testing.T) {
	t.Parallel()
	cause := errors.New("out of entropy")
	failing := func(ok int) func() (string, error) {
		n := 0
		return func() (string, error) {
			if n++; n > ok {
				return "", cause
			}
			return kit.UnknownToken(n), nil
		}
	}
	const atNew = 2 // New draws twice
	t.Run("T1 a NewToken that fails gives an error response and no session", func(t *testing.T) {
		var handed error
		a := newApp(t, sessions.Config{NewToken: failing(atNew), ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			handed = err
			w.WriteHeader(http.StatusInternalServerError)
		}})
		res := a.Ask(change)
		if res.StatusCode != 500 || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d %v, want 500 without a cookie", res.StatusCode, res.Header)
		}
		kit.WantErr(t, "what ErrorHandler got", handed, cause)
		a.WantCalls(t, "it", "")
	})

	t.Run("T1 the default answer to a failing NewToken says nothing of its error", func(t *testing.T) {
		res := newApp(t, sessions.Config{NewToken: failing(atNew)}).Ask(change)
		kit.WantHeader(t, res.Header, kit.Header("Content-Type", "text/plain; charset=utf-8", "Content-Length", "22",
			"X-Content-Type-Options", "nosniff", "Cache-Control", "no-store", "Vary", "Cookie"))
		if body, _ := io.ReadAll(res.Body); string(body) != "Internal Server Error\n" {
			t.Errorf("body %q", body)
		}
	})

	t.Run("T1 a NewToken that begins to repeat itself never hands out a stored session", func(t *testing.T) {
		n := 0
		a := newApp(t, sessions.Config{NewToken: func() (string, error) {
			n++
			return kit.UnknownToken(min(n, atNew+1)), nil
		}, Layout: oneTag{}})
		first := a.Seed(7)
		res := a.Ask(change)
		if got := kit.TokenOf(res.Header); res.StatusCode != 500 || got != "" {
			t.Errorf("second visitor: %d, token %q; want 500 and none", res.StatusCode, got)
		}
		if got := a.Views(first); got != 7 {
			t.Errorf("the first session has %d views, want 7", got)
		}
	})

	// drawing makes a NewToken of a format, each draw another.
	drawing := func(format string) func() (string, error) {
		n := 0
		return func() (string, error) {
			n++
			return fmt.Sprintf(format, n%10), nil
		}
	}
	for _, tc := range []struct {
		desc string
		draw func() (string, error)
		want string
	}{
		{"fails", failing(0), "sessions: Config.NewToken: out of entropy"},
		{"repeats itself", func() (string, error) { return kit.UnknownToken(1), nil }, "draws the same token twice"},
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
			_, err := sessions.New[kit.Session](kit.Memory(), sessions.Config{NewToken: tc.draw})
			if err == nil || !strings.Contains(err.Error(), "sessions: Config.NewToken: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// oneTag is a Layout in which the tags of nobody's sessions do not make up for a NewToken that repeats itself.
type oneTag struct{ sessions.DefaultLayout }

func (l oneTag) Mint(drawn string, remembered bool) string { return l.Place(drawn, "TAG0", remembered) }
