package express_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// However a response begins, its header is written behind a look: the expiry
// restarts, a Rolling cookie is sent, and none for a sid that is gone by then.
func TestLook(t *testing.T) {
	flush := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "two")
	}
	late := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "late")
	hijack := func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = buffer.Flush()
	}
	for _, row := range []struct {
		name   string
		method string
		status int
		answer http.HandlerFunc
	}{
		{"nothing is written", "GET", 200, func(http.ResponseWriter, *http.Request) {}},
		{"a page", "GET", 200, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }},
		{"HEAD", "HEAD", 200, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }},
		{"a status alone", "GET", 304, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},
		{"a redirect", "POST", 303, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusSeeOther) }},
		{"a file", "GET", 200, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("file"))
		}},
		{"a stream", "GET", 200, flush},
		{"103 Early Hints first", "GET", 200, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(200) }},
		{"http.TimeoutHandler answers", "GET", 503, late.ServeHTTP},
		{"Hijack", "GET", 200, hijack},
		{"another writer has begun", "GET", 200, func(w http.ResponseWriter, _ *http.Request) {
			w.(interface{ Unwrap() http.ResponseWriter }).Unwrap().WriteHeader(200)
		}},
		{"a panic", "GET", 0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		for _, http2 := range []bool{false, true} {
			if http2 && row.name == "Hijack" {
				continue
			}
			for _, renewed := range []bool{false, true} {
				t.Run(fmt.Sprintf("L25 W1 W9 %s, HTTP/2 %t, renewed %t", row.name, http2, renewed), func(t *testing.T) {
					p := newPlace(t, express.Options{Rolling: true, Cookie: express.Cookie{MaxAge: quarter}})
					p.put(sid, nodeDoc("900000", ""), 600)
					done := make(chan bool)
					handler := p.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if renewed {
							p.ok(p.node.Del(r.Context(), "sess:"+sid).Err())
						}
						row.answer(w, r)
					}))
					server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(done)
						handler.ServeHTTP(&frameworks{ResponseWriter: w}, r)
					}))
					if server.EnableHTTP2 = http2; http2 {
						server.StartTLS()
					} else {
						server.Start()
					}
					t.Cleanup(server.Close)
					client := server.Client()
					client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
					r, err := http.NewRequestWithContext(t.Context(), row.method, server.URL, nil)
					p.ok(err)
					r.Header.Set("Cookie", mine(""))
					status, lines := 0, []string(nil)
					if res, err := client.Do(r); err == nil {
						defer res.Body.Close()
						status, lines = res.StatusCode, res.Header["Set-Cookie"]
					}
					<-done
					sends := !renewed && !slices.Contains([]string{"Hijack", "another writer has begun", "a panic"}, row.name) // none has a header of ours
					if status != row.status || (len(lines) == 1) != sends {
						t.Errorf("%d, Set-Cookie %q", status, lines)
					}
					if left := p.ttl(sid); (left == quarter) == renewed {
						t.Errorf("it ends in %v", left)
					}
					if kinds, _ := p.told(); slices.Contains(kinds, sessions.EventGone) {
						t.Errorf("events %v, and no change was dropped", kinds)
					}
				})
			}
		}
	}
}

// The look is at the first byte that a handler writes. net/http sends the header
// with 2 KB, a Flush, or the end of the handler.
func TestLookAndArrival(t *testing.T) {
	p := newPlace(t, express.Options{Rolling: true, Cookie: express.Cookie{MaxAge: quarter}})
	started, finish := make(chan bool), make(chan bool)
	mux := http.NewServeMux()
	mux.HandleFunc("/count", func(_ http.ResponseWriter, r *http.Request) { p.FromContext(r.Context()).Views++ })
	mux.HandleFunc("/signin", func(_ http.ResponseWriter, r *http.Request) { p.ok(p.SignIn(r.Context())) })
	mux.HandleFunc("/views", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, p.FromContext(r.Context()).Views) })
	mux.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("first") != "" {
			_, _ = io.WriteString(w, "first")
		}
		if r.FormValue("flush") != "" {
			_ = http.NewResponseController(w).Flush()
		}
		started <- true
		<-finish
		_, _ = io.WriteString(w, "last")
	})
	server := httptest.NewServer(p.Handler(mux))
	defer server.Close()
	for _, row := range []struct {
		name, query string
		arrives     bool // the header, before the sign-in
		views       string
	}{
		{"L25 it writes when its work is done", "", false, "1"},
		{"L25 it writes, flushes and works on", "first=1&flush=1", true, "1"},
		{"L25 documented loss: it writes and works on, and the user signs in meanwhile", "first=1", false, "0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			jar, err := cookiejar.New(nil)
			p.ok(err)
			client := &http.Client{Jar: jar}
			open := func(path string) io.ReadCloser {
				res, err := client.Get(server.URL + path)
				if err != nil {
					t.Error(err)
					return io.NopCloser(strings.NewReader(""))
				}
				return res.Body
			}
			ask := func(path string) string {
				b := open(path)
				defer b.Close()
				text, err := io.ReadAll(b)
				p.ok(err)
				return string(text)
			}
			ask("/count")
			polled := make(chan io.ReadCloser, 1)
			go func() { polled <- open("/poll?" + row.query) }()
			<-started
			if row.arrives {
				polled <- <-polled
			}
			ask("/signin")
			finish <- true
			(<-polled).Close()
			if views := ask("/views"); views != row.views {
				t.Errorf("%s views, want %s", views, row.views)
			}
		})
	}
}

// frameworks is a writer that says whether it has begun, as gin's does.
type frameworks struct {
	http.ResponseWriter
	written bool
}

func (f *frameworks) WriteHeader(status int) {
	f.written = f.written || status >= 200
	f.ResponseWriter.WriteHeader(status)
}

func (f *frameworks) Written() bool { return f.written }

func (f *frameworks) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// What the requests of a session of 15 minutes send, and the cookie.
func TestLooks(t *testing.T) {
	const read, touch, set = "GET", "EXPIRE", "SET"
	passive := func(*http.Request) bool { return true }
	type verb = func(*desk[visit], context.Context) error
	renew := func(d *desk[visit], ctx context.Context) error { return d.Renew(ctx) }
	save := func(d *desk[visit], ctx context.Context) error { d.FromContext(ctx).Views++; return d.Save(ctx) }
	for _, row := range []struct {
		name    string
		left    time.Duration // 10 minutes, if it is zero
		passive bool
		verbs   []verb
		change  bool // at the end of the handler
		late    bool // behind the first byte
		after   verb // is called behind it
		gone    bool // Node has destroyed it before the response begins
		broken  bool // the store does not answer any more then

		commands []string
		sent     bool
		status   int // 200, if it is zero
		events   []sessions.EventKind
	}{
		{name: "L4 L25 it is read", commands: []string{read, touch}, sent: true},
		{name: "L4 it is changed: one command less than for two touches", change: true, commands: []string{read, set}, sent: true, events: []sessions.EventKind{sessions.EventSaved}},
		{name: "L25 it is about to end: touched at once, and looked at", left: 7 * time.Minute, commands: []string{read, touch, touch}, sent: true},
		{name: "L28 it is kept for longer", left: time.Hour, commands: []string{read, read}, sent: true},
		{name: "L16 a passive request", passive: true, commands: []string{read}},
		{name: "L16 a passive request that changes it", passive: true, change: true, commands: []string{read, set}, sent: true, events: []sessions.EventKind{sessions.EventSaved}},
		{name: "L16 L25 a passive request that saves it", passive: true, verbs: []verb{save}, commands: []string{read, set, touch}, sent: true, events: []sessions.EventKind{sessions.EventSaved}},
		{name: "L16 L25 a passive request that touches it", passive: true, verbs: []verb{(*desk[visit]).touch}, commands: []string{read, touch, touch}, sent: true},

		{name: "L25 it has ended", gone: true, commands: []string{read, touch}},
		{name: "L25 it has ended after a save", verbs: []verb{save}, gone: true, commands: []string{read, set, touch}, events: []sessions.EventKind{sessions.EventSaved}},
		{name: "L25 C1 it has ended, and is changed", change: true, gone: true, commands: []string{read, set}, status: 409, events: []sessions.EventKind{sessions.EventGone}},
		{name: "L25 C1 it has ended, and is changed too late", late: true, gone: true, commands: []string{read, touch}, events: []sessions.EventKind{sessions.EventGone, sessions.EventLateChange}},

		{name: "L25 C1 it has ended, and is saved too late", late: true, after: save, gone: true, commands: []string{read, touch}, events: []sessions.EventKind{sessions.EventGone}},
		{name: "L25 C6 it has ended, and is touched too late", after: (*desk[visit]).touch, gone: true, commands: []string{read, touch}, events: []sessions.EventKind{sessions.EventGone}},

		{name: "L25 F1 the store does not answer", broken: true, commands: []string{read, touch}, events: []sessions.EventKind{sessions.EventUnavailable}},
		{
			name: "L25 F1 the store does not answer, after a save", verbs: []verb{save}, broken: true, commands: []string{read, set, touch},
			events: []sessions.EventKind{sessions.EventSaved, sessions.EventUnavailable},
		},
		{
			name: "L25 F2 the store does not answer to the save: it is not asked again", change: true, broken: true, commands: []string{read, set},
			status: 503, events: []sessions.EventKind{sessions.EventUnavailable},
		},
		{name: "L12 it has a new sid", verbs: []verb{renew}, commands: []string{read, set, "DEL"}, sent: true, events: []sessions.EventKind{sessions.EventRenewed}},
		{
			name: "L25 L22 the store has not answered a verb, and is not asked again", broken: true, verbs: []verb{(*desk[visit]).breaks, (*desk[visit]).touch},
			commands: []string{read, touch}, events: []sessions.EventKind{sessions.EventUnavailable},
		},
	} {
		frozen(t, row.name, func(t *testing.T) {
			o := express.Options{Secrets: []string{secret}, Rolling: true, Cookie: express.Cookie{MaxAge: quarter}}
			if row.passive {
				o.Passive = passive
			}
			d := newDesk[visit](t, o, "new")
			if row.left == 0 {
				row.left = 10 * time.Minute
			}
			d.put(t, sid, nodeDoc("900000", `,"views":1`), row.left)
			res := d.serve(get("/", signed("connect.sid", sid, secret)), func(w http.ResponseWriter, r *http.Request) {
				if !row.passive {
					until := time.Until(d.Info(r.Context()).IdleUntil)
					if seen := time.Since(d.Info(r.Context()).LastSeenAt); until != max(quarter, row.left) || seen != 0 {
						t.Errorf("idle until %v from now, seen %v ago", until, seen)
					}
				}
				for _, verb := range row.verbs {
					_ = verb(d, r.Context())
				}
				if row.gone {
					_ = d.MemoryStore.Delete(r.Context(), sid)
				}
				if row.broken {
					_ = d.breaks(r.Context())
				}
				if row.change {
					d.FromContext(r.Context()).Views++
				}
				w.WriteHeader(200)
				if row.late {
					d.FromContext(r.Context()).Views++
				}
				if row.after != nil {
					if err := row.after(d, r.Context()); !errors.Is(err, sessions.ErrGone) {
						t.Errorf("the verb says %v", err)
					}
				}
			})
			var commands []string
			for _, c := range d.take() {
				name, _, _ := strings.Cut(c, " ")
				commands = append(commands, name)
			}
			same(t, "commands", commands, row.commands)
			if want := max(row.status, 200); res.StatusCode != want || (len(res.Header["Set-Cookie"]) == 1) != row.sent {
				t.Errorf("%d, Set-Cookie %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			var events []sessions.EventKind
			for _, e := range d.events {
				events = append(events, e.Kind)
			}
			if !slices.Equal(events, row.events) {
				t.Errorf("events %v, want %v", events, row.events)
			}
		})
	}
}

func (d *desk[T]) touch(ctx context.Context) error { return d.Touch(ctx) }

// breaks makes the store fail from now on.
func (d *desk[T]) breaks(context.Context) error {
	d.broken = sessions.ErrUnavailable
	return nil
}
