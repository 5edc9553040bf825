package sessions_test

import (
	"testing"

	"github.com/typedsessions/sessions"
)

func newManager[T any](t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[T] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	m, err := sessions.New[T](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
