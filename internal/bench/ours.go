package bench

import (
	"log/slog"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// ours is this library, as its README says, with a Config of the zero value but for what options change.
func ours(name string, codec sessions.Codec, through pipeline, options ...func(*sessions.Config)) subject {
	return subject{name, func(c setting) (site, error) {
		rdb, onClose, err := through(c.client())
		if err != nil {
			return nil, err
		}
		m, err := sessions.New[Shop](redisStore(rdb), ourConfig(codec, options...))
		if err != nil {
			return nil, err
		}
		return ourSite(m, c, onClose), nil
	}}
}

func redisStore(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
}

func ourConfig(codec sessions.Codec, options ...func(*sessions.Config)) sessions.Config {
	cfg := sessions.Config{
		Codec:   codec,
		MaxSize: 256 << 10, // for the largest payload
		Logger:  slog.New(slog.DiscardHandler),
	}
	for _, o := range options {
		o(&cfg)
	}
	return cfg
}

// oursAsExpress is package express: the same Manager on the records of express-session.
func oursAsExpress(name string) subject {
	return subject{name, func(c setting) (site, error) {
		rdb := c.client()
		m, err := express.New[Shop](rdb, express.Options{
			Secrets: []string{secret}, Rolling: true, Cookie: express.Cookie{MaxAge: idle},
		})
		if err != nil {
			return nil, err
		}
		return ourSite(m, c, func() { rdb.Close() }), nil
	}}
}

// secret signs the cookies of those who sign them.
const secret = "of all servers that share a Redis"

func ourSite(m *sessions.Manager[Shop], c setting, onClose func()) *netSite {
	handler := func(act func(s *Shop) error) http.Handler {
		return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer(w, act(m.FromContext(r.Context())))
		}))
	}
	return &netSite{map[op]http.Handler{
		read:    handler(check),
		changed: handler(func(s *Shop) error { s.Views++; return check(s) }),
		begun:   handler(func(s *Shop) error { *s = newShop(c.Size); return nil }),
		none:    m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })),
	}, onClose}
}
