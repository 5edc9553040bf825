package merging_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestReject(t *testing.T) {
	t.Parallel()
	mine := func(s *kit.Session) { s.Views = 2 }
	theirs := func(s *kit.Session) { s.Flash = "theirs" }
	cfg := sessions.Config{OnConflict: sessions.ConflictReject}
	eachOnRedis(t, func(t *testing.T, s setup) {
		// rejected is a request of here whose verb was refused.
		rejected := func(t *testing.T, verb string) (p *pair[kit.Session], save func() error, live *kit.Session) {
			p = open(t, s, cfg, ann)
			ctx, live := p.load(t, theirs)
			stored := kit.RecordUnder(t, p.all, p.token)
			mine(live)
			kit.WantErr(t, verb, kit.Call(p.here, ctx, verb), sessions.ErrConflict)
			if got := kit.RecordUnder(t, p.all, p.token); got != stored {
				t.Errorf("stored is %q, was %q", got, stored)
			}
			return p, func() error {
				kit.Must(t, p.here.Reload(ctx))
				if live.Flash != "theirs" || live.Views != 1 {
					t.Errorf("*T is %+v", *live)
				}
				mine(live)
				return p.here.Save(ctx)
			}, live
		}

		t.Run("C12 the later save is answered by 409", func(t *testing.T) {
			p := open(t, s, cfg, ann)
			res := p.serve(t, mine, theirs)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 409 || string(body) != "Conflict\n" || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%d %q, cookies %q", res.StatusCode, body, res.Header["Set-Cookie"])
			}
			events := p.events.Take()
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
			if res := open(t, s, cfg, ann).serve(t, mine, theirs); res.StatusCode != http.StatusTeapot || len(errs) != 1 || !errors.Is(errs[0], sessions.ErrConflict) {
				t.Errorf("%d, errors %v", res.StatusCode, errs)
			}
		})
		t.Run("C12 the stored record stays as the earlier one left it", func(t *testing.T) {
			if _, _, live := rejected(t, "Save"); live.Views != 2 || live.Flash != "" {
				t.Errorf("*T is %+v", *live)
			}
		})
		t.Run("C12 a request that is refused may load again and save", func(t *testing.T) {
			p, save, _ := rejected(t, "Save")
			kit.Must(t, save())
			if got := p.stored(t); got.Views != 2 || got.Flash != "theirs" {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 Renew with one is refused, and leaves the old token and nothing else", func(t *testing.T) {
			p, _, _ := rejected(t, "Renew")
			p.wantLeft(t, 1, 0)
			if got := p.stored(t); got.Flash != "theirs" || got.Views != 1 {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 two who save the same are no conflict", func(t *testing.T) {
			p := open(t, s, cfg, ann)
			same := func(s *kit.Session) { s.Views, s.Prefs["c"] = 2, 3 }
			if res := p.serve(t, same, same); res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
			p.wantEvents(t, sessions.EventSaved)
		})
	})

	atOnce(t, "C12 of 64 requests %s one is stored and 63 are refused", cfg, ann,
		func(i int, s *kit.Session) { s.Views = 100 + i },
		func(t *testing.T, got result[kit.Session]) {
			statuses, winner := map[int]int{}, 0
			for i, res := range got.answers {
				if statuses[res.StatusCode]++; res.StatusCode == 200 {
					winner = i
				}
			}
			if statuses[200] != 1 || statuses[409] != writers-1 {
				t.Errorf("answers by status: %v", statuses)
			}
			if got.stored.Views != 100+winner {
				t.Errorf("%d is stored, %d was answered", got.stored.Views, 100+winner)
			}
		})
}

// Whatever the policy, who has changed nothing has no conflict and wins against
// nobody.
func TestNoChange(t *testing.T) {
	t.Parallel()
	theirs := func(s *kit.Session) { s.Flash, s.Prefs["a"] = "theirs", 9 }
	eachOnRedis(t, func(t *testing.T, s setup) {
		for policy, name := range map[string]string{
			"reject":     "C12 who has changed nothing has no conflict",
			"last write": "C12 who has changed nothing does not win",
		} {
			cfg := sessions.Config{OnConflict: policies[policy]}
			t.Run(policy, func(t *testing.T) {
				t.Run(name, func(t *testing.T) {
					cfg := cfg
					cfg.Rewrite = true
					p := open(t, s, cfg, ann)
					if res := p.serve(t, func(*kit.Session) {}, theirs); res.StatusCode != 200 {
						t.Errorf("%d", res.StatusCode)
					}
					p.wantEvents(t)
					if got := p.stored(t); got.Flash != "theirs" {
						t.Errorf("stored is %+v", got)
					}
				})
				t.Run("C12 Renew without a change takes the other one's", func(t *testing.T) {
					p := open(t, s, cfg, ann)
					ctx, live := p.load(t, theirs)
					kit.Must(t, p.here.Renew(ctx))
					p.token = p.tokenAfter(t, ctx, "Renew")
					if got := p.stored(t); got.Flash != "theirs" || live.Flash != "theirs" {
						t.Errorf("stored is %+v, *T %+v", got, *live)
					}
				})
			})
		}
	})
}

func TestLastWrite(t *testing.T) {
	t.Parallel()
	mine := func(s *kit.Session) { s.Views = 2 }
	theirs := func(s *kit.Session) { s.Flash, s.Prefs["a"] = "theirs", 9 }
	cfg := sessions.Config{OnConflict: sessions.ConflictLastWrite}
	eachOnRedis(t, func(t *testing.T, s setup) {
		t.Run("C12 the last one wins as a whole", func(t *testing.T) { lastWins(t, s, cfg, mine, theirs) })
		t.Run("C12 Renew with one wins as a whole", func(t *testing.T) {
			p := open(t, s, cfg, ann)
			ctx, live := p.load(t, theirs)
			mine(live)
			kit.Must(t, p.here.Renew(ctx))
			p.token = p.tokenAfter(t, ctx, "Renew")
			if got := p.stored(t); got.Flash != "" || got.Views != 2 {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C12 K3 fields that T does not know are not overwritten", func(t *testing.T) {
			p := open(t, s.newer(), sessions.Config{}, func(s *newer) { s.Name, s.Added = "base", "base" })
			m := kit.New[older](t, s.store, sessions.Config{Codec: s.codec, OnConflict: sessions.ConflictLastWrite})
			ctx, live := kit.Load(t, m, p.token)
			p.edit(t, func(s *newer) { s.Added, s.Amount, s.Count = "theirs", digits, 5 })
			live.Name = "mine"
			kit.Must(t, m.Save(ctx))
			want(t, "stored", p.stored(t), newer{older: older{Name: "mine"}, Added: "theirs", Amount: digits})
		})
	})

	whole := func(i int) (w wide) {
		for f := range writers {
			if f%2 == i%2 {
				w.field(f).SetString(fmt.Sprint("v", i))
			}
		}
		return w
	}
	atOnce(t, "C12 of 64 requests %s the T of one is stored, whole, and nobody gets an error", cfg, wideBase,
		func(i int, s *wide) { *s = whole(i) },
		func(t *testing.T, got result[wide]) {
			got.wantOK(t)
			for i := range writers {
				if got.stored == whole(i) {
					return
				}
			}
			t.Errorf("stored is nobody's: %+v", got.stored)
		})
}

// lastWins lets two requests meet of which the later one's T is stored.
func lastWins(t *testing.T, s setup, cfg sessions.Config, mine, theirs func(*kit.Session)) {
	t.Helper()
	p := open(t, s, cfg, ann)
	if res := p.serve(t, mine, theirs); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	var w kit.Session
	ann(&w)
	mine(&w)
	want(t, "stored", p.stored(t), w)
	events := p.events.Take()
	if len(events) != 2 || events[0].Kind != sessions.EventConflict || events[0].Err != nil || events[0].Fields != nil || events[1].Kind != sessions.EventSaved {
		t.Errorf("events %v", events)
	}
}

// gobCodec has no fields, writes maps in any order, and bytes that are nobody's object.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// plainCodec has no fields, though it writes objects.
type plainCodec struct{}

func (plainCodec) Name() string                       { return "plain" }
func (plainCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (plainCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Without fields there is nothing to merge by.
func TestWithoutFields(t *testing.T) {
	t.Parallel()
	for _, codec := range []sessions.Codec{gobCodec{}, plainCodec{}} {
		t.Run("C12 with a Codec that knows no fields the last one wins as a whole, "+codec.Name(), func(t *testing.T) {
			lastWins(t, setup{kit.Memory(), codec, codec, false}, sessions.Config{}, func(s *kit.Session) { s.Views = 2 }, func(s *kit.Session) { s.Flash, s.Views = "theirs", 5 })
		})
		t.Run("C12 and none of them is refused by New", func(t *testing.T) {
			for _, policy := range policies {
				kit.New[kit.Session](t, kit.Memory(), sessions.Config{Codec: codec, OnConflict: policy})
			}
		})
	}
}

func TestPolicyAndTheEnd(t *testing.T) {
	t.Parallel()
	for name, policy := range policies {
		for _, row := range []struct {
			end, verb   string
			live, marks int
		}{{"destroyed", "Destroy", 0, 0}, {"renewed", "Renew", 1, 1}} {
			t.Run("C12 C1 under the policy "+name+" a save of a session that was "+row.end+" meanwhile is ErrGone", func(t *testing.T) {
				p := open(t, setup{kit.Memory(), sessions.JSON{}, sessions.JSON{}, false}, sessions.Config{OnConflict: policy}, ann)
				ctx, live := p.load(t, func(s *kit.Session) { s.Flash = "theirs" })
				kit.Verb(t, p.there, p.token, row.verb)
				live.Views = 2
				kit.WantErr(t, "Save", p.here.Save(ctx), sessions.ErrGone)
				p.wantLeft(t, row.live, row.marks)
			})
		}
	}

	t.Run("C12 New refuses a policy that there is not", func(t *testing.T) {
		for _, policy := range []sessions.ConflictPolicy{-1, 3} {
			if _, err := sessions.New[kit.Session](kit.Memory(), sessions.Config{OnConflict: policy}); err == nil {
				t.Errorf("it takes %d", policy)
			}
		}
	})
}
