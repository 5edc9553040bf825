package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// countingCodec counts what it is asked to decode.
type countingCodec struct {
	sessions.FieldCodec
	mu sync.Mutex
	n  int
}

func (c *countingCodec) Unmarshal(data []byte, v any) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.FieldCodec.Unmarshal(data, v)
}

func (c *countingCodec) take() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = 0
	return n
}

func TestMaxSize(t *testing.T) {
	t.Run("K7 a save over MaxSize is ErrTooLarge and 500, and the old record stands", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			var store sessions.MemoryStore
			a := newApp(t, &store, sessions.Config{Codec: st.codec, MaxSize: 1000})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			key := keyOf(b.token())
			before, _, err := store.Load(t.Context(), key, 0)
			if err != nil {
				t.Fatal(err)
			}
			for name, verb := range map[string]func(context.Context) error{
				"the commit": nil, "Save": a.m.Save, "Renew": a.m.Renew,
				"SignIn": func(ctx context.Context) error { return a.m.SignIn(ctx) },
			} {
				a.events.kinds()
				res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
					s.Flash = strings.Repeat("x", 1000)
					if verb != nil {
						if err := verb(r.Context()); !errors.Is(err, sessions.ErrTooLarge) {
							t.Errorf("%s gives %v, want ErrTooLarge", name, err)
						}
						s.Flash = ""
					}
					fmt.Fprint(w, "1")
				})
				want := http.StatusOK
				if verb == nil {
					want = http.StatusInternalServerError
				}
				if res.StatusCode != want || len(res.setCookies()) > 0 {
					t.Errorf("%s: status %d, want %d; cookies %q", name, res.StatusCode, want, res.setCookies())
				}
				if kinds := a.events.kinds(); len(kinds) == 0 || kinds[0] != sessions.EventFailed {
					t.Errorf("%s: events %v", name, kinds)
				}
				after, _, err := store.Load(t.Context(), key, 0)
				if err != nil || !bytes.Equal(before, after) {
					t.Errorf("%s: the record became %q, %v", name, after, err)
				}
			}
			if s, i := b.peek(); i.New || s.UserID != "u1" || s.Flash != "" {
				t.Errorf("afterwards: %+v, %+v", s, i)
			}
		})
	})

	t.Run("K7 a new session over MaxSize is not stored and sends no cookie", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{MaxSize: 1000})
			res := st.browser(a).visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Flash = strings.Repeat("x", 1000) })
			if res.StatusCode != http.StatusInternalServerError || len(res.setCookies()) > 0 {
				t.Errorf("status %d, cookies %q", res.StatusCode, res.setCookies())
			}
			wantCalls(t, log, "the request", "")
		})
	})

	t.Run("K7 a record of MaxSize is used, one byte more is refused before it is decoded", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			codec := &countingCodec{FieldCodec: c.(sessions.FieldCodec)}
			var store sessions.MemoryStore
			m := newManager[Session](t, &store, sessions.Config{Codec: codec})
			ctx, err := m.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			*m.FromContext(ctx) = full()
			o, err := m.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			data, _, err := store.Load(t.Context(), keyOf(o.Token.Reveal()), 0)
			if err != nil {
				t.Fatal(err)
			}
			for size, want := range map[int]bool{len(data): true, len(data) - 1: false} {
				var events recorder
				m := newManager[Session](t, &store, sessions.Config{Codec: codec, MaxSize: size, OnEvent: events.on})
				codec.take()
				ctx, err := m.Load(t.Context(), o.Token.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				if n := codec.take(); (n > 0) != want {
					t.Errorf("MaxSize %d for %d bytes: decoded %d times", size, len(data), n)
				}
				if got := !m.Info(ctx).New; got != want {
					t.Errorf("MaxSize %d for %d bytes: used %v", size, len(data), got)
				}
				if !want && (len(events.events) != 1 || !errors.Is(events.events[0].Err, sessions.ErrTooLarge) || events.events[0].Session.ID != o.Info.ID) {
					t.Errorf("events %+v", events.events)
				}
			}
		})
	})
}
