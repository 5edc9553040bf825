package evolution_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// countingCodec counts what it is asked to decode.
type countingCodec struct {
	sessions.FieldCodec
	decoded atomic.Int32
}

func (c *countingCodec) Unmarshal(data []byte, v any) error {
	c.decoded.Add(1)
	return c.FieldCodec.Unmarshal(data, v)
}

func TestMaxSize(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "K7 a save over MaxSize is ErrTooLarge and 500, and the old record stands", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{MaxSize: 1000})
		b := a.Browser().Login()
		before := kit.RecordUnder(t, a.Store, b.Token())
		for _, verb := range []string{"the commit", "Save", "Renew", "SignIn"} {
			a.Events.Take()
			res := b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Flash = strings.Repeat("x", 1000)
				if verb != "the commit" {
					kit.WantErr(t, verb, kit.Call(a.Manager, r.Context(), verb), sessions.ErrTooLarge)
					s.Flash = ""
				}
				fmt.Fprint(w, "1")
			})
			want := http.StatusOK
			if verb == "the commit" {
				want = http.StatusInternalServerError
			}
			if res.StatusCode != want || len(res.SetCookies()) > 0 {
				t.Errorf("%s: status %d, want %d; cookies %q", verb, res.StatusCode, want, res.SetCookies())
			}
			if kinds := a.Events.Kinds(); len(kinds) == 0 || kinds[0] != sessions.EventFailed {
				t.Errorf("%s: events %v", verb, kinds)
			}
			if after := kit.RecordUnder(t, a.Store, b.Token()); after != before {
				t.Errorf("%s: the record became %q", verb, after)
			}
		}
		if s, i := b.Peek(); i.New || s.UserID != "u1" || s.Flash != "" {
			t.Errorf("afterwards: %+v, %+v", s, i)
		}
	})

	kit.EachStack(t, "K7 a new session over MaxSize is not stored and sends no cookie", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{MaxSize: 1000})
		res := a.Browser().Edit(func(s *kit.Session) { s.Flash = strings.Repeat("x", 1000) })
		if res.StatusCode != http.StatusInternalServerError || len(res.SetCookies()) > 0 {
			t.Errorf("status %d, cookies %q", res.StatusCode, res.SetCookies())
		}
		a.WantCalls(t, "the request", "")
	})

	t.Run("K7 a record of MaxSize is used, one byte more is refused before it is decoded", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			codec, store := &countingCodec{FieldCodec: c.(sessions.FieldCodec)}, kit.Memory()
			m := kit.New[kit.Session](t, store, sessions.Config{Codec: codec})
			ctx, s := kit.Load(t, m)
			*s = kit.Full()
			o := kit.Commit(t, m, ctx, sessions.OutcomeCreated)
			length := len(kit.RecordUnder(t, store, o.Token.Reveal()))
			for size, want := range map[int]bool{length: true, length - 1: false} {
				var events kit.Events
				m := kit.New[kit.Session](t, store, sessions.Config{Codec: codec, MaxSize: size, OnEvent: events.On})
				codec.decoded.Store(0)
				got := kit.Alive(t, m, o.Token.Reveal())
				if n := codec.decoded.Load(); (n > 0) != want {
					t.Errorf("MaxSize %d for %d bytes: decoded %d times", size, length, n)
				}
				if got != want {
					t.Errorf("MaxSize %d for %d bytes: used %v", size, length, got)
				}
				if es := events.Take(); !want && (len(es) != 1 || !errors.Is(es[0].Err, sessions.ErrTooLarge) || es[0].Session.ID != o.Info.ID) {
					t.Errorf("events %+v", es)
				}
			}
		})
	})
}
