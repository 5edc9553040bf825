package express_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// held is a store that keeps back its answer to the next swap until it is let go.
type held struct {
	sessions.MemoryStore
	hold    bool
	arrived chan struct{}
	letGo   chan struct{}
}

func (s *held) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if s.hold {
		s.hold = false
		close(s.arrived)
		<-s.letGo
	}
	return current, err
}

// The writers of one session in one process take turns, and each hands on what
// it has written. Nothing in a document tells whether what the next one has
// loaded is older or newer than that.
func TestHandedOver(t *testing.T) {
	// behind lets an Update be applied, and stand before it knows. Node then
	// overwrites that; a second request of the same process loads what Node
	// wrote, and saves behind the first.
	behind := func(t *testing.T, name string, o express.Options, theirs, want string, second func(m *sessions.Manager[owned], ctx context.Context) error) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Secrets, o.Logger = []string{secret}, slog.New(slog.DiscardHandler)
				s := &held{arrived: make(chan struct{}), letGo: make(chan struct{})}
				m, err := express.NewOn[owned](s, o)
				if err != nil {
					t.Fatal(err)
				}
				load := func() context.Context {
					ctx, err := m.Load(t.Context(), sid)
					if err != nil {
						t.Fatal(err)
					}
					return ctx
				}
				if err := s.Create(t.Context(), sid, []byte(nodeDoc("900000", `,"userId":"ann","views":7`)), quarter); err != nil {
					t.Fatal(err)
				}
				first, one, two := load(), make(chan error, 1), make(chan error, 1)
				s.hold = true
				go func() { one <- m.Update(first, func(o *owned) error { o.Views++; return nil }) }()
				<-s.arrived
				if _, err := s.MemoryStore.CompareAndSwap(t.Context(), sid, nil, []byte(nodeDoc("900000", theirs)), quarter); err != nil {
					t.Fatal(err)
				}
				late := load()
				go func() { two <- second(m, late) }()
				synctest.Wait() // it waits for its turn
				close(s.letGo)
				if err := <-one; err != nil {
					t.Errorf("the first: %v", err)
				}
				if err := <-two; err != nil {
					t.Errorf("the second: %v", err)
				}
				doc, _, err := s.Load(t.Context(), sid, 0)
				if err != nil || !strings.HasSuffix(string(doc), want) {
					t.Errorf("stored %s, %v, want %s", doc, err, want)
				}
			})
		})
	}
	count := func(m *sessions.Manager[owned], ctx context.Context) error {
		return m.Update(ctx, func(o *owned) error { o.Views++; return nil })
	}
	save := func(m *sessions.Manager[owned], ctx context.Context) error {
		m.FromContext(ctx).Views = 50
		return m.Save(ctx)
	}

	behind(t, "C9 an Update behind one that Node has overwritten counts on what Node wrote", express.Options{},
		`,"userId":"ann","views":40`, `,"userId":"ann","views":41}`, count)
	behind(t, "C9 and what it refuses is what is stored", express.Options{},
		`,"userId":"ann","views":40`, `,"userId":"ann","views":41}`, func(m *sessions.Manager[owned], ctx context.Context) error {
			return m.Update(ctx, func(o *owned) error {
				if o.Views == 8 {
					return errors.New("that was overwritten")
				}
				o.Views++
				return nil
			})
		})
	behind(t, "C7 a Save behind it", express.Options{},
		`,"userId":"ann","views":40`, `,"userId":"ann","views":50}`, save)
	behind(t, "C12 a Save under ConflictReject, of what is stored, is no conflict", express.Options{OnConflict: sessions.ConflictReject},
		`,"userId":"ann","views":40`, `,"userId":"ann","views":50}`, save)
	behind(t, "C17 a Save of what is stored is not gone, though the one before had another owner", express.Options{},
		`,"userId":"bob","views":40`, `,"userId":"bob","views":50}`, save)
	behind(t, "C17 nor is an Update", express.Options{},
		`,"userId":"bob","views":40`, `,"userId":"bob","views":41}`, count)
}
