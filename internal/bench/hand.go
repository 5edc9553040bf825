package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// A handCodec is a library's two functions, nil for those who do not look at the session.
type handCodec struct {
	marshal   func(v any) ([]byte, error)
	unmarshal func(data []byte, v any) error
}

var (
	handMsgPack = &handCodec{msgpack.Marshal, msgpack.Unmarshal}
	handJSON    = &handCodec{json.Marshal, json.Unmarshal}
)

// A write stores data under a key that old was read from.
type write func(ctx context.Context, rdb redis.UniversalClient, key string, old, data []byte) error

// set overwrites what others have stored since.
func set(ctx context.Context, rdb redis.UniversalClient, key string, _, data []byte) error {
	return rdb.Set(ctx, key, data, idle).Err()
}

var swap = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// evalsha writes if nobody else has, by a script.
func evalsha(ctx context.Context, rdb redis.UniversalClient, key string, old, data []byte) error {
	return wrote(swap.Run(ctx, rdb, []string{key}, old, data, idle.Milliseconds()).Bool())
}

// ifeq writes if nobody else has, by the command of newer servers.
func ifeq(ctx context.Context, rdb redis.UniversalClient, key string, old, data []byte) error {
	err := rdb.Do(ctx, "set", key, data, "ifeq", old, "px", idle.Milliseconds()).Err()
	return wrote(err == nil, err)
}

func wrote(ok bool, err error) error {
	if err == nil && !ok {
		err = errors.New("somebody else has changed it")
	}
	return err
}

// byHand is what everybody writes who keeps a struct in Redis without a library: GETEX, decode, encode to see a change,
// write. The key is the cookie as it stands. Without a codec it is the commands alone.
func byHand(name string, codec *handCodec, write write, through pipeline) subject {
	return subject{name, func(c setting) (site, error) {
		rdb, onClose, err := through(c.client())
		if err != nil {
			return nil, err
		}
		h := hand{rdb, codec, write}
		shop := newShop(c.Size)
		bare, err := handMsgPack.marshal(&shop)
		if err != nil {
			return nil, err
		}
		handlers := map[op]http.Handler{
			read: h.handler(func(*Shop) {}), changed: h.handler(func(s *Shop) { s.Views++ }),
			begun: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, err := bare, error(nil)
				if codec != nil {
					s := newShop(c.Size)
					data, err = codec.marshal(&s)
				}
				key := rand.Text()
				if err == nil {
					err = rdb.SetNX(r.Context(), key, data, idle).Err()
				}
				w.Header().Set("Set-Cookie", handCookie+key+"; Path=/; HttpOnly; Secure; SameSite=Lax")
				answer(w, err)
			}),
			none: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) }),
		}
		if codec == nil { // what is written is what was read, so nothing says that it has to be
			handlers[changed] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				key := keyOf(r)
				data, err := rdb.GetEx(r.Context(), key, idle).Bytes()
				if err == nil {
					err = write(r.Context(), rdb, key, data, data)
				}
				answer(w, err)
			})
		}
		return &netSite{handlers, onClose}, nil
	}}
}

const handCookie = "session="

func keyOf(r *http.Request) string {
	cookies := r.Header["Cookie"]
	if len(cookies) == 0 {
		return ""
	}
	return strings.TrimPrefix(cookies[0], handCookie)
}

type hand struct {
	rdb   redis.UniversalClient
	codec *handCodec
	write write
}

func (h hand) handler(act func(s *Shop)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, h.do(r.Context(), keyOf(r), act)) })
}

func (h hand) do(ctx context.Context, key string, act func(s *Shop)) error {
	data, err := h.rdb.GetEx(ctx, key, idle).Bytes()
	if err != nil || h.codec == nil {
		return err
	}
	var s Shop
	if err := h.codec.unmarshal(data, &s); err != nil {
		return err
	}
	if err := check(&s); err != nil {
		return err
	}
	act(&s)
	now, err := h.codec.marshal(&s)
	if err != nil || bytes.Equal(now, data) {
		return err
	}
	return h.write(ctx, h.rdb, key, data, now)
}

// A pipeline is how commands get to the server.
type pipeline func(rdb *redis.Client) (through redis.UniversalClient, onClose func(), err error)

// direct sends each command by itself.
func direct(rdb *redis.Client) (redis.UniversalClient, func(), error) {
	return rdb, func() { rdb.Close() }, nil
}

// together sends commands of several requests in one write.
func together(rdb *redis.Client) (redis.UniversalClient, func(), error) {
	ap, err := rdb.AutoPipeline()
	return ap, func() { ap.Close(); rdb.Close() }, err
}

// togetherAsync is together for who waits for a command by Submit.
func togetherAsync(rdb *redis.Client) (redis.UniversalClient, func(), error) {
	ap, err := rdb.AsyncAutoPipeline()
	return ap, func() { ap.Close(); rdb.Close() }, err
}
