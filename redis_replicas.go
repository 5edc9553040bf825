package sessions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// barrierScript changes nothing, and is replicated all the same. WAIT waits for the writes of its own connection alone, so
// not for what an attempt before has written on another one and this one has found. A replica that has the barrier has all
// that came before it. A key without an expiry is none that an attempt of ours has written.
const barrierScript = `
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
	redis.call('PEXPIRE', KEYS[1], math.max(left, 1))
elseif left == -2 then
	redis.call('SET', KEYS[1], '', 'PX', 1)
	redis.call('DEL', KEYS[1])
end
return 1`

// write sends a command that changes what is under key. With [RedisConfig].WaitReplicas it returns when these have what
// the command tells of: what it has written, or what it has found. wrote tells of an answer whether it has written.
func (s redisSender) write(ctx context.Context, key string, cmd redis.Cmder, wrote func() bool) error {
	if s.replicas == 0 {
		return s.process(ctx, cmd)
	}
	cluster, ok := s.rdb.(clusterClient)
	if !ok {
		return s.writeAndWait(ctx, nil, key, cmd, wrote)
	}
	// WAIT has no key, so a cluster's client would send it to any node. A node's client does not follow redirections.
	var asked *redis.Client
	for try := 0; ; try++ {
		master, err := cluster.MasterForKey(ctx, key)
		if err == nil && asked == nil {
			s.rdb = master
			err = s.writeAndWait(ctx, nil, key, cmd, wrote)
		} else if err == nil {
			s.rdb = asked
			err = s.writeAndWait(ctx, func() redis.Cmder { return redis.NewStatusCmd(ctx, "asking") }, key, cmd, wrote)
		}
		to, redirected := redirection(err)
		if !redirected || try >= s.retries {
			return err
		}
		asked = nil
		var mu sync.Mutex
		_ = cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error { // which looks first
			mu.Lock()
			defer mu.Unlock()
			if master.Options().Addr == to {
				asked = master
			}
			return nil
		})
		if to != "" && asked == nil { // it has no slot yet, so the client does not know it as a master
			return likeRedis(redis.Nil, "TRYAGAIN ")
		}
	}
}

// redirection tells of the error of a node that another one has the key. to is the address of one that has to be asked,
// and empty if the key's slot has moved for good.
func redirection(err error) (to string, ok bool) {
	if redis.HasErrorPrefix(err, "ASK ") {
		words := strings.Fields(err.Error())
		return words[len(words)-1], true
	}
	return "", redis.HasErrorPrefix(err, "MOVED ")
}

// writeAndWait sends the command with WAIT behind it, in one round trip on one connection, and a barrier in another one if
// it has written nothing.
func (s redisSender) writeAndWait(ctx context.Context, asking func() redis.Cmder, key string, cmd redis.Cmder, wrote func() bool) error {
	wait, err := s.sendAndWait(ctx, asking, cmd)
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if err != nil || !wrote() {
		var barrierErr error
		if wait, barrierErr = s.sendAndWait(ctx, asking, redis.NewCmd(ctx, "eval", barrierScript, 1, key)); barrierErr != nil {
			return s.unlessRefused(barrierErr)
		}
	}
	n, waitErr := wait.Result()
	switch {
	case waitErr != nil:
		return s.unlessRefused(waitErr)
	case n < int64(s.replicas):
		return unacknowledged(fmt.Sprintf("WAIT %d of %d replicas have acknowledged the write within %v: it is stored, and a failover may undo it", n, s.replicas, s.waitTime))
	}
	return err
}

func (s redisSender) sendAndWait(ctx context.Context, asking func() redis.Cmder, cmd redis.Cmder) (*redis.IntCmd, error) {
	wait := redis.NewIntCmd(ctx, "wait", s.replicas, s.waitTime.Milliseconds())
	cmds := []redis.Cmder{cmd, wait}
	if asking != nil {
		cmds = []redis.Cmder{asking(), cmd, wait}
	}
	_ = s.pipelined(ctx, cmds...)
	return wait, cmd.Err()
}

// unlessRefused is the error of a WAIT, or of a barrier, behind a write that was done. If the server has refused it, that
// tells nothing of the write.
func (s redisSender) unlessRefused(err error) error {
	if _, answered := replyOf(err); answered {
		return unacknowledged(fmt.Sprintf("WAIT was refused: %v: the write is stored, and a failover may undo it", redisCause(err)))
	}
	return err
}

// checkReplicas tells refuse what is wrong with a wait for replicas within an operation's timeout.
func checkReplicas(rdb redis.UniversalClient, replicas int, wait, timeout time.Duration, refuse func(reason string)) {
	switch {
	case replicas < 0:
		refuse(fmt.Sprintf("RedisConfig.WaitReplicas is %d: leave it zero to wait for none", replicas))
	case replicas == 0 && wait != 0:
		refuse("RedisConfig.WaitTimeout is for WaitReplicas, which is zero: set that too, or leave both out")
	case wait != 0 && wait < time.Millisecond:
		refuse(fmt.Sprintf("RedisConfig.WaitTimeout is %v, less than a millisecond: leave it zero for half of the Timeout, or add the unit, as in 200 * time.Millisecond", wait))
	case wait >= timeout && timeout >= time.Millisecond:
		refuse(fmt.Sprintf("RedisConfig.WaitTimeout is %v, and the whole operation has the Timeout of %v: make it shorter", wait, timeout))
	}
	switch rdb.(type) {
	case nil, *redis.Client, *redis.ClusterClient, *redis.Ring:
	default:
		if replicas > 0 {
			refuse(fmt.Sprintf("RedisConfig.WaitReplicas needs the connection of each write, and nobody knows that of a %T: use a *redis.Client or *redis.ClusterClient", rdb))
		}
	}
}
