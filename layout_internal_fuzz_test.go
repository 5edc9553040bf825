package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzHeader: no bytes make Open panic or allocate more than a small multiple
// of their number, and what it reads, Seal writes.
func FuzzHeader(f *testing.F) {
	full, _ := layout{}.Seal(fullRecord())
	f.Add(full)
	f.Add([]byte(`{"x":[],"w":["a.1"],"y":"\n","id":"i\ud83d","created":-5,"z":{}}` + "\n"))
	f.Add([]byte(`{"id":"i","w":["a.1","b.2"],"w":["c.3"],"created":5,"successor":"k","successor":""}` + "\n"))
	f.Add([]byte("{" + strings.Repeat(`"\n":"\n",`, 1000) + "\n"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		before := bytes.Clone(stored)
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		r, err := layout{}.Open(stored)
		runtime.ReadMemStats(&end)
		// Copies are made of strings with escapes and of scattered unknown
		// fields, growth included; the rest is what the fuzzer itself allocates.
		if got, most := end.TotalAlloc-start.TotalAlloc, uint64(16*len(stored)+64<<10); got > most {
			t.Errorf("%d bytes allocated for a record of %d", got, len(stored))
		}
		if !bytes.Equal(stored, before) {
			t.Error("Open has changed what it was given")
		}
		if err != nil {
			return
		}
		if r.Prefix <= 0 || r.Prefix > len(stored) {
			t.Fatalf("prefix of %d bytes of %d", r.Prefix, len(stored))
		}
		again, err := layout{}.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := layout{}.Open(again)
		if err != nil {
			t.Fatalf("sealed as %q: %v", again, err)
		}
		sameRecord(t, r2, r)
		if third, _ := (layout{}).Seal(r2); !bytes.Equal(third, again) {
			t.Errorf("sealed as %q, then as %q", again, third)
		}
	})
}

// FuzzRecord: whatever lies under a visitor's valid token, the visitor is
// served, and what lies there is left alone unless its time is up.
func FuzzRecord(f *testing.F) {
	type T struct {
		UserID string             `json:"user_id"`
		Views  int                `json:"views"`
		Ratio  float64            `json:"ratio"`
		Seen   time.Time          `json:"seen"`
		Data   []byte             `json:"data"`
		Cart   []struct{ N *int } `json:"cart"`
		Prefs  map[string]int     `json:"prefs"`
		Any    any                `json:"any"`
	}
	token := layout{}.Mint(strings.Repeat("a", 26), false)
	key := layout{}.Key("session", token)
	for _, c := range []Codec{JSON{}, MsgPack{}} {
		payload, err := c.Marshal(&T{UserID: "u", Views: 3, Prefs: map[string]int{"a": 1, "b": 2}, Any: []any{1, "x"}, Cart: make([]struct{ N *int }, 2)})
		if err != nil {
			f.Fatal(err)
		}
		stored, _ := layout{}.Seal(Record{
			ID: []byte("i"), Writes: [8][]byte{[]byte("a.1")}, Codec: []byte(c.Name()), Created: time.Now().Add(365 * 24 * time.Hour), Payload: payload,
		})
		f.Add(stored)
	}
	const head = `{"id":"i","w":["a.1"],"c":"msgpack","created":9999999999999}` + "\n"
	for _, seed := range []string{
		"", "\n", "null", "{}", "null\n{}", `{"successor":"x"` + "\n", `{"id":"i","w":["a.1"],"created":5}` + "\n{}",
		`{"id":"i","w":["a.1"],"c":"xml","created":9999999999999}` + "\n{}",
		`{"id":"i","w":["a.1"],"created":9999999999999,"version":7}` + "\n{}",
		`{"id":"i","w":["a.1"],"created":9999999999999,"idle":1}` + "\n" + `{"views":1}`,
		`{"id":"i","w":["a.1"],"created":9999999999999,"successor":"k"}` + "\n",
		`{"id":"i","w":["a.1"],"created":9999999999999}` + "\nnull",
		`{"id":"i","w":["a.1"],"created":9999999999999}` + "\n" + strings.Repeat(`{"any":`, 200),
		head, head + "\xdd\xff\xff\xff\xff", head + "\xdf\x00\x0f\x42\x40", head + "\xc6\xff\xff\xff\xff", head + "\xc0",
		head + "\x81\xa4seen\xc0", head + "\x81\xa5ratio\xca\x7f\xc0\x00\x00", head + "\x81\xa5VIEWS\x01\x00",
	} {
		f.Add([]byte(seed))
	}

	type visited struct {
		status int
		err    error
		kinds  []EventKind
	}
	type site struct {
		name  string
		visit func(stored []byte) (visited, []byte, error)
	}
	var sites []site
	for _, codec := range []Codec{JSON{}, MsgPack{}} {
		var v visited
		store := new(MemoryStore)
		m, err := New[T](store, Config{
			Codec: codec, Logger: slog.New(slog.DiscardHandler),
			OnEvent: func(_ context.Context, e Event) { v.kinds = append(v.kinds, e.Kind) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				v.err = err
				w.WriteHeader(http.StatusTeapot)
			},
		})
		if err != nil {
			f.Fatal(err)
		}
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = FromContext[T](r.Context()).Views
			_ = m.Info(r.Context())
			w.WriteHeader(http.StatusOK)
		}))
		sites = append(sites, site{codec.Name(), func(stored []byte) (visited, []byte, error) {
			ctx := context.Background()
			store.Delete(ctx, key)
			if err := store.Create(ctx, key, stored, time.Hour); err != nil {
				return v, nil, err
			}
			v = visited{}
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header.Set("Cookie", "__Host-session="+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			v.status = w.Code
			after, _, err := store.Load(ctx, key, 0)
			if lines := w.Header()["Set-Cookie"]; lines != nil {
				err = fmt.Errorf("Set-Cookie %q", lines)
			}
			return v, after, err
		}})
	}

	f.Fuzz(func(t *testing.T, stored []byte) {
		rec, headerErr := layout{}.Open(stored)
		mark := headerErr == nil && rec.Successor != nil
		for _, s := range sites {
			v, after, err := s.visit(stored)
			if v.status != http.StatusOK && !(errors.Is(v.err, ErrNewerVersion) && rec.Version > 0) {
				t.Fatalf("%s: status %d, %v", s.name, v.status, v.err)
			}
			if errors.Is(err, ErrNotFound) && headerErr == nil && (mark || slices.Contains(v.kinds, EventExpired)) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v, events %v", s.name, err, v.kinds)
			}
			if bytes.Equal(after, stored) {
				continue
			}
			// L3: what another build wrote in its own way may be written once.
			again, err := layout{}.Open(after)
			if err != nil || !slices.Equal(v.kinds, []EventKind{EventSaved}) {
				t.Fatalf("%s: written as %q, events %v, %v", s.name, after, v.kinds, err)
			}
			if _, third, err := s.visit(after); err != nil || !bytes.Equal(third, after) {
				t.Fatalf("%s: written twice: %q, then %q, then %q", s.name, stored, again.Payload, third)
			}
		}
	})
}
