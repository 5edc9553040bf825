package kit

import (
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// EachCodec runs a test with both codecs.
func EachCodec(t *testing.T, f func(t *testing.T, c sessions.Codec)) {
	for _, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		t.Run(c.Name(), func(t *testing.T) { f(t, c) })
	}
}

// EachRedis runs a test on miniredis and, unless the run is short, on a real
// server, with a client that sees nothing but this test's keys, and gets there as
// [redistest.Via] says.
func EachRedis(t *testing.T, f func(t *testing.T, rdb *redis.Client)) {
	t.Run("miniredis", func(t *testing.T) { f(t, MiniRedis(t)) })
	if testing.Short() {
		return
	}
	t.Run("redis", func(t *testing.T) { f(t, redistest.Via(t)) })
}

// A Stack is one way through everything between T and the wire.
type Stack struct {
	Codec sessions.Codec
	Via   Via
}

// EachStack runs a test with both codecs over HTTP/1.1 and HTTP/2, in parallel
// with others. A short run has each of the four once: JSON over HTTP/1.1, and
// msgpack over HTTP/2.
func EachStack(t *testing.T, name string, f func(t *testing.T, s Stack)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		EachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, via := range []Via{HTTP1, HTTP2} {
				if testing.Short() && (via == HTTP1) != (c.Name() == "json") {
					continue
				}
				t.Run(via.String(), func(t *testing.T) { f(t, Stack{c, via}) })
			}
		})
	})
}

// App is one on a MemoryStore.
func (s Stack) App(t testing.TB, cfg sessions.Config) *App { return s.AppOn(t, Memory(), cfg) }

// AppOn is one on a store.
func (s Stack) AppOn(t testing.TB, store sessions.Store, cfg sessions.Config) *App {
	t.Helper()
	cfg.Codec = s.Codec
	return NewApp(t, s.Via, store, cfg)
}

// Bubble runs a test in a synctest bubble, in parallel with others: time goes on
// when everybody waits, and there is no network but [InProcess].
func Bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, f)
	})
}

// EachBubble is [Bubble] with both codecs.
func EachBubble(t *testing.T, name string, f func(t *testing.T, c sessions.Codec)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		EachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) { f(t, c) })
		})
	})
}
