package peers_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
)

var gorillaPeer = peer{
	name:    "gorilla",
	modules: []string{"github.com/gorilla/sessions", "github.com/boj/redistore"},
	start: func(t *testing.T, addr string, h *hall) string {
		store, err := redistore.NewRediStore(10, "tcp", addr, "", "", []byte("of all servers that share a Redis"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		store.Options.Secure = true
		return serve(t, h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The error is dropped as in the README of gorilla/sessions: a
			// cookie that cannot be decoded is one, and no reason to fail.
			s, _ := store.Get(r, "session")
			act(h, r.URL.Path, r.URL.Query().Get, &gorillaSession{store: store, s: s, w: w, r: r}, pageOf(w, r))
		}))
	},
}

type gorillaSession struct {
	store   *redistore.RediStore
	s       *sessions.Session
	w       http.ResponseWriter
	r       *http.Request
	changed bool
}

func (s *gorillaSession) get(field string) string {
	if v := s.s.Values[field]; v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (s *gorillaSession) set(field, value string) {
	s.s.Values[field] = value
	s.changed = true
}

func (s *gorillaSession) increment() error {
	n, _ := s.s.Values["Count"].(int)
	s.s.Values["Count"] = n + 1
	s.changed = true
	return nil
}

// renew is by hand, as there is no call for it: delete the record, and save the
// values under the ID that an empty one is replaced with.
func (s *gorillaSession) renew() error {
	if err := s.expire(); err != nil {
		return err
	}
	s.s.ID, s.s.Options.MaxAge = "", s.store.Options.MaxAge
	s.changed = true
	return nil
}

func (s *gorillaSession) signIn(user string) error { return renewFor(s, user) }

// destroy goes on with a session of the same name that the store calls new.
func (s *gorillaSession) destroy() error {
	if err := s.expire(); err != nil {
		return err
	}
	var err error
	s.s, err = s.store.New(s.r, "session")
	s.changed = false
	return err
}

func (s *gorillaSession) expire() error {
	s.s.Options.MaxAge = -1
	return s.s.Save(s.r, s.w)
}

func (s *gorillaSession) save() error {
	if !s.changed {
		return nil
	}
	return s.s.Save(s.r, s.w)
}

func (s *gorillaSession) context() context.Context { return s.r.Context() }

func (s *gorillaSession) under(ctx context.Context) session {
	r := s.r.WithContext(ctx)
	found, _ := s.store.Get(r, "session")
	return &gorillaSession{store: s.store, s: found, w: s.w, r: r}
}
