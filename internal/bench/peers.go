package bench

import (
	"encoding/gob"
	"fmt"
	"net/http"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/boj/redistore"
	ginsessions "github.com/gin-contrib/sessions"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
	redigo "github.com/gomodule/redigo/redis"
	"github.com/gorilla/sessions"
)

func init() { gob.Register(Shop{}) } // for what the peers keep as an any

const field = "shop" // under which they keep it

// shopOf is the Shop that a peer kept.
func shopOf(v any) (Shop, error) {
	s, ok := v.(Shop)
	if !ok {
		return s, fmt.Errorf("the session has a %T", v)
	}
	return s, check(&s)
}

// pool is one of redigo's, with a connection for each request in flight.
func (s setting) pool() *redigo.Pool {
	return &redigo.Pool{
		MaxIdle: s.Conns, MaxActive: s.Conns, Wait: true,
		Dial: func() (redigo.Conn, error) { return redigo.Dial("tcp", s.Redis) },
	}
}

// scsOn is scs with an idle timeout or without. With one, scs writes each session that it has read.
func scsOn(name string, withIdle bool, store func(c setting) (scs.Store, func())) subject {
	return subject{name, func(c setting) (site, error) {
		m := scs.New()
		var onClose func()
		m.Store, onClose = store(c)
		m.Cookie.Secure = true
		if withIdle {
			m.IdleTimeout = idle
		}
		handler := func(act func(r *http.Request) error) http.Handler {
			return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, act(r)) }))
		}
		return &netSite{map[op]http.Handler{
			read: handler(func(r *http.Request) error {
				_, err := shopOf(m.Get(r.Context(), field))
				return err
			}),
			changed: handler(func(r *http.Request) error {
				s, err := shopOf(m.Get(r.Context(), field))
				s.Views++
				m.Put(r.Context(), field, s)
				return err
			}),
			begun: handler(func(r *http.Request) error {
				m.Put(r.Context(), field, newShop(c.Size))
				return nil
			}),
			none: handler(func(*http.Request) error { return nil }),
		}, onClose}, nil
	}}
}

func goRedis(c setting) (scs.Store, func()) {
	rdb := c.client()
	return goredisstore.New(rdb), func() { rdb.Close() }
}

func redigoRedis(c setting) (scs.Store, func()) {
	pool := c.pool()
	return redisstore.New(pool), func() { pool.Close() }
}

// gorilla is gorilla/sessions with redistore. A session's expiry restarts when it is saved, so restart saves after each
// read; without, a session that is only read expires.
func gorilla(name string, restart bool) subject {
	return subject{name, func(c setting) (site, error) {
		store, err := redistore.NewRediStoreWithPool(c.pool(), []byte(secret))
		if err != nil {
			return nil, err
		}
		store.SetMaxLength(0)
		store.Options.Secure = true
		store.SetMaxAge(int(idle.Seconds()))
		handler := func(save bool, act func(s *sessions.Session) error) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := store.Get(r, "session")
				if err == nil {
					err = act(s)
				}
				if err == nil && save {
					err = s.Save(r, w)
				}
				answer(w, err)
			})
		}
		return &netSite{map[op]http.Handler{
			read: handler(restart, func(s *sessions.Session) error {
				_, err := shopOf(s.Values[field])
				return err
			}),
			changed: handler(true, func(s *sessions.Session) error {
				shop, err := shopOf(s.Values[field])
				shop.Views++
				s.Values[field] = shop
				return err
			}),
			begun: handler(true, func(s *sessions.Session) error {
				s.Values[field] = newShop(c.Size)
				return nil
			}),
			none: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) }), // nothing stands around it
		}, func() { store.Close() }}, nil
	}}
}

// ginOn is gin-contrib/sessions with redis, in a gin that has nothing else. The same is true of its expiry.
func ginOn(name string, restart bool) subject {
	return subject{name, func(c setting) (site, error) {
		store, err := ginredis.NewStoreWithPool(c.pool(), []byte(secret))
		if err != nil {
			return nil, err
		}
		inner, err := ginredis.GetRedisStore(store)
		if err != nil {
			return nil, err
		}
		inner.SetMaxLength(0)
		store.Options(ginsessions.Options{Path: "/", MaxAge: int(idle.Seconds()), HttpOnly: true, Secure: true})
		gin.SetMode(gin.ReleaseMode)
		engine := gin.New()
		engine.Use(ginsessions.Sessions("session", store))
		route := func(o op, save bool, act func(s ginsessions.Session) error) {
			engine.GET(o.path(), func(c *gin.Context) {
				s := ginsessions.Default(c)
				err := act(s)
				if err == nil && save {
					err = s.Save()
				}
				answer(c.Writer, err)
				c.Writer.WriteHeaderNow()
			})
		}
		route(read, restart, func(s ginsessions.Session) error {
			shop, err := shopOf(s.Get(field))
			if restart {
				s.Set(field, shop) // or else Save does nothing
			}
			return err
		})
		route(changed, true, func(s ginsessions.Session) error {
			shop, err := shopOf(s.Get(field))
			shop.Views++
			s.Set(field, shop)
			return err
		})
		route(begun, true, func(s ginsessions.Session) error {
			s.Set(field, newShop(c.Size))
			return nil
		})
		route(none, false, func(ginsessions.Session) error { return nil })
		handlers := map[op]http.Handler{}
		for _, o := range ops {
			handlers[o] = engine
		}
		return &netSite{handlers, func() { inner.Close() }}, nil
	}}
}
