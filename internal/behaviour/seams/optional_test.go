package seams_test

import (
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A part's optional method of another type would silently never be called.
type (
	timeoutless    struct{ sessions.MemoryStore }
	validateless   struct{ sessions.JSON }
	halfFields     struct{ minimalCodec }
	walkless       struct{ sessions.JSON }
	appendless     struct{ sessions.JSON }
	secureless     struct{ sessions.Cookie }
	cookieless     struct{ sessions.Cookie }
	attrsless      struct{ sessions.Cookie }
	outcomeless    struct{ sessions.Cookie }
	idless         struct{ sessions.DefaultLayout }
	namesless      struct{ sessions.DefaultLayout }
	pointerTimeout struct{ sessions.Store }
	minimalCodec   struct{}
)

func (minimalCodec) Name() string                       { return "plain" }
func (minimalCodec) Marshal(v any) ([]byte, error)      { return sessions.JSON{}.Marshal(v) }
func (minimalCodec) Unmarshal(data []byte, v any) error { return sessions.JSON{}.Unmarshal(data, v) }

func (*timeoutless) Timeout() int                               { return 1 }
func (validateless) Validate() bool                             { return false }
func (halfFields) Split(data []byte) (sessions.Fields, error)   { return sessions.JSON{}.Split(data) }
func (walkless) Walk([]byte) error                              { return nil }
func (appendless) AppendMarshal(any) ([]byte, error)            { return nil, nil }
func (secureless) Secure() string                               { return "" }
func (cookieless) CookieFor() string                            { return "" }
func (attrsless) Attrs(bool) any                                { return nil }
func (outcomeless) ValidateOutcome(o *sessions.Outcome) error   { return nil }
func (idless) ID(key []byte) string                             { return "" }
func (namesless) ValidateFields(names ...string) (string, bool) { return "", false }
func (*pointerTimeout) Timeout() time.Duration                  { return time.Second }

func TestOptionalMethods(t *testing.T) {
	store := func() sessions.Store { return &sessions.MemoryStore{} }
	for _, tt := range []struct {
		name   string
		store  sessions.Store
		cfg    sessions.Config
		part   string
		method string
		want   string // the interface
	}{
		{"a store's Timeout", &timeoutless{}, sessions.Config{}, "store", "Timeout", "Timed"},
		{"a store's Timeout of the pointer alone", pointerTimeout{store()}, sessions.Config{}, "store", "pointer", "Timed"},
		{"Validate", store(), sessions.Config{Codec: validateless{}}, "Config.Codec", "Validate", "Validator"},
		{"Split without Join", store(), sessions.Config{Codec: halfFields{}}, "Config.Codec", "Split", "FieldCodec"},
		{"Walk", store(), sessions.Config{Codec: walkless{}}, "Config.Codec", "Walk", "FieldWalker"},
		{"AppendMarshal", store(), sessions.Config{Codec: appendless{}}, "Config.Codec", "AppendMarshal", "AppendCodec"},
		{"Secure", store(), sessions.Config{Transport: secureless{}}, "Config.Transport", "Secure", "SecureTransport"},
		{"CookieFor", store(), sessions.Config{Transport: cookieless{}}, "Config.Transport", "CookieFor", "CookieTransport"},
		{"Attrs", store(), sessions.Config{Transport: attrsless{}}, "Config.Transport", "Attrs", "Attributor"},
		{"ValidateOutcome", store(), sessions.Config{Transport: outcomeless{}}, "Config.Transport", "ValidateOutcome", "OutcomeValidator"},
		{"ID", store(), sessions.Config{Layout: idless{}}, "Config.Layout", "ID", "Identifier"},
		{"ValidateFields", store(), sessions.Config{Layout: namesless{}}, "Config.Layout", "ValidateFields", "FieldsValidator"},
	} {
		t.Run("T7 "+tt.name, func(t *testing.T) {
			_, err := sessions.New[kit.Session](tt.store, tt.cfg)
			if err == nil {
				t.Fatal("New takes it")
			}
			for _, part := range []string{"sessions: " + tt.part + ": ", tt.method, "sessions." + tt.want} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("%d mistakes, want one: %v", n+1, err)
			}
		})
	}
	t.Run("T7 the library's own parts and those that have every method right", func(t *testing.T) {
		for _, cfg := range []sessions.Config{{}, {Codec: sessions.MsgPack{}}, {Transport: sessions.HeaderToken{}}, {Codec: minimalCodec{}}} {
			if _, err := sessions.New[kit.Session](store(), cfg); err != nil {
				t.Error(err)
			}
		}
	})
}
