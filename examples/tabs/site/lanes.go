package site

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// newHere is the lane of this library. It tells the events of its Manager.
func newHere(rdb *redis.Client, logger *slog.Logger, tell func(context.Context, line)) (lane, error) {
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "tabs:"})
	m, err := sessions.New[Session](store, sessions.Config{
		Transport: sessions.Cookie{Name: "tabs_here", Insecure: true}, // the demo speaks plain HTTP; leave it out behind TLS
		OnEvent: func(ctx context.Context, e sessions.Event) {
			if e.Kind == sessions.EventLoaded || e.Kind == sessions.EventNotFound {
				return // the log is about what is written
			}
			tell(ctx, line{Lane: "here", Kind: e.Kind.String(), Text: strings.Join(e.Fields, ", ")})
		},
		Logger: logger,
	})
	if err != nil {
		return lane{}, err
	}
	act := func(ctx context.Context, action string) error {
		s := sessions.FromContext[Session](ctx)
		switch action {
		case "begin":
			err := m.Destroy(ctx)
			s.Language = "en"
			return err
		case "click":
			s.Clicks++
		case "count":
			return m.Update(ctx, func(s *Session) error { s.Clicks++; return nil })
		case "language":
			s.Language = "de"
		case "cart":
			s.Cart = append(s.Cart, "pear")
		case "signin":
			s.User = "ada"
			return m.SignIn(ctx)
		case "signout":
			return m.Destroy(ctx)
		default:
			return fmt.Errorf("no action %q", action)
		}
		return nil
	}
	return lane{m.Handler, act, func(ctx context.Context) Session { return *sessions.FromContext[Session](ctx) }}, nil
}

// newSCS is the lane of scs, with its defaults. It tells what scs writes.
func newSCS(rdb *redis.Client, tell func(context.Context, line)) lane {
	m := scs.New()
	m.Store = toldStore{goredisstore.NewWithPrefix(rdb, "tabs:scs:"), m.Codec, tell}
	m.Cookie.Name = "tabs_scs"
	cart := func(ctx context.Context) []string {
		cart, _ := m.Get(ctx, "cart").([]string)
		return cart
	}
	act := func(ctx context.Context, action string) error {
		switch action {
		case "begin":
			err := m.Destroy(ctx)
			m.Put(ctx, "language", "en")
			return err
		case "count": // it has no atomic update
			m.Put(ctx, "clicks", m.GetInt(ctx, "clicks")+1)
		case "language":
			m.Put(ctx, "language", "de")
		case "cart":
			m.Put(ctx, "cart", append(cart(ctx), "pear"))
		case "signin":
			err := m.RenewToken(ctx)
			m.Put(ctx, "user", "ada")
			return err
		case "signout":
			return m.Destroy(ctx)
		default:
			return fmt.Errorf("no action %q", action)
		}
		return nil
	}
	return lane{m.LoadAndSave, act, func(ctx context.Context) Session {
		return Session{m.GetString(ctx, "user"), m.GetString(ctx, "language"), cart(ctx), m.GetInt(ctx, "clicks")}
	}}
}

// A toldStore tells what scs writes.
type toldStore struct {
	*goredisstore.RedisStore
	codec scs.Codec
	tell  func(context.Context, line)
}

// CommitCtx implements [scs.CtxStore].
func (s toldStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, values, _ := s.codec.Decode(b)
	text := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(values), "map["), "]")
	s.tell(ctx, line{Lane: "scs", Kind: "SET", Text: text})
	return s.RedisStore.CommitCtx(ctx, token, b, expiry)
}

// DeleteCtx implements [scs.CtxStore].
func (s toldStore) DeleteCtx(ctx context.Context, token string) error {
	s.tell(ctx, line{Lane: "scs", Kind: "DEL"})
	return s.RedisStore.DeleteCtx(ctx, token)
}
