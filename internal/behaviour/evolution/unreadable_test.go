package evolution_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	const name = "K6 K8 what cannot be read is left as it is, reported, and the visitor starts fresh, each time"
	kit.EachStack(t, name, func(t *testing.T, st kit.Stack) { testUnreadable(t, kit.Memory(), st) })
	t.Run(name+", on Redis", func(t *testing.T) {
		t.Parallel()
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				testUnreadable(t, kit.RedisStore(rdb), kit.Stack{Codec: c, Via: kit.HTTP2})
			})
		})
	})
}

func testUnreadable(t *testing.T, store sessions.Store, st kit.Stack) {
	for _, row := range unreadableRecords() {
		t.Run(row.name, func(t *testing.T) {
			testUnreadableRecord(t, st.AppOn(t, store, sessions.Config{}), row.id, row.stored)
		})
	}
}

func testUnreadableRecord(t *testing.T, a *kit.App, id, stored string) {
	a.Handle("/read", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
		if i := a.Info(r.Context()); !reflect.DeepEqual(*s, kit.Session{}) || !i.New {
			t.Errorf("the visitor gets %+v, %+v", *s, i)
		}
		fmt.Fprint(w, "1")
	})
	a.Handle("/write", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
		if !reflect.DeepEqual(*s, kit.Session{}) {
			t.Errorf("the visitor gets %+v", *s)
		}
		s.Views = 1
		fmt.Fprint(w, "1")
	})
	a.Handle("/destroy", func(w http.ResponseWriter, r *http.Request, _ *kit.Session) {
		kit.OK(t, a.Destroy(r.Context()))
		fmt.Fprint(w, "1")
	})
	// request sends the token of the record and compares the whole header.
	request := func(path string, want ...string) *kit.Browser {
		t.Helper()
		b := a.Browser().As(kit.HandToken)
		res := b.Get(path)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
		kit.WantHeader(t, res.Header, kit.Text(want...))
		return b
	}
	kit.Place(t, a.Store, kit.HandToken, stored)
	logged := false
	check := func(what string) {
		t.Helper()
		if data := kit.RecordUnder(t, a.Store, kit.HandToken); data != stored {
			t.Errorf("%s: the record became %.100q", what, data)
		}
		events := a.Events.Take()
		if len(events) == 0 || events[0].Kind != sessions.EventUndecodable {
			t.Fatalf("%s: events %v", what, events)
		}
		broken, ok := errors.AsType[*sessions.DecodeError](events[0].Err)
		if !ok || broken.ID != id || events[0].Session.ID != id {
			t.Errorf("%s: the event names %q and %q (%v), want %q", what, broken.ID, events[0].Session.ID, events[0].Err, id)
		}
		lines := strings.Join(a.Log.Take(), "\n")
		if !logged && (!strings.Contains(lines, "cannot be read") || !strings.Contains(lines, id)) || logged && lines != "" {
			t.Errorf("%s: the log says %q", what, lines)
		}
		logged = true // and again a minute later
		for _, text := range []string{lines, events[0].Err.Error(), fmt.Sprintf("%+v", events[0])} {
			if strings.Contains(text, "SECRET") || strings.Contains(text, kit.HandToken) {
				t.Errorf("%s: the payload or the token is in %.300q", what, text)
			}
		}
	}
	for range 2 {
		request("/read", kit.Used...)
		check("a request that reads")
	}
	b := request("/write", kit.Sends(kit.CookieSent)...)
	check("a request that writes")
	if b.Token() == kit.HandToken {
		t.Error("the token of the unreadable record was taken over")
	}
	if s, i := b.Peek(); i.New || s.Views != 1 || i.ID == kit.HandID {
		t.Errorf("the new session: %+v, %+v", s, i)
	}
	// Destroy ends it: another build may be able to read it, and who signs out is signed out.
	request("/destroy", kit.Sends(kit.CookieExpired)...)
	if data := kit.RecordUnder(t, a.Store, kit.HandToken); data != "" {
		t.Errorf("after Destroy there is %.100q", data)
	}
}

func TestUnreadableRecordsByPolicy(t *testing.T) {
	t.Parallel()
	undecoded := func(err error) bool {
		_, ok := errors.AsType[*sessions.DecodeError](err)
		return ok
	}
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		for _, row := range unreadableRecords() {
			t.Run("K11 K8 with UndecodableFail the load fails: "+row.name, func(t *testing.T) {
				a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c, OnUndecodable: sessions.UndecodableFail, SaveUninitialized: true})
				kit.Place(t, a.Store, kit.HandToken, row.stored)
				res := a.Browser().As(kit.HandToken).Edit(func(*kit.Session) { t.Error("the handler ran") })
				if res.StatusCode != http.StatusInternalServerError || len(res.SetCookies()) > 0 || strings.Contains(res.Text, "SECRET") {
					t.Errorf("status %d, %q, %q", res.StatusCode, res.Header, res.Text)
				}
				if ctx, err := a.Load(t.Context(), kit.HandToken); !undecoded(err) || ctx != t.Context() {
					t.Errorf("Load: %v", err)
				}
				a.WantEvents(t, sessions.EventUndecodable, sessions.EventUndecodable)
				if live, _ := a.Store.Left(t); live != 1 || kit.RecordUnder(t, a.Store, kit.HandToken) != row.stored {
					t.Errorf("%d records, it became %.100q", live, kit.RecordUnder(t, a.Store, kit.HandToken))
				}
			})
			t.Run("K11 K8 with UndecodableReadOnly nothing is stored: "+row.name, func(t *testing.T) {
				a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c, OnUndecodable: sessions.UndecodableReadOnly, SaveUninitialized: true, Rewrite: true})
				kit.Place(t, a.Store, kit.HandToken, row.stored)
				b := a.Browser().As(kit.HandToken)
				b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
					if !reflect.DeepEqual(*s, kit.Session{}) {
						t.Errorf("the visitor gets %+v", *s)
					}
					kit.OK(t, a.Save(r.Context()))
				})
				a.WantEvents(t, sessions.EventUndecodable)
				for _, verb := range []string{"Save", "Reload", "Touch", "Renew", "Reauthenticate", "SignIn", "Remember", "Commit"} {
					ctx, s := kit.Load(t, a.Manager, kit.HandToken)
					s.Views++
					if err := kit.Call(a.Manager, ctx, verb); !undecoded(err) {
						t.Errorf("%s: %v", verb, err)
					}
					told := []sessions.EventKind{sessions.EventUndecodable} // of the load, and no second one
					if verb != "Reload" && verb != "Touch" {
						told = append(told, sessions.EventFailed)
					}
					a.WantEvents(t, told...)
					if s.Views != 1 {
						t.Errorf("%s has made T %+v", verb, *s)
					}
				}
				ctx, _ := kit.Load(t, a.Manager, kit.HandToken)
				if err := a.Update(ctx, func(*kit.Session) error { t.Error("fn is called"); return nil }); !undecoded(err) {
					t.Errorf("Update: %v", err)
				}
				if live, _ := a.Store.Left(t); live != 1 || kit.RecordUnder(t, a.Store, kit.HandToken) != row.stored || b.Token() != kit.HandToken {
					t.Errorf("%d records, it became %.100q", live, kit.RecordUnder(t, a.Store, kit.HandToken))
				}
				kit.OK(t, a.Destroy(ctx))
				if live, _ := a.Store.Left(t); live != 0 {
					t.Errorf("%d records after Destroy", live)
				}
			})
		}
	})
}

// undatedLayout takes a creation time of 1970 for none, as a Layout does that
// also reads older records.
type undatedLayout struct{ sessions.DefaultLayout }

func (l undatedLayout) Open(stored []byte) (sessions.Record, error) {
	r, err := l.DefaultLayout.Open(stored)
	if r.Created.UnixMilli() == 0 {
		r.Created = time.Time{}
	}
	return r, err
}

func TestUnreadableRecordsAndTime(t *testing.T) {
	t.Parallel()
	newer := func(payload string) string {
		return strings.Replace(kit.RecordOf("json", payload), `"created"`, `"version":9,"created"`, 1)
	}
	t.Run("L17 a record past its Lifetime that cannot be read is not kept alive by replays", func(t *testing.T) {
		for name, record := range map[string]func() string{
			"another codec": func() string { return kit.RecordOf("gob", "{}") },
			"no payload":    func() string { return kit.RecordOf("json", "") },
			"too large":     func() string { return kit.RecordOf("json", `{"user_id":"`+strings.Repeat("x", 70<<10)+`"}`) },
			"a newer build": func() string { return newer("{}") },
		} {
			kit.EachBubble(t, name, func(t *testing.T, c sessions.Codec) {
				store := kit.Memory()
				m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
				kit.Place(t, store, kit.HandToken, record())
				for range 47 {
					time.Sleep(30 * time.Minute)
					_, err := m.Load(t.Context(), kit.HandToken)
					if kit.RecordUnder(t, store, kit.HandToken) == "" {
						t.Fatalf("gone too early: %v", err)
					}
				}
				time.Sleep(30 * time.Minute)
				_, err := m.Load(t.Context(), kit.HandToken)
				kit.OK(t, err)
				if data := kit.RecordUnder(t, store, kit.HandToken); data != "" {
					t.Errorf("after its Lifetime there is %.100q", data)
				}
			})
		}
	})

	t.Run("K6 a record without a creation time that cannot be read is left as it is, under a Lifetime too", func(t *testing.T) {
		store, events := kit.Memory(), &kit.Events{}
		m := kit.New[kit.Session](t, store, sessions.Config{Layout: undatedLayout{}, OnEvent: events.On})
		record := `{"id":"` + kit.HandID + `","w":["other.1"],"c":"json","created":0}` + "\n" + `{"views":"many"}`
		kit.Place(t, store, kit.HandToken, record)
		for range 2 {
			if kit.Alive(t, m, kit.HandToken) {
				t.Error("it is a session")
			}
			events.Want(t, sessions.EventUndecodable)
			if data := kit.RecordUnder(t, store, kit.HandToken); data != record {
				t.Errorf("the record became %q", data)
			}
		}
	})

	kit.EachStack(t, "K4 a record of a newer build is answered by 503 and not overwritten", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		kit.Place(t, a.Store, kit.HandToken, newer(`{"user_id":"u1"}`))
		a.Store.Calls()
		res := a.Browser().As(kit.HandToken).Edit(func(*kit.Session) { t.Error("the handler ran") })
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.SetCookies()) > 0 {
			t.Errorf("status %d, header %q", res.StatusCode, res.Header)
		}
		a.WantCalls(t, "the request", "Load")
	})
}

// Not in parallel with others, which allocate too.
func TestUnreadableRecordsStayCheap(t *testing.T) {
	t.Run("K8 loading a record allocates no more than a small multiple of its length", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.Memory()
			m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
			for _, row := range unreadableRecords() {
				kit.Place(t, store, kit.HandToken, row.stored)
				least := uint64(math.MaxUint64) // what other tests have left running may allocate beside it
				for range 3 {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					if _, err := m.Load(t.Context(), kit.HandToken); err != nil {
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
