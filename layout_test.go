package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The tests of the library's own Layout. What it writes lies in stores for
// months: the vectors here are the stored format, and change only together
// with a "Stored format" line in CHANGELOG.md.

func TestLayoutMintParse(t *testing.T) {
	const drawn = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, remembered := range []bool{false, true} {
		token := sessions.DefaultLayout{}.Mint(drawn, remembered)
		got, known, ok := sessions.DefaultLayout{}.Parse(token)
		if got != remembered || !known || !ok {
			t.Errorf("Parse(Mint(…, %t)) = %t, %t, %t", remembered, got, known, ok)
		}
	}

	rep := strings.Repeat
	for _, tt := range []struct {
		name, token string
		ok          bool
	}{
		{"shortest", "s" + rep("a", 24), true},
		{"longest", "r" + rep("Z", 132), true},
		{"every class of letter", "sazAZ09-_" + rep("x", 16), true},
		{"empty", "", false},
		{"one byte", "s", false},
		{"one too short", "s" + rep("a", 23), false},
		{"one too long", "s" + rep("a", 133), false},
		{"64 KiB", "s" + rep("a", 64<<10), false},
		{"no class", drawn, false},
		{"unknown class", "t" + drawn, false},
		{"class in upper case", "S" + drawn, false},
		{"space", "s" + drawn + " ", false},
		{"CR LF", "s" + drawn + "\r\n", false},
		{"NUL", "s" + drawn + "\x00", false},
		{"non-ASCII", "s" + drawn + "é", false},
		{"not UTF-8", "s" + drawn + "\xff", false},
		{"braces", "s{}" + drawn, false},
		{"glob", "s*" + drawn, false},
		{"slash of base64", "s/" + drawn, false},
		{"plus of base64", "s+" + drawn, false},
		{"padding of base64", "s" + drawn + "==", false},
		{"dot", "s." + drawn, false},
	} {
		t.Run("T3 "+tt.name, func(t *testing.T) {
			if _, _, ok := (sessions.DefaultLayout{}).Parse(tt.token); ok != tt.ok {
				t.Errorf("ok = %t, want %t", ok, tt.ok)
			}
		})
	}
}

func TestLayoutKey(t *testing.T) {
	const drawn = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, tt := range []struct{ realm, token, key string }{
		{"session", "s" + drawn, "{ABCD}nRJCwm7ltFx5RsAnqqf1f5FFBVJ7yGZyVD7LsughRuM"},
		{"session", "r" + drawn, "{ABCD}lmimh4mHZ_WQWkMLuP81OG11tvW6VwD7z005Uc-0_Fc"},
		{"admin", "s" + drawn, "{ABCD}YR5PtCYGjmmVBlnYZAvxG93cNxMlm-JGe0GApjFMhVE"},
		{"", "s" + drawn, "{ABCD}kQE5jc2Y_xXvCkQOQgwxQ1pBXqhpTGoqvjprY0kfajc"},
	} {
		if got := (sessions.DefaultLayout{}).Key(tt.realm, tt.token); got != tt.key {
			t.Errorf("stored format: Key(%q, %q) = %q, want %q", tt.realm, tt.token, got, tt.key)
		}
	}
	t.Run("T11 realm and token do not run into each other", func(t *testing.T) {
		if (sessions.DefaultLayout{}).Key("a", "b"+drawn) == (sessions.DefaultLayout{}).Key("ab", drawn) {
			t.Error("one key for two realms")
		}
	})
	t.Run("X1 the key does not contain the token", func(t *testing.T) {
		if key := (sessions.DefaultLayout{}).Key("session", "s"+drawn); strings.Contains(key, drawn[4:8]) {
			t.Error(key)
		}
	})
}

func TestLayoutAllocations(t *testing.T) {
	token := sessions.DefaultLayout{}.Mint(strings.Repeat("a", 26), false)
	if got := testing.AllocsPerRun(100, func() { _, _, _ = sessions.DefaultLayout{}.Parse(token) }); got != 0 {
		t.Errorf("Parse: %v allocations, want none", got)
	}
	if got := testing.AllocsPerRun(100, func() { _ = sessions.DefaultLayout{}.Key("session", token) }); got > 1 {
		t.Errorf("Key: %v allocations, want one: the key", got)
	}
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
	token := sessions.DefaultLayout{}.Mint(strings.Repeat("a", 26), false)
	key := sessions.DefaultLayout{}.Key("session", token)
	for _, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		payload, err := c.Marshal(&T{UserID: "u", Views: 3, Prefs: map[string]int{"a": 1, "b": 2}, Any: []any{1, "x"}, Cart: make([]struct{ N *int }, 2)})
		if err != nil {
			f.Fatal(err)
		}
		stored, _ := sessions.DefaultLayout{}.Seal(sessions.Record{
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
		kinds  []sessions.EventKind
	}
	type site struct {
		name  string
		visit func(stored []byte) (visited, []byte, error)
	}
	var sites []site
	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		var v visited
		store := new(sessions.MemoryStore)
		m, err := sessions.New[T](store, sessions.Config{
			Codec: codec, Logger: slog.New(slog.DiscardHandler),
			OnEvent: func(_ context.Context, e sessions.Event) { v.kinds = append(v.kinds, e.Kind) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				v.err = err
				w.WriteHeader(http.StatusTeapot)
			},
		})
		if err != nil {
			f.Fatal(err)
		}
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = sessions.FromContext[T](r.Context()).Views
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
			r.Header.Set("Cookie", "__Host-Http-session="+token)
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
		rec, headerErr := sessions.DefaultLayout{}.Open(stored)
		mark := headerErr == nil && rec.Successor != nil
		for _, s := range sites {
			v, after, err := s.visit(stored)
			if v.status != http.StatusOK && !(errors.Is(v.err, sessions.ErrNewerVersion) && rec.Version > 0) {
				t.Fatalf("%s: status %d, %v", s.name, v.status, v.err)
			}
			if errors.Is(err, sessions.ErrNotFound) && headerErr == nil && (mark || slices.Contains(v.kinds, sessions.EventExpired)) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v, events %v", s.name, err, v.kinds)
			}
			if bytes.Equal(after, stored) {
				continue
			}
			// L3: what another build wrote in its own way may be written once.
			again, err := sessions.DefaultLayout{}.Open(after)
			if err != nil || !slices.Equal(v.kinds, []sessions.EventKind{sessions.EventSaved}) {
				t.Fatalf("%s: written as %q, events %v, %v", s.name, after, v.kinds, err)
			}
			if _, third, err := s.visit(after); err != nil || !bytes.Equal(third, after) {
				t.Fatalf("%s: written twice: %q, then %q, then %q", s.name, stored, again.Payload, third)
			}
		}
	})
}

// The whole stored format, as it lies in Redis today and as it will lie there
// when another build reads it: key, header, payload. What fails here logs
// everybody out; CHANGELOG.md has a line for that.
func TestStoredFormat(t *testing.T) {
	const drawnToken = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	full := kit.Session{
		UserID: "u-17", Views: 300, Flash: "<é>\n", Cart: []kit.Item{{SKU: "a", Qty: 2}, {SKU: "b", Qty: -1}},
		Prefs: map[string]int{"x": 1}, Tags: map[string]string{"k": "v", "l": ""},
	}
	for _, tt := range []struct {
		codec      sessions.Codec
		full, zero string // payloads
	}{
		{
			sessions.JSON{},
			`{"user_id":"u-17","views":300,"flash":"<é>\n","cart":[{"sku":"a","qty":2},{"sku":"b","qty":-1}],"prefs":{"x":1},"tags":{"k":"v","l":""}}`,
			`{"user_id":"","views":0,"cart":null,"prefs":null,"tags":null}`,
		},
		{
			sessions.MsgPack{},
			"\x86\xa7user_id\xa4u-17\xa5views\xcd\x01\x2c\xa5flash\xa5<é>\n\xa4cart\x92\x82\xa3sku\xa1a\xa3qty\x02\x82\xa3sku\xa1b\xa3qty\xff" +
				"\xa5prefs\x81\xa1x\x01\xa4tags\x82\xa1k\xa1v\xa1l\xa0",
			"\x85\xa7user_id\xa0\xa5views\x00\xa4cart\xc0\xa5prefs\xc0\xa4tags\xc0",
		},
	} {
		for name, want := range map[string]struct {
			value   kit.Session
			payload string
		}{"full": {full, tt.full}, "zero": {kit.Session{}, tt.zero}} {
			t.Run(tt.codec.Name()+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // at midnight on 1 January 2000
					first := true
					cfg := sessions.Config{
						Codec: tt.codec, SaveUninitialized: true,
						Label: func(*http.Request) string { return "Firefox" },
						NewToken: func() (string, error) {
							first = !first
							return map[bool]string{true: strings.Repeat("a", 26), false: drawnToken}[first], nil
						},
					}
					a := kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
					b := a.Browser()
					b.Edit(func(s *kit.Session) { *s = want.value })
					token := b.Token()
					if token[:1]+token[5:] != "s"+drawnToken {
						t.Errorf("stored format: token %q", token)
					}
					stored, left, err := a.Store.Load(t.Context(), kit.KeyOf(token), 0)
					kit.Must(t, err)
					if left != time.Hour {
						t.Errorf("for %v", left)
					}
					header, payload, _ := strings.Cut(string(stored), "\n")
					drawn := regexp.MustCompile(`^\{"id":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}","w":\["[A-Z2-7]{12}\.1"\],`)
					if got, rest := drawn.ReplaceAllString(header, ""), `"c":"`+tt.codec.Name()+`","created":946684800000,"label":"Firefox"}`; got != rest {
						t.Errorf("stored header\n got %s\nwant %s", got, rest)
					}
					if payload != want.payload {
						t.Errorf("stored payload\n got %q\nwant %q", payload, want.payload)
					}

					// And another build, years later: what lies there is read.
					other := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: tt.codec})
					golden := `{"id":"5f0c9a52-0d6e-4a53-a2a0-0e8b6b0a7a10","w":["QWERTYUIOPAS.1z"],"c":"` + tt.codec.Name() +
						`","created":946684800000,"label":"Firefox"}` + "\n" + want.payload
					kit.Must(t, other.Store.Create(t.Context(), kit.KeyOf(token), []byte(golden), time.Hour))
					ctx, got := kit.Load(t, other.Manager, token)
					if info := other.Info(ctx); info.ID != "5f0c9a52-0d6e-4a53-a2a0-0e8b6b0a7a10" || info.Label != "Firefox" || info.New {
						t.Errorf("info %+v", info)
					}
					if !reflect.DeepEqual(*got, want.value) {
						t.Errorf("read %+v, want %+v", *got, want.value)
					}
					kit.Commit(t, other.Manager, ctx)
					if after, _, _ := other.Store.Load(t.Context(), kit.KeyOf(token), 0); string(after) != golden {
						t.Errorf("written as %q", after)
					}
				})
			})
		}
	}
}
