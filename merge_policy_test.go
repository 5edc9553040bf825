package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
)

// answer is a request of here that meets one of there.
func (p *mergePair[T]) answer(t *testing.T, here, there func(*T)) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	p.here.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := p.here.FromContext(r.Context())
		mergeEdit(t, p.there, p.token, there)
		mergeEvents(p.events)
		here(s)
		fmt.Fprint(w, "ok")
	})).ServeHTTP(w, with(p.token, "/"))
	return w.Result()
}

// mergeKinds compares the kinds of the events so far, which r forgets. That the
// store answers again is not the point.
func mergeKinds(t *testing.T, r *recorder, want ...sessions.EventKind) {
	t.Helper()
	got := slices.DeleteFunc(r.kinds(), func(k sessions.EventKind) bool { return k == sessions.EventRecovered })
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func mergeAnn(s *Session) { s.UserID, s.Views, s.Prefs = "ann", 1, map[string]int{"a": 1, "b": 2} }

func TestMergeReject(t *testing.T) {
	mine := func(s *Session) { s.Views = 2 }
	theirs := func(s *Session) { s.Flash = "theirs" }
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		cfg := sessions.Config{Codec: codec, OnConflict: sessions.ConflictReject}
		open := func(t *testing.T) *mergePair[Session] { return newMergePair(t, store, cfg, other, one, mergeAnn) }
		bytesOf := func(p *mergePair[Session]) string {
			data, _, err := store.Load(t.Context(), keyOf(p.token), 0)
			must(t, err)
			return string(data)
		}

		t.Run("C12 the later save is answered by 409", func(t *testing.T) {
			p := open(t)
			res := p.answer(t, mine, theirs)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 409 || string(body) != "Conflict\n" || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%d %q, cookies %q", res.StatusCode, body, res.Header["Set-Cookie"])
			}
			events := mergeEvents(p.events)
			if len(events) == 0 || events[0].Kind != sessions.EventConflict || !errors.Is(events[0].Err, sessions.ErrConflict) || events[0].Fields != nil {
				t.Errorf("events %v", events)
			}
		})
		t.Run("C12 the ErrorHandler is given ErrConflict, once", func(t *testing.T) {
			var errs []error
			cfg := cfg
			cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
				errs = append(errs, err)
				w.WriteHeader(http.StatusTeapot)
			}
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			if res := p.answer(t, mine, theirs); res.StatusCode != http.StatusTeapot || len(errs) != 1 || !errors.Is(errs[0], sessions.ErrConflict) {
				t.Errorf("%d, errors %v", res.StatusCode, errs)
			}
		})
		t.Run("C12 the stored record stays as the earlier one left it", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, theirs)
			stored := bytesOf(p)
			mine(p.here.FromContext(ctx))
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrConflict) {
				t.Errorf("Save = %v", err)
			}
			if got := bytesOf(p); got != stored {
				t.Errorf("stored is %q, was %q", got, stored)
			}
			if s := p.here.FromContext(ctx); s.Views != 2 || s.Flash != "" {
				t.Errorf("*T is %+v", *s)
			}
		})
		t.Run("C12 a request that is refused may load again and save", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, theirs)
			mine(p.here.FromContext(ctx))
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrConflict) {
				t.Errorf("Save = %v", err)
			}
			must(t, p.here.Reload(ctx))
			s := p.here.FromContext(ctx)
			if s.Flash != "theirs" || s.Views != 1 {
				t.Errorf("*T is %+v", *s)
			}
			mine(s)
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 2 || got.Flash != "theirs" {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 two who save the same are no conflict", func(t *testing.T) {
			p := open(t)
			same := func(s *Session) { s.Views, s.Prefs["c"] = 2, 3 }
			if res := p.answer(t, same, same); res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
			mergeKinds(t, p.events, sessions.EventSaved)
		})
		t.Run("C12 who has changed nothing has no conflict", func(t *testing.T) {
			cfg := cfg
			cfg.Rewrite = true
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			if res := p.answer(t, func(*Session) {}, theirs); res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
			mergeKinds(t, p.events)
			if got := mergeStored(t, p.there, p.token); got.Flash != "theirs" {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 Renew without a change takes the other one's", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, theirs)
			s := p.here.FromContext(ctx)
			must(t, p.here.Renew(ctx))
			if got := mergeStored(t, p.there, p.renewed(t, ctx)); got.Flash != "theirs" || s.Flash != "theirs" {
				t.Errorf("stored is %+v, *T %+v", got, *s)
			}
		})
		t.Run("C12 Renew with one is refused, and leaves the old token and nothing else", func(t *testing.T) {
			spy := &spyStore{Store: store}
			p := newMergePair(t, spy, cfg, other, one, mergeAnn)
			ctx := p.meet(t, theirs)
			mine(p.here.FromContext(ctx))
			if err := p.here.Renew(ctx); !errors.Is(err, sessions.ErrConflict) {
				t.Errorf("Renew = %v", err)
			}
			if live, marks := spy.left(t); live != 1 || marks != 0 {
				t.Errorf("%d records and %d marks", live, marks)
			}
			if got := mergeStored(t, p.there, p.token); got.Flash != "theirs" || got.Views != 1 {
				t.Errorf("stored is %+v", got)
			}
		})
	})

	eachFleet(t, "C12 of 64 requests %s one is stored and 63 are refused", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, _ := mergeFleet[Session](t, store, processes, sessions.Config{Codec: c, OnConflict: sessions.ConflictReject})
		token := mergeSeed(t, ms[0], mergeAnn)
		answers := mergeAtOnce(ms, token, mergeWriters, func(i int, s *Session) { s.Views = 100 + i })
		statuses, winner := map[int]int{}, 0
		for i, a := range answers {
			if statuses[a.StatusCode]++; a.StatusCode == 200 {
				winner = i
			}
		}
		if statuses[200] != 1 || statuses[409] != mergeWriters-1 {
			t.Errorf("answers by status: %v", statuses)
		}
		if got := mergeStored(t, ms[0], token); got.Views != 100+winner {
			t.Errorf("%d is stored, %d was answered", got.Views, 100+winner)
		}
	})
}

func TestMergeLastWrite(t *testing.T) {
	mine := func(s *Session) { s.Views = 2 }
	theirs := func(s *Session) { s.Flash, s.Prefs["a"] = "theirs", 9 }
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		cfg := sessions.Config{Codec: codec, OnConflict: sessions.ConflictLastWrite}
		t.Run("C12 the last one wins as a whole", func(t *testing.T) {
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			if res := p.answer(t, mine, theirs); res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
			var want Session
			mergeAnn(&want)
			mine(&want)
			if got := mergeStored(t, p.there, p.token); !mergeEqual(t, got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
			events := mergeEvents(p.events)
			if len(events) != 2 || events[0].Kind != sessions.EventConflict || events[0].Err != nil || events[0].Fields != nil || events[1].Kind != sessions.EventSaved {
				t.Errorf("events %v", events)
			}
		})
		t.Run("C12 who has changed nothing does not win", func(t *testing.T) {
			cfg := cfg
			cfg.Rewrite = true
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			p.answer(t, func(*Session) {}, theirs)
			if got := mergeStored(t, p.there, p.token); got.Flash != "theirs" {
				t.Errorf("stored is %+v", got)
			}
			mergeKinds(t, p.events)
		})
		t.Run("C12 Renew without a change takes the other one's", func(t *testing.T) {
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			ctx := p.meet(t, theirs)
			must(t, p.here.Renew(ctx))
			if got := mergeStored(t, p.there, p.renewed(t, ctx)); got.Flash != "theirs" || p.here.FromContext(ctx).Flash != "theirs" {
				t.Errorf("stored is %+v, *T %+v", got, *p.here.FromContext(ctx))
			}
		})
		t.Run("C12 Renew with one wins as a whole", func(t *testing.T) {
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			ctx := p.meet(t, theirs)
			mine(p.here.FromContext(ctx))
			must(t, p.here.Renew(ctx))
			if got := mergeStored(t, p.there, p.renewed(t, ctx)); got.Flash != "" || got.Views != 2 {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 K3 fields that T does not know are not overwritten", func(t *testing.T) {
			newer := newMergePair(t, store, sessions.Config{Codec: other}, other, false, func(s *mergeNewer) { s.Name, s.Added = "base", "base" })
			p := mergeOld(t, store, newer.token, cfg)
			ctx, err := p.here.Load(t.Context(), p.token)
			must(t, err)
			mergeEdit(t, newer.there, p.token, func(s *mergeNewer) { s.Added, s.Amount, s.Count = "theirs", mergeDigits, 5 })
			p.here.FromContext(ctx).Name = "mine"
			must(t, p.here.Save(ctx))
			want := mergeNewer{mergeOlder: mergeOlder{Name: "mine"}, Added: "theirs", Amount: mergeDigits}
			if got := mergeStored(t, newer.there, p.token); !mergeEqual(t, got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
		})
	})

	eachFleet(t, "C12 of 64 requests %s the T of one is stored, whole, and nobody gets an error", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, _ := mergeFleet[mergeWide](t, store, processes, sessions.Config{Codec: c, OnConflict: sessions.ConflictLastWrite})
		token := mergeSeed(t, ms[0], func(s *mergeWide) { s.F00 = "base" })
		whole := func(i int) (w mergeWide) {
			for f := range mergeWriters {
				if f%2 == i%2 {
					w.field(f).SetString(fmt.Sprint("v", i))
				}
			}
			return w
		}
		for i, a := range mergeAtOnce(ms, token, mergeWriters, func(i int, s *mergeWide) { *s = whole(i) }) {
			if a.StatusCode != 200 {
				t.Errorf("request %d: %d", i, a.StatusCode)
			}
		}
		got := mergeStored(t, ms[0], token)
		for i := range mergeWriters {
			if got == whole(i) {
				return
			}
		}
		t.Errorf("stored is nobody's: %+v", got)
	})
}

// Without fields there is nothing to merge by.
func TestMergeWithoutFields(t *testing.T) {
	for _, codec := range []sessions.Codec{gobCodec{}, plainCodec{}} {
		t.Run("C12 with a Codec that knows no fields the last one wins as a whole, "+codec.Name(), func(t *testing.T) {
			p := newMergePair(t, memory(), sessions.Config{Codec: codec}, codec, false, mergeAnn)
			res := p.answer(t, func(s *Session) { s.Views = 2 }, func(s *Session) { s.Flash, s.Views = "theirs", 5 })
			var want Session
			mergeAnn(&want)
			want.Views = 2
			if got := mergeStored(t, p.there, p.token); res.StatusCode != 200 || !reflect.DeepEqual(got, want) {
				t.Errorf("%d, stored is %+v, want %+v", res.StatusCode, got, want)
			}
			events := mergeEvents(p.events)
			if len(events) != 2 || events[0].Kind != sessions.EventConflict || events[0].Err != nil || events[0].Fields != nil || events[1].Kind != sessions.EventSaved {
				t.Errorf("events %v", events)
			}
		})
		t.Run("C12 and none of them is refused by New", func(t *testing.T) {
			for _, policy := range []sessions.ConflictPolicy{sessions.ConflictMerge, sessions.ConflictLastWrite, sessions.ConflictReject} {
				newManager[Session](t, memory(), sessions.Config{Codec: codec, OnConflict: policy})
			}
		})
	}
}

func TestMergePolicyAndTheEnd(t *testing.T) {
	policies := map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject}
	ends := map[string]func(*sessions.Manager[Session], context.Context) error{
		"destroyed": (*sessions.Manager[Session]).Destroy, "renewed": (*sessions.Manager[Session]).Renew,
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		for name, policy := range policies {
			for end, verb := range ends {
				t.Run("C12 C1 under the policy "+name+" a save of a session that was "+end+" meanwhile is ErrGone", func(t *testing.T) {
					spy := &spyStore{Store: store}
					p := newMergePair(t, spy, sessions.Config{Codec: codec, OnConflict: policy}, other, one, mergeAnn)
					ctx := p.meet(t, func(s *Session) { s.Flash = "theirs" })
					mustRequest(t, p.there, p.token, func(ctx context.Context) error { return verb(p.there, ctx) })
					p.here.FromContext(ctx).Views = 2
					if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrGone) {
						t.Errorf("Save = %v", err)
					}
					want := map[string][2]int{"destroyed": {0, 0}, "renewed": {1, 1}}[end]
					if live, marks := spy.left(t); live != want[0] || marks != want[1] {
						t.Errorf("%d records and %d marks are left", live, marks)
					}
				})
			}
		}
	})

	t.Run("C12 New refuses a policy that there is not", func(t *testing.T) {
		for _, policy := range []sessions.ConflictPolicy{-1, 3} {
			if _, err := sessions.New[Session](memory(), sessions.Config{OnConflict: policy}); err == nil {
				t.Errorf("it takes %d", policy)
			}
		}
	})
}
