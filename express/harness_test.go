package express_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The recordings of testdata were made by internal/integration/node/record.mjs:
// the real express-session and connect-redis, with their clock standing still
// at the instant at which the clock of a synctest bubble begins.

// recording reads one of them into v.
func recording(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s.json: %v", name, err)
	}
}

// frozen runs f where the time stands still, as a subtest.
func frozen(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// A row's name, after the numbers it proves.
func named(numbers, format string, args ...any) string {
	return numbers + " " + fmt.Sprintf(format, args...)
}

// visit is the session of the recording application.
type visit struct {
	Views int `json:"views,omitempty"`
}

// shelf is a MemoryStore that writes down what it is asked for, in the words in
// which connect-redis asks Redis.
type shelf struct {
	sessions.MemoryStore
	prefix  string
	broken  error // of every Load and CompareAndSwap
	refuses error // of everything that writes

	mu   sync.Mutex
	said []string
	keys map[string]struct{}
}

func (s *shelf) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if touch > 0 {
		s.say(key, "EXPIRE %s %s", s.prefix+key, seconds(touch))
	} else {
		s.say(key, "GET %s", s.prefix+key)
	}
	if s.broken != nil {
		return nil, 0, s.broken
	}
	return s.MemoryStore.Load(ctx, key, touch)
}

func (s *shelf) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	err := s.refuses
	if err == nil {
		err = s.MemoryStore.Create(ctx, key, data, ttl)
	}
	s.say(key, "SET %s %s EX %s%s", s.prefix+key, data, seconds(ttl), failed(err))
	return err
}

// CompareAndSwap says so if it would have changed another document than the one
// that was loaded.
func (s *shelf) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if s.refuses != nil {
		return nil, s.refuses
	}
	if s.broken != nil {
		s.say(key, "SET %s FAILED", s.prefix+key)
		return nil, s.broken
	}
	blind := ""
	if there, _, err := s.MemoryStore.Load(ctx, key, 0); err == nil && !bytes.Equal(there, prefix) {
		blind = " BLIND"
	}
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if data == nil {
		s.say(key, "DEL %s%s%s", s.prefix+key, blind, failed(err))
	} else {
		s.say(key, "SET %s %s EX %s%s%s", s.prefix+key, data, seconds(ttl), blind, failed(err))
	}
	return current, err
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	s.say(key, "DEL %s BLIND", s.prefix+key)
	return s.MemoryStore.Delete(ctx, key)
}

func (s *shelf) say(key, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
	s.remember(key)
}

func (s *shelf) remember(key string) {
	if s.keys == nil {
		s.keys = map[string]struct{}{}
	}
	s.keys[key] = struct{}{}
}

func failed(err error) string {
	if err != nil {
		return " FAILED"
	}
	return ""
}

// seconds is what EX and EXPIRE are given.
func seconds(d time.Duration) string {
	if d%time.Second != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(d/time.Second), 10)
}

// put stores a document as Node has.
func (s *shelf) put(t testing.TB, key, document string, ttl time.Duration) {
	t.Helper()
	if err := s.MemoryStore.Create(t.Context(), key, []byte(document), ttl); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(key)
}

// take returns the commands since the last take.
func (s *shelf) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := s.said
	s.said = nil
	return said
}

// stored is all that there is, as "key document EX seconds".
func (s *shelf) stored(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.keys)) {
		document, left, err := s.MemoryStore.Load(t.Context(), key, 0)
		if err == nil {
			all = append(all, fmt.Sprintf("%s %s EX %s", s.prefix+key, document, seconds(left)))
		} else if !errors.Is(err, sessions.ErrNotFound) {
			t.Fatal(err)
		}
	}
	return all
}

// effective leaves out the EXPIREs that a later command on the key makes moot:
// Node restarts the expiry when it has answered and if it has not stored, this
// side also at a Touch or Reload, and when it loads what is about to end, and the
// clock stands still.
func effective(commands []string) []string {
	var kept []string
	for i, c := range commands {
		verb, rest, _ := strings.Cut(c, " ")
		key, _, _ := strings.Cut(rest, " ")
		moot := verb == "EXPIRE" && slices.ContainsFunc(commands[i+1:], func(later string) bool {
			verb, rest, _ := strings.Cut(later, " ")
			return verb != "GET" && (rest == key || strings.HasPrefix(rest, key+" "))
		})
		if !moot {
			kept = append(kept, c)
		}
	}
	return kept
}

// replay is what is stored after commands of Node's, given what was there
// before, as [shelf.stored] prints it.
func replay(before map[string]string, commands []string) []string {
	now := maps.Clone(before)
	for _, c := range commands {
		verb, rest, _ := strings.Cut(c, " ")
		key, value, _ := strings.Cut(rest, " ")
		switch there, ok := now[key]; {
		case verb == "SET":
			now[key] = value
		case verb == "DEL":
			delete(now, key)
		case verb == "EXPIRE" && ok:
			now[key] = there[:strings.LastIndex(there, " EX ")] + " EX " + value
		}
	}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(now)) {
		all = append(all, key+" "+now[key])
	}
	return all
}

// words joins each recorded command.
func words(commands [][]string) []string {
	var all []string
	for _, c := range commands {
		all = append(all, strings.Join(c, " "))
	}
	return all
}

// A desk is a Manager on a shelf, and what it tells.
type desk[T any] struct {
	*sessions.Manager[T]
	*shelf
	events []sessions.Event
}

// newDesk gives new sessions these sids, and no more. New draws two before.
func newDesk[T any](t testing.TB, o express.Options, sids ...string) *desk[T] {
	t.Helper()
	d, err := tryDesk[T](o, sids...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tryDesk[T any](o express.Options, sids ...string) (*desk[T], error) {
	d := &desk[T]{shelf: &shelf{prefix: express.PrefixOf(o)}}
	sids = append([]string{"drawn by New", "drawn by New, too"}, sids...)
	o.NewID = func() (string, error) {
		if len(sids) == 0 {
			return "", errors.New("there is no session here to draw a sid for")
		}
		sid := sids[0]
		sids = sids[1:]
		return sid, nil
	}
	o.OnEvent = func(_ context.Context, e sessions.Event) {
		if !kit.IsLoad(e) {
			d.events = append(d.events, e)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	d.Manager, err = express.NewOn[T](d.shelf, o)
	return d, err
}

// told counts the events of a kind.
func (d *desk[T]) told(kind sessions.EventKind) int {
	n := 0
	for _, e := range d.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// serve sends one request through the Manager's Handler.
func (d *desk[T]) serve(r *http.Request, handle http.HandlerFunc) *http.Response {
	w := httptest.NewRecorder()
	d.Handler(handle).ServeHTTP(w, r)
	return w.Result()
}

// get is a request with these Cookie lines.
func get(path string, cookies ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, line := range cookies {
		if line != "" {
			r.Header["Cookie"] = append(r.Header["Cookie"], line)
		}
	}
	return r
}

// signed is express-session's cookie, written down a second time.
func signed(name, sid, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(sid))
	value := "s:" + sid + "." + strings.TrimRight(base64.StdEncoding.EncodeToString(mac.Sum(nil)), "=")
	var b strings.Builder
	for _, c := range []byte(value) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.!~*'()", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return name + "=" + b.String()
}

// pair is what a browser sends back of a Set-Cookie line.
func pair(setCookie string) string {
	pair, _, _ := strings.Cut(setCookie, ";")
	return pair
}

// same compares lists of lines.
func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// members are those of an object, in order, the last value of each.
func members(t testing.TB, document string) (names []string, values map[string]json.RawMessage) {
	t.Helper()
	values = map[string]json.RawMessage{}
	dec := json.NewDecoder(strings.NewReader(document))
	for _, err := dec.Token(); dec.More(); {
		var value json.RawMessage
		name, bad := dec.Token()
		if err = errors.Join(err, bad, dec.Decode(&value)); err != nil {
			t.Fatal(err)
		}
		if _, twice := values[name.(string)]; !twice {
			names = append(names, name.(string))
		}
		values[name.(string)] = value
	}
	return names, values
}

// encoded is a name as Node writes it.
func encoded(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(name); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
