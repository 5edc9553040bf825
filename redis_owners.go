package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

var _ OwnerStore = (*RedisStore)(nil)

// maxRedisKeys are the values of one script or pipeline, so that it does not keep the server from others for long.
const maxRedisKeys = 1000

// An index is one sorted set. Its member "" is the time that Revoke has noted, so that one expiry holds for all of it. The
// scripts that add write the index before the value, and those that end delete the value before the member: what a failed
// script has written stays, and a member without a value harms nobody. But no index stays without an expiry, where the user
// may not set one. They have no shebang, as swapScript: where memory is full the server refuses them at their first write
// if it needs memory.
const redisIndex = `
local index = KEYS[1]
local function expire(ttl)
	if redis.call('PTTL', index) < tonumber(ttl) then redis.call('PEXPIRE', index, ttl) end
end
local function add(score, member, ttl)
	local new = redis.call('PTTL', index) == -2
	redis.call('ZADD', index, score, member)
	if new and type(redis.pcall('PEXPIRE', index, ttl)) == 'table' then redis.call('DEL', index) end
	expire(ttl)
end
local function revoked(member, created)
	local noted = (member == '' or not redis.call('ZSCORE', index, member)) and redis.call('ZSCORE', index, '')
	return noted and tonumber(created) <= tonumber(noted)
end
local function begins(key, prefix)
	if #prefix == 0 then return redis.call('EXISTS', key) == 1 end
	return redis.call('GETRANGE', key, 0, #prefix - 1) == prefix
end
`

// placeScript has the index, Old, New and Keys as its KEYS, the index for one that is left out, and Members after its
// eleven other arguments.
var placeScript = newRedisScript(redisIndex + `
local old, new = KEYS[2] ~= index and KEYS[2], KEYS[3] ~= index and KEYS[3]
local prefix, oldData, oldTTL, remove, newData, newTTL, member, created, ttl, limit, reject = unpack(ARGV, 1, 11)
limit = tonumber(limit)
if old and not begins(old, prefix) then return {'old', redis.call('GET', old)} end
local there = new and redis.call('GET', new)
if there then return {'new', there} end
if old and member ~= '' and revoked(remove, created) then return {'old', false} end
if limit > 0 then
	local listed = {}
	for _, m in ipairs(redis.call('ZRANGE', index, 0, -1)) do
		if m ~= '' and m ~= member and m ~= remove then listed[#listed + 1] = m end
	end
	local same = #listed == #ARGV - 11
	for i, m in ipairs(listed) do same = same and m == ARGV[11 + i] end
	if not same then return {'members', listed} end
end
local live, dead, over = {}, {}, 0
for i = 4, #KEYS do
	local to = redis.call('EXISTS', KEYS[i]) == 1 and live or dead
	to[#to + 1] = i
end
if limit > 0 then over = math.min(math.max(#live + 1 - limit, 0), #live) end
if over > 0 and reject == '1' then return {'limit'} end

if member ~= '' then
	add(created, member, ttl)
end
if new then redis.call('SET', new, newData, 'PX', newTTL) end
if old and oldTTL == 'delete' then
	redis.call('DEL', old)
elseif old and oldTTL == 'keep' then
	redis.call('SET', old, oldData, 'KEEPTTL')
elseif old then
	redis.call('SET', old, oldData, 'PX', oldTTL)
end
if remove ~= '' then redis.call('ZREM', index, remove) end
local function leave(i)
	redis.call('ZREM', index, ARGV[8 + i])
	return ARGV[8 + i]
end
local ended = {}
for i = 1, over do
	redis.call('DEL', KEYS[live[i]])
	ended[i] = leave(live[i])
end
for _, i in ipairs(dead) do leave(i) end
local count = redis.call('ZCARD', index) - (redis.call('ZSCORE', index, '') and 1 or 0)
return {'placed', count, ended}`)

var relistScript = newRedisScript(redisIndex + `
local key, prefix, member, created, ttl = KEYS[2], unpack(ARGV)
if not begins(key, prefix) then
	return redis.call('EXISTS', key) == 1 and 'conflict' or 'nothing'
end
if revoked(member, created) then
	redis.call('DEL', key)
	return 'revoked'
end
add(created, member, ttl)
return 'listed'`)

var revokeScript = newRedisScript(redisIndex + `
local at, ttl = unpack(ARGV)
local noted = redis.call('ZSCORE', index, '')
if not noted or tonumber(noted) < tonumber(at) then add(at, '', ttl) else expire(ttl) end
return 0`)

var endScript = newRedisScript(redisIndex + `
local ended = {}
for i, member in ipairs(ARGV) do
	if redis.call('ZSCORE', index, member) then
		if redis.call('DEL', KEYS[i + 1]) == 1 then ended[#ended + 1] = member end
		redis.call('ZREM', index, member)
	end
end
return ended`)

// runScript runs a script within Timeout.
func (s *RedisStore) runScript(ctx context.Context, script redisScript, kind redisKind, keys []string, argv ...any) (any, error) {
	args := append(make([]any, 0, 3+len(keys)+len(argv)), "evalsha", script.hash, len(keys))
	for _, key := range keys {
		args = append(args, s.prefix+key)
	}
	args = append(args, argv...)
	return withinTimeout(ctx, s, s.prefix+keys[0], kind, func(ctx context.Context, send redisSender) (any, error) {
		if kind == repairing {
			send.replicas = 0
		}
		return script.run(ctx, send, args)
	})
}

var errReply = fmt.Errorf("%w: the reply to a script is none of the script's", ErrUnavailable)

// LoadMany implements [OwnerStore] with GET, or GETRANGE, and PTTL, in one round trip for every thousand keys, and to each
// node of a cluster.
func (s *RedisStore) LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for part := range slices.Chunk(keys, maxRedisKeys) {
		loaded, err := withinTimeout(ctx, s, s.prefix+part[0], reading, func(ctx context.Context, send redisSender) ([]redisLoad, error) {
			return s.peekAll(ctx, send, part, first)
		})
		if err != nil {
			return nil, nil, err
		}
		for _, l := range loaded {
			data, left = append(data, l.data), append(left, l.left)
		}
	}
	return data, left, nil
}

// peekAll reads what is under the keys. What is not there has nil data.
func (s *RedisStore) peekAll(ctx context.Context, send redisSender, keys []string, first int) (loaded []redisLoad, err error) {
	cmds := make([]redis.Cmder, 0, 2*len(keys))
	for _, key := range keys {
		get := redis.NewStringCmd(ctx, "get", s.prefix+key)
		if first > 0 {
			get = redis.NewStringCmd(ctx, "getrange", s.prefix+key, 0, first-1)
		}
		cmds = append(cmds, get, redis.NewDurationCmd(ctx, time.Millisecond, "pttl", s.prefix+key))
	}
	if err := send.pipelined(ctx, cmds...); err != nil {
		return nil, err
	}
	loaded = make([]redisLoad, len(keys))
	for i := range loaded {
		l, err := redisLoad{}.peeked(cmds[2*i].(*redis.StringCmd), cmds[2*i+1].(*redis.DurationCmd))
		switch {
		case errors.Is(err, redis.Nil), err == nil && first > 0 && len(l.data) == 0 && l.left == 0: // GETRANGE of nothing
			l = redisLoad{}
		case err != nil:
			return nil, err
		case l.data == nil:
			l.data = []byte{}
		}
		loaded[i] = l
	}
	return loaded, nil
}

// Members implements [OwnerStore] with ZRANGE.
func (s *RedisStore) Members(ctx context.Context, index string) (members []string, err error) {
	members, err = withinTimeout(ctx, s, s.prefix+index, reading, func(ctx context.Context, send redisSender) ([]string, error) {
		cmd := redis.NewStringSliceCmd(ctx, "zrange", s.prefix+index, 0, -1)
		if err := send.process(ctx, cmd); err != nil {
			return nil, err
		}
		return cmd.Result()
	})
	return slices.DeleteFunc(members, func(m string) bool { return m == "" }), err
}

// Place implements [OwnerStore] with EVALSHA. With SwapOnce a lost reply is [ErrUnavailable].
func (s *RedisStore) Place(ctx context.Context, p Placement) (placed Placed, err error) {
	if err := p.validate(); err != nil {
		return placed, err
	}
	keys := append([]string{p.Index, p.Old, p.New}, p.Keys...)
	for i, key := range keys[:3] {
		if key == "" {
			keys[i] = p.Index
		}
	}
	oldTTL := any("delete")
	switch {
	case p.OldData != nil && p.OldTTL > 0:
		oldTTL = milliseconds(p.OldTTL)
	case p.OldData != nil:
		oldTTL = "keep"
	}
	argv := []any{
		s.ownCopy(p.OldPrefix), s.ownCopy(p.OldData), oldTTL, p.Remove,
		s.ownCopy(p.NewData), milliseconds(p.NewTTL), p.Add, p.Created.UnixMilli(), milliseconds(p.IndexTTL),
		p.Limit, p.Reject,
	}
	for _, member := range p.Members {
		argv = append(argv, member)
	}
	result, err := s.runScript(ctx, placeScript, s.swapKind, keys, argv...)
	if err != nil {
		return placed, err
	}
	reply, _ := result.([]any)
	switch reply = append(reply, nil, nil, nil); reply[0] {
	case "placed":
		count, _ := reply[1].(int64)
		return Placed{Count: int(count), Ended: redisStrings(reply[2])}, nil
	case "new":
		return Placed{Current: redisBytes(reply[1])}, ErrExists
	case "members":
		return Placed{Members: redisStrings(reply[1])}, ErrConflict
	case "limit":
		return placed, ErrOwnerLimit
	case "old":
		if placed.Current = redisBytes(reply[1]); placed.Current != nil {
			return placed, ErrConflict
		}
		return placed, ErrNotFound
	}
	return placed, errReply
}

// Relist implements [OwnerStore] with EVALSHA.
func (s *RedisStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	if ttl <= 0 {
		return errNoTTL(ttl)
	}
	reply, err := s.runScript(ctx, relistScript, repairing, []string{index, key}, s.ownCopy(prefix), member, created.UnixMilli(), milliseconds(ttl))
	switch {
	case err != nil:
		return err
	case reply == "listed":
		return nil
	case reply == "conflict":
		return ErrConflict
	case reply == "nothing":
		return ErrNotFound
	case reply == "revoked":
		return ErrGone
	}
	return errReply
}

// Revoke implements [OwnerStore] with EVALSHA.
func (s *RedisStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	if ttl <= 0 {
		return errNoTTL(ttl)
	}
	_, err := s.runScript(ctx, revokeScript, writing, []string{index}, at.UnixMilli(), milliseconds(ttl))
	return err
}

// End implements [OwnerStore] with EVALSHA, one for every thousand keys.
func (s *RedisStore) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for len(members) > 0 && err == nil {
		n := min(len(members), maxRedisKeys)
		argv := make([]any, n)
		for i, member := range members[:n] {
			argv[i] = member
		}
		var reply any
		reply, err = s.runScript(ctx, endScript, writing, append([]string{index}, keys[:n]...), argv...)
		ended = append(ended, redisStrings(reply)...)
		members, keys = members[n:], keys[n:]
	}
	return ended, err
}

func milliseconds(d time.Duration) int64 { return toMillisecond(d).Milliseconds() }

// redisBytes is an element of a reply; nil if it is none.
func redisBytes(v any) []byte {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	return append([]byte{}, text...)
}

// redisStrings is a reply of several elements.
func redisStrings(v any) []string {
	list, _ := v.([]any)
	all := make([]string, len(list))
	for i := range list {
		all[i], _ = list[i].(string)
	}
	return all
}
