package evolution_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// foldsToKnown says that the JSON payload of a record has a field that equals one
// of T's but for case.
func foldsToKnown(stored []byte) bool {
	_, payload, _ := bytes.Cut(stored, []byte{'\n'})
	var fields map[string]json.RawMessage
	if json.Unmarshal(payload, &fields) != nil {
		return false
	}
	for name := range fields {
		for _, known := range []string{"user_id", "views", "flash", "cart", "prefs", "tags"} {
			if name != known && strings.EqualFold(name, known) {
				return true
			}
		}
	}
	return false
}

// FuzzStoredRecord stores arbitrary bytes under a visitor's key. Whatever they
// are: no panic, no error but that of a newer build; what is not a session
// stays as it is, or goes if its time is up, and gives a T that is fresh; what
// is one can be changed, saved, and read again.
func FuzzStoredRecord(f *testing.F) {
	for _, row := range unreadableRecords() {
		f.Add([]byte(row.stored))
	}
	whole, _ := json.Marshal(kit.Full())
	packed, _ := msgpack.Marshal(secretFields())
	f.Add([]byte(kit.RecordOf("json", string(whole))))
	f.Add([]byte(kit.RecordOf("json", `{"USER_ID":"a","user_id":"b","Views":1,"other":{"x":1.50},"cart":null}`)))
	f.Add([]byte(kit.RecordOf("msgpack", string(packed))))
	f.Add([]byte(strings.Replace(kit.RecordOf("json", "{}"), `"created"`, `"successor":"x","created"`, 1)))
	f.Add([]byte(strings.Replace(kit.RecordOf("json", "{}"), `"created"`, `"x":[1,{"y":"z"}],"idle":5000000,"label":"\u000a","created"`, 1)))
	f.Fuzz(func(t *testing.T, stored []byte) {
		if len(stored) == 0 {
			return
		}
		for _, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
			store, events := kit.Memory(), &kit.Events{}
			m := kit.New[kit.Session](t, store, sessions.Config{Codec: c, OnEvent: events.On})
			kit.Place(t, store, kit.HandToken, string(stored))
			ctx, err := m.Load(t.Context(), kit.HandToken)
			if errors.Is(err, sessions.ErrNewerVersion) {
				continue
			}
			kit.Must(t, err)
			s := m.FromContext(ctx)
			record := kit.RecordUnder(t, store, kit.HandToken)
			if m.Info(ctx).New {
				if !reflect.DeepEqual(*s, kit.Session{}) {
					t.Fatalf("an unreadable record gives %+v", *s)
				}
				if record != string(stored) && record != "" {
					t.Fatalf("an unreadable record was changed to %q", record)
				}
				continue
			}
			if time.Until(m.Info(ctx).IdleUntil) < time.Minute {
				continue // it may expire meanwhile
			}
			if record != string(stored) {
				t.Fatalf("reading changed the record to %q", record)
			}
			if foldsToKnown(stored) {
				continue // TestFoldedNames
			}
			if !utf8.ValidString(fmt.Sprint(s.UserID, s.Flash, s.Cart, s.Prefs, s.Tags)) {
				continue // JSON cannot hold it, as its doc says
			}
			s.UserID, s.Flash = "changed", ""
			want := *s
			if _, err := m.Commit(ctx); errors.Is(err, sessions.ErrTooLarge) {
				continue
			} else if err != nil {
				t.Fatalf("saving what was loaded from %q: %v", stored, err)
			}
			if _, got := kit.Load(t, m, kit.HandToken); !reflect.DeepEqual(*got, want) {
				t.Fatalf("%q\nsaved as %q\nreads %+v\nwant %+v", stored, kit.RecordUnder(t, store, kit.HandToken), *got, want)
			}
		}
	})
}
