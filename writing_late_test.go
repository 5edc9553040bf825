package sessions_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestLateChange(t *testing.T) {
	first := func(w http.ResponseWriter) {
		io.WriteString(w, "first byte")
		http.NewResponseController(w).Flush()
	}
	eachFront(t, false, "W6 a change after the first byte is saved when the handler returns", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			b.FromContext(r.Context()).Views = 2
		})))
		res := f.get("/", token)
		f.close()
		if res.body != "first byte" || b.views(token) != 2 {
			t.Errorf("%q, %d views", res.body, b.views(token))
		}
		b.wantEvents(t, sessions.EventSaved)
		if got := b.log.take(); len(got) > 0 {
			t.Errorf("log %q", got)
		}
	})
	eachFront(t, false, "W6 a new session after the first byte is an event and a log line, and nothing is stored", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			b.FromContext(r.Context()).Views = 2
		})))
		res := f.get("/", "")
		f.quiet()
		if res.StatusCode != 200 || res.body != "first byte" || len(res.setCookies()) > 0 {
			t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
		}
		b.wantOps(t)
		b.events.mu.Lock()
		events := slices.Clone(b.events.events)
		b.events.mu.Unlock()
		if len(events) != 1 || events[0].Kind != sessions.EventLateChange || !errors.Is(events[0].Err, sessions.ErrCommitted) {
			t.Errorf("events %v, want one LateChange of ErrCommitted", events)
		}
		lines := b.log.take()
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "level=WARN ") || !strings.Contains(lines[0], "too late") || !strings.Contains(lines[0], "Save") {
			t.Errorf("log %q, want one warning with the remedy", lines)
		}
	})
	for _, tc := range []struct {
		desc string
		verb func(b *bench, ctx context.Context) error
	}{
		{"Save", func(b *bench, ctx context.Context) error { return b.Save(ctx) }},
		{"Renew", func(b *bench, ctx context.Context) error { return b.Renew(ctx) }},
		{"SignIn", func(b *bench, ctx context.Context) error { return b.SignIn(ctx) }},
	} {
		for _, stored := range []bool{false, true} {
			if stored && tc.desc == "Save" {
				continue
			}
			t.Run(fmt.Sprintf("W6 %s after the first byte is ErrCommitted and leaves all as it was, stored is %t", tc.desc, stored), func(t *testing.T) {
				b, token := newBench(t, sessions.Config{}), ""
				if stored {
					token = b.seeded(1)
				}
				f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := b.FromContext(r.Context())
					first(w)
					b.ops.take()
					s.Views++
					if err := tc.verb(b, r.Context()); !errors.Is(err, sessions.ErrCommitted) {
						t.Errorf("got %v, want ErrCommitted", err)
					}
					s.Views--
					b.wantOps(t)
				})), true)
				f.get("/", token)
				f.quiet()
				b.wantOps(t)
				if stored && b.views(token) != 1 {
					t.Error("the old token is no longer good")
				}
			})
		}
	}
	t.Run("W6 Destroy after the first byte still deletes", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			if err := b.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		})), true)
		res := f.get("/", token)
		f.quiet()
		if len(res.setCookies()) > 0 || b.views(token) != 0 {
			t.Errorf("%v, %d views", res.setCookies(), b.views(token))
		}
		b.wantEvents(t, sessions.EventDestroyed)
	})
	eachFront(t, true, "W6 what an event stream changed is saved though its client hung up", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned := make(chan struct{})
		stream := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for n := 2; ; n++ {
				b.FromContext(r.Context()).Views = n
				fmt.Fprintf(w, "data: %d\n\n", n)
				http.NewResponseController(w).Flush()
				if n == 3 {
					<-r.Context().Done()
					b.FromContext(r.Context()).Views = 4
					return
				}
			}
		}))
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			stream.ServeHTTP(w, r)
		}))
		ctx, hangUp := context.WithCancel(t.Context())
		res, err := f.send(f.request("GET", "/", token).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(res.Body)
		for range 4 { // two events
			if _, err := body.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		hangUp()
		res.Body.Close()
		<-returned
		if got := b.views(token); got != 4 {
			t.Errorf("%d views, want 4", got)
		}
	})
}
