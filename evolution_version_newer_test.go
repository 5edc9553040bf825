package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// versionNewer is a store with a session of version 2 that a newer build may
// write at any step of the older one's.
type versionNewer struct {
	t      *testing.T
	store  *stepStore
	old    *sessions.Manager[versionT[versionByStruct]]
	next   *sessions.Manager[versionT[versionLaterAgain]]
	events *recorder
	token  string
	became string
}

func newVersionNewer(t *testing.T, store sessions.Store, cfg sessions.Config) *versionNewer {
	t.Helper()
	v := &versionNewer{t: t, store: &stepStore{Store: store}, events: &recorder{}}
	v.next = newManager[versionT[versionLaterAgain]](t, store, cfg)
	cfg.OnEvent = v.events.on
	v.old = newManager[versionT[versionByStruct]](t, v.store, cfg)
	ctx, err := v.old.Load(t.Context())
	must(t, err)
	v.old.FromContext(ctx).First = "Ann"
	o, err := v.old.Commit(ctx)
	must(t, err)
	v.token = o.Token.Reveal()
	v.events.kinds()
	return v
}

// advance lets the newer build write the session.
func (v *versionNewer) advance() {
	v.t.Helper()
	ctx, err := v.next.Load(context.Background(), v.token)
	must(v.t, err)
	v.next.FromContext(ctx).Last = "of the newer build"
	_, err = v.next.Commit(ctx)
	must(v.t, err)
	if v.became = versionStored(v.t, v.store.Store, v.token); !strings.Contains(v.became, `"version":3`) {
		v.t.Fatalf("the newer build wrote %q", v.became)
	}
}

// untouched says that what the newer build wrote is still there.
func (v *versionNewer) untouched() {
	v.t.Helper()
	if is := versionStored(v.t, v.store.Store, v.token); is != v.became {
		v.t.Errorf("the newer build's record became %q", is)
	}
}

func TestVersionFromTheFuture(t *testing.T) {
	type manager = sessions.Manager[versionT[versionByStruct]]
	verbs := map[string]func(t *testing.T, m *manager, ctx context.Context) error{
		"Save":   func(_ *testing.T, m *manager, ctx context.Context) error { return m.Save(ctx) },
		"Commit": func(_ *testing.T, m *manager, ctx context.Context) error { _, err := m.Commit(ctx); return err },
		"Renew":  func(_ *testing.T, m *manager, ctx context.Context) error { return m.Renew(ctx) },
		"SignIn": func(_ *testing.T, m *manager, ctx context.Context) error { return m.SignIn(ctx) },
		"Reload": func(_ *testing.T, m *manager, ctx context.Context) error { return m.Reload(ctx) },
		"Touch":  func(_ *testing.T, m *manager, ctx context.Context) error { return m.Touch(ctx) },
		"Update": func(t *testing.T, m *manager, ctx context.Context) error {
			return m.Update(ctx, func(s *versionT[versionByStruct]) error {
				if s.Last != "" {
					t.Errorf("its function is called on the newer build's %+v", *s)
				}
				s.Visits++
				return nil
			})
		},
	}
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		for policy, onConflict := range ownerPolicies {
			for name, verb := range verbs {
				for _, changed := range []bool{true, false} {
					t.Run(fmt.Sprintf("K4 %s by %s that meets a newer build's record, with a change %v, is ErrNewerVersion", name, policy, changed), func(t *testing.T) {
						if !changed && (name == "Save" || name == "Commit") {
							return // they do nothing
						}
						spy := &spyStore{Store: memory()}
						v := newVersionNewer(t, spy, sessions.Config{Codec: c, OnConflict: onConflict})
						ctx, err := v.old.Load(t.Context(), v.token)
						must(t, err)
						v.advance()
						if changed {
							v.old.FromContext(ctx).Visits = 5
						}
						if err := verb(t, v.old, ctx); !errors.Is(err, sessions.ErrNewerVersion) || errors.Is(err, sessions.ErrConflict) {
							t.Errorf("%v, want ErrNewerVersion", err)
						}
						if s := v.old.FromContext(ctx); s.First != "Ann" || s.Last != "" || s.Visits == 5 != changed {
							t.Errorf("*T has become %+v", *s)
						}
						v.untouched()
						if live, marks := spy.left(t); live != 1 || marks != 0 {
							t.Errorf("%d records and %d marks", live, marks)
						}
						if kinds := v.events.kinds(); slices.Contains(kinds, sessions.EventSaved) || slices.Contains(kinds, sessions.EventUndecodable) {
							t.Errorf("events %v", kinds)
						}
					})
				}
			}
		}

		for name, change := range map[string]bool{"a request that changes something": true, "a request that only reads, with Rewrite,": false} {
			t.Run("K4 "+name+" and meets a newer build's record at its end is answered by 503", func(t *testing.T) {
				v := newVersionNewer(t, memory(), sessions.Config{Codec: c, Rewrite: !change})
				res := serve(v.old.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					v.advance()
					if change {
						v.old.FromContext(r.Context()).Visits++
					}
					fmt.Fprint(w, "hello")
				})), with(v.token, "/"))
				if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || tokenOf(res.Header) != "" {
					t.Errorf("%d %q", res.StatusCode, res.Header)
				}
				v.untouched()
			})
		}

		t.Run("K4 the next request is answered by 503, keeps its cookie, and costs one command", func(t *testing.T) {
			v := newVersionNewer(t, memory(), sessions.Config{Codec: c})
			v.advance()
			log := &calls{}
			v.store.before = func(op, _ string) error { log.add(op); return nil }
			res := serve(v.old.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler runs") })), with(v.token, "/"))
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%d", res.StatusCode)
			}
			wantMasked(t, res.Header, http.Header{
				"Retry-After": {"1"}, "Cache-Control": {"no-store"}, "Vary": {"Cookie"},
				"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
			})
			wantCalls(t, log, "it", "Load")
			v.untouched()
		})
		t.Run("K4 Load of a newer build's record is ErrNewerVersion and gives no session", func(t *testing.T) {
			v := newVersionNewer(t, memory(), sessions.Config{Codec: c})
			v.advance()
			ctx, err := v.old.Load(t.Context(), v.token)
			if !errors.Is(err, sessions.ErrNewerVersion) || ctx != t.Context() {
				t.Errorf("%v, and a context of its own: %v", err, ctx != t.Context())
			}
			for _, part := range []string{"version 3", "has 2"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in %v", part, err)
				}
			}
			v.untouched()
		})
		t.Run("K4 for a build from before T was Versioned every version is newer", func(t *testing.T) {
			store := memory()
			old := newManager[versionOld](t, store, sessions.Config{Codec: c})
			token := versionSeed(t, store, c)
			loaded, err := old.Load(t.Context(), token)
			must(t, err)
			m := newManager[versionT[versionByStruct]](t, store, sessions.Config{Codec: c})
			ctx, err := m.Load(t.Context(), token)
			must(t, err)
			m.FromContext(ctx).Visits++
			_, err = m.Commit(ctx)
			must(t, err)
			became := versionStored(t, store, token)
			if _, err := old.Load(t.Context(), token); !errors.Is(err, sessions.ErrNewerVersion) {
				t.Errorf("Load = %v", err)
			}
			old.FromContext(loaded).Visits = 100
			if _, err := old.Commit(loaded); !errors.Is(err, sessions.ErrNewerVersion) {
				t.Errorf("Commit = %v", err)
			}
			if is := versionStored(t, store, token); is != became {
				t.Errorf("it became %q", is)
			}
		})

		// Signing out is nothing that a version could change the meaning of.
		t.Run("K4 L10 Destroy of a session that a newer build has written meanwhile ends it", func(t *testing.T) {
			v := newVersionNewer(t, memory(), sessions.Config{Codec: c})
			ctx, err := v.old.Load(t.Context(), v.token)
			must(t, err)
			v.advance()
			must(t, v.old.Destroy(ctx))
			if _, _, err := v.store.Store.Load(t.Context(), keyOf(v.token), 0); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("afterwards: %v", err)
			}
		})
		t.Run("K4 C16 Destroy with a token that a newer build has renewed ends what became of it", func(t *testing.T) {
			v := newVersionNewer(t, memory(), sessions.Config{Codec: c})
			ctx, err := v.next.Load(t.Context(), v.token)
			must(t, err)
			must(t, v.next.Renew(ctx))
			o, err := v.next.Commit(ctx)
			must(t, err)
			old, err := v.old.Load(t.Context(), v.token)
			must(t, err)
			must(t, v.old.Destroy(old))
			if _, _, err := v.store.Store.Load(t.Context(), keyOf(o.Token.Reveal()), 0); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("afterwards: %v", err)
			}
		})
	})
}

// Two builds of two versions write one session.
func TestVersionsInOneFleet(t *testing.T) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			type upgraded = versionT[versionByStruct]
			store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})
			first := newManager[versionOld](t, store, sessions.Config{Codec: c})
			for name, save := range map[string]func(m *sessions.Manager[upgraded], ctx context.Context) error{
				"Save": func(m *sessions.Manager[upgraded], ctx context.Context) error {
					m.FromContext(ctx).First = "Eve"
					return m.Save(ctx)
				},
				"Renew": func(m *sessions.Manager[upgraded], ctx context.Context) error {
					m.FromContext(ctx).First = "Eve"
					return m.Renew(ctx)
				},
				"Update": func(m *sessions.Manager[upgraded], ctx context.Context) error {
					return m.Update(ctx, func(s *upgraded) error { s.First = "Eve"; return nil })
				},
			} {
				t.Run("K4 C7 "+name+" of a session that was upgraded, and saved again by the old build meanwhile, merges", func(t *testing.T) {
					events := &recorder{}
					second := newManager[upgraded](t, store, sessions.Config{Codec: c, OnEvent: events.on})
					token := versionSeed(t, store, c)
					ctx, err := second.Load(t.Context(), token)
					must(t, err)
					old, err := first.Load(t.Context(), token)
					must(t, err)
					first.FromContext(old).Visits = 100
					first.FromContext(old).Legacy = "once more"
					_, err = first.Commit(old)
					must(t, err)

					must(t, save(second, ctx))
					if s := second.FromContext(ctx); s.Visits != 100 || s.First != "Eve" || s.Last != "SECRET" {
						t.Errorf("*T is %+v", *s)
					}
					o, err := second.Commit(ctx)
					must(t, err)
					header, payload, _ := strings.Cut(versionStored(t, store, o.Token.Reveal()), "\n")
					if !strings.Contains(header, `"version":2`) || strings.Contains(payload, "legacy") {
						t.Errorf("stored %q %q", header, payload)
					}
					ctx, err = second.Load(t.Context(), o.Token.Reveal())
					must(t, err)
					if s := second.FromContext(ctx); s.Visits != 100 || s.First != "Eve" || s.Last != "SECRET" || s.From != 0 {
						t.Errorf("stored is %+v", *s)
					}
					if name != "Update" {
						for _, e := range events.events {
							if e.Kind == sessions.EventMerged && !slices.Equal(e.Fields, []string{"visits"}) {
								t.Errorf("the event names %v", e.Fields)
							}
						}
						if kinds := events.kinds(); !slices.Contains(kinds, sessions.EventMerged) {
							t.Errorf("events %v", kinds)
						}
					}
				})
			}
			t.Run("K4 C8 both have changed what was one field and is another", func(t *testing.T) {
				second := newManager[upgraded](t, store, sessions.Config{Codec: c})
				token := versionSeed(t, store, c)
				ctx, err := second.Load(t.Context(), token)
				must(t, err)
				old, err := first.Load(t.Context(), token)
				must(t, err)
				first.FromContext(old).Name = "Bob Smith"
				_, err = first.Commit(old)
				must(t, err)
				second.FromContext(ctx).First = "Eve"
				must(t, second.Save(ctx))
				if s := second.FromContext(ctx); s.First != "Eve" || s.Last != "Smith" {
					t.Errorf("*T is %+v", *s)
				}
			})
			t.Run("K4 the old build meets what the new one has saved, and leaves it", func(t *testing.T) {
				second := newManager[upgraded](t, store, sessions.Config{Codec: c})
				token := versionSeed(t, store, c)
				old, err := first.Load(t.Context(), token)
				must(t, err)
				ctx, err := second.Load(t.Context(), token)
				must(t, err)
				second.FromContext(ctx).Visits = 8
				_, err = second.Commit(ctx)
				must(t, err)
				became := versionStored(t, store, token)
				first.FromContext(old).Visits = 100
				if _, err := first.Commit(old); !errors.Is(err, sessions.ErrNewerVersion) {
					t.Errorf("Commit = %v", err)
				}
				if is := versionStored(t, store, token); is != became {
					t.Errorf("it became %q", is)
				}
			})
		})
	})
}
