package kit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// A record that a test writes by hand has this ID and, mostly, this token.
const (
	HandToken = "sTAG0HANDHANDHANDHANDHANDHANDHA"
	HandID    = "0dd0dd0d-0dd0-4dd0-8dd0-0dd0dd0dd0dd"
)

// HandTokenOf is [HandToken] for a session of this user's.
func HandTokenOf(owner string) string {
	if owner == "" {
		return HandToken
	}
	return HandToken[:1] + IndexOf(owner)[1:5] + HandToken[5:]
}

// UnknownToken is a token that nobody has drawn; n tells several apart.
func UnknownToken(n int) string { return fmt.Sprintf("s%030d", n) }

// KeyOf is the key of a token, as the documentation of the stored format has it.
func KeyOf(token string) string {
	sum := sha256.Sum256([]byte("session\x00" + token))
	return "{" + token[1:5] + "}" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// RecordOf is a record of [HandID] that was written a minute ago, around any payload.
func RecordOf(codec, payload string) string {
	return fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d}`, HandID, codec, time.Now().Add(-time.Minute).UnixMilli()) + "\n" + payload
}

// Place stores a record under a token, in place of what is there.
func Place(t testing.TB, store sessions.Store, token, record string) {
	t.Helper()
	ctx := context.Background()
	Must(t, store.Delete(ctx, KeyOf(token)))
	Must(t, store.Create(ctx, KeyOf(token), append([]byte(nil), record...), time.Hour)) // "" as nil
}

// RecordUnder is the record of a token, "" if there is none.
func RecordUnder(t testing.TB, store sessions.Store, token string) string {
	t.Helper()
	data, _, err := store.Load(context.Background(), KeyOf(token), 0)
	if err != nil && !errors.Is(err, sessions.ErrNotFound) {
		t.Fatal(err)
	}
	return string(data)
}

// IsMark reports whether a record is what a renewal leaves under the old token.
func IsMark(record string) bool {
	header, _, _ := strings.Cut(record, "\n")
	return strings.Contains(header, `"successor":`)
}

// MiniRedis is a client of a miniredis of its own.
func MiniRedis(t testing.TB) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// RedisStore is a RedisStore with as much time as an Owned T allows, so that a busy machine does not make it fail.
func RedisStore(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: OwnerTimeout})
}

// Keys are the keys in a Redis, with their prefix, sorted.
func Keys(t testing.TB, rdb *redis.Client) []string {
	t.Helper()
	all, err := rdb.Keys(context.Background(), "*").Result()
	Must(t, err)
	slices.Sort(all)
	return all
}

// Records are the values in a Redis that are not marks, by key.
func Records(t testing.TB, rdb *redis.Client) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, k := range slices.DeleteFunc(Keys(t, rdb), IsIndex) {
		v, err := rdb.Get(context.Background(), k).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		if err == nil && !IsMark(v) {
			found[k] = v
		}
	}
	return found
}
