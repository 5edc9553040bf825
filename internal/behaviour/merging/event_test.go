package merging_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The events, the error and the log of two saves that meet have names in them,
// and nothing of what T holds.
func TestEventsHoldNoValues(t *testing.T) {
	t.Parallel()
	edit := func(v int, odd bool) func(*state) {
		return func(s *state) {
			for i, f := range fields {
				if i%3 == 0 || odd == (i%3 == 1) {
					f.set(s, v)
				}
			}
		}
	}
	each(t, func(t *testing.T, s setup) {
		for name, row := range map[string]struct {
			policy sessions.ConflictPolicy
			size   int
			kinds  []sessions.EventKind // that must be among the events
		}{
			"merged":       {sessions.ConflictMerge, 0, []sessions.EventKind{sessions.EventConflict, sessions.EventMerged}},
			"overwritten":  {sessions.ConflictLastWrite, 0, []sessions.EventKind{sessions.EventConflict}},
			"refused":      {sessions.ConflictReject, 0, []sessions.EventKind{sessions.EventConflict, sessions.EventFailed}},
			"grown beyond": {sessions.ConflictMerge, 1200, []sessions.EventKind{sessions.EventFailed}},
		} {
			for _, verb := range []string{"Save", "Renew", "SignIn", "Update"} {
				t.Run("X2 C8 no value is in the events, the error and the log of a "+verb+" that was "+name, func(t *testing.T) {
					var log kit.Log
					p := open(t, s, sessions.Config{OnConflict: row.policy, MaxSize: row.size, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, edit(1, true))
					ctx, live := p.load(t, edit(2, true))
					edit(3, false)(live)
					if row.size > 0 {
						live.Name = strings.Repeat("SECRET", 400)
					}
					err := p.call(ctx, verb, func(s *state) { s.Note = "SECRET-4" })
					texts := append(log.Take(), fmt.Sprint(err))
					seen := map[sessions.EventKind]bool{}
					for _, e := range p.events.Take() {
						seen[e.Kind] = true
						data, err := json.Marshal(e)
						kit.Must(t, err)
						texts = append(texts, fmt.Sprintf("%v %+v %#v", e, e, e), string(data))
						if e.Err != nil {
							texts = append(texts, fmt.Sprintf("%v %+v %#v", e.Err, e.Err, e.Err))
						}
					}
					for _, kind := range row.kinds {
						if !seen[kind] {
							t.Errorf("there is no event %v", kind)
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
