package kit

import (
	"context"
	"time"

	"github.com/typedsessions/sessions"
)

// RedisOperations are all operations of a store, by name, for what they have in common.
func RedisOperations(s *sessions.RedisStore) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, _, err := s.Load(ctx, "k", time.Hour); return err },
		"Load(0)": func(ctx context.Context) error { _, _, err := s.Load(ctx, "k", 0); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, "new", []byte("v"), time.Hour) },
		"CompareAndSwap": func(ctx context.Context) error {
			_, err := s.CompareAndSwap(ctx, "k", nil, []byte("v"), time.Hour)
			return err
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "other") },
		"Keys": func(ctx context.Context) error {
			for _, err := range s.Keys(ctx) {
				return err
			}
			return nil
		},
	}
}
