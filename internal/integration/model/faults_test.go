package model_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedsessions/sessions/internal/redistest"
)

// faults is how often, in a thousand commands, the proxies of a round do what.
type faults struct {
	drop   int // the reply; the command is applied
	close  int // the connection, before the command
	jitter int // hold a command or its reply back for some milliseconds
	late   int // hold them back until the caller has given up
}

func drawFaults(r *rand.Rand) faults {
	switch r.IntN(10) {
	case 0, 1:
		return faults{}
	case 2, 3:
		return faults{jitter: 150}
	case 4, 5, 6:
		return faults{drop: 40, close: 20, jitter: 50}
	case 7, 8:
		return faults{drop: 150, close: 60, jitter: 100}
	default:
		return faults{drop: 20, jitter: 100, late: 15}
	}
}

// loses says that the reply to an applied command may not arrive.
func (f faults) loses() bool { return f.drop+f.late > 0 }

func (f faults) choose(r *rand.Rand) redistest.Action {
	n := r.IntN(1000)
	if n -= f.drop; n < 0 {
		return redistest.DropReply
	}
	if n -= f.close; n < 0 {
		return redistest.Close
	}
	held := time.Duration(1+r.IntN(5000)) * time.Microsecond
	if n -= f.jitter; n >= 0 {
		if n -= f.late; n >= 0 {
			return redistest.Pass
		}
		held = timeout + time.Duration(r.IntN(100))*time.Millisecond
	}
	g := redistest.NewGate()
	time.AfterFunc(held, g.Open)
	if r.IntN(2) == 0 {
		return redistest.Before(g)
	}
	return redistest.After(g)
}

// A mischief decides what the proxy of one process does, by the round that a
// command belongs to.
type mischief struct {
	rounds sync.Map // prefix: *roundFaults
	Struck atomic.Int64
}

type roundFaults struct {
	faults
	mu   sync.Mutex
	rand *rand.Rand
}

func (m *mischief) begin(prefix string, r round, process int) {
	m.rounds.Store(prefix, &roundFaults{faults: r.faults, rand: rand.New(rand.NewPCG(r.seed, uint64(process)+1))})
}

func (m *mischief) end(prefix string) { m.rounds.Delete(prefix) }

// On is for [redistest.Proxy.On].
func (m *mischief) On(cmd []string) redistest.Action {
	key := 1
	if strings.HasPrefix(cmd[0], "eval") {
		key = 3
	}
	if len(cmd) <= key {
		return redistest.Pass
	}
	prefix, _, _ := strings.Cut(cmd[key], ":")
	found, ok := m.rounds.Load(prefix + ":")
	if !ok {
		return redistest.Pass
	}
	f := found.(*roundFaults)
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.choose(f.rand)
	if a != redistest.Pass {
		m.Struck.Add(1)
	}
	return a
}
