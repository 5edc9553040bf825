package express_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A track is a service whose requests can be parked before and after each of
// their commands, beside another one whose requests are not, and Node.
type track struct {
	*place
	other *place
	mu    sync.Mutex
	step  string // where the next request parks, once
	gate  chan chan struct{}
}

func newTrack(t testing.TB, node *redis.Client, o express.Options) *track {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: node.Options().Addr})
	t.Cleanup(func() { rdb.Close() })
	k := &track{}
	rdb.AddHook(k)
	k.place = placeOn(t, rdb, node, o)
	k.other = k.beside(o)
	k.clear(`,"views":7`)
	k.ask(view, mine("")) // the server knows the script now
	k.clear(`,"views":7`)
	return k
}

// clear leaves nothing but the session.
func (k *track) clear(data string) {
	k.t.Helper()
	k.ok(k.node.Do(k.t.Context(), "FLUSHDB").Err())
	k.put(sid, nodeDoc("900000", data), 900)
	k.told()
}

func (k *track) pass(when string, cmd redis.Cmder) {
	k.mu.Lock()
	here := k.step == when+" "+cmd.Name()
	if here {
		k.step = ""
	}
	k.mu.Unlock()
	if here {
		open := make(chan struct{})
		k.gate <- open
		<-open
	}
}

func (k *track) DialHook(next redis.DialHook) redis.DialHook { return next }

func (k *track) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		k.pass("before", cmd)
		err := next(ctx, cmd)
		k.pass("after", cmd)
		return err
	}
}

func (k *track) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		k.pass("before", cmds[0])
		err := next(ctx, cmds)
		k.pass("after", cmds[0])
		return err
	}
}

// park arms the next step of that name and tells who stands there.
func (k *track) park(step string) <-chan chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step, k.gate = step, make(chan chan struct{}, 1)
	return k.gate
}

// parked sends a request, lets act happen while it stands at step, and returns
// its answer.
func (k *track) parked(step string, f handler, act func()) *http.Response {
	k.t.Helper()
	gate, done := k.park(step), make(chan *http.Response, 1)
	go func() { done <- k.ask(f, mine("")) }()
	select {
	case open := <-gate:
		act()
		close(open)
		return <-done
	case res := <-done:
		k.t.Fatalf("the request never comes to %s", step)
		return res
	}
}

// said is what a verb returned, in the request's body.
func said(verb func(context.Context, *cart) error) handler {
	return func(w http.ResponseWriter, r *http.Request, c *cart) {
		err := verb(r.Context(), c)
		for _, e := range []error{sessions.ErrGone, sessions.ErrConflict, sessions.ErrUnavailable} {
			if errors.Is(err, e) {
				err = e
			}
		}
		fmt.Fprint(w, err)
	}
}

func body(res *http.Response) string {
	b := make([]byte, 1000)
	n, _ := res.Body.Read(b)
	return strings.TrimSpace(string(b[:n]))
}

const gone = "sessions: session has ended"

// deeds are what a request may be doing with the session's T.
func (k *track) deeds() map[string]handler {
	return map[string]handler{
		"reads":   said(func(context.Context, *cart) error { return nil }),
		"changes": func(w http.ResponseWriter, r *http.Request, c *cart) { c.Note = "mine" },
		"Save":    said(func(ctx context.Context, c *cart) error { c.Note = "mine"; return k.Save(ctx) }),
		"Update": said(func(ctx context.Context, c *cart) error {
			return k.Update(ctx, func(c *cart) error { c.Note = "mine"; return nil })
		}),
		"Renew":   said(func(ctx context.Context, c *cart) error { return k.Renew(ctx) }),
		"SignIn":  said(func(ctx context.Context, c *cart) error { c.Note = "mine"; return k.SignIn(ctx) }),
		"Touch":   said(func(ctx context.Context, c *cart) error { return k.Touch(ctx) }),
		"Reload":  said(func(ctx context.Context, c *cart) error { return k.Reload(ctx) }),
		"Destroy": said(func(ctx context.Context, c *cart) error { return k.Destroy(ctx) }),
	}
}

func TestDestroyedStaysDestroyed(t *testing.T) {
	kit.EachRedis(t, func(t *testing.T, node *redis.Client) {
		for _, rolling := range []bool{false, true} {
			k := newTrack(t, node, express.Options{Rolling: rolling, Cookie: express.Cookie{MaxAge: quarter}})
			deeds := k.deeds()
			ends := map[string]func(){
				"Go destroys it":   func() { k.other.ask(k.other.do(k.other.Destroy), mine("")) },
				"Node destroys it": func() { k.ok(node.Del(t.Context(), "sess:"+sid).Err()) },
				"Node destroys it and then touches it": func() {
					k.ok(node.Del(t.Context(), "sess:"+sid).Err())
					k.ok(node.Expire(t.Context(), "sess:"+sid, quarter).Err())
				},
				"Node touches it when its time is up": func() { k.ok(node.Expire(t.Context(), "sess:"+sid, -quarter).Err()) },
			}
			for _, row := range []struct {
				deed, step string
				status     int
				body       string
			}{
				{"C1 reads", "after getex", 200, "<nil>"}, // behind the look
				{"C1 changes", "after get", 409, "Conflict"},
				{"C1 changes", "before evalsha", 409, "Conflict"},
				{"C1 Save", "after get", 200, gone},
				{"C2 Save", "before evalsha", 200, gone},
				{"L25 C1 Save", "after evalsha", 200, "<nil>"},
				{"C1 Update", "after get", 200, gone},
				{"C2 Update", "before evalsha", 200, gone},
				{"C1 Renew", "after get", 200, gone},
				{"C1 Renew", "before set", 200, gone},
				{"C2 Renew", "after set", 200, gone},
				{"C2 Renew", "before evalsha", 200, gone},
				{"L20 C1 SignIn", "before set", 200, "<nil>"},
				{"L20 C2 SignIn", "before evalsha", 200, "<nil>"},
				{"C1 Destroy", "before evalsha", 200, "<nil>"},
				{"C6 Touch", "after get", 200, gone},
				{"L25 C6 Touch", "after getex", 200, "<nil>"},
				{"C6 Reload", "after get", 200, gone},
				{"L25 C6 Reload", "after getex", 200, "<nil>"},
				{"C6 reads", "before get", 200, "<nil>"},
				{"L25 C6 reads", "after get", 200, "<nil>"},
				{"L25 C6 reads", "before getex", 200, "<nil>"},
			} {
				for end, act := range ends {
					t.Run(fmt.Sprintf("%s, parked %s, rolling %v, %s", row.deed, row.step, rolling, end), func(t *testing.T) {
						k.clear(`,"views":7`)
						deed := row.deed[strings.LastIndex(row.deed, " ")+1:]
						res := k.parked(row.step, deeds[deed], act)
						if b := body(res); res.StatusCode != row.status || b != row.body {
							t.Errorf("it answers %d %q, want %d %q", res.StatusCode, b, row.status, row.body)
						}
						if deed == "SignIn" { // it begins a session of its own
							if _, own := k.cookieOf(res); !slices.Equal(k.keys(), []string{"sess:" + own}) || own == sid {
								t.Errorf("keys %q, and it sends %q", k.keys(), k.lines(res))
							}
							return
						}
						if keys := k.keys(); len(keys) > 0 {
							t.Errorf("keys left: %q", keys)
						}
						late := rolling && row.deed == "C1 reads"
						if lines := k.lines(res); len(lines) > 0 && deed != "Destroy" && !late {
							t.Errorf("it sends %q", lines)
						}
						// Who asks for it is told; else no change is lost.
						kinds, _ := k.told()
						if told := slices.Contains(kinds, sessions.EventGone); told != (row.status == 409 || row.body == gone) {
							t.Errorf("events %v", kinds)
						}
					})
				}
			}
		}

		t.Run("C2 a DEL between a conflict and the next attempt", func(t *testing.T) {
			k := newTrack(t, node, express.Options{})
			res := k.parked("before evalsha", k.deeds()["Save"], func() {
				k.put(sid, nodeDoc("900000", `,"views":8`), 900)
				gate := k.park("after evalsha") // its conflict
				go func() {
					open := <-gate
					node.Del(context.Background(), "sess:"+sid)
					close(open)
				}()
			})
			if b := body(res); b != gone || len(k.keys()) > 0 {
				t.Errorf("%s, keys left: %q", b, k.keys())
			}
		})

		t.Run("C2 a DEL between EVALSHA and EVAL", func(t *testing.T) {
			k := newTrack(t, node, express.Options{})
			k.ok(node.ScriptFlush(t.Context()).Err())
			res := k.parked("before eval", k.deeds()["Save"], func() { node.Del(t.Context(), "sess:"+sid) })
			if b := body(res); b != gone || len(k.keys()) > 0 {
				t.Errorf("%s, keys left: %q", b, k.keys())
			}
		})
	})
}

func TestRenewedMeanwhile(t *testing.T) {
	kit.EachRedis(t, func(t *testing.T, node *redis.Client) {
		const fresh = "regenerated-30qlM1_IsOHh71RAyPYw"
		for _, rolling := range []bool{false, true} {
			k := newTrack(t, node, express.Options{Rolling: rolling, Cookie: express.Cookie{MaxAge: quarter}})
			deeds := k.deeds()
			var theirs string // the new sid
			renews := map[string]func(){
				"Go renews it": func() { _, theirs = k.cookieOf(k.other.ask(k.other.do(k.other.Renew), mine(""))) },
				"Go signs in": func() {
					_, theirs = k.cookieOf(k.other.ask(k.other.do(func(ctx context.Context) error { return k.other.SignIn(ctx) }), mine("")))
				},
				"Node regenerates it": func() {
					k.ok(node.Del(t.Context(), "sess:"+sid).Err())
					k.put(fresh, nodeDoc("900000", `,"views":7`), 900)
					theirs = fresh
				},
			}
			for _, row := range []struct{ deed, step string }{
				{"changes", "after get"},
				{"changes", "before evalsha"},
				{"Save", "before evalsha"},
				{"Update", "before evalsha"},
				{"Renew", "after get"},
				{"Renew", "after set"},
				{"L20 SignIn", "before evalsha"},
				{"L25 reads", "after get"},
				{"L25 reads", "before getex"},
				{"L25 Touch", "after getex"},
				{"L25 Save", "after evalsha"},
			} {
				for renew, act := range renews {
					t.Run(fmt.Sprintf("C4 %s, parked %s, rolling %v, %s", row.deed, row.step, rolling, renew), func(t *testing.T) {
						k.clear(`,"views":7`)
						res := k.parked(row.step, deeds[row.deed[strings.LastIndex(row.deed, " ")+1:]], act)
						if row.deed == "L20 SignIn" { // each of the two has a session
							_, own := k.cookieOf(res)
							want := []string{"sess:" + own, "sess:" + theirs}
							slices.Sort(want)
							if keys := k.keys(); body(res) != "<nil>" || !slices.Equal(keys, want) || strings.Contains(k.doc(theirs), "mine") {
								t.Errorf("keys %q, want %q; theirs holds %s", keys, want, k.doc(theirs))
							}
							return
						}
						if b := body(res); b != gone && b != "Conflict" && !(b == "<nil>" && strings.HasPrefix(row.deed, "L25")) {
							t.Errorf("it answers %q", b)
						}
						if lines := k.lines(res); len(lines) > 0 {
							t.Errorf("it sends %q", lines)
						}
						if keys := k.keys(); !slices.Equal(keys, []string{"sess:" + theirs}) || strings.Contains(k.doc(theirs), "mine") && row.step != "after evalsha" {
							t.Errorf("keys %q, the new one holds %s", keys, k.doc(theirs))
						}
					})
				}
			}
		}
	})
}
