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
		"LoadMany": func(ctx context.Context) error {
			data, _, err := s.LoadMany(ctx, []string{"k", "{tag}new"}, 0)
			if err == nil && data[0] == nil {
				err = sessions.ErrNotFound
			}
			return err
		},
		"Ping":    func(ctx context.Context) error { return s.Ping(ctx) },
		"Members": func(ctx context.Context) error { _, err := s.Members(ctx, "{tag}o"); return err },
		"Place": func(ctx context.Context) error {
			_, err := s.Place(ctx, sessions.Placement{Index: "{tag}o", IndexTTL: time.Hour, Add: "new"})
			return err
		},
		"Relist": func(ctx context.Context) error {
			return s.Relist(ctx, "{tag}o", "{tag}new", nil, "new", time.Time{}, time.Hour)
		},
		"Revoke": func(ctx context.Context) error { return s.Revoke(ctx, "{tag}revoked", time.Time{}, time.Hour) },
		"End": func(ctx context.Context) error {
			_, err := s.End(ctx, "{tag}o", []string{"new"}, []string{"{tag}new"})
			return err
		},
		"Keys": func(ctx context.Context) error {
			for _, err := range s.Keys(ctx) {
				return err
			}
			return nil
		},
	}
}
