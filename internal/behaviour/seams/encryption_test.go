package seams_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// encrypted is DefaultLayout with records that only the holder of a key can read: encryption at rest. The
// random nonce of AES-GCM comes first. It is another one for each write, so it also identifies the write.
type encrypted struct {
	sessions.DefaultLayout
	aead cipher.AEAD
}

func newEncrypted(t testing.TB, key string) encrypted {
	t.Helper()
	block, err := aes.NewCipher([]byte(key))
	kit.Must(t, err)
	aead, err := cipher.NewGCM(block)
	kit.Must(t, err)
	return encrypted{aead: aead}
}

func (e encrypted) Seal(r sessions.Record) ([]byte, error) {
	plain, err := e.DefaultLayout.Seal(r)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, e.aead.NonceSize())
	rand.Read(nonce)
	return e.aead.Seal(nonce, nonce, plain, nil), nil
}

func (e encrypted) Open(stored []byte) (sessions.Record, error) {
	n := e.aead.NonceSize()
	if len(stored) < n {
		return sessions.Record{}, errors.New("too short to be encrypted")
	}
	plain, err := e.aead.Open(nil, stored[:n], stored[n:], nil)
	if err != nil {
		return sessions.Record{}, err
	}
	r, err := e.DefaultLayout.Open(plain)
	r.Prefix = n
	return r, err
}

const aesKey, otherKey = "0123456789abcdef", "fedcba9876543210"

func TestEncryption(t *testing.T) {
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		store := &sessions.MemoryStore{}
		manager := func(t *testing.T, key string, events *kit.Events) *sessions.Manager[kit.Session] {
			cfg := sessions.Config{Codec: c, Layout: newEncrypted(t, key)}
			if events != nil {
				cfg.OnEvent = events.On
			}
			return kit.New[kit.Session](t, store, cfg)
		}
		m := manager(t, aesKey, nil)
		const user = "whose session this is" // two bytes of a name can be among those of any ciphertext
		token := kit.Edit(t, m, "", func(s *kit.Session) { *s = kit.Full(); s.UserID = user })

		t.Run("X1 nothing of the session can be read in the store", func(t *testing.T) {
			raw, _, err := store.Load(t.Context(), sessions.DefaultLayout{}.Key("session", token), 0)
			kit.Must(t, err)
			for _, plain := range []string{user, "user_id", "created", c.Name()} {
				if bytes.Contains(raw, []byte(plain)) {
					t.Errorf("%q is in the stored record", plain)
				}
			}
		})
		t.Run("L3 a request that reads writes nothing", func(t *testing.T) {
			counted := &kit.Store{Store: store}
			m := kit.New[kit.Session](t, counted, sessions.Config{Codec: c, Layout: newEncrypted(t, aesKey)})
			kit.Edit(t, m, token, func(s *kit.Session) { s.Views += 0 })
			counted.WantCalls(t, "a read", "Load")
		})
		t.Run("C7 two requests that change different fields are merged", func(t *testing.T) {
			first, a := kit.Load(t, m, token)
			second, b := kit.Load(t, m, token)
			a.Views, b.Flash = 41, "both"
			kit.OK(t, m.Save(first))
			kit.OK(t, m.Save(second))
			if got := kit.Stored(t, m, token); got.Views != 41 || got.Flash != "both" {
				t.Errorf("stored %+v, want both changes", got)
			}
		})
		t.Run("L12 C16 a renewed session goes on, and ends with the old token's Destroy", func(t *testing.T) {
			old := kit.Edit(t, m, "", func(s *kit.Session) { s.Views = 1 })
			renewed := kit.Verb(t, m, old, "Renew")
			if kit.Alive(t, m, old) || !kit.Alive(t, m, renewed) {
				t.Error("want the new token alone to be valid")
			}
			kit.Verb(t, m, old, "Destroy")
			if kit.Alive(t, m, renewed) {
				t.Error("the session is alive after Destroy")
			}
		})
		t.Run("L30 the method by which the user has signed in is kept", func(t *testing.T) {
			token := kit.MustRequest(t, m, "", func(ctx context.Context) error { return m.SignIn(ctx, sessions.AuthenticatedBy("passkey")) })
			ctx, _ := kit.Load(t, m, token)
			if i := m.Info(ctx); i.Method != "passkey" {
				t.Errorf("%+v", i)
			}
		})
		t.Run("K6 with another key the visitor starts fresh, and the record stays", func(t *testing.T) {
			var events kit.Events
			other := manager(t, otherKey, &events)
			_, s := kit.Load(t, other, token)
			if s.UserID != "" {
				t.Errorf("user %q is read with another key", s.UserID)
			}
			events.Want(t, sessions.EventUndecodable)
			if !kit.Alive(t, m, token) {
				t.Error("the record is gone")
			}
		})
		t.Run("K8 a record that was tampered with is not read", func(t *testing.T) {
			token := kit.Edit(t, m, "", func(s *kit.Session) { s.Views = 1 })
			key := sessions.DefaultLayout{}.Key("session", token)
			raw, _, err := store.Load(t.Context(), key, 0)
			kit.Must(t, err)
			raw[len(raw)-1] ^= 1
			kit.Must(t, store.Delete(t.Context(), key))
			kit.Must(t, store.Create(t.Context(), key, raw, time.Hour))
			if kit.Alive(t, m, token) {
				t.Error("a tampered record is a session")
			}
		})
	})
}
