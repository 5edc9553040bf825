package owners_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

const perOwner = 3

// signIn begins a session of a user and returns its token.
func signIn(m *manager, user string) (string, error) {
	o, err := kit.Request(context.Background(), m, "", func(ctx context.Context) error {
		m.FromContext(ctx).User = user
		return m.SignIn(ctx)
	})
	return o.Token.Reveal(), err
}

// live has users sign in, renew, change, save and end their sessions, on a limit of three, and returns the tokens of
// those that live then.
func live(t *testing.T, store sessions.Store) (tokens []string) {
	t.Helper()
	cfg := sessions.Config{MaxPerOwner: perOwner}
	m, other := kit.New[session](t, store, cfg), kit.New[session](t, store, cfg)
	for _, user := range []string{"ann", "bob", "cat"} {
		var own []string
		for range perOwner + 2 {
			token, err := signIn(m, user)
			kit.Must(t, err)
			own = append(own, token)
		}
		own = slices.DeleteFunc(own, func(token string) bool { return !kit.Alive(t, m, token) })
		if len(own) != perOwner {
			t.Fatalf("%d sessions of one user live, want %d", len(own), perOwner)
		}
		tokens = append(tokens, kit.Verb(t, m, own[0], "Renew"), kit.Edit(t, m, own[1], func(s *session) { s.Views++ }))
		kit.Verb(t, m, own[2], "Destroy")
	}
	tokens[0] = kit.Edit(t, m, tokens[0], func(s *session) { s.User = "dan" })
	nobodys := kit.Edit(t, m, "", func(s *session) { s.Views++ })
	tokens = append(tokens, kit.Edit(t, m, nobodys, func(s *session) { s.User = "eve" }))
	for _, token := range tokens {
		if !kit.Alive(t, other, token) { // which has to list each
			t.Errorf("a session that nobody has ended is gone")
		}
	}
	return tokens
}

// An index is what Redis holds of one.
type index struct {
	key     string
	members []string
	left    time.Duration
}

// indexes are all that there are on a server.
func indexes(t *testing.T, nodes ...*redis.Client) (all []index) {
	t.Helper()
	ctx := t.Context()
	for _, node := range nodes {
		it := node.ScanType(ctx, 0, "*", 1000, "zset").Iterator()
		for it.Next(ctx) {
			all = append(all, index{it.Val(), node.ZRange(ctx, it.Val(), 0, -1).Val(), node.PTTL(ctx, it.Val()).Val()})
		}
		kit.Must(t, it.Err())
	}
	return all
}

// sessionKey is the key that a member is about.
func (x index) sessionKey(member string) string {
	before, _, _ := strings.Cut(x.key, "}")
	return before + "}" + base64.RawURLEncoding.EncodeToString([]byte(member[16:]))
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run("O11 scripts touch the keys that they declare, which share their braces, on "+b.Version, func(t *testing.T) {
			t.Parallel()
			server := b.Start(t)
			store := kit.RedisStore(server.Client(t))
			seen := monitor(t, server)
			live(t, store)
			for range 2 { // the second time they are found, or known
				for name, op := range kit.RedisOperations(store) {
					if err := op(t.Context()); err != nil && !errors.Is(err, sessions.ErrNotFound) && !errors.Is(err, sessions.ErrExists) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			var declared []string
			scripts := map[string]int{}
			for _, cmd := range seen() {
				switch name := strings.ToLower(cmd[1]); {
				case cmd[0] == "lua":
					if len(cmd) < 3 || !slices.Contains(declared, cmd[2]) {
						t.Errorf("a script does %q, and declares %q", cmd[1:], declared)
					}
				case name == "evalsha" || name == "eval":
					n, err := strconv.Atoi(cmd[3])
					kit.Must(t, err)
					declared = cmd[4 : 4+n]
					scripts[cmd[2]]++
					for _, key := range declared {
						if braces(key) != braces(declared[0]) {
							t.Errorf("a script declares %q, in two slots", declared)
						}
					}
				}
			}
			if len(scripts) < 5*2 { // by hash and as a whole
				t.Errorf("%d scripts were seen: the test sees nothing", len(scripts))
			}
		})
	}
}

// braces are what decides about the slot of a key.
func braces(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
		return tag
	}
	return key
}

var quotedWord = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// monitor returns the commands that a server has been sent since; before each is "lua" or the address that it came
// from.
func monitor(t *testing.T, server *redistest.Server) func() [][]string {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	kit.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	lines := bufio.NewReaderSize(conn, 1<<20)
	fmt.Fprint(conn, "MONITOR\r\n")
	_, err = lines.ReadString('\n')
	kit.Must(t, err)
	return func() (cmds [][]string) {
		t.Helper()
		kit.Must(t, server.Client(t).Echo(t.Context(), "the end").Err())
		for {
			line, err := lines.ReadString('\n')
			kit.Must(t, err)
			from, rest, _ := strings.Cut(line, "] ")
			cmd := []string{from[strings.LastIndex(from, " ")+1:]}
			for _, quoted := range quotedWord.FindAllString(rest, -1) {
				// A key of these tests has nothing to be unquoted.
				cmd = append(cmd, strings.Trim(quoted, `"`))
			}
			if strings.EqualFold(cmd[1], "echo") {
				return cmds
			}
			cmds = append(cmds, cmd)
		}
	}
}

func TestIndexesInRedis(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, store sessions.Store, nodes ...*redis.Client) {
		tokens := live(t, store)
		m := kit.New[session](t, store, sessions.Config{MaxPerOwner: perOwner})
		var listed []string
		for _, x := range indexes(t, nodes...) {
			t.Run("O5 an index has an expiry, and entries of 48 bytes", func(t *testing.T) {
				if x.left <= 0 {
					t.Errorf("PTTL %v", x.left)
				}
				for _, member := range x.members {
					if len(member) != 48 {
						t.Errorf("an entry of %d bytes", len(member))
					}
					listed = append(listed, strings.TrimPrefix(x.sessionKey(member), "session:"))
				}
			})
			t.Run("O5 nothing of an index is a token", func(t *testing.T) {
				for _, member := range x.members {
					_, key, _ := strings.Cut(x.sessionKey(member), "{")
					tag, hash, _ := strings.Cut(key, "}")
					id := base64.RawURLEncoding.EncodeToString([]byte(member[:16]))
					for _, guess := range []string{hash, tag + hash, "s" + tag + hash, "r" + tag + hash, "s" + tag + id, "s" + tag + id + hash, "{" + key, x.key} {
						if kit.Alive(t, m, guess) {
							t.Errorf("a part of an index finds a session")
						}
					}
					for _, token := range tokens {
						if strings.Contains(member, token[5:]) {
							t.Errorf("an index has a token in it")
						}
					}
				}
			})
		}
		t.Run("O5 O11 what lives is listed, and nothing else", func(t *testing.T) {
			data, _, err := store.(sessions.OwnerStore).LoadMany(t.Context(), listed, 1)
			kit.Must(t, err)
			if len(listed) != len(tokens) || slices.ContainsFunc(data, func(d []byte) bool { return d == nil }) {
				t.Errorf("%d entries of %d sessions, with %q under their keys", len(listed), len(tokens), data)
			}
		})
		for _, token := range tokens {
			kit.Verb(t, m, token, "Destroy")
		}
		t.Run("O5 it shrinks as sessions end", func(t *testing.T) {
			if left := indexes(t, nodes...); len(left) > 0 {
				t.Errorf("%d indexes when all sessions have ended", len(left))
			}
		})
	}
	for _, b := range redistest.Servers(t) {
		t.Run(b.Version, func(t *testing.T) {
			t.Parallel()
			rdb := b.Start(t).Client(t)
			check(t, kit.RedisStore(rdb), rdb)
		})
	}
	t.Run("a cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, 3)
		var nodes []*redis.Client
		for _, node := range cluster.Nodes {
			nodes = append(nodes, node.Client(t))
		}
		check(t, kit.RedisStore(cluster.Client(t)), nodes...)
	})
}

func TestIndexMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2)
	rdb := cluster.Client(t)
	store := kit.RedisStore(rdb)
	m := kit.New[session](t, store, sessions.Config{MaxPerOwner: perOwner})
	var tokens []string
	add := func() (refused bool) {
		token, err := signIn(m, "ann")
		if err != nil {
			if !errors.Is(err, sessions.ErrUnavailable) && !errors.Is(err, sessions.ErrConflict) { // out of time
				t.Errorf("SignIn while the slot moves: %v", err)
			}
			return true
		}
		tokens = append(tokens, token)
		return false
	}
	for range perOwner + 1 {
		add()
	}
	var nodes []*redis.Client
	for _, node := range cluster.Nodes {
		nodes = append(nodes, node.Client(t))
	}
	key := indexes(t, nodes...)[0].key
	slot := nodes[0].ClusterKeySlot(t.Context(), key).Val()
	from, to := cluster.Nodes[0], cluster.Nodes[1]
	if slot >= 8192 {
		from, to = to, from
	}
	refused := 0
	cluster.Move(t, slot, from, to, func() {
		if add() {
			refused++
		}
	})
	t.Run("O11 F7 while its slot moves a user may be refused for the moment, and nothing is done by half", func(t *testing.T) {
		t.Logf("%d sign-ins, %d refused", len(tokens)+refused, refused)
		if add() {
			t.Error("a sign-in is refused after the move")
		}
		all := indexes(t, nodes...)
		if len(all) != 1 || len(all[0].members) != perOwner {
			t.Fatalf("%d indexes, want one with %d entries", len(all), perOwner)
		}
		last := tokens[len(tokens)-1]
		alive := slices.DeleteFunc(tokens, func(token string) bool { return !kit.Alive(t, m, token) })
		if len(alive) != perOwner || !slices.Contains(alive, last) {
			t.Errorf("%d sessions live, the last one among them: %t", len(alive), slices.Contains(alive, last))
		}
	})
}

// What the store's commands need is in docs/redis.md, and no less will do.
func TestACL(t *testing.T) {
	t.Parallel()
	acl := documentedACL(t)
	for _, b := range redistest.Servers(t) {
		t.Run("F5 the documented ACL permits all that the store does, on "+b.Version, func(t *testing.T) {
			t.Parallel()
			server := b.Start(t)
			rules := []any{"acl", "setuser", "app", "on", ">pw", "-@all"}
			for _, rule := range acl {
				rules = append(rules, rule)
			}
			kit.Must(t, server.Client(t).Do(t.Context(), rules...).Err())
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "app", Password: "pw"})
			defer rdb.Close()
			store := kit.RedisStore(rdb)
			live(t, store)
			for range 2 {
				for name, op := range kit.RedisOperations(store) {
					if err := op(t.Context()); errors.Is(err, sessions.ErrUnavailable) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		})
	}
	for _, forbidden := range []string{"zadd", "pttl", "pexpire", "set"} {
		t.Run("F5 L7 a user who may not "+forbidden+" is refused, and what is stored has an expiry", func(t *testing.T) {
			server := redistest.Start(t)
			admin := server.Client(t)
			rdb := server.Client(t)
			may := func(rule string) {
				kit.Must(t, admin.Do(t.Context(), "acl", "setuser", "node", "on", ">pw", "~*", "+@all", rule).Err())
			}
			rdb.Options().Username, rdb.Options().Password = "node", "pw"
			store := kit.RedisStore(rdb)
			may("-" + forbidden)
			m := kit.New[session](t, store, sessions.Config{})
			if _, err := signIn(m, "ann"); !errors.Is(err, sessions.ErrRefused) {
				t.Errorf("SignIn: %v, want ErrRefused", err)
			}
			may("+" + forbidden)
			token, err := signIn(m, "ann")
			kit.Must(t, err)
			x := indexes(t, admin)[0]
			kit.Must(t, admin.Del(t.Context(), x.key).Err())
			may("-" + forbidden)
			_, _ = kit.Request(t.Context(), m, token, func(ctx context.Context) error { // lists it again
				_, err := m.Sessions(ctx)
				return err
			})
			_, _ = m.RevokeAll(t.Context(), "bob") // notes the time in an index that is not there
			for _, x := range indexes(t, admin) {
				if x.left < 0 {
					t.Errorf("an index without an expiry: %q", x.members)
				}
			}
		})
	}
}

func TestFullMemory(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run("F5 with memory full a sign-in is refused whole, and sessions end, on "+b.Version, func(t *testing.T) {
			t.Parallel()
			server := b.Start(t, "--maxmemory-policy", "noeviction")
			rdb := server.Client(t)
			m := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{MaxPerOwner: perOwner})
			var tokens []string
			for range perOwner {
				token, err := signIn(m, "ann")
				kit.Must(t, err)
				tokens = append(tokens, token)
			}
			before := indexes(t, rdb)
			kit.Must(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
			if _, err := signIn(m, "ann"); !errors.Is(err, sessions.ErrRefused) || !redis.HasErrorPrefix(err, "OOM") {
				t.Errorf("SignIn: %v, want ErrRefused and OOM", err)
			}
			if now := indexes(t, rdb); !slices.Equal(now[0].members, before[0].members) || rdb.DBSize(t.Context()).Val() != perOwner+1 {
				t.Errorf("a sign-in that was refused has left %d keys and an index of %d entries", rdb.DBSize(t.Context()).Val(), len(now[0].members))
			}
			for _, token := range tokens {
				if !kit.Alive(t, m, token) {
					t.Error("a sign-in that was refused has ended a session")
				}
			}
			kit.Verb(t, m, tokens[0], "Destroy")
			x := indexes(t, rdb)[0]
			var keys []string
			for _, member := range x.members {
				keys = append(keys, strings.TrimPrefix(x.sessionKey(member), "session:"))
			}
			if ended, err := kit.RedisStore(rdb).End(t.Context(), strings.TrimPrefix(x.key, "session:"), x.members, keys); len(ended) != perOwner-1 || err != nil {
				t.Errorf("End: %d ended, %v", len(ended), err)
			}
			if n := rdb.DBSize(t.Context()).Val(); n > 0 {
				t.Errorf("%d keys when all sessions have ended", n)
			}
		})
	}
}

// A reply that is lost, or a script that is forgotten, leaves the index exact.
func TestLostScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	for name, lose := range map[string]redistest.Action{"after": redistest.DropReply, "before": redistest.Close} {
		proxy := redistest.NewProxy(t, server.Addr)
		var mu sync.Mutex
		n, armed := 0, true
		proxy.On(func(cmd []string) redistest.Action {
			if cmd[0] != "evalsha" && cmd[0] != "eval" {
				return redistest.Pass
			}
			mu.Lock()
			defer mu.Unlock()
			if armed = !armed; armed { // each second one, so that each is sent again
				return redistest.Pass
			}
			n++
			return lose
		})
		through := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		defer through.Close()
		t.Run("C10 O5 each script is lost "+name+" it was run, and sent again", func(t *testing.T) {
			kit.Must(t, rdb.FlushAll(t.Context()).Err())
			tokens, listed := live(t, kit.RedisStore(through)), 0
			for _, x := range indexes(t, rdb) {
				listed += len(x.members)
				for _, member := range x.members {
					if rdb.Exists(t.Context(), x.sessionKey(member)).Val() == 0 {
						t.Error("an entry of a session that does not exist")
					}
				}
			}
			if listed != len(tokens) || n < 20 {
				t.Errorf("%d entries of %d sessions, after %d scripts that were lost", listed, len(tokens), n)
			}
		})
	}
	t.Run("F4 F5 an index that is another program's value is refused, and nothing of it is told", func(t *testing.T) {
		kit.Must(t, rdb.FlushAll(t.Context()).Err())
		m := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{MaxPerOwner: perOwner})
		_, err := signIn(m, "ann")
		kit.Must(t, err)
		x := indexes(t, rdb)[0]
		kit.Must(t, rdb.Set(t.Context(), x.key, "SECRET", time.Hour).Err())
		before := rdb.DBSize(t.Context()).Val()
		kit.Must(t, rdb.ScriptFlush(t.Context()).Err())
		if _, err := signIn(m, "ann"); !errors.Is(err, sessions.ErrRefused) || !redis.HasErrorPrefix(err, "WRONGTYPE") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("SignIn: %v, want ErrRefused and WRONGTYPE", err)
		}
		if now := rdb.DBSize(t.Context()).Val(); now != before {
			t.Errorf("a sign-in that was refused has left %d keys", now-before)
		}
	})
}

// documentedACL is that of docs/redis.md.
func documentedACL(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "redis.md"))
	kit.Must(t, err)
	_, rest, _ := strings.Cut(string(text), "As an ACL: `")
	acl, _, ok := strings.Cut(rest, "`")
	if !ok {
		t.Fatal("docs/redis.md has no ACL where this test looks for it")
	}
	return strings.Fields(acl)
}
