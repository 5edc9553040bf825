package docs_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// generated compares what stands in operations.md between two comments of a name with what a test has found out. -update
// writes it.
func generated(t *testing.T, name, found string) {
	t.Helper()
	page := read(t, "operations.md")
	at := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n(.*)<!-- /` + name + ` -->`).FindSubmatchIndex(page)
	if at == nil {
		t.Fatalf("operations.md has nothing between <!-- %s --> and <!-- /%[1]s -->", name)
	}
	if *update {
		page = slices.Concat(page[:at[2]], []byte(found), page[at[3]:])
		if err := os.WriteFile("operations.md", page, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got := page[at[2]:at[3]]; !bytes.Equal(got, []byte(found)) {
		t.Errorf("operations.md says\n%s\nbut what happens is (-update writes it)\n%s", got, found)
	}
}

// The table of failures is what happens.
func TestFailures(t *testing.T) {
	if testing.Short() {
		t.Skip("a real server is needed for each failure")
	}
	folder := t.TempDir()
	set := func(args ...any) func(testing.TB, *redistest.Server) {
		return func(t testing.TB, s *redistest.Server) { kit.Must(t, s.Client(t).Do(t.Context(), args...).Err()) }
	}
	var table strings.Builder
	table.WriteString("| what has happened | a page | a change | a sign-in | a sign-out | in the log |\n|---|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		args []string
		fail func(testing.TB, *redistest.Server)
	}{
		{"nothing", nil, func(testing.TB, *redistest.Server) {}},
		{"the server is down", nil, func(_ testing.TB, s *redistest.Server) { s.Kill() }},
		{"the server hangs, or the network drops what is sent", nil, func(t testing.TB, s *redistest.Server) { s.Pause(); t.Cleanup(s.Resume) }},
		{"its memory is full, with `noeviction`", nil, set("config", "set", "maxmemory", "1")},
		{"it has become a replica, or is a replica", nil, set("replicaof", "127.0.0.1", "1")},
		{"it has lost its replicas, with `min-replicas-to-write`", nil, set("config", "set", "min-replicas-to-write", "1")},
		{"it cannot save to its disk", []string{"--save", "3600 1", "--dir", folder}, func(t testing.TB, s *redistest.Server) {
			kit.Must(t, os.RemoveAll(folder))
			c := s.Client(t)
			kit.Must(t, c.BgSave(t.Context()).Err())
			redistest.Eventually(t, "the end of the save", func() bool {
				return strings.Contains(c.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
			})
		}},
		{"its user lacks a permission, here for `EVALSHA`", nil, set("acl", "setuser", "default", "-evalsha", "-eval")},
		{"its data are gone", nil, set("flushall")},
	} {
		server := redistest.Start(t, row.args...)
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, DialerRetries: 1})
		t.Cleanup(func() { rdb.Close() })
		a := kit.NewApp(t, kit.InProcess, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 2 * time.Second}), sessions.Config{})
		tokens := []string{a.Seed(1), a.Seed(1), a.Seed(1), a.Seed(1)}
		a.Log.Take()
		row.fail(t, server)
		cells := []string{row.name}
		verb := func(name string) func(*kit.Session, http.ResponseWriter, *http.Request) {
			return func(_ *kit.Session, w http.ResponseWriter, r *http.Request) {
				if err := kit.Call(a.Manager, r.Context(), name); err != nil {
					sessions.DefaultErrorHandler(w, r, err)
				}
			}
		}
		for i, do := range []func(*kit.Session, http.ResponseWriter, *http.Request){
			func(*kit.Session, http.ResponseWriter, *http.Request) {},
			func(s *kit.Session, _ http.ResponseWriter, _ *http.Request) { s.Views++ },
			verb("SignIn"),
			verb("Destroy"),
		} {
			known := true
			res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
				s := a.FromContext(r.Context())
				known = s.Views > 0
				do(s, w, r)
			}, kit.CookieName+"="+tokens[i])
			cell := fmt.Sprint(res.StatusCode)
			if !known {
				cell += ", as a new visitor's"
			}
			cells = append(cells, cell)
		}
		log := "–"
		for _, line := range a.Log.Take() {
			if m := regexp.MustCompile(`cause=("[^"]*"|\S+)`).FindString(line); m != "" {
				log = "`" + m + "`"
			}
		}
		table.WriteString("| " + strings.Join(append(cells, log), " | ") + " |\n")
	}
	generated(t, "failures", table.String())
}

// The recipe against floods: a visitor's session ends after half an hour, a user's does not.
func TestFloods(t *testing.T) {
	kit.Bubble(t, "L9 visitors for half an hour, users for a fortnight", func(t *testing.T) {
		store := kit.Memory()
		m, err := sessions.New[Session](store, sessions.Config{
			IdleTimeout: 30 * time.Minute,                                                                   // visitors
			Remember:    sessions.Remember{IdleTimeout: 14 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour}, // users
		})
		kit.Must(t, err)
		visitor := kit.Edit(t, m, "", func(s *Session) { s.Views++ })
		user := kit.MustRequest(t, m, "", func(ctx context.Context) error {
			m.FromContext(ctx).UserID = "ann"
			return m.SignIn(ctx, sessions.Remembered)
		})
		time.Sleep(31 * time.Minute)
		if kit.Alive(t, m, visitor) || !kit.Alive(t, m, user) {
			t.Error("after half an hour a visitor's session lives, or a user's has ended")
		}
		time.Sleep(13 * 24 * time.Hour)
		if !kit.Alive(t, m, user) {
			t.Error("a user's session has ended within its fortnight")
		}
	})
}

// sized is a session like most: an ID or two, a number, a time, and the rest in short texts.
type sized struct {
	UserID string    `json:"user_id"`
	Since  time.Time `json:"since"`
	Views  int       `json:"views"`
	Lines  []string  `json:"lines"`
}

// A sessionSize is what a session takes on a server.
type sessionSize struct{ payload, record, used int }

// measure stores a session of as many bytes of JSON, copies it and returns what one of the copies takes of a server's memory.
func measure(t *testing.T, server redistest.Binary, codec sessions.Codec, want int) (size sessionSize) {
	const copies = 8000
	ctx := t.Context()
	rdb := server.Start(t).Client(t)
	m := kit.New[sized](t, kit.RedisStore(rdb), sessions.Config{Codec: codec})
	var session sized
	kit.Edit(t, m, "", func(s *sized) {
		s.UserID, s.Since, s.Views = "4711-0815", time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), 12
		asJSON := func() int {
			data, err := sessions.JSON{}.Marshal(s)
			kit.Must(t, err)
			return len(data)
		}
		for s.Lines = []string{""}; asJSON() < want; {
			if last := &s.Lines[len(s.Lines)-1]; len(*last) < 40 {
				*last += "x"
			} else {
				s.Lines = append(s.Lines, "")
			}
		}
		session = *s
	})
	payload, err := cmp.Or[sessions.Codec](codec, sessions.JSON{}).Marshal(&session)
	kit.Must(t, err)
	used := func() int {
		m := regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(rdb.Info(ctx, "memory").Val())
		var n int
		_, err := fmt.Sscan(m[1], &n)
		kit.Must(t, err)
		return n
	}
	key := kit.Keys(t, rdb)[0]
	record := rdb.StrLen(ctx, key).Val()
	before := used()
	pipe := rdb.Pipeline()
	for i := range copies {
		pipe.Copy(ctx, key, fmt.Sprintf("%s%06d", key[:len(key)-6], i), 0, false) // a key as long
	}
	_, err = pipe.Exec(ctx)
	kit.Must(t, err)
	return sessionSize{payload: len(payload), record: int(record), used: (used() - before) / copies}
}

// The sizes of operations.md are true within a tenth on every server that there is.
func TestSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 sessions a cell")
	}
	version := regexp.MustCompile(`^(\w)(\w+)-(\d+\.\d+)`)
	columns := regexp.MustCompile(`(?m)^\| a session of .*\|$`).FindString(string(read(t, "operations.md")))
	if columns == "" {
		t.Fatal("operations.md has no table of sizes")
	}
	names := strings.Split(strings.Trim(columns, "| "), " | ")[4:]
	page := regexp.MustCompile(`(?m)^\| [\d,]+ bytes of JSON .*\|$`).FindAllString(string(read(t, "operations.md")), -1)
	var rows [][]string
	for _, line := range page {
		rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
	}
	seen := 0
	for _, server := range redistest.Servers(t) {
		m := version.FindStringSubmatch(server.Version)
		column := slices.Index(names, strings.ToUpper(m[1])+m[2]+" "+m[3])
		if column < 0 {
			continue
		}
		seen++
		for _, row := range rows {
			var want int
			_, err := fmt.Sscan(strings.ReplaceAll(row[0], ",", ""), &want)
			kit.Must(t, err)
			codec := map[string]sessions.Codec{"JSON": sessions.JSON{}, "msgpack": sessions.MsgPack{}}[row[1]]
			size := measure(t, server, codec, want)
			for i, n := range map[int]int{2: size.payload, 3: size.record, 4 + column: size.used} {
				if *update {
					row[i] = grouped(n)
					continue
				}
				var said int
				_, err := fmt.Sscan(strings.ReplaceAll(row[i], ",", ""), &said)
				if err != nil || math.Abs(float64(said-n)) > 0.1*float64(n) {
					t.Errorf("%s, %s: the page says %s bytes, it is %d", server.Version, strings.Join(row[:2], " "), row[i], n)
				}
			}
		}
	}
	if seen == 0 {
		t.Skip("no server of a version that operations.md knows")
	}
	if *update {
		text := string(read(t, "operations.md"))
		for i, row := range rows {
			text = strings.Replace(text, page[i], "| "+strings.Join(row, " | ")+" |", 1)
		}
		kit.Must(t, os.WriteFile("operations.md", []byte(text), 0o644))
	}
}

// grouped is a number with commas.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}
