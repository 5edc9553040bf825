package update_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestRecordCannotBeRead(t *testing.T) {
	t.Parallel()
	undecoded := func(err error) bool {
		_, ok := errors.AsType[*sessions.DecodeError](err)
		return ok
	}
	isNewer := func(err error) bool { return errors.Is(err, sessions.ErrNewerVersion) }
	newer := func(payload string) string {
		return strings.Replace(kit.RecordOf("json", payload), `"created"`, `"version":9,"created"`, 1)
	}
	for _, row := range []struct {
		name, stored string
		is           func(err error) bool
	}{
		{"is not T", kit.RecordOf("json", `{"views":"many"}`), undecoded},
		{"is cut off", kit.RecordOf("json", `{"views":`), undecoded},
		{"is of no known codec", kit.RecordOf("gob", `{}`), undecoded},
		{"has no header", "garbage", undecoded},
		{"is over MaxSize", kit.RecordOf("json", `{"name":"`+strings.Repeat("x", 70<<10)+`"}`), undecoded},
		{"is of a newer build", newer(`{"views":1}`), isNewer},
		{"is of a newer build whose views are words", newer(`{"views":"many"}`), isNewer},
	} {
		eachPair(t, "K4 K6 Update of a session whose record "+row.name+" by now leaves the record and *T alone, and fn is not called on it", func(t *testing.T, p *pair[state]) {
			ctx, s := p.load()
			h, calls := hold(t, s), 0
			err := p.mine.Update(ctx, func(u *state) error {
				calls++
				spoil(u)
				kit.Place(t, p.store.Store, p.token, row.stored)
				return nil
			})
			if !row.is(err) || calls != 1 {
				t.Errorf("%v after %d calls of fn", err, calls)
			}
			h.check()
			if got := kit.RecordUnder(t, p.store.Store, p.token); got != row.stored {
				t.Errorf("the record is %.100q", got)
			}
		})
	}

	eachPair(t, "K6 Update by a visitor whose record cannot be read creates another session and leaves that one", func(t *testing.T, p *pair[state]) {
		stored := kit.RecordOf("json", `{"views":"many"}`)
		kit.Place(t, p.store.Store, kit.HandToken, stored)
		ctx, _ := kit.Load(t, p.mine, kit.HandToken)
		kit.Must(t, p.mine.Update(ctx, count))
		o := p.commit(ctx)
		if got := kit.RecordUnder(t, p.store.Store, kit.HandToken); got != stored || o.Kind != sessions.OutcomeCreated {
			t.Errorf("%v, the record is %.100q", o.Kind, got)
		}
		p.want(state{Views: 1})
	})
}
