package site

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// meetings fix the order of a race of two tabs, by points at which two requests wait for each other:
//
//  1. The request with ?hold=ID has loaded its session, and is held.
//  2. The request with ?after=ID loads its session, saves it and is answered.
//  3. The page has that answer, and sends POST /release?race=ID: the first request goes on, and saves.
type meetings struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

// tabKey is the context key of the tab that has sent a request, for the log.
type tabKey struct{}

// hold is inside of a library's handler.
func (m *meetings) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("hold"); id == "" || m.meet(w, r, id+" loaded") && m.meet(w, r, id+" released") {
			next.ServeHTTP(w, r)
		}
	})
}

// wait is outside of it.
func (m *meetings) wait(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if id := query.Get("after"); id == "" || m.meet(w, r, id+" loaded") {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tabKey{}, query.Get("tab"))))
		}
	})
}

func (m *meetings) release(w http.ResponseWriter, r *http.Request) {
	if m.meet(w, r, r.URL.Query().Get("race")+" released") {
		w.WriteHeader(http.StatusNoContent)
	}
}

// meet returns when two requests have called it with one name. After ten seconds it answers that the other one did not.
func (m *meetings) meet(w http.ResponseWriter, r *http.Request, name string) bool {
	m.mu.Lock()
	if other, ok := m.waiting[name]; ok {
		delete(m.waiting, name)
		m.mu.Unlock()
		close(other)
		return true
	}
	came := make(chan struct{})
	m.waiting[name] = came
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	select {
	case <-came:
		return true
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting[name] == came {
		delete(m.waiting, name)
	}
	http.Error(w, "the other tab's request did not come", http.StatusRequestTimeout)
	return false
}
