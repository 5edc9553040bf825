package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
)

// An updateDesk is a T with what the codecs do not see.
type updateDesk struct {
	Views int               `json:"views"`
	Name  string            `json:"name"`
	Tags  map[string]string `json:"tags"`
	List  []int             `json:"list"`
	Note  map[string]int    `json:"-"`
	quiet int
}

// An updatePair is one session in two processes.
type updatePair struct {
	t           *testing.T
	mine, other *sessions.Manager[updateDesk]
	log         *calls // of mine
	store       *stepStore
	token       string
}

func newUpdatePair(t *testing.T, c sessions.Codec) *updatePair {
	t.Helper()
	memory := &sessions.MemoryStore{}
	store, log := counted(memory)
	p := &updatePair{
		t: t, log: log, store: store,
		mine:  newManager[updateDesk](t, store, sessions.Config{Codec: c}),
		other: newManager[updateDesk](t, memory, sessions.Config{Codec: c}),
	}
	ctx, err := p.other.Load(t.Context())
	must(t, err)
	*p.other.FromContext(ctx) = updateDesk{Views: 1, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}}
	o, err := p.other.Commit(ctx)
	must(t, err)
	p.token = o.Token.Reveal()
	return p
}

// load is the beginning of a request, with *T.
func (p *updatePair) load() (context.Context, *updateDesk) {
	p.t.Helper()
	ctx, err := p.mine.Load(p.t.Context(), p.token)
	must(p.t, err)
	p.log.take()
	return ctx, p.mine.FromContext(ctx)
}

// elsewhere is a request of the other process.
func (p *updatePair) elsewhere(f func(s *updateDesk)) {
	p.t.Helper()
	ctx, err := p.other.Load(p.t.Context(), p.token)
	must(p.t, err)
	f(p.other.FromContext(ctx))
	_, err = p.other.Commit(ctx)
	must(p.t, err)
}

// stored is what another request finds.
func (p *updatePair) stored() (s updateDesk) {
	p.t.Helper()
	p.elsewhere(func(live *updateDesk) { s = *live })
	return s
}

func (p *updatePair) want(want updateDesk) {
	p.t.Helper()
	if got := p.stored(); !reflect.DeepEqual(got, want) {
		p.t.Errorf("stored is %+v, want %+v", got, want)
	}
}

func eachUpdatePair(t *testing.T, name string, f func(t *testing.T, p *updatePair)) {
	t.Run(name, func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, newUpdatePair(t, c)) })
	})
}

func TestUpdate(t *testing.T) {
	eachUpdatePair(t, "C9 Update stores what fn leaves in T, with one command, and *T holds it", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			if u != s {
				t.Error("fn gets another T than the handler")
			}
			u.Views++
			u.Tags["c"] = "3"
			return nil
		}))
		wantCalls(t, p.log, "an Update", "CompareAndSwap")
		want := updateDesk{Views: 2, Name: "ann", Tags: map[string]string{"a": "1", "b": "2", "c": "3"}, List: []int{1, 2}}
		if !reflect.DeepEqual(*s, want) {
			t.Errorf("*T is %+v, want %+v", *s, want)
		}
		p.want(want)
	})

	eachUpdatePair(t, "L19 fn gets T decoded afresh: what the other process took out of a map is not in it", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		p.elsewhere(func(s *updateDesk) {
			delete(s.Tags, "a")
			s.List = s.List[:1]
		})
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			u.Views++
			return nil
		}))
		want := updateDesk{Views: 2, Name: "ann", Tags: map[string]string{"b": "2"}, List: []int{1}}
		if !reflect.DeepEqual(*s, want) {
			t.Errorf("*T is %+v, want %+v", *s, want)
		}
		p.want(want)
	})

	eachUpdatePair(t, "L19 maps and slices that the handler holds from before are not what fn sees", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		tags, list := s.Tags, s.List
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			tags["a"], list[0] = "mine", 99
			if u.Tags["a"] != "1" || u.List[0] != 1 {
				t.Errorf("fn sees %+v through the handler's own map and slice", u)
			}
			u.Views++
			return nil
		}))
		p.want(updateDesk{Views: 2, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}})
	})

	eachUpdatePair(t, "L19 fn sees what this request has changed before, merged into what is stored now, and both are saved with it", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		s.Tags["mine"] = "x"
		s.List = append(s.List, 3)
		p.elsewhere(func(s *updateDesk) { s.Name, s.Views = "bob", 10 })
		var seen updateDesk
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			seen = *u
			seen.Tags = maps.Clone(u.Tags)
			u.Views++
			return nil
		}))
		want := updateDesk{Views: 10, Name: "bob", Tags: map[string]string{"a": "1", "b": "2", "mine": "x"}, List: []int{1, 2, 3}}
		if !reflect.DeepEqual(seen, want) {
			t.Errorf("fn sees %+v, want %+v", seen, want)
		}
		want.Views++
		if !reflect.DeepEqual(*s, want) {
			t.Errorf("*T is %+v, want %+v", *s, want)
		}
		p.want(want)
	})

	eachUpdatePair(t, "L19 each call of fn starts from what is stored then, not from what the last call left", func(t *testing.T, p *updatePair) {
		ctx, _ := p.load()
		calls := 0
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			if calls++; calls <= 3 {
				p.elsewhere(func(s *updateDesk) { s.Views += 10 })
			}
			u.Views++
			u.Tags[fmt.Sprint("call", calls)] = "x"
			u.List = append(u.List, calls)
			return nil
		}))
		if calls != 4 {
			t.Errorf("fn was called %d times, want 4", calls)
		}
		p.want(updateDesk{Views: 32, Name: "ann", Tags: map[string]string{"a": "1", "b": "2", "call4": "x"}, List: []int{1, 2, 4}})
	})

	eachUpdatePair(t, `L19 unexported fields and those tagged "-" do not outlive an Update`, func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		s.quiet, s.Note = 7, map[string]int{"n": 1}
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			if u.quiet != 0 || u.Note != nil {
				t.Errorf("fn sees %d, %v", u.quiet, u.Note)
			}
			return nil
		}))
		if s.quiet != 0 || s.Note != nil {
			t.Errorf("*T holds %d, %v", s.quiet, s.Note)
		}
	})

	eachUpdatePair(t, "C9 several Updates of one request are one command each, and go together with plain changes between them", func(t *testing.T, p *updatePair) {
		ctx, s := p.load()
		for range 5 {
			must(t, p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }))
			s.List = append(s.List, s.Views)
		}
		_, err := p.mine.Commit(ctx)
		must(t, err)
		want := "CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap"
		wantCalls(t, p.log, "five Updates and a save", want)
		p.want(updateDesk{Views: 6, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2, 2, 3, 4, 5, 6}})
	})

	eachUpdatePair(t, "L12 Update after Renew writes under the new token", func(t *testing.T, p *updatePair) {
		ctx, _ := p.load()
		id := p.mine.Info(ctx).ID
		must(t, p.mine.Renew(ctx))
		must(t, p.mine.Update(ctx, func(u *updateDesk) error { u.Views++; return nil }))
		o, err := p.mine.Commit(ctx)
		must(t, err)
		if o.Kind != sessions.OutcomeRenewed || o.Token.Reveal() == p.token || o.Info.ID != id {
			t.Errorf("%v, same token %v, ID %s, was %s", o.Kind, o.Token.Reveal() == p.token, o.Info.ID, id)
		}
		if got := p.stored(); got.Views != 0 {
			t.Errorf("the old token finds %+v", got)
		}
		p.token = o.Token.Reveal()
		p.want(updateDesk{Views: 2, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}})
	})

	eachUpdatePair(t, "L11 Update after Destroy starts a new session, with a token and an ID of its own", func(t *testing.T, p *updatePair) {
		ctx, _ := p.load()
		id := p.mine.Info(ctx).ID
		must(t, p.mine.Destroy(ctx))
		must(t, p.mine.Update(ctx, func(u *updateDesk) error {
			if !reflect.DeepEqual(*u, updateDesk{}) {
				t.Errorf("fn sees %+v of the session that was destroyed", u)
			}
			u.Views++
			return nil
		}))
		o, err := p.mine.Commit(ctx)
		must(t, err)
		if o.Kind != sessions.OutcomeCreated || o.Token.Reveal() == p.token || o.Info.ID == id {
			t.Errorf("%v, same token %v, same ID %v", o.Kind, o.Token.Reveal() == p.token, o.Info.ID == id)
		}
		if got := p.stored(); got.Views != 0 {
			t.Errorf("the old token finds %+v", got)
		}
		p.token = o.Token.Reveal()
		p.want(updateDesk{Views: 1})
	})
}

// updateText is text, as a Recorder shows it.
func updateText(more ...string) http.Header {
	h := text(more...)
	delete(h, "Content-Length")
	return h
}

func TestUpdateInARequest(t *testing.T) {
	inc := func(s *Session) error { s.Views++; return nil }
	row := func(name string, f func(t *testing.T, b *bench)) {
		t.Run(name, func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, newBench(t, sessions.Config{Codec: c})) })
		})
	}

	row("L1 Update by a visitor without a cookie, before any other use of the session, creates it with one Set-Cookie", func(t *testing.T, b *bench) {
		res := b.ask(func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				must(t, b.Update(r.Context(), inc))
			}
			_, _ = io.WriteString(w, "1")
		})
		b.wantOps(t, "Create", "CompareAndSwap", "CompareAndSwap")
		b.wantEvents(t, sessions.EventCreated, sessions.EventSaved, sessions.EventSaved)
		wantMasked(t, res.Header, updateText("Set-Cookie", cookieSent, "Cache-Control", "private, no-store", "Vary", "Cookie"))
		if got := b.views(tokenOf(res.Header)); got != 3 {
			t.Errorf("%d views, want 3", got)
		}
	})

	row("L2 Update by a visitor without a cookie whose fn changes nothing calls no store and sends no cookie", func(t *testing.T, b *bench) {
		res := b.ask(func(w http.ResponseWriter, r *http.Request) {
			must(t, b.Update(r.Context(), func(*Session) error { return nil }))
			_, _ = io.WriteString(w, "1")
		})
		b.wantOps(t)
		b.wantEvents(t)
		wantMasked(t, res.Header, updateText("Cache-Control", "private", "Vary", "Cookie"))
	})

	row("W6 Update of a new session after the first byte is ErrCommitted, and fn is not called", func(t *testing.T, b *bench) {
		res := b.ask(func(w http.ResponseWriter, r *http.Request) {
			s := b.FromContext(r.Context())
			_, _ = io.WriteString(w, "1")
			err := b.Update(r.Context(), func(*Session) error {
				t.Error("fn is called")
				return nil
			})
			if !errors.Is(err, sessions.ErrCommitted) || s.Views != 0 {
				t.Errorf("%v, *T %+v, want ErrCommitted", err, s)
			}
		})
		b.wantOps(t)
		wantMasked(t, res.Header, updateText("Cache-Control", "private", "Vary", "Cookie"))
	})

	row("W6 Update of a stored session after the first byte works", func(t *testing.T, b *bench) {
		token := b.seeded(1)
		res := b.ask(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "1")
			must(t, b.Update(r.Context(), inc))
		}, cookieName+"="+token)
		b.wantOps(t, "Load", "CompareAndSwap")
		if got := b.views(token); got != 2 || len(res.Cookies()) > 0 {
			t.Errorf("%d views, cookies %v", got, res.Cookies())
		}
	})

	row("C9 Update is ErrNoSession outside of Handler and where Skip leaves the session out", func(t *testing.T, b *bench) {
		never := func(*Session) error {
			t.Error("fn is called")
			return nil
		}
		if err := b.Update(t.Context(), never); !errors.Is(err, sessions.ErrNoSession) {
			t.Errorf("without Handler: %v", err)
		}
		skipping := newDesk(t, b.store, sessions.Config{Skip: func(*http.Request) bool { return true }})
		skipping.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := skipping.Update(r.Context(), never); !errors.Is(err, sessions.ErrNoSession) {
				t.Errorf("skipped: %v", err)
			}
		}, cookieName+"="+b.seeded(1))
	})

	row("L12 Update by a request whose sign-in has failed is that error, and fn is not called", func(t *testing.T, b *bench) {
		token := b.seeded(1)
		b.ask(func(_ http.ResponseWriter, r *http.Request) {
			before := b.store.before
			b.failing(sessions.ErrUnavailable)
			failed := b.SignIn(r.Context())
			b.store.before = before
			err := b.Update(r.Context(), func(*Session) error {
				t.Error("fn is called")
				return nil
			})
			if !errors.Is(failed, sessions.ErrUnavailable) || err != failed {
				t.Errorf("SignIn %v, Update %v", failed, err)
			}
		}, cookieName+"="+token)
	})

	row("C9 a nil function panics at the call, and the session can be used on", func(t *testing.T, b *bench) {
		for name, cookies := range map[string][]string{"new": nil, "stored": {cookieName + "=" + b.seeded(1)}} {
			b.ask(func(_ http.ResponseWriter, r *http.Request) {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s: no panic", name)
						}
					}()
					_ = b.Update(r.Context(), nil)
				}()
				must(t, b.Update(r.Context(), inc))
			}, cookies...)
		}
	})

	row("L13 the verbs return an error in fn, while Info, FromContext and Lookup work there", func(t *testing.T, b *bench) {
		token := b.seeded(1)
		for name, cookies := range map[string][]string{"new": nil, "stored": {cookieName + "=" + token}} {
			res := b.ask(func(_ http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				must(t, b.Update(ctx, func(s *Session) error {
					b.ops.take()
					for verb, f := range map[string]func(context.Context) error{
						"Save": b.Save, "Reload": b.Reload, "Touch": b.Touch, "Renew": b.Renew, "Destroy": b.Destroy,
						"SignIn": func(ctx context.Context) error { return b.SignIn(ctx) },
						"Update": func(ctx context.Context) error { return b.Update(ctx, inc) },
						"Commit": func(ctx context.Context) error { _, err := b.Commit(ctx); return err },
					} {
						if err := f(ctx); err == nil {
							t.Errorf("%s, %s in fn: no error", name, verb)
						}
					}
					b.wantOps(t)
					if i := b.Info(ctx); i.New != (name == "new") || i.ID == "" {
						t.Errorf("%s, Info in fn: %+v", name, i)
					}
					looked, ok := sessions.Lookup[Session](ctx)
					if s != b.FromContext(ctx) || s != sessions.FromContext[Session](ctx) || s != looked || !ok {
						t.Errorf("%s: fn has another T than FromContext and Lookup", name)
					}
					s.Views = 5
					return nil
				}))
			}, cookies...)
			if got := tokenOf(res.Header); got != "" {
				token = got
			}
			if got := b.views(token); got != 5 {
				t.Errorf("%s: %d views", name, got)
			}
		}
	})

	doors := map[string]func(w http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { _, _ = io.WriteString(w, "1") },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(204) },
		"Early Hints": func(w http.ResponseWriter) { w.WriteHeader(103) },
		"Flush":       func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	}
	for _, door := range slices.Sorted(maps.Keys(doors)) {
		row("W1 writing to the response in fn panics with a sentence instead of a deadlock, and nothing is stored, by "+door, func(t *testing.T, b *bench) {
			for name, cookies := range map[string][]string{"new": nil, "stored": {cookieName + "=" + b.seeded(1)}} {
				within(t, func() {
					res := b.ask(func(w http.ResponseWriter, r *http.Request) {
						defer func() {
							if p, ok := recover().(string); !ok || p != "sessions: the function of an Update writes to the response, or ends the request: return from it before" {
								t.Errorf("%s: panic %q", name, p)
							}
							if got := b.FromContext(r.Context()).Views; name == "stored" && got != 1 || name == "new" && got != 0 {
								t.Errorf("%s: *T has %d views", name, got)
							}
						}()
						_ = b.Update(r.Context(), func(s *Session) error {
							s.Views = 99
							doors[door](w)
							return nil
						})
					}, cookies...)
					if len(res.Cookies()) > 0 {
						t.Errorf("%s: cookies %v", name, res.Cookies())
					}
				})
			}
		})
	}
}
