package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// visit is what the Go side knows of req.session. The app in Node puts more
// into it.
type visit struct {
	Views   int               `json:"views,omitempty"`
	Account *account          `json:"account,omitempty"`
	Cart    []item            `json:"cart,omitempty"`
	Notes   map[string]string `json:"notes,omitempty"`
	Flash   string            `json:"flash,omitempty"`
	Rate    float64           `json:"rate,omitempty"`
}

type account struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

type item struct {
	SKU   string `json:"sku"`
	Count int    `json:"count"`
}

// A gopher is app.mjs in Go: its routes and their answers, and of its own POST
// /update (views + 1), POST /signin?remember=1, and POST /hold?then=… for what
// a held request does when it is released.
type gopher struct {
	m     *sessions.Manager[visit]
	mu    sync.Mutex
	gates map[string]gate
}

// serveGo serves what routes makes of a Manager until the test is over.
func serveGo[T any](t *testing.T, w *world, o express.Options, routes func(m *sessions.Manager[T], rdb *redis.Client) http.Handler) *site {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: w.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := express.New[T](rdb, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(routes(m, rdb))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := inNode("", o)
	return siteOf("go", port, &a)
}

// startGo serves a gopher.
func (w *world) startGo(t *testing.T, o express.Options) *site {
	t.Helper()
	return serveGo(t, w, o, func(m *sessions.Manager[visit], _ *redis.Client) http.Handler {
		g := &gopher{m: m, gates: map[string]gate{}}
		sessioned := m.Handler(http.HandlerFunc(g.serve))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" || r.URL.Path == "/release" {
				g.keep(w, r)
				return
			}
			sessioned.ServeHTTP(w, r)
		})
	})
}

func (g *gopher) serve(w http.ResponseWriter, r *http.Request) {
	s := sessions.FromContext[visit](r.Context())
	ended, err := g.act(s, r)
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, sessions.ErrGone) {
			status = http.StatusConflict
		}
		reply(w, status, map[string]any{"error": err.Error(), "by": "go"})
		return
	}
	info := g.m.Info(r.Context())
	all := map[string]any{
		"id": info.ID, "session": s, "by": "go",
		"idleUntil": info.IdleUntil, "maxAge": time.Until(info.IdleUntil).Milliseconds(),
	}
	if ended {
		all["session"] = nil
	}
	reply(w, http.StatusOK, all)
}

// act goes by the last element of the path, whatever the cookie's is.
func (g *gopher) act(s *visit, r *http.Request) (ended bool, err error) {
	ctx := r.Context()
	switch r.Method + " " + path.Base(r.URL.Path) {
	case "GET read":
	case "GET count":
		s.Views++
	case "POST set":
		err = assign(s, r.Body)
	case "POST save":
		if err = assign(s, r.Body); err == nil {
			err = g.m.Save(ctx)
		}
	case "POST update":
		err = g.m.Update(ctx, func(s *visit) error { s.Views++; return nil })
	case "POST renew":
		err = g.m.Renew(ctx)
	case "POST signin":
		var opts []sessions.SignInOption
		if r.URL.Query().Has("remember") {
			opts = append(opts, sessions.Remembered)
		}
		if err = assign(s, r.Body); err == nil {
			err = g.m.SignIn(ctx, opts...)
		}
	case "POST regenerate":
		err = g.m.Destroy(ctx)
	case "POST destroy":
		ended, err = true, g.m.Destroy(ctx)
	case "POST touch":
		err = g.m.Touch(ctx)
	case "POST hold":
		if err = assign(s, r.Body); err != nil {
			break
		}
		switch r.URL.Query().Get("first") {
		case "save":
			err = g.m.Save(ctx)
		case "touch":
			err = g.m.Touch(ctx)
		}
		if err == nil {
			err = g.hold(ctx, r.URL.Query().Get("name"))
		}
		if then := r.URL.Query().Get("then"); err == nil && then != "" {
			r = r.Clone(ctx)
			r.URL.Path, r.Body = "/"+then, http.NoBody
			return g.act(s, r)
		}
	default:
		err = fmt.Errorf("there is no route %s %s", r.Method, r.URL.Path)
	}
	return ended, err
}

// assign does what app.mjs does: each member of the body is assigned, and null
// deletes. Here only what T has can be.
func assign(s *visit, body io.Reader) error {
	given, err := io.ReadAll(body)
	if err != nil || len(given) == 0 {
		return err
	}
	all, more := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(given, &more); err != nil {
		return err
	}
	now, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(now, &all); err != nil {
		return err
	}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	if now, err = json.Marshal(all); err != nil {
		return err
	}
	var next visit
	d := json.NewDecoder(bytes.NewReader(now))
	d.DisallowUnknownFields()
	if err := d.Decode(&next); err != nil {
		return err
	}
	*s = next
	return nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // nor does Express
	_ = e.Encode(v)
}

// A gate parks one request by name until it is released, as in app.mjs.
type gate struct{ held, released chan struct{} }

func (g *gopher) gate(name string) gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.gates[name]; !ok {
		g.gates[name] = gate{make(chan struct{}), make(chan struct{})}
	}
	return g.gates[name]
}

func (g *gopher) hold(ctx context.Context, name string) error {
	at := g.gate(name)
	close(at.held)
	select {
	case <-at.released:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.gates, name)
	return nil
}

func (g *gopher) keep(w http.ResponseWriter, r *http.Request) {
	at := g.gate(r.URL.Query().Get("name"))
	if r.URL.Path == "/release" {
		close(at.released)
	} else {
		select {
		case <-at.held:
		case <-r.Context().Done():
		}
	}
	reply(w, http.StatusOK, nil)
}

// newID is crypto.randomUUID.
func newID() (string, error) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
