package evolution_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) {
	kit.Parallel(8)
	kit.Main(m)
}

// turn is [kit.MustRequest] whose function gets T.
func turn[T any](t testing.TB, m *sessions.Manager[T], token string, f func(ctx context.Context, s *T)) string {
	t.Helper()
	return kit.MustRequest(t, m, token, func(ctx context.Context) error {
		f(ctx, m.FromContext(ctx))
		return nil
	})
}

// otherCodec is the one that a test does not run with.
func otherCodec(c sessions.Codec) sessions.Codec {
	if c.Name() == "json" {
		return sessions.MsgPack{}
	}
	return sessions.JSON{}
}

// stored is the record of a token.
func stored(t testing.TB, store sessions.Store, token string) (header, payload string) {
	t.Helper()
	header, payload, _ = strings.Cut(kit.RecordUnder(t, store, token), "\n")
	return header, payload
}

// wantCodec compares the codec that the header of a record names; what is what
// wrote it.
func wantCodec(t testing.TB, store sessions.Store, token, what string, want sessions.Codec) {
	t.Helper()
	line, _ := stored(t, store, token)
	var header struct{ C string }
	if err := json.Unmarshal([]byte(line), &header); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if header.C != want.Name() {
		t.Errorf("%s leaves a record in %s, want %s", what, header.C, want.Name())
	}
}
