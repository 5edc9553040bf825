package kit

import (
	"context"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Commands is a go-redis hook that keeps the names of the commands sent.
type Commands struct {
	mu   sync.Mutex
	cmds []string
}

// DialHook changes nothing.
func (l *Commands) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook keeps a command.
func (l *Commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.add(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook keeps each command.
func (l *Commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			l.add(cmd)
		}
		return next(ctx, cmds)
	}
}

func (l *Commands) add(cmd redis.Cmder) {
	name := cmd.Name()
	switch name {
	case "hello", "client", "command": // a new connection's
		return
	case "set":
		for _, arg := range cmd.Args() {
			if s, ok := arg.(string); ok && strings.EqualFold(s, "nx") {
				name = "set nx"
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cmds = append(l.cmds, name)
}

// Take returns the commands so far, in order, as in "getex, evalsha", and forgets them.
func (l *Commands) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	cmds := strings.Join(l.cmds, ", ")
	l.cmds = nil
	return cmds
}
