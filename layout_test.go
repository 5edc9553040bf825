package sessions_test

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The whole stored format, as it lies in Redis today and as it will lie there
// when another build reads it: key, header, payload. What fails here logs
// everybody out; CHANGELOG.md has a line for that.
func TestStoredFormat(t *testing.T) {
	const (
		token = "sABCDEFGHIJKLMNOPQRSTUVWXYZ"
		key   = "nRJCwm7ltFx5RsAnqqf1f5FFBVJ7yGZyVD7LsughRuM"
	)
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
							return map[bool]string{true: strings.Repeat("a", 26), false: token[1:]}[first], nil
						},
					}
					a := kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
					a.Browser().Edit(func(s *kit.Session) { *s = want.value })
					stored, left, err := a.Store.Load(t.Context(), key, 0)
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
					kit.Must(t, other.Store.Create(t.Context(), key, []byte(golden), time.Hour))
					ctx, got := kit.Load(t, other.Manager, token)
					if info := other.Info(ctx); info.ID != "5f0c9a52-0d6e-4a53-a2a0-0e8b6b0a7a10" || info.Label != "Firefox" || info.New {
						t.Errorf("info %+v", info)
					}
					if !reflect.DeepEqual(*got, want.value) {
						t.Errorf("read %+v, want %+v", *got, want.value)
					}
					kit.Commit(t, other.Manager, ctx)
					if after, _, _ := other.Store.Load(t.Context(), key, 0); string(after) != golden {
						t.Errorf("written as %q", after)
					}
				})
			})
		}
	}
}
