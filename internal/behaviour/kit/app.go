package kit

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// An App is a Manager around a mux, with all that can be watched of it.
type App struct {
	*sessions.Manager[Session]
	Store  *Store  // the Manager's
	Events *Events // unless the Config has an OnEvent
	Log    *Log    // unless the Config has a Logger
	Mux    *http.ServeMux
	Root   http.Handler // what is served: the Manager's Handler of Mux, unless the test replaces it before the first Browser

	t        testing.TB
	server   func() *Server
	mu       sync.Mutex
	visits   int
	handlers map[string]http.HandlerFunc
}

// NewApp is a server on a store, which starts with its first [Browser]. A store
// that is no [Store] yet becomes one.
func NewApp(t testing.TB, via Via, store sessions.Store, cfg sessions.Config) *App {
	t.Helper()
	a := &App{t: t, Events: &Events{}, Log: &Log{}, Mux: http.NewServeMux(), handlers: map[string]http.HandlerFunc{}}
	var ok bool
	if a.Store, ok = store.(*Store); !ok {
		a.Store = &Store{Store: store}
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = a.Events.On
	}
	if cfg.Logger == nil {
		cfg.Logger = a.Log.Logger()
	}
	a.Manager = New[Session](t, a.Store, cfg)
	a.Root = a.Manager.Handler(a.Mux)
	a.Mux.HandleFunc("/once/{visit}", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		f := a.handlers[r.URL.Path]
		a.mu.Unlock()
		f(w, r)
	})
	a.server = sync.OnceValue(func() *Server {
		s := NewServer(t, via, a.Root)
		s.app = a
		return s
	})
	return a
}

// Server is where the App is served.
func (a *App) Server() *Server { return a.server() }

// Handle adds a route whose handler gets the live session.
func (a *App) Handle(path string, f func(w http.ResponseWriter, r *http.Request, s *Session)) {
	a.Mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { f(w, r, sessions.FromContext[Session](r.Context())) })
}

// once adds a route until done is called.
func (a *App) once(f http.HandlerFunc) (path string, done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.visits++
	path = fmt.Sprintf("/once/%d", a.visits)
	a.handlers[path] = f
	return path, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.handlers, path)
	}
}

// Ask lets f answer a request with these Cookie lines, in process.
func (a *App) Ask(f http.HandlerFunc, cookies ...string) *http.Response {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	if len(cookies) > 0 {
		r.Header["Cookie"] = cookies
	}
	return Serve(a.Manager.Handler(f), r)
}

// Seed stores a session of the [Owner]'s with these views and returns its token. Calls and events
// so far are forgotten.
func (a *App) Seed(views int) string {
	a.t.Helper()
	ctx, s := Load(a.t, a.Manager)
	s.Owner, s.Views = Owner, views
	o := Commit(a.t, a.Manager, ctx)
	if o.Kind != sessions.OutcomeCreated {
		a.t.Fatalf("seeding: %v", o.Kind)
	}
	a.Store.Calls()
	a.Events.Take()
	return o.Token.Reveal()
}

// Views are those of the session that the tokens find, 0 if they find none.
func (a *App) Views(tokens ...string) int {
	a.t.Helper()
	return Views(a.t, a.Manager, tokens...)
}

// WantCalls compares the calls of the Store; what is what made them.
func (a *App) WantCalls(t testing.TB, what, want string) {
	t.Helper()
	a.Store.WantCalls(t, what, want)
}

// WantEvents compares the kinds of the Events.
func (a *App) WantEvents(t testing.TB, want ...sessions.EventKind) {
	t.Helper()
	a.Events.Want(t, want...)
}

// Park starts b's request for path, waits until it stands at a step of the Store,
// lets act run, and returns the response.
func (a *App) Park(b *Browser, path, step string, act func()) Response {
	a.t.Helper()
	g := a.Store.At(step)
	done := b.Start(path)
	select {
	case <-g.Reached():
	case res := <-done:
		a.t.Fatalf("%s never comes to %q; it answers %d %q", path, step, res.StatusCode, res.Text)
	}
	act()
	g.Open()
	return <-done
}
