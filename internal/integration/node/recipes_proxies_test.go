package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A socket is recipes/client.mjs.
type socket struct {
	t     *testing.T
	stdin io.Writer
	lines *bufio.Reader
}

func connect(t *testing.T, s *site, b *browser, transport string) *socket {
	t.Helper()
	cookie := ""
	for _, value := range b.values(s) {
		cookie = s.cookie + "=" + value
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // t.Context ends before Cleanup
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, findNode(t), "recipes/client.mjs", addressOf(s).String(), cookie, transport)
	stdin, stdout := start(t, cmd, "client.mjs")
	return &socket{t, stdin, bufio.NewReader(stdout)}
}

// hears is the next thing that happens.
func (s *socket) hears(want string) {
	s.t.Helper()
	line, err := s.lines.ReadString('\n')
	if line = strings.TrimSpace(line); err != nil || line != want {
		s.t.Errorf("the socket hears %s (%v), want %s", line, err, want)
	}
}

func (s *socket) emit(event string) { _, _ = io.WriteString(s.stdin, event+"\n") }

func TestSocketIO(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, reload := range []bool{true, false} {
		node := w.recipe(t, "socketio", common(), map[string]any{"reload": reload})
		gopher := serveGo(t, w, common(), func(m *sessions.Manager[Session], rdb *redis.Client) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("POST /login", m.Handler(signIn(m)))
			mux.Handle("POST /logout", m.Handler(signOut(m, rdb)))
			mux.Handle("POST /quietly", m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Destroy(r.Context()); err != nil {
					t.Error(err)
				}
			})))
			mux.Handle("/", nodeProxy(addressOf(node)))
			return mux
		})
		for _, transport := range map[bool][]string{true: {"polling", "websocket", "upgrade"}, false: {"upgrade"}}[reload] {
			connected := fmt.Sprintf(`{"connected":%q}`, strings.Replace(transport, "upgrade", "websocket", 1))
			const gone = `{"disconnected":"io server disconnect"}`
			t.Run(fmt.Sprintf("R5 reload=%t by %s", reload, transport), func(t *testing.T) {
				b := w.visitor(t)
				connect(t, gopher, b, transport).hears(`{"refused":"signed out"}`)
				b.leads(gopher, "POST /login", "username=Ada&password=secret", "/")
				b.finds(gopher, "GET /read", `{"user":"7"}`)
				s, other := connect(t, gopher, b, transport), connect(t, gopher, b, transport)
				for _, s := range []*socket{s, other} {
					s.hears(connected)
					s.emit("whoami")
					s.hears(`{"answer":"7"}`)
				}
				if transport != "polling" { // a WebSocket does not restart the expiry
					if err := w.redis.Expire(t.Context(), node.prefix+b.sid(node), time.Minute).Err(); err != nil {
						t.Fatal(err)
					}
					s.emit("whoami")
					s.hears(`{"answer":"7"}`)
					w.lives(t, node, b.sid(node), time.Minute)
				}
				bystander := w.visitor(t)
				bystander.leads(gopher, "POST /login", "username=Ada&password=secret", "/")
				theirs := connect(t, gopher, bystander, transport)
				theirs.hears(connected)
				if reload { // with the first event after a sign-in or sign-out
					b.leads(gopher, "POST /login", "username=Ada&password=secret", "/")
					s.emit("whoami")
					s.hears(gone)
					b.visit(gopher, "POST /quietly", "")
					other.emit("whoami")
				} else { // at once
					b.leads(gopher, "POST /logout", "", "/")
					s.hears(gone)
				}
				other.hears(gone)
				theirs.emit("whoami")
				theirs.hears(`{"answer":"7"}`)
				connect(t, gopher, b, transport).hears(`{"refused":"signed out"}`)
			})
		}
	}
}

func TestFastify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := common()
	o.Resave = true // of Go, as the recipe says; fastify has no such option
	node := w.recipe(t, "fastify", o, nil)
	gopher := serveGo(t, w, o, func(m *sessions.Manager[frontSession], _ *redis.Client) http.Handler {
		return m.Handler(frontRoutes(t, m, ""))
	})
	for _, first := range []*site{node, gopher} {
		for _, second := range []*site{node, gopher} {
			t.Run("R1 R5 R10 from "+first.name+" to "+second.name, func(t *testing.T) {
				b := w.visitor(t)
				b.finds(first, "GET /count", `{"views":1}`)
				sid := b.sid(first)
				for n, at := range []*site{second, first, second, first} {
					b.finds(at, "GET /count", fmt.Sprintf(`{"views":%d}`, n+2))
				}
				if b.sid(first) != sid {
					t.Errorf("the sid is %q, want %q", b.sid(first), sid)
				}
				w.lives(t, first, sid, quarter)
				if err := w.redis.Expire(t.Context(), node.prefix+sid, time.Minute).Err(); err != nil {
					t.Fatal(err)
				}
				b.visit(node, "GET /read", "")
				w.lives(t, node, sid, time.Minute) // which Express would make 15
				b.visit(gopher, "POST /login", "")
				w.dead(t, first, sid)
				b.finds(node, "GET /read", `{"user":"7","views":5}`)
				signed := b.sid(first)
				b.visit(node, "POST /login", "")
				w.dead(t, first, signed)
				b.finds(gopher, "GET /read", `{"user":"7","views":0}`)
				signed = b.sid(first)
				b.visit(node, "POST /regenerate", "")
				if b.sid(first) == signed || w.stored(t, first, signed) == nil {
					t.Errorf("regenerate ends the session from before: the sid was %q and is %q", signed, b.sid(first))
				}
				b.visit(gopher, "POST /login", "")
				b.visit(gopher, "POST /logout", "")
				b.finds(node, "GET /read", `{"user":null,"views":0}`)
			})
		}
	}
}

type frontSession struct {
	Passport Passport `json:"passport,omitzero"`
	Views    int      `json:"views,omitempty"`
}

// frontRoutes are Go's, below a path.
func frontRoutes(t *testing.T, m *sessions.Manager[frontSession], path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path+"/read", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[frontSession](r.Context())
		answer200(w, map[string]any{"user": s.Passport.User, "views": s.Views})
	})
	mux.HandleFunc("GET "+path+"/count", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[frontSession](r.Context())
		s.Views++
		answer200(w, map[string]any{"views": s.Views})
	})
	verb := func(f func(s *frontSession, r *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := f(sessions.FromContext[frontSession](r.Context()), r); err != nil {
				t.Error(err)
			}
			answer200(w, "ok")
		}
	}
	mux.HandleFunc("POST "+path+"/login", verb(func(s *frontSession, r *http.Request) error {
		s.Passport.User.Text = "7"
		return m.SignIn(r.Context())
	}))
	mux.HandleFunc("POST "+path+"/logout", verb(func(s *frontSession, r *http.Request) error {
		return m.Destroy(r.Context())
	}))
	mux.HandleFunc("POST "+path+"/form", func(w http.ResponseWriter, r *http.Request) {
		answer200(w, r.PostFormValue("field"))
	})
	mux.HandleFunc("GET "+path+"/secure", func(w http.ResponseWriter, r *http.Request) {
		answer200(w, map[string]any{"proto": r.Header.Get("X-Forwarded-Proto"), "host": r.Host, "for": r.Header.Get("X-Forwarded-For")})
	})
	return mux
}

// monitor returns the commands that Node sends to Redis because of f. It waits
// for that many: some come when f has its answer.
func (w *world) monitor(t *testing.T, wait int, f func()) (commands []string) {
	t.Helper()
	clients, err := w.redis.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	var node []string
	for line := range strings.Lines(clients) {
		if strings.Contains(line, " name=node ") {
			_, addr, _ := strings.Cut(line, " addr=")
			addr, _, _ = strings.Cut(addr, " ")
			node = append(node, " "+addr+"] ")
		}
	}
	if len(node) == 0 {
		t.Fatalf("Node is none of the clients\n%s", clients)
	}
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); line != "+OK\r\n" {
		t.Fatalf("MONITOR: %q, %v", line, err)
	}
	f()
	for end := false; ; {
		if !end && len(commands) >= wait {
			end = true
			if err := w.redis.Echo(t.Context(), "the end of it").Err(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, `"the end of it"`) {
			return commands
		}
		if slices.ContainsFunc(node, func(addr string) bool { return strings.Contains(line, addr) }) {
			_, command, _ := strings.Cut(line, `"`)
			command, _, _ = strings.Cut(command, `"`)
			commands = append(commands, strings.ToUpper(command))
		}
	}
}

// What Node does to a request that Go answers, by where the proxy is mounted.
func TestExpressInFront(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(t *testing.T, o express.Options, below, changes bool) (front, gopher *site) {
		gopher = serveGo(t, w, o, func(m *sessions.Manager[frontSession], _ *redis.Client) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/go/", m.Handler(frontRoutes(t, m, "/go")))
			mux.HandleFunc("GET /go/socket", func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Write(r.Context(), websocket.MessageText, []byte(r.Header.Get("X-Forwarded-Proto")))
				_ = c.Close(websocket.StatusNormalClosure, "")
			})
			return mux
		})
		return w.recipe(t, "front", o, map[string]any{"below": below, "changes": changes, "target": addressOf(gopher).String(), "proxyTimeout": 500}), gopher
	}
	rolling := common()
	rolling.Rolling = true
	resave := common()
	resave.Resave = true

	for _, tt := range []struct {
		name  string
		o     express.Options
		below bool
		// A middleware of Node's changes the session.
		changes bool
		// The commands of Node for each route, and the cookies of the answer.
		read, count, login string
		cookies            [3]int
		signedIn           bool // afterwards
		views              int  // afterwards, of two
		resurrected        bool // the session from before the sign-in
	}{
		{name: "above", o: common(), signedIn: true, views: 2, cookies: [3]int{0, 1, 1}},
		{name: "above, rolling", o: rolling, signedIn: true, views: 2, cookies: [3]int{1, 1, 1}},
		{name: "above, resave", o: resave, signedIn: true, views: 2, cookies: [3]int{0, 1, 1}},
		{name: "below", o: common(), below: true, read: "GET EXPIRE", count: "GET EXPIRE", login: "GET EXPIRE", cookies: [3]int{0, 1, 1}, signedIn: true, views: 2},
		{name: "below, rolling", o: rolling, below: true, read: "GET EXPIRE", count: "GET EXPIRE", login: "GET EXPIRE", cookies: [3]int{2, 2, 2}},
		{name: "below, with changes", o: common(), below: true, changes: true, read: "GET SET", count: "GET SET", login: "GET SET", cookies: [3]int{1, 2, 2}, views: 1, resurrected: true},
		{name: "below, resave", o: resave, below: true, read: "GET SET", count: "GET SET", login: "GET SET", cookies: [3]int{0, 1, 1}, signedIn: true, views: 1, resurrected: true},
	} {
		t.Run("R5 R14 "+tt.name, func(t *testing.T) {
			front, _ := start(t, tt.o, tt.below, tt.changes)
			b := w.visitor(t)
			b.finds(front, "GET /count", `{"by":"node","views":1}`)
			sid := b.sid(front)
			for i, route := range []string{"GET /go/read", "GET /go/count", "POST /go/login"} {
				var p page
				want := []string{tt.read, tt.count, tt.login}[i]
				commands := w.monitor(t, len(strings.Fields(want)), func() { p = b.visit(front, route, "") })
				if got := strings.Join(commands, " "); got != want {
					t.Errorf("%s: Node asks Redis for %q, want %q", route, got, want)
				}
				if got, want := len(p.setCookie), tt.cookies[i]; got != want {
					t.Errorf("%s: %d cookies %q, want %d", route, got, p.setCookie, want)
				}
			}
			if got := w.stored(t, front, sid) != nil; got != tt.resurrected {
				t.Errorf("the session from before the sign-in is stored: %t, want %t", got, tt.resurrected)
			}
			user := `"7"`
			if !tt.signedIn {
				user = `""`
			}
			b.finds(front, "GET /go/read", fmt.Sprintf(`{"user":%s,"views":%d}`, user, tt.views))
			if !tt.below {
				b.finds(front, "GET /read", `{"by":"node","session":{"passport":{"user":"7"},"views":2}}`)
				b.finds(front, "GET /count", `{"by":"node","views":3}`)
				b.visit(front, "POST /go/logout", "")
				b.finds(front, "GET /read", `{"by":"node","session":{}}`)
				if p := b.visit(front, "POST /go/form", "field=value"); p.body != `"value"` {
					t.Errorf("the form: %d %s", p.status, p.body)
				}
			}
		})
	}

	t.Run("R5 below, Node's body parser eats the form", func(t *testing.T) {
		front, _ := start(t, common(), true, false)
		if p := w.visitor(t).visit(front, "POST /go/form", "field=value"); p.status != http.StatusGatewayTimeout {
			t.Errorf("%d %s, want the answer to a request whose body never comes", p.status, p.body)
		}
	})

	t.Run("R14 what Go learns of the request", func(t *testing.T) {
		o := common()
		o.Proxy, o.Cookie.Secure = true, express.True
		front, _ := start(t, o, false, false)
		b := w.visitor(t)
		var said struct{ Proto, Host, For string }
		p := b.visit(front, "GET /go/secure", "")
		if err := json.Unmarshal([]byte(p.body), &said); err != nil || said.Proto != "http" || said.Host != "127.0.0.1:"+front.port || said.For == "" {
			t.Errorf("plain HTTP: %s, %v", p.body, err)
		}
		if p := b.visit(front, "GET /go/count", ""); p.setCookie != nil {
			t.Errorf("a Secure cookie over plain HTTP: %q", p.setCookie)
		}
		// TLS ends before Node, at a proxy that says so.
		b.scheme = "https"
		p = b.visit(front, "GET /go/secure", "")
		if err := json.Unmarshal([]byte(p.body), &said); err != nil || said.Proto != "https,http" {
			t.Errorf("HTTPS: %s, %v", p.body, err)
		}
		b.finds(front, "GET /go/count", `{"views":1}`)
		b.finds(front, "GET /go/count", `{"views":2}`)
	})

	t.Run("R14 WebSockets", func(t *testing.T) {
		front, _ := start(t, common(), false, false)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, _, err := websocket.Dial(ctx, "ws://127.0.0.1:"+front.port+"/go/socket", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.CloseNow() }()
		if _, said, err := c.Read(ctx); err != nil || string(said) != "ws" {
			t.Errorf("the socket says %q, %v", said, err)
		}
	})
}
