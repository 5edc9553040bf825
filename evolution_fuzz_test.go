package sessions_test

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
	for _, row := range oddRecords() {
		f.Add([]byte(row.stored))
	}
	whole, _ := json.Marshal(full())
	packed, _ := msgpack.Marshal(full2())
	f.Add([]byte(recordOf("json", string(whole))))
	f.Add([]byte(recordOf("json", `{"USER_ID":"a","user_id":"b","Views":1,"other":{"x":1.50},"cart":null}`)))
	f.Add([]byte(recordOf("msgpack", string(packed))))
	f.Add([]byte(strings.Replace(recordOf("json", "{}"), `"created"`, `"successor":"x","created"`, 1)))
	f.Add([]byte(strings.Replace(recordOf("json", "{}"), `"created"`, `"x":[1,{"y":"z"}],"idle":5,"label":"\u000a","created"`, 1)))
	f.Fuzz(func(t *testing.T, stored []byte) {
		if len(stored) == 0 {
			return
		}
		for _, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
			var store sessions.MemoryStore
			var events recorder
			m := newManager[Session](t, &store, sessions.Config{Codec: c, OnEvent: events.on})
			if err := store.Create(t.Context(), keyOf(oddToken), stored, time.Hour); err != nil {
				t.Fatal(err)
			}
			ctx, err := m.Load(t.Context(), oddToken)
			if errors.Is(err, sessions.ErrNewerVersion) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			s := m.FromContext(ctx)
			data, _, err := store.Load(t.Context(), keyOf(oddToken), 0)
			if m.Info(ctx).New {
				if !reflect.DeepEqual(*s, Session{}) {
					t.Fatalf("an unreadable record gives %+v", *s)
				}
				if !bytes.Equal(data, stored) && !errors.Is(err, sessions.ErrNotFound) {
					t.Fatalf("an unreadable record was changed to %q", data)
				}
				continue
			}
			if err != nil || !bytes.Equal(data, stored) {
				t.Fatalf("reading changed the record to %q, %v", data, err)
			}
			if foldsToKnown(stored) {
				continue // TestFoldedNames
			}
			var text strings.Builder
			fmt.Fprint(&text, s.UserID, s.Flash, s.Cart, s.Prefs, s.Tags)
			if !utf8.ValidString(text.String()) {
				continue // JSON cannot hold it, as its doc says
			}
			s.UserID, s.Flash = "changed", ""
			want := *s
			if _, err := m.Commit(ctx); err != nil {
				if errors.Is(err, sessions.ErrTooLarge) {
					continue
				}
				t.Fatalf("saving what was loaded from %q: %v", stored, err)
			}
			ctx, err = m.Load(t.Context(), oddToken)
			if err != nil {
				t.Fatal(err)
			}
			if got := *m.FromContext(ctx); !reflect.DeepEqual(got, want) {
				data, _, _ := store.Load(t.Context(), keyOf(oddToken), 0)
				t.Fatalf("%q\nsaved as %q\nreads %+v\nwant %+v", stored, data, got, want)
			}
		}
	})
}
