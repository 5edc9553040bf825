package owners_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

var update = flag.Bool("update", false, "write the table of docs/redis.md that says what runs where")

// visitor is a T that is nobody's.
type visitor struct {
	Views int `json:"views"`
}

// A service is a server that permits less than docs/redis.md asks for.
type service struct {
	name    string
	without string // commands
}

var services = []service{
	{"the whole ACL", ""},
	{"no GETEX", "getex"},
	{"no PTTL", "pttl"},
	{"no SCAN, INFO", "scan info"},
	{"no EVAL, EVALSHA", "eval evalsha"},
	{"no sorted sets", "zadd zcard zrange zrem zscore"},
}

// A customer is one program on a service, beside one that may do everything.
type customer struct {
	store *sessions.RedisStore
	m     *manager
	v     *sessions.Manager[visitor]
	all   *manager
	allV  *sessions.Manager[visitor]
}

// errEnded is of a sign-out that says it has failed, and has ended the session: the entry of the index has stayed.
var errEnded = errors.New("and the session has ended")

// features are what a program may want of the library. What has no error is done, and else nothing is.
var features = []struct {
	name string
	run  func(t *testing.T, c *customer) error
}{
	{"a request reads its session, and restarts the idle timeout", func(t *testing.T, c *customer) error {
		_, err := kit.Request(t.Context(), c.v, c.visitor(t), func(context.Context) error { return nil })
		return err
	}},
	{"a visitor's first change is stored", func(t *testing.T, c *customer) error {
		o, err := kit.Request(t.Context(), c.v, "", c.views)
		if alive := o.Token.Reveal() != "" && kit.Alive(t, c.allV, o.Token.Reveal()); alive != (err == nil) {
			t.Errorf("it lives: %t, after %v", alive, err)
		}
		return err
	}},
	{"a further change is saved", func(t *testing.T, c *customer) error {
		token := c.visitor(t)
		_, err := kit.Request(t.Context(), c.v, token, c.views)
		if got := kit.Stored(t, c.allV, token).Views; (got == 2) != (err == nil) {
			t.Errorf("%d views, after %v", got, err)
		}
		return err
	}},
	{"`Renew`, of a session that is nobody's", func(t *testing.T, c *customer) error {
		token := c.visitor(t)
		_, err := kit.Request(t.Context(), c.v, token, c.v.Renew)
		return wantEnded(t, c.allV, token, err)
	}},
	{"`Destroy`, the same", func(t *testing.T, c *customer) error {
		token := c.visitor(t)
		_, err := kit.Request(t.Context(), c.v, token, c.v.Destroy)
		return wantEnded(t, c.allV, token, err)
	}},
	{"`SignIn` of a user, `MaxPerOwner`", func(t *testing.T, c *customer) error {
		for range perOwner {
			c.user(t)
		}
		before := c.listed(t)
		_, err := signIn(c.m, "ann")
		if after := c.listed(t); len(after) != perOwner || (after != nil && before != nil && fmt.Sprint(after) != fmt.Sprint(before)) != (err == nil) {
			t.Errorf("%d sessions, after %v", len(after), err)
		}
		return err
	}},
	{"`Destroy` of a user's session", func(t *testing.T, c *customer) error {
		token := c.user(t)
		_, err := kit.Request(t.Context(), c.m, token, c.m.Destroy)
		if err != nil && !kit.Alive(t, c.all, token) {
			return errors.Join(err, errEnded)
		}
		return wantEnded(t, c.all, token, err)
	}},
	{"`Sessions`, `SessionsOf`", func(t *testing.T, c *customer) error {
		c.user(t)
		infos, err := c.m.SessionsOf(t.Context(), "ann")
		if (len(infos) == 1) != (err == nil) {
			t.Errorf("%d sessions, after %v", len(infos), err)
		}
		return err
	}},
	{"`Revoke`, `RevokeOthers`, `RevokeAll`", func(t *testing.T, c *customer) error {
		token := c.user(t)
		_, err := c.m.RevokeAll(t.Context(), "ann")
		return wantEnded(t, c.all, token, err)
	}},
	{"`UpdateAll`", func(t *testing.T, c *customer) error {
		token := c.user(t)
		err := c.m.UpdateAll(t.Context(), "ann", func(s *session) error { s.Views = 7; return nil })
		if got := kit.Stored(t, c.all, token).Views; (got == 7) != (err == nil) {
			t.Errorf("%d views, after %v", got, err)
		}
		return err
	}},
	{"`RedisStore.Keys`", func(t *testing.T, c *customer) error {
		c.visitor(t)
		n := 0
		for _, err := range c.store.Keys(t.Context()) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 1 {
			t.Errorf("%d keys, want 1", n)
		}
		return nil
	}},
	{"`RedisStore.Ping`", func(t *testing.T, c *customer) error { return c.store.Ping(t.Context()) }},
}

func (c *customer) views(ctx context.Context) error {
	if s, ok := c.v.Lookup(ctx); ok {
		s.Views++
	}
	return nil
}

// visitor is the token of a session that is nobody's.
func (c *customer) visitor(t *testing.T) string {
	t.Helper()
	return kit.Edit(t, c.allV, "", func(s *visitor) { s.Views++ })
}

// user is that of one of ann's.
func (c *customer) user(t *testing.T) string {
	t.Helper()
	token, err := signIn(c.all, "ann")
	kit.Must(t, err)
	return token
}

// listed are the IDs of ann's sessions.
func (c *customer) listed(t *testing.T) (ids []string) {
	t.Helper()
	infos, err := c.all.SessionsOf(t.Context(), "ann")
	kit.Must(t, err)
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	return ids
}

// wantEnded says that a token is refused now, or after an error accepted as before.
func wantEnded[T any](t *testing.T, m *sessions.Manager[T], token string, err error) error {
	t.Helper()
	if alive := kit.Alive(t, m, token); alive != (err != nil) {
		t.Errorf("the token is accepted: %t, after %v", alive, err)
	}
	return err
}

// TestServices runs every feature where a command is refused, and compares the outcome with the table of docs/redis.md.
func TestServices(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	rows := make([]string, len(features))
	header, line := "|", "|---|"
	for n, service := range services {
		header, line = header+" | "+service.name, line+"---|"
		user := fmt.Sprint("user", n)
		rules := []any{"acl", "setuser", user, "on", ">pw", "-@all"}
		for _, rule := range documentedACL(t) {
			rules = append(rules, rule)
		}
		for command := range strings.FieldsSeq(service.without) {
			rules = append(rules, "-"+command)
		}
		kit.Must(t, admin.Do(t.Context(), rules...).Err())
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: user, Password: "pw"})
		defer rdb.Close()
		for i, feature := range features {
			t.Run("F5 "+feature.name+" with "+service.name, func(t *testing.T) {
				kit.Must(t, admin.FlushAll(t.Context()).Err())
				cfg := sessions.Config{MaxPerOwner: perOwner}
				c := &customer{store: kit.RedisStore(rdb)}
				c.m, c.v = kit.New[session](t, c.store, cfg), kit.New[visitor](t, c.store, sessions.Config{})
				c.all, c.allV = kit.New[session](t, kit.RedisStore(admin), cfg), kit.New[visitor](t, kit.RedisStore(admin), sessions.Config{})
				err := feature.run(t, c)
				rows[i] += " | " + outcome(t, err)
			})
		}
	}
	for _, row := range rows {
		if strings.Count(row, "|") != len(services) {
			return // -run has left out some
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s |\n%s\n", header, line)
	for i, feature := range features {
		fmt.Fprintf(&b, "| %s%s |\n", feature.name, rows[i])
	}
	path := filepath.Join("..", "..", "..", "docs", "redis.md")
	text, err := os.ReadFile(path)
	kit.Must(t, err)
	before, rest, found := strings.Cut(string(text), "<!-- services -->\n")
	documented, after, ended := strings.Cut(rest, "<!-- end of services -->")
	if !found || !ended {
		t.Fatal("docs/redis.md has no table between the marks of services")
	}
	if *update {
		kit.Must(t, os.WriteFile(path, []byte(before+"<!-- services -->\n"+b.String()+"<!-- end of services -->"+after), 0o644))
	} else if documented != b.String() {
		t.Errorf("docs/redis.md says\n%s\nwant\n%s\nrun this test with -update", documented, b.String())
	}
}

// outcome is a cell of the table.
func outcome(t *testing.T, err error) string {
	t.Helper()
	switch {
	case err == nil:
		return "yes"
	case !errors.Is(err, sessions.ErrUnavailable) || !strings.Contains(err.Error(), "docs/redis.md has an ACL"):
		t.Errorf("%v: want ErrUnavailable that says what to look at", err)
		return "?"
	case errors.Is(err, errEnded):
		return "ErrRefused, and ended"
	case errors.Is(err, sessions.ErrRefused):
		return "ErrRefused"
	}
	return "ErrUnavailable"
}
