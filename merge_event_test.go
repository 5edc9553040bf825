package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// What is told of two saves that meet has names in it, and nothing of what T
// holds.
func TestMergeTellsNoValues(t *testing.T) {
	verbs := map[string]func(*sessions.Manager[mergeState], context.Context) error{
		"Save":   (*sessions.Manager[mergeState]).Save,
		"Renew":  (*sessions.Manager[mergeState]).Renew,
		"SignIn": func(m *sessions.Manager[mergeState], ctx context.Context) error { return m.SignIn(ctx) },
		"Update": func(m *sessions.Manager[mergeState], ctx context.Context) error {
			return m.Update(ctx, func(s *mergeState) error { s.Note = "SECRET-4"; return nil })
		},
	}
	edit := func(v int, odd bool) func(*mergeState) {
		return func(s *mergeState) {
			for i, f := range mergeFields {
				if i%3 == 0 || odd == (i%3 == 1) {
					f.set(s, v)
				}
			}
		}
	}
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		for name, row := range map[string]struct {
			policy sessions.ConflictPolicy
			size   int
			kinds  []sessions.EventKind // that must be among what is told
		}{
			"merged":       {sessions.ConflictMerge, 0, []sessions.EventKind{sessions.EventConflict, sessions.EventMerged}},
			"overwritten":  {sessions.ConflictLastWrite, 0, []sessions.EventKind{sessions.EventConflict}},
			"refused":      {sessions.ConflictReject, 0, []sessions.EventKind{sessions.EventConflict, sessions.EventFailed}},
			"grown beyond": {sessions.ConflictMerge, 1200, []sessions.EventKind{sessions.EventFailed}},
		} {
			for verb, call := range verbs {
				t.Run("X2 C8 no value is in the events, the error and the log of a "+verb+" that was "+name, func(t *testing.T) {
					var log logBuffer
					cfg := sessions.Config{Codec: codec, OnConflict: row.policy, MaxSize: row.size, Logger: slog.New(slog.NewJSONHandler(&log, nil))}
					p := newMergePair(t, memory(), cfg, other, one, edit(1, true))
					ctx := p.meet(t, edit(2, true))
					s := p.here.FromContext(ctx)
					edit(3, false)(s)
					if row.size > 0 {
						s.Name = strings.Repeat("SECRET", 400)
					}
					texts := []string{fmt.Sprint(call(p.here, ctx)), log.take()}
					told := map[sessions.EventKind]bool{}
					for _, e := range mergeEvents(p.events) {
						told[e.Kind] = true
						data, err := json.Marshal(e)
						must(t, err)
						texts = append(texts, fmt.Sprintf("%v %+v %#v", e, e, e), string(data))
						if e.Err != nil {
							texts = append(texts, fmt.Sprintf("%v %+v %#v", e.Err, e.Err, e.Err))
						}
					}
					for _, kind := range row.kinds {
						if !told[kind] {
							t.Errorf("%v is not told of", kind)
						}
					}
					for _, text := range texts {
						if strings.Contains(text, "SECRET") || strings.Contains(text, p.token) {
							t.Errorf("it holds a value, or the token: %.500s", text)
						}
					}
				})
			}
		}
	})
}
