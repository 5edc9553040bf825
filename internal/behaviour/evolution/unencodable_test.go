package evolution_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// fragile has fields that refuse some values.
type fragile struct {
	Name   string
	Score  float64           `json:"score"`
	Any    any               `json:"any"`
	Locale locale            `json:"locale"`
	List   []map[string]*any `json:"list"`
	Part
	*Late
}

type (
	Part struct {
		Inner locale `json:"inner"`
	}
	Late struct {
		Outer any `json:"outer"`
	}
)

// locale refuses one value, with an error that quotes it.
type locale string

func (l locale) check() error {
	if l == "secret" {
		return fmt.Errorf("no locale %q", string(l))
	}
	return nil
}

func (l locale) MarshalText() ([]byte, error)  { return []byte(l), l.check() }
func (l *locale) UnmarshalText(b []byte) error { *l = locale(b); return nil }
func (l locale) EncodeMsgpack(e *msgpack.Encoder) error {
	return errors.Join(l.check(), e.EncodeString(string(l)))
}

func (l *locale) DecodeMsgpack(d *msgpack.Decoder) error {
	text, err := d.DecodeString()
	*l = locale(text)
	return err
}

func TestUnencodable(t *testing.T) {
	t.Parallel()
	var deep any = "secret"
	for range 200 {
		deep = []any{deep}
	}
	for name, set := range map[string]func(s *fragile){
		"locale": func(s *fragile) { s.Locale = "secret" },
		"any":    func(s *fragile) { s.Any = func() string { return "secret" } },
		"list":   func(s *fragile) { v := any(make(chan int)); s.List = []map[string]*any{{"secret": &v}} },
		"inner":  func(s *fragile) { s.Inner = "secret" },
		"outer":  func(s *fragile) { s.Late = &Late{map[string]any{"secret": deep}} },
	} {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("K10 a T of which "+name+" cannot be encoded is not saved, and the error names the field and no value", func(t *testing.T) {
				store := &kit.Store{Store: kit.Memory()}
				m := kit.New[fragile](t, store, sessions.Config{Codec: c})
				token := kit.Edit(t, m, "", func(s *fragile) { s.Name = "begun" })
				store.Calls()
				_, err := kit.Request(t.Context(), m, token, func(ctx context.Context) error {
					s := m.FromContext(ctx)
					s.Name = "secret name"
					set(s)
					return m.Save(ctx)
				})
				store.WantCalls(t, "a save that cannot be encoded", "Load")
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot encode field %q: ", name)) || strings.Contains(err.Error(), "secret") {
					t.Errorf("the error is %v", err)
				}
				e, ok := errors.AsType[interface {
					error
					Path() string
				}](err)
				if !ok || e.Path() != name {
					t.Errorf("the error's path does not name %s: %v", name, err)
				}
				if s := kit.Stored(t, m, token); s.Name != "begun" {
					t.Errorf("stored is %+v", s)
				}
			})
		})
	}
	t.Run("K10 a number that JSON has not is named by its field", func(t *testing.T) {
		m := kit.New[fragile](t, kit.Memory(), sessions.Config{})
		_, err := kit.Request(t.Context(), m, "", func(ctx context.Context) error {
			m.FromContext(ctx).Score = math.NaN()
			return nil
		})
		if err == nil || !strings.HasSuffix(err.Error(), `json: cannot encode field "score": unsupported value: NaN`) {
			t.Errorf("the error is %v", err)
		}
	})
}
