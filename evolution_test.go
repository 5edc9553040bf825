package sessions_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
)

const (
	oddToken = "sODDODDODDODDODDODDODDODDODD"
	oddID    = "0dd0dd0d-0dd0-4dd0-8dd0-0dd0dd0dd0dd"
)

// keyOf is the key of a token, as the documentation of the stored format has it.
func keyOf(token string) string {
	sum := sha256.Sum256([]byte("session\x00" + token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// recordOf is a record that was written a minute ago, around any payload.
func recordOf(codec, payload string) string {
	return fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d}`, oddID, codec, time.Now().Add(-time.Minute).UnixMilli()) + "\n" + payload
}

type oddRecord struct {
	name   string
	stored string
	id     string // that the event must name
}

// oddRecords are what K6 and K8 are about: none of them is a session of T.
func oddRecords() []oddRecord {
	key := func(field, value string) string { return string([]byte{0x81, 0xa0 | byte(len(field))}) + field + value }
	msg := func(v any) string {
		b, err := msgpack.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	full, _ := json.Marshal(full())
	created := fmt.Sprintf(`"created":%d`, time.Now().UnixMilli())
	rows := []oddRecord{
		{"null", "null", ""},
		{"an empty object", "{}", ""},
		{"an empty object on an empty header", "{}\n{}", ""},
		{"null on null", "null\nnull", ""},
		{"a newline", "\n", ""},
		{"a bare payload", string(full), ""},
		{"a payload behind a newline", "\n" + string(full), ""},
		{"a record of express", `{"cookie":{"originalMaxAge":3600000,"expires":"2030-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"user_id":"SECRET"}`, ""},
		{"a record of PHP", `user_id|s:6:"SECRET";views|i:3;`, ""},
		{"bytes of nothing known", "\x00\xff\xfe\x80\x0a\x0d\x00SECRET", ""},
		{"a header without an ID", `{"w":["a.1"],"c":"json",` + created + "}\n{}", ""},
		{"a header with an empty ID", `{"id":"","w":["a.1"],"c":"json",` + created + "}\n{}", ""},
		{"a header with its ID alone", `{"id":"` + oddID + "\"}\n{}", oddID},
		{"a header without writes", `{"id":"` + oddID + `","c":"json",` + created + "}\n{}", oddID},
		{"a header with no write", `{"id":"` + oddID + `","w":[],"c":"json",` + created + "}\n{}", oddID},
		{"a header without its creation", `{"id":"` + oddID + `","w":["a.1"],"c":"json"}` + "\n{}", oddID},
		{"a header cut off", `{"id":"` + oddID + `","w":["a.1"],"c":"js` + "\n{}", oddID},
		{"a header with something behind it", `{"id":"` + oddID + `","w":["a.1"],"c":"json",` + created + "} x\n{}", oddID},
		{"a creation that is no number", `{"id":"` + oddID + `","w":["a.1"],"c":"json","created":"now"}` + "\n{}", oddID},
		{"a creation beyond every date", `{"id":"` + oddID + `","w":["a.1"],"c":"json","created":9223372036854775807}` + "\n{}", oddID},
		{"a codec that is not known", recordOf("gob", `{"user_id":"SECRET"}`), oddID},
		{"over MaxSize", recordOf("json", `{"user_id":"`+strings.Repeat("SECRET", 12<<10)+`"}`), oddID},
		{"a header over MaxSize", `{"id":"` + oddID + `","w":["a.1"],"c":"json",` + created + `,"x":"` + strings.Repeat("x", 70<<10) + "\"}\n{}", oddID},
	}
	for name, payload := range map[string]string{
		"nothing":                        "",
		"a space":                        " ",
		"null":                           "null",
		"true":                           "true",
		"a number":                       "12",
		"a string":                       `"SECRET"`,
		"an array":                       `[{"user_id":"SECRET"}]`,
		"cut off":                        `{"user_id":"SECRET","views":`,
		"half an escape":                 `{"user_id":"SECRET\u12`,
		"a second document":              `{"user_id":"SECRET"} {}`,
		"rubbish behind":                 `{"user_id":"SECRET"}SECRET`,
		"a field of another type":        `{"user_id":"SECRET","views":"SECRET","tags":{"a":"b"}}`,
		"an element of another type":     `{"user_id":"SECRET","cart":[{"sku":"a","qty":1},{"sku":"SECRET","qty":"x"}]}`,
		"a number too large":             `{"user_id":"SECRET","views":99999999999999999999}`,
		"a fraction for an int":          `{"user_id":"SECRET","views":1.5}`,
		"101 levels":                     strings.Repeat(`{"x":`, 101) + "1" + strings.Repeat("}", 101),
		"30000 levels":                   `{"x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + "}",
		"30000 levels that do not close": `{"x":` + strings.Repeat("[", 30000),
	} {
		rows = append(rows, oddRecord{"json payload: " + name, recordOf("json", payload), oddID})
	}
	nested := any(1)
	for range 101 {
		nested = map[string]any{"x": nested}
	}
	for name, payload := range map[string]string{
		"nothing":                      "",
		"nil":                          "\xc0",
		"true":                         "\xc3",
		"a string":                     "\xa6SECRET",
		"an array":                     "\x91\x80",
		"an array that claims 4G":      "\xdd\xff\xff\xff\xff",
		"a map that claims a million":  "\xdf\x00\x0f\x42\x40",
		"bytes that claim 4G":          "\xc6\xff\xff\xff\xff",
		"a field's array claims 4G":    key("cart", "\xdd\xff\xff\xff\xff"),
		"a field's map claims 1M":      key("prefs", "\xdf\x00\x0f\x42\x40"),
		"a field's map claims 4G":      key("tags", "\xdf\xff\xff\xff\xff"),
		"a field's bytes claim 4G":     key("user_id", "\xc6\xff\xff\xff\xff"),
		"a field's string claims 4G":   key("user_id", "\xdb\xff\xff\xff\xff"),
		"an unknown array claims 4G":   key("other", "\xdd\xff\xff\xff\xff"),
		"an unknown ext claims 4G":     key("other", "\xc9\xff\xff\xff\xff\x01"),
		"a name claims 4G":             "\x81\xdb\xff\xff\xff\xff",
		"cut off":                      msg(full2())[:30],
		"a second document":            msg(full2()) + "\x80",
		"rubbish behind":               msg(full2()) + "SECRET",
		"a field of another type":      msg(map[string]any{"user_id": "SECRET", "views": "SECRET"}),
		"an element of another type":   msg(map[string]any{"user_id": "SECRET", "cart": []any{map[string]any{"sku": "a", "qty": "x"}}}),
		"names that are numbers":       msg(map[int]string{1: "SECRET"}),
		"an ext":                       "\xd4\x01\x00",
		"a reserved byte":              "\xc1",
		"a reserved byte in a field":   key("views", "\xc1"),
		"101 levels":                   msg(nested),
		"30000 levels":                 key("x", strings.Repeat("\x91", 30000)+"\xc0"),
		"30000 levels without a floor": key("x", strings.Repeat("\x91", 30000)),
	} {
		rows = append(rows, oddRecord{"msgpack payload: " + name, recordOf("msgpack", payload), oddID})
	}
	return rows
}

// full2 is full by its field names, for a codec that knows no tags.
func full2() map[string]any {
	return map[string]any{"user_id": "SECRET", "views": 3, "cart": []any{}, "prefs": map[string]int{"a": 1}}
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

func TestUnreadableRecords(t *testing.T) {
	const name = "K6 K8 what cannot be read is left as it is, reported, and the visitor starts fresh, each time"
	t.Run(name, func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			testUnreadable(t, &sessions.MemoryStore{}, st)
		})
	})
	t.Run(name+", on Redis", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				testUnreadable(t, redisStore(rdb), stack{c, false})
			})
		})
	})
}

func testUnreadable(t *testing.T, store sessions.Store, st stack) {
	var log logBuffer
	a := newApp(t, store, sessions.Config{Codec: st.codec, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	a.handle("/read", func(w http.ResponseWriter, r *http.Request, s *Session) {
		if i := a.m.Info(r.Context()); !reflect.DeepEqual(*s, Session{}) || !i.New {
			t.Errorf("the visitor gets %+v, %+v", *s, i)
		}
		fmt.Fprint(w, "1")
	})
	a.handle("/write", func(w http.ResponseWriter, _ *http.Request, s *Session) {
		if !reflect.DeepEqual(*s, Session{}) {
			t.Errorf("the visitor gets %+v", *s)
		}
		s.Views = 1
		fmt.Fprint(w, "1")
	})
	base := st.browser(a)
	for _, row := range oddRecords() {
		t.Run(row.name, func(t *testing.T) {
			ctx, key := t.Context(), keyOf(oddToken)
			if err := store.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			if err := store.Create(ctx, key, []byte(row.stored), time.Hour); err != nil {
				t.Fatal(err)
			}
			b := base.as(oddToken)
			check := func(what string) {
				t.Helper()
				data, _, err := store.Load(ctx, key, 0)
				if err != nil || string(data) != row.stored {
					t.Errorf("%s: the record became %.100q, %v", what, data, err)
				}
				a.events.mu.Lock()
				events := a.events.events
				a.events.events = nil
				a.events.mu.Unlock()
				if len(events) == 0 || events[0].Kind != sessions.EventUndecodable {
					t.Fatalf("%s: events %v", what, events)
				}
				broken, ok := errors.AsType[*sessions.DecodeError](events[0].Err)
				if !ok || broken.ID != row.id || events[0].Session.ID != row.id {
					t.Errorf("%s: the event names %q and %q (%v), want %q", what, broken.ID, events[0].Session.ID, events[0].Err, row.id)
				}
				lines := log.take()
				if !strings.Contains(lines, "cannot be read") || !strings.Contains(lines, row.id) {
					t.Errorf("%s: the log says %q", what, lines)
				}
				for _, text := range []string{lines, events[0].Err.Error(), fmt.Sprintf("%+v", events[0])} {
					if strings.Contains(text, "SECRET") || strings.Contains(text, oddToken) {
						t.Errorf("%s: the payload or the token is in %.300q", what, text)
					}
				}
			}
			for range 2 {
				res := b.get("/read")
				if res.StatusCode != http.StatusOK {
					t.Errorf("status %d", res.StatusCode)
				}
				wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
				check("a request that reads")
			}
			res := b.get("/write")
			if res.StatusCode != http.StatusOK {
				t.Errorf("status %d", res.StatusCode)
			}
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			check("a request that writes")
			if b.token() == oddToken {
				t.Error("the token of the unreadable record was taken over")
			}
			if s, i := b.peek(); i.New || s.Views != 1 || i.ID == oddID {
				t.Errorf("the new session: %+v, %+v", s, i)
			}
			a.events.kinds()
			log.take()
		})
		t.Run(row.name+", and Destroy ends it", func(t *testing.T) {
			// Another build may be able to read it: who signs out is signed out.
			b := base.as(oddToken)
			res := b.visit(func(w http.ResponseWriter, r *http.Request, _ *Session) {
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			if _, _, err := store.Load(t.Context(), keyOf(oddToken), 0); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("afterwards: %v, want ErrNotFound", err)
			}
			a.events.kinds()
			log.take()
		})
	}
}

func TestUnreadableRecordsAndTime(t *testing.T) {
	t.Run("L17 a record past its Lifetime that cannot be read is not kept alive by replays", func(t *testing.T) {
		for name, stored := range map[string]func() string{
			"another codec": func() string { return recordOf("gob", "{}") },
			"no payload":    func() string { return recordOf("json", "") },
			"too large":     func() string { return recordOf("json", `{"user_id":"`+strings.Repeat("x", 70<<10)+`"}`) },
			"a newer build": func() string {
				return strings.Replace(recordOf("json", "{}"), `"created"`, `"version":9,"created"`, 1)
			},
		} {
			t.Run(name, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						var store sessions.MemoryStore
						m := newManager[Session](t, &store, sessions.Config{Codec: c})
						if err := store.Create(t.Context(), keyOf(oddToken), []byte(stored()), time.Hour); err != nil {
							t.Fatal(err)
						}
						for range 47 {
							time.Sleep(30 * time.Minute)
							_, err := m.Load(t.Context(), oddToken)
							if _, _, gone := store.Load(t.Context(), keyOf(oddToken), 0); gone != nil {
								t.Fatalf("gone too early: %v, %v", gone, err)
							}
						}
						time.Sleep(30 * time.Minute)
						if _, err := m.Load(t.Context(), oddToken); err != nil {
							t.Error(err)
						}
						if _, _, err := store.Load(t.Context(), keyOf(oddToken), 0); !errors.Is(err, sessions.ErrNotFound) {
							t.Errorf("after its Lifetime: %v, want ErrNotFound", err)
						}
					})
				})
			})
		}
	})

	t.Run("K4 a record of a newer build is answered by 503 and not overwritten", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			stored := strings.Replace(recordOf("json", `{"user_id":"u1"}`), `"created"`, `"version":9,"created"`, 1)
			store, log := counted(&sessions.MemoryStore{})
			a := newApp(t, store, sessions.Config{Codec: st.codec})
			if err := store.Create(t.Context(), keyOf(oddToken), []byte(stored), time.Hour); err != nil {
				t.Fatal(err)
			}
			log.take()
			res := st.browser(a).as(oddToken).visit(func(http.ResponseWriter, *http.Request, *Session) { t.Error("the handler ran") })
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.setCookies()) > 0 {
				t.Errorf("status %d, header %q", res.StatusCode, res.Header)
			}
			wantCalls(t, log, "the request", "Load")
		})
	})
}

func TestHostileRecordsStayCheap(t *testing.T) {
	t.Run("K8 loading a record allocates no more than a small multiple of its length", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			var store sessions.MemoryStore
			m := newManager[Session](t, &store, sessions.Config{Codec: c})
			for _, row := range oddRecords() {
				if err := store.Delete(t.Context(), keyOf(oddToken)); err != nil {
					t.Fatal(err)
				}
				if err := store.Create(t.Context(), keyOf(oddToken), []byte(row.stored), time.Hour); err != nil {
					t.Fatal(err)
				}
				least := uint64(math.MaxUint64) // other tests' leftovers may allocate beside
				for range 3 {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					if _, err := m.Load(t.Context(), oddToken); err != nil {
						t.Errorf("%s: %v", row.name, err)
					}
					runtime.ReadMemStats(&after)
					least = min(least, after.TotalAlloc-before.TotalAlloc)
				}
				if limit := uint64(32<<10 + 16*len(row.stored)); least > limit {
					t.Errorf("%s: %d bytes allocated for %d stored, limit %d", row.name, least, len(row.stored), limit)
				}
			}
		})
	})
}
