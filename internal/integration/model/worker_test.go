package model_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// workerEnv makes the test binary a worker; it holds the worker's setup.
const workerEnv = "SESSIONS_MODEL_WORKER"

// A setup is what a worker needs to know from the start.
type setup struct {
	Process int
	Addr    string // of its proxy
}

// A message goes to a worker or comes from it, one JSON line each: a task, what
// came of it, or a token that the clients of a round have got.
type message struct {
	Round int
	Task  *task  `json:",omitempty"`
	Done  bool   `json:",omitempty"`
	Ops   []op   `json:",omitempty"`
	Token string `json:",omitempty"`
}

// timeout is the RedisConfig.Timeout of workers: what takes longer has an
// unknown outcome, so it is short.
const timeout = 300 * time.Millisecond

// client is the Redis client of a process. They differ in what callers see of a
// fault: whether a deadline reaches the socket, and whether a lost reply is
// asked for again or becomes ErrUnavailable. The socket's own timeout is longer
// than ours, as in a default client: nothing is sent again while its first copy
// may still be on the way.
func (s setup) client() *redis.Client {
	o := &redis.Options{Addr: s.Addr, PoolSize: 64, ContextTimeoutEnabled: s.Process%2 == 0}
	if s.Process%4 >= 2 {
		o.MaxRetries = -1
	}
	return redis.NewClient(o)
}

// A worker is one process: some clients in each of many rounds.
type worker struct {
	setup
	rdb *redis.Client

	write  sync.Mutex
	out    *json.Encoder
	mu     sync.Mutex
	rounds map[int]*board
}

// work is the main function of a worker. It ends with its input.
func work(config string, in io.Reader, out io.Writer) error {
	w := &worker{out: json.NewEncoder(out), rounds: map[int]*board{}}
	if err := json.Unmarshal([]byte(config), &w.setup); err != nil {
		return err
	}
	redis.SetLogger(silent{})
	w.rdb = w.client()
	w.rdb.AddHook(crashes{})
	defer w.rdb.Close()
	var running sync.WaitGroup
	defer running.Wait()
	lines := json.NewDecoder(bufio.NewReader(in))
	for {
		var m message
		switch err := lines.Decode(&m); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case m.Task != nil:
			b := newBoard(m.Task)
			w.mu.Lock()
			w.rounds[m.Round] = b
			w.mu.Unlock()
			running.Go(func() { w.play(m.Round, m.Task, b) })
		case m.Token != "":
			w.mu.Lock()
			b := w.rounds[m.Round]
			w.mu.Unlock()
			if b != nil {
				b.learn(m.Token)
			}
		}
	}
}

// play is this process's part of a round.
func (w *worker) play(round int, t *task, b *board) {
	managers := make([]*sessions.Manager[Session], t.Managers)
	for i := range managers {
		managers[i] = newManager(w.rdb, t.Prefix, timeout)
	}
	histories := make([][]op, len(t.Clients))
	var running sync.WaitGroup
	for i, c := range t.Clients {
		running.Go(func() {
			defer b.leave()
			for n, q := range c.Requests {
				v := &visit{
					m: managers[c.Manager], board: b, request: q, user: t.User,
					at:   op{Process: w.Process, Client: c.ID, Request: n},
					next: (c.ID+1)*1000 + n*100,
					tell: func(token string) { w.send(message{Round: round, Token: token}) },
				}
				v.run()
				histories[i] = append(histories[i], v.ops...)
			}
		})
	}
	running.Wait()
	w.mu.Lock()
	delete(w.rounds, round)
	w.mu.Unlock()
	w.send(message{Round: round, Done: true, Ops: slices.Concat(histories...)})
}

func (w *worker) send(m message) {
	w.write.Lock()
	defer w.write.Unlock()
	if err := w.out.Encode(m); err != nil {
		fmt.Fprintln(os.Stderr, "model: worker:", err)
		os.Exit(1) // the parent is gone
	}
}

// newManager makes the Manager of one process in one round.
func newManager(rdb *redis.Client, prefix string, timeout time.Duration) *sessions.Manager[Session] {
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: prefix, Timeout: timeout})
	m, err := sessions.New[Session](store, sessions.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	return m
}

// A board is what the clients of a round in one process share: the tokens they
// know, and a count of operations for those that hold their session meanwhile.
type board struct {
	mu      sync.Mutex
	changed *sync.Cond
	tokens  []string
	ops     int
	clients int // that are still at it
	holding int
}

func newBoard(t *task) *board {
	b := &board{tokens: []string{t.Token}, clients: len(t.Clients)}
	b.changed = sync.NewCond(&b.mu)
	return b
}

func (b *board) learn(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.tokens, token) {
		b.tokens = append(b.tokens, token)
	}
}

// token returns the newest one, or one that old.
func (b *board) token(age int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens[max(0, len(b.tokens)-1-age)]
}

// done counts an operation.
func (b *board) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops++
	b.changed.Broadcast()
}

func (b *board) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients--
	b.changed.Broadcast()
}

// hold waits until the others have done n operations, or all of them wait too.
func (b *board) hold(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding++
	b.changed.Broadcast()
	for until := b.ops + n; b.ops < until && b.holding < b.clients; {
		b.changed.Wait()
	}
	b.holding--
}
