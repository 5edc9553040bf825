package express

import "github.com/typedsessions/sessions"

// NewOn is New on any store.
func NewOn[T any](store sessions.Store, o Options) (*sessions.Manager[T], error) {
	return newOn[T](store, o)
}

// PrefixOf is what New puts before each sid to make its key.
func PrefixOf(o Options) string { return o.prefix() }
