package model_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/redistest"
)

// A fleet is the server and the processes around it.
type fleet struct {
	direct  *redis.Client // without a proxy
	workers []*process

	storms    atomic.Int64
	lastStorm atomic.Int64 // by clock
}

// A process is a worker as its parent sees it.
type process struct {
	mischief
	write  sync.Mutex
	in     *json.Encoder
	mu     sync.Mutex
	rounds map[int]chan<- message
	ended  chan struct{}
	err    error // once ended
}

// startFleet runs them until the end of t.
func startFleet(t *testing.T, processes int) *fleet {
	t.Helper()
	server := redistest.Start(t)
	f := &fleet{direct: server.Client(t)}
	for range processes {
		f.workers = append(f.workers, &process{rounds: map[int]chan<- message{}, ended: make(chan struct{})})
	}
	for i, p := range f.workers {
		proxy := redistest.NewProxy(t, server.Addr)
		proxy.On(p.On)
		f.start(t, p, setup{i, proxy.Addr})
	}
	return f
}

func (f *fleet) start(t *testing.T, p *process, s setup) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), workerEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.in = json.NewEncoder(in)
	go func() {
		defer close(p.ended)
		p.err = f.listen(p, out)
		if err := cmd.Wait(); err != nil {
			p.err = err // a data race in a worker, for one
		}
	}()
	t.Cleanup(func() {
		in.Close()
		<-p.ended
		if p.err != nil {
			t.Errorf("worker %d: %v", s.Process, p.err)
		}
	})
}

// listen hands on what p says until it ends: its results to their rounds, a
// token to the other processes.
func (f *fleet) listen(p *process, out io.Reader) error {
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var m message
		switch err := lines.Decode(&m); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if m.Done {
			p.mu.Lock()
			done := p.rounds[m.Round]
			delete(p.rounds, m.Round)
			p.mu.Unlock()
			done <- m
			continue
		}
		for _, other := range f.workers {
			if other != p {
				other.send(m)
			}
		}
	}
}

// send is for a worker that may be gone: whoever waits for it will notice.
func (p *process) send(m message) {
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.in.Encode(m)
}

// play sends the tasks of a round and waits for what became of them. The proxies
// know the round by the prefix of its keys.
func (f *fleet) play(r round, n int, prefix, token string) ([]op, error) {
	answers := make([]chan message, len(f.workers))
	for i, p := range f.workers {
		answers[i] = make(chan message, 1)
		p.begin(prefix, r, i)
		defer p.end(prefix)
		p.mu.Lock()
		p.rounds[n] = answers[i]
		p.mu.Unlock()
	}
	for i, p := range f.workers {
		t := r.tasks[i]
		t.Prefix, t.Token = prefix, token
		p.send(message{Round: n, Task: &t})
	}
	var ops []op
	for i, p := range f.workers {
		select {
		case m := <-answers[i]:
			ops = append(ops, m.Ops...)
		case <-p.ended:
			return nil, fmt.Errorf("worker %d has ended: %v", i, p.err)
		}
	}
	return ops, nil
}

// storm kills every connection at the server, and perhaps its scripts.
func (f *fleet) storm(t *testing.T, scripts bool) {
	f.storms.Add(1)
	f.lastStorm.Store(clock())
	if err := f.direct.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Errorf("CLIENT KILL: %v", err)
	}
	if scripts {
		if err := f.direct.ScriptFlush(t.Context()).Err(); err != nil {
			t.Errorf("SCRIPT FLUSH: %v", err)
		}
	}
	f.lastStorm.Store(clock())
}

// calm says that no storm has reached what began then. The proxies notice one
// a little later than the server, and until then lose what they are sent.
func (f *fleet) calm(began int64) bool {
	return f.lastStorm.Load() < began-int64(aftermath)
}

const aftermath = 300 * time.Millisecond

// struck counts the faults.
func (f *fleet) struck() (n int64) {
	for _, p := range f.workers {
		n += p.Struck.Load()
	}
	return n
}
