package kit_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestBrowser(t *testing.T) {
	kit.EachVia(t, "a session lives in its browser and its clones", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		b := a.Browser().Login()
		tab := b.Clone()
		tab.Edit(func(s *kit.Session) { s.Views = 7 })
		if s, i := b.Peek(); s.UserID != "u1" || s.Views != 7 || i.New {
			t.Errorf("read %+v, %+v", s, i)
		}
		if a.Browser().Alive() || b.As("").Alive() || b.As(kit.UnknownToken(1)).Alive() || !b.As(tab.Token()).Alive() {
			t.Error("a token and a session do not belong together")
		}
		other := kit.NewApp(t, via, a.Store, sessions.Config{})
		b.To(other).Verb("Renew") // into the same jar
		if !b.Alive() || tab.Alive() {
			t.Error("the other App's cookie is not the browser's")
		}
		a.Server().WantQuiet()
	})
}

func TestPark(t *testing.T) {
	for _, via := range []kit.Via{kit.InProcess, kit.HTTP2} {
		t.Run("a parked request stands at its step until the test goes on, "+via.String(), func(t *testing.T) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			kit.Routes(a.Mux, a.Manager)
			b := a.Browser().Login()
			a.Store.Calls()
			res := a.Park(b, "/save?v=ann", "before CompareAndSwap", func() { a.WantCalls(t, "the request so far", "Load CompareAndSwap") })
			if res.Text != "ok" {
				t.Errorf("it answers %q", res.Text)
			}
			b.MustGet("/get", "ann")
		})
	}
}

func TestProcesses(t *testing.T) {
	kit.EachProcesses(t, func(t *testing.T, p *kit.Processes) {
		b := p.Visitor("ann")
		res := p.Park(b.Clone(), "/save?v=bob", "before CompareAndSwap", func() { b.To(p.Other).MustGet("/destroy", "ok") })
		if res.Text != "ErrGone" || len(p.Keys()) > 0 || len(p.Records()) > 0 {
			t.Errorf("it answers %q, left are %q", res.Text, p.Keys())
		}
	})
}

func TestStore(t *testing.T) {
	kit.Bubble(t, "a store counts, fails and remembers", func(t *testing.T) {
		ctx, s := t.Context(), &kit.Store{Store: kit.Memory()}
		fault := errors.New("fault")
		s.Fail(fault, "after Create")
		kit.WantErr(t, "Create", s.Create(ctx, "k", []byte("{}"), time.Minute), fault)
		s.Heal()
		_, _, err := s.Load(ctx, "k", 0)
		kit.Must(t, err)
		s.Fail(fault)
		kit.WantErr(t, "Delete", s.Delete(ctx, "k"), fault)
		if keys := s.Keys("Load"); len(keys) != 1 || keys[0] != "k" {
			t.Errorf("keys %q", keys)
		}
		s.WantCalls(t, "all", "Create Load Delete")
		if live, marks := s.Left(t); live != 1 || marks != 0 {
			t.Errorf("%d records and %d marks left", live, marks)
		}
		if ttls := s.TTLs(); len(ttls) != 1 || ttls[0] != time.Minute {
			t.Errorf("ttls %v", ttls)
		}
	})
}

func TestServer(t *testing.T) {
	for _, via := range []kit.Via{kit.HTTP1, kit.Proxied} { // HTTP/2 does not complain
		t.Run("a server's complaints are in its log, "+via.String(), func(t *testing.T) {
			s := kit.NewServer(t, via, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusTeapot)
				w.WriteHeader(http.StatusOK)
				fmt.Fprint(w, "1")
			}))
			if res := s.Browser().Get("/"); res.StatusCode != http.StatusTeapot || res.Text != "1" {
				t.Errorf("it answers %d %q", res.StatusCode, res.Text)
			}
			s.Close()
			if lines := s.Log.Take(); len(lines) != 1 {
				t.Errorf("the log is %q", lines)
			}
		})
	}
}
