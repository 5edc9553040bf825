package evolution_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

type (
	versionTwoT   = versionT[versionByStruct]
	versionThreeT = versionT[versionThree]
)

// newerVersion is a store with a session of version 2 that a newer build may
// write at any step of the older one's.
type newerVersion struct {
	t      *testing.T
	store  *kit.Store
	old    *sessions.Manager[versionTwoT]
	next   *sessions.Manager[versionThreeT]
	events *kit.Events // of the older build
	token  string
	became string // what the newer build wrote
}

func newNewerVersion(t *testing.T, cfg sessions.Config) *newerVersion {
	t.Helper()
	v := &newerVersion{t: t, store: &kit.Store{Store: kit.Memory()}, events: &kit.Events{}}
	v.next = kit.New[versionThreeT](t, v.store, cfg)
	cfg.OnEvent = v.events.On
	v.old = kit.New[versionTwoT](t, v.store, cfg)
	v.token = kit.Edit(t, v.old, "", func(s *versionTwoT) { s.First = "Ann" })
	v.events.Take()
	return v
}

// advance lets the newer build write the session.
func (v *newerVersion) advance() {
	v.t.Helper()
	kit.Edit(v.t, v.next, v.token, func(s *versionThreeT) { s.Last = "of the newer build" })
	if v.became = kit.RecordUnder(v.t, v.store, v.token); !strings.Contains(v.became, `"version":3`) {
		v.t.Fatalf("the newer build wrote %q", v.became)
	}
}

// wantUntouched compares the record with what the newer build wrote.
func (v *newerVersion) wantUntouched() {
	v.t.Helper()
	if is := kit.RecordUnder(v.t, v.store, v.token); is != v.became {
		v.t.Errorf("the newer build's record became %q", is)
	}
}

func TestVersionFromTheFuture(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		for policy, onConflict := range map[string]sessions.ConflictPolicy{
			"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
		} {
			for _, verb := range []string{"Save", "Commit", "Renew", "SignIn", "Reload", "Touch", "Update"} {
				for _, changed := range []bool{true, false} {
					if !changed && (verb == "Save" || verb == "Commit") {
						continue // they do nothing
					}
					t.Run(fmt.Sprintf("K4 %s by %s that meets a newer build's record, with a change %v, is ErrNewerVersion", verb, policy, changed), func(t *testing.T) {
						v := newNewerVersion(t, sessions.Config{Codec: c, OnConflict: onConflict})
						ctx, s := kit.Load(t, v.old, v.token)
						v.advance()
						if changed {
							s.Visits = 5
						}
						var err error
						if verb == "Update" {
							err = v.old.Update(ctx, func(s *versionTwoT) error {
								if s.Last != "" {
									t.Errorf("its function is called on the newer build's %+v", *s)
								}
								s.Visits++
								return nil
							})
						} else {
							err = kit.Call(v.old, ctx, verb)
						}
						if !errors.Is(err, sessions.ErrNewerVersion) || errors.Is(err, sessions.ErrConflict) {
							t.Errorf("%v, want ErrNewerVersion", err)
						}
						if s := v.old.FromContext(ctx); s.First != "Ann" || s.Last != "" || s.Visits == 5 != changed {
							t.Errorf("*T has become %+v", *s)
						}
						v.wantUntouched()
						if live, marks := v.store.Left(t); live != 1 || marks != 0 {
							t.Errorf("%d records and %d marks", live, marks)
						}
						if kinds := v.events.Kinds(); slices.Contains(kinds, sessions.EventSaved) || slices.Contains(kinds, sessions.EventUndecodable) {
							t.Errorf("events %v", kinds)
						}
					})
				}
			}
		}

		for name, change := range map[string]bool{"a request that changes something": true, "a request that only reads, with Rewrite,": false} {
			t.Run("K4 "+name+" and meets a newer build's record at its end is answered by 503", func(t *testing.T) {
				v := newNewerVersion(t, sessions.Config{Codec: c, Rewrite: !change})
				res := kit.Serve(v.old.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					v.advance()
					if change {
						v.old.FromContext(r.Context()).Visits++
					}
					fmt.Fprint(w, "hello")
				})), kit.With(v.token, "/"))
				if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || kit.TokenOf(res.Header) != "" {
					t.Errorf("%d %q", res.StatusCode, res.Header)
				}
				v.wantUntouched()
			})
		}

		t.Run("K4 the next request is answered by 503, keeps its cookie, and costs one command", func(t *testing.T) {
			v := newNewerVersion(t, sessions.Config{Codec: c})
			v.advance()
			v.store.Calls()
			res := kit.Serve(v.old.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler runs") })), kit.With(v.token, "/"))
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%d", res.StatusCode)
			}
			kit.WantHeader(t, res.Header, kit.Header("Retry-After", "1", "Cache-Control", "no-store", "Vary", "Cookie",
				"Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff"))
			v.store.WantCalls(t, "it", "Load")
			v.wantUntouched()
		})
		t.Run("K4 Load of a newer build's record is ErrNewerVersion and gives no session", func(t *testing.T) {
			v := newNewerVersion(t, sessions.Config{Codec: c})
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
			v.wantUntouched()
		})
		t.Run("K4 for a build from before T was Versioned every version is newer", func(t *testing.T) {
			store := kit.Memory()
			old := kit.New[versionOld](t, store, sessions.Config{Codec: c})
			token := seedVersion(t, store, c)
			ctx, s := kit.Load(t, old, token)
			kit.Edit(t, kit.New[versionTwoT](t, store, sessions.Config{Codec: c}), token, func(s *versionTwoT) { s.Visits++ })
			became := kit.RecordUnder(t, store, token)
			_, err := old.Load(t.Context(), token)
			kit.WantErr(t, "Load", err, sessions.ErrNewerVersion)
			s.Visits = 100
			kit.WantErr(t, "Commit", kit.Call(old, ctx, "Commit"), sessions.ErrNewerVersion)
			if is := kit.RecordUnder(t, store, token); is != became {
				t.Errorf("it became %q", is)
			}
		})

		// Signing out is nothing that a version could change the meaning of.
		t.Run("K4 L10 Destroy of a session that a newer build has written meanwhile ends it", func(t *testing.T) {
			v := newNewerVersion(t, sessions.Config{Codec: c})
			ctx, _ := kit.Load(t, v.old, v.token)
			v.advance()
			kit.Must(t, v.old.Destroy(ctx))
			if data := kit.RecordUnder(t, v.store, v.token); data != "" {
				t.Errorf("afterwards there is %q", data)
			}
		})
		t.Run("K4 C16 Destroy with a token that a newer build has renewed ends what became of it", func(t *testing.T) {
			v := newNewerVersion(t, sessions.Config{Codec: c})
			renewed := kit.Verb(t, v.next, v.token, "Renew")
			ctx, _ := kit.Load(t, v.old, v.token)
			kit.Must(t, v.old.Destroy(ctx))
			if data := kit.RecordUnder(t, v.store, renewed); renewed == v.token || data != "" {
				t.Errorf("afterwards there is %q", data)
			}
		})
	})
}

// Two builds of two versions write one session.
func TestVersionsSideBySide(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.RedisStore(rdb)
			events := &kit.Events{}
			first := kit.New[versionOld](t, store, sessions.Config{Codec: c})
			second := kit.New[versionTwoT](t, store, sessions.Config{Codec: c, OnEvent: events.On})
			for name, save := range map[string]func(ctx context.Context, s *versionTwoT) error{
				"Save":  func(ctx context.Context, s *versionTwoT) error { s.First = "Eve"; return second.Save(ctx) },
				"Renew": func(ctx context.Context, s *versionTwoT) error { s.First = "Eve"; return second.Renew(ctx) },
				"Update": func(ctx context.Context, _ *versionTwoT) error {
					return second.Update(ctx, func(s *versionTwoT) error { s.First = "Eve"; return nil })
				},
			} {
				t.Run("K4 C7 "+name+" of a session that was upgraded, and saved again by the old build meanwhile, merges", func(t *testing.T) {
					token := seedVersion(t, store, c)
					events.Take()
					token = turn(t, second, token, func(ctx context.Context, s *versionTwoT) {
						kit.Edit(t, first, token, func(s *versionOld) { s.Visits, s.Legacy = 100, "once more" })
						kit.Must(t, save(ctx, s))
						if s := second.FromContext(ctx); s.Visits != 100 || s.First != "Eve" || s.Last != "SECRET" {
							t.Errorf("*T is %+v", *s)
						}
					})
					if header, payload := stored(t, store, token); !strings.Contains(header, `"version":2`) || strings.Contains(payload, "legacy") {
						t.Errorf("stored %q %q", header, payload)
					}
					if s := kit.Stored(t, second, token); s.Visits != 100 || s.First != "Eve" || s.Last != "SECRET" || s.From != 0 {
						t.Errorf("stored is %+v", s)
					}
					if name == "Update" {
						return
					}
					merged := false
					for _, e := range events.Take() {
						if e.Kind == sessions.EventMerged {
							if merged = true; !slices.Equal(e.Fields, []string{"visits"}) {
								t.Errorf("the event names %v", e.Fields)
							}
						}
					}
					if !merged {
						t.Error("no event says that it has merged")
					}
				})
			}
			t.Run("K4 C8 both have changed what was one field and is another", func(t *testing.T) {
				token := seedVersion(t, store, c)
				turn(t, second, token, func(ctx context.Context, s *versionTwoT) {
					kit.Edit(t, first, token, func(s *versionOld) { s.Name = "Bob Smith" })
					s.First = "Eve"
					kit.Must(t, second.Save(ctx))
					if s := second.FromContext(ctx); s.First != "Eve" || s.Last != "Smith" {
						t.Errorf("*T is %+v", *s)
					}
				})
			})
			t.Run("K4 the old build meets what the new one has saved, and leaves it", func(t *testing.T) {
				token := seedVersion(t, store, c)
				ctx, s := kit.Load(t, first, token)
				kit.Edit(t, second, token, func(s *versionTwoT) { s.Visits = 8 })
				became := kit.RecordUnder(t, store, token)
				s.Visits = 100
				kit.WantErr(t, "Commit", kit.Call(first, ctx, "Commit"), sessions.ErrNewerVersion)
				if is := kit.RecordUnder(t, store, token); is != became {
					t.Errorf("it became %q", is)
				}
			})
		})
	})
}
