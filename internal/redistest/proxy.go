package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// An Action is what a [Proxy] does with one command.
type Action struct {
	kind actionKind
	line string
	gate *Gate
}

type actionKind int

const (
	pass actionKind = iota
	dropReply
	cutReply
	refuse
	hang
	closeConn
	before
	after
)

var (
	// Pass forwards the command and its reply.
	Pass = Action{kind: pass}
	// DropReply forwards the command, swallows its reply and closes the
	// connection: applied, and the client does not know.
	DropReply = Action{kind: dropReply}
	// CutReply forwards the command, and the first half of its reply, and closes
	// the connection.
	CutReply = Action{kind: cutReply}
	// Hang neither forwards nor answers this command or any later one of its
	// connection.
	Hang = Action{kind: hang}
	// Close closes the connection without forwarding the command.
	Close = Action{kind: closeConn}
)

// Refuse answers with an error like "-MISCONF Redis is configured to…",
// without forwarding the command.
func Refuse(line string) Action { return Action{kind: refuse, line: line} }

// Before parks the command at g before the server gets it.
func Before(g *Gate) Action { return Action{kind: before, gate: g} }

// After parks the reply at g: the server has applied the command, the client
// waits.
func After(g *Gate) Action { return Action{kind: after, gate: g} }

// A Gate parks commands until it is opened.
type Gate struct {
	reached, opened chan struct{}
	once, onceOpen  sync.Once
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), opened: make(chan struct{})}
}

// Reached is closed when the first command stands at the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Open lets through what stands there and what comes.
func (g *Gate) Open() { g.onceOpen.Do(func() { close(g.opened) }) }

// pass waits at the gate, but not for longer than the connection lives.
func (g *Gate) pass(closed <-chan struct{}) {
	g.once.Do(func() { close(g.reached) })
	select {
	case <-g.opened:
	case <-closed:
	}
}

// A Proxy stands between clients and a server and does to each command what
// On says. It knows where a command and its reply end, in RESP2 and RESP3 and
// in pipelines; commands without exactly one reply (SUBSCRIBE, MONITOR, CLIENT
// REPLY) are beyond it.
type Proxy struct {
	Addr string

	target   string
	decide   atomic.Pointer[func(cmd []string) Action]
	listener net.Listener
	running  sync.WaitGroup
	mu       sync.Mutex
	links    map[*link]struct{} // nil once closed
}

// NewProxy starts a proxy in front of target that ends with t. Everything
// passes until On is called.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{target: target, listener: listen(t), links: make(map[*link]struct{})}
	p.Addr = p.listener.Addr().String()
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// On makes decide choose what happens to each command from now on: its name,
// as the client wrote it, and arguments. The client's own HELLO and CLIENT are
// among them. It is called from several connections at once; nil passes all.
func (p *Proxy) On(decide func(cmd []string) Action) { p.decide.Store(&decide) }

func (p *Proxy) action(cmd []string) Action {
	if decide := p.decide.Load(); decide != nil && *decide != nil {
		return (*decide)(cmd)
	}
	return Pass
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{proxy: p, client: client, server: server, replies: make(chan Action, 1024), closed: make(chan struct{})}
		p.mu.Lock()
		open := p.links != nil
		if open {
			p.links[l] = struct{}{}
		}
		p.mu.Unlock()
		if !open {
			l.close()
			return
		}
		p.running.Go(l.commands)
		p.running.Go(l.answers)
	}
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	links := p.links
	p.links = nil
	p.mu.Unlock()
	for l := range links {
		l.close()
	}
	p.running.Wait()
}

// A link is one connection of a client and the one to the server behind it.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	replies        chan Action // of the commands sent and not yet answered, in order
	closed         chan struct{}
	once           sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.closed)
		l.client.Close()
		l.server.Close()
		l.proxy.mu.Lock()
		delete(l.proxy.links, l)
		l.proxy.mu.Unlock()
	})
}

// commands carries what the client says to the server.
func (l *link) commands() {
	defer l.close()
	r := bufio.NewReader(l.client)
	for {
		var raw bytes.Buffer
		cmd, err := readCommand(&raw, r)
		if err != nil {
			return
		}
		a := l.proxy.action(cmd)
		if a.kind == before {
			a.gate.pass(l.closed)
		}
		select {
		case l.replies <- a:
		case <-l.closed:
			return
		}
		switch a.kind {
		case refuse:
		case hang, closeConn:
			io.Copy(io.Discard, r) // until the client, or answers, closes
			return
		default:
			if _, err := l.server.Write(raw.Bytes()); err != nil {
				return
			}
		}
	}
}

// answers carries what the server says to the client.
func (l *link) answers() {
	defer l.close()
	r := bufio.NewReader(l.server)
	for {
		var a Action
		select {
		case a = <-l.replies:
		case <-l.closed:
			return
		}
		var raw bytes.Buffer
		switch a.kind {
		case closeConn:
			return
		case hang:
			<-l.closed
			return
		case refuse:
			raw.WriteString(a.line + "\r\n")
		default:
			if err := readReply(&raw, r); err != nil || a.kind == dropReply {
				return
			}
		}
		if a.kind == after {
			a.gate.pass(l.closed)
		}
		if a.kind == cutReply {
			raw.Truncate(raw.Len() / 2)
		}
		if _, err := l.client.Write(raw.Bytes()); err != nil || a.kind == cutReply {
			return
		}
	}
}

// readCommand reads an array of bulk strings, or an inline command, and keeps
// its bytes in raw.
func readCommand(raw *bytes.Buffer, r *bufio.Reader) ([]string, error) {
	kind, rest, err := readLine(raw, r)
	if err != nil {
		return nil, err
	}
	if kind != '*' {
		return strings.Fields(string(kind) + rest), nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, err
	}
	cmd := make([]string, n)
	for i := range cmd {
		start := raw.Len()
		if err := readValue(raw, r); err != nil {
			return nil, err
		}
		_, arg, _ := bytes.Cut(raw.Bytes()[start:], []byte("\r\n"))
		cmd[i] = string(bytes.TrimSuffix(arg, []byte("\r\n")))
	}
	return cmd, nil
}

// readReply reads one reply and keeps its bytes in raw. Pushes, which the
// server sends unasked, come before it and are kept with it.
func readReply(raw *bytes.Buffer, r *bufio.Reader) error {
	for {
		kind, err := r.Peek(1)
		if err != nil {
			return err
		}
		if err := readValue(raw, r); err != nil {
			return err
		}
		if kind[0] != '>' {
			return nil
		}
	}
}

// readValue reads one value of RESP2 or RESP3.
func readValue(raw *bytes.Buffer, r *bufio.Reader) error {
	kind, rest, err := readLine(raw, r)
	if err != nil {
		return err
	}
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return err
	}
	switch kind {
	case '$', '=', '!':
		_, err = io.CopyN(raw, r, int64(n)+2)
		return err
	case '*', '~', '>':
	case '%':
		n *= 2
	case '|': // attributes, and then what they are about
		n = 2*n + 1
	default:
		return fmt.Errorf("redistest: reply of unknown kind %q", kind)
	}
	for range n {
		if err := readValue(raw, r); err != nil {
			return err
		}
	}
	return nil
}

func readLine(raw *bytes.Buffer, r *bufio.Reader) (kind byte, rest string, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, "", err
	}
	raw.WriteString(line)
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return 0, "", fmt.Errorf("redistest: empty line")
	}
	return line[0], line[1:], nil
}
