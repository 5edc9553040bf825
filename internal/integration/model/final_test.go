package model_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// A record is what is in Redis under one key when a round is over.
type record struct {
	key       string
	ID        string
	Successor string // of a mark
	ttl       time.Duration
}

// lookAround is the end of a round: it loads every token that a client has got,
// which are the last operations of the history, and then reads what is stored.
func (f *fleet) lookAround(ctx context.Context, m *sessions.Manager[Session], prefix string, ops []op) (last []op, records []record, err error) {
	for _, o := range ops {
		if o.New == "" {
			continue
		}
		l := op{Process: -1, Client: -1, Verb: "last load", Kind: opLoad, Token: o.New, Call: clock()}
		loaded, err := m.Load(ctx, o.New)
		if err != nil {
			return nil, nil, err
		}
		l.Return = clock()
		if info := m.Info(loaded); !info.New {
			l.Found, l.Session, l.Saw = true, info.ID, m.FromContext(loaded)
		}
		last = append(last, l)
	}
	store := sessions.NewRedisStore(f.direct, sessions.RedisConfig{Prefix: prefix})
	for key, err := range store.Keys(ctx) {
		if err != nil {
			return nil, nil, err
		}
		var get *redis.StringCmd
		var ttl *redis.DurationCmd
		_, err := f.direct.Pipelined(ctx, func(p redis.Pipeliner) error {
			get, ttl = p.Get(ctx, prefix+key), p.PTTL(ctx, prefix+key)
			return nil
		})
		if errors.Is(err, redis.Nil) {
			continue // a deletion that was late
		}
		if err != nil {
			return nil, nil, err
		}
		r := record{key: key, ttl: ttl.Val()}
		header, _, _ := bytes.Cut([]byte(get.Val()), []byte{'\n'})
		if err := json.Unmarshal(header, &r); err != nil {
			return nil, nil, fmt.Errorf("the record under %s: %w", key, err)
		}
		records = append(records, r)
		f.direct.Unlink(ctx, prefix+key)
	}
	return last, records, nil
}

// unlisted are the sessions of a user that are alive and not on the user's index. A copy for ten seconds is none. It looks
// before a request reads the sessions, which would list them, and up to three times: a command that was held back may
// come between.
func (f *fleet) unlisted(ctx context.Context, prefix, user string) (problems []string, err error) {
	if user == "" {
		return nil, nil
	}
	store := sessions.NewRedisStore(f.direct, sessions.RedisConfig{Prefix: prefix})
	sum := sha256.Sum256([]byte("session\x00owner\x00" + user))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	index := "{" + hash[:4] + "}o" + hash
	for range 3 {
		problems = nil
		members, err := store.Members(ctx, index)
		if err != nil {
			return nil, err
		}
		listed := map[string]bool{}
		for _, m := range members {
			listed[base64.RawURLEncoding.EncodeToString([]byte(m[16:]))] = true
		}
		for key, err := range store.Keys(ctx) {
			if err != nil {
				return nil, err
			}
			data, left, err := store.LoadMany(ctx, []string{key}, 0)
			if err != nil {
				return nil, err
			}
			header, _, _ := bytes.Cut(data[0], []byte{'\n'})
			var r struct{ Owner, Successor string }
			if json.Unmarshal(header, &r) == nil && r.Successor == "" && r.Owner == user && left[0] > 10*time.Second && !listed[key[6:]] {
				problems = append(problems, fmt.Sprintf("O8 what is under %s is alive and not listed", key))
			}
		}
		if problems == nil {
			break
		}
	}
	return problems, nil
}

// checkRecords compares what is stored with what can be loaded: one live record
// for each session that lives, none for one that has ended. A copy for a token
// that nobody has may stay behind a renewal that failed, where the store did not
// answer, and a session that nobody has heard of behind a failed creation.
func checkRecords(histories []history, ops []op, records []record, lossy bool) (problems []string) {
	live := map[string]int{}
	for _, r := range records {
		if r.Successor == "" {
			live[r.ID]++
		}
		if r.ttl <= 0 {
			problems = append(problems, fmt.Sprintf("L7 the key %s has no expiry", r.key))
		}
	}
	for _, h := range histories {
		id, loaded, copies := "", 0, 0
		ends := 0 // 1 if something may have ended or moved it after the last load
		for _, o := range h.ops {
			if o.Session != "" {
				id = o.Session
			}
			switch {
			case o.Verb == "last load" && o.Found:
				loaded++
			case o.Kind == opRenew && (o.Err == unavailable || o.Err != "" && lossy):
				copies++
				if o.Err == unavailable {
					ends = 1
				}
			case (o.Kind == opDestroy || o.Kind == opFollow || o.Kind == opRevoke) && o.Err == unavailable:
				ends = 1
			}
		}
		if n := live[id]; n < loaded-ends || n > loaded+copies {
			problems = append(problems, fmt.Sprintf("session %s: %d live records; %d of its tokens load, and %d renewals may have left a copy", id, n, loaded, copies))
		}
		if loaded > 1 {
			problems = append(problems, fmt.Sprintf("C5 session %s: %d live tokens", id, loaded))
		}
		delete(live, id)
	}
	unheard := 0
	for _, o := range ops {
		if o.Err == unavailable && (o.Token == "" && o.Kind == opCreate || o.Kind == opRenew && o.signsIn()) {
			unheard++
		}
	}
	strangers := 0
	for _, n := range live {
		strangers += n
	}
	if strangers > unheard {
		problems = append(problems, fmt.Sprintf("%d live records of sessions that nobody has heard of, after %d creations without an answer", strangers, unheard))
	}
	slices.Sort(problems)
	return problems
}
