package seams_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// callsByKey is a foreign Layout that calls a session by its key, which is the
// token, and has a word to say about the names of T's fields.
type callsByKey struct {
	document
	shown *[]string
}

func (callsByKey) ID(key string) string { return "sid of " + key }

func (l callsByKey) ValidateFields(names []string) error {
	if l.shown != nil {
		*l.shown = names
	}
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			errs = append(errs, fmt.Errorf("%s begins with _: leave it out", name))
		}
	}
	return errors.Join(errs...)
}

// bare is a foreign Layout whose record is the payload alone, by whatever codec.
type bare struct{ callsByKey }

func (bare) Open(stored []byte) (sessions.Record, error) {
	return sessions.Record{Payload: stored, Prefix: len(stored)}, nil
}

func (bare) Seal(r sessions.Record) ([]byte, error) { return r.Payload, nil }

type (
	namesBase struct {
		Inner string `json:"inner" msgpack:"packed"`
	}
	NamesOptional struct {
		Maybe int `json:"maybe"`
	}
	namesAll struct {
		namesBase
		*NamesOptional
		Plain  int
		Tagged int `json:"tagged,omitempty"`
		Deep   struct {
			Hidden int `json:"_hidden"` // is in a field, and none
		} `json:"deep"`
		Out int `json:"-"`
	}

	namesBad struct {
		namesUnderscore
		Second int `json:"_b"`
		Good   int
	}
	namesUnderscore struct {
		First int `json:"_a"`
	}

	namesMarshal struct {
		V int `json:"-"`
	}
)

func (m namesMarshal) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"_own": m.V, "fine": 1})
}

func (m *namesMarshal) UnmarshalJSON([]byte) error { return nil }

func TestShownNames(t *testing.T) {
	t.Parallel()
	config := func(l sessions.Layout) sessions.Config {
		return sessions.Config{IdleTimeout: time.Hour, Lifetime: -1, Layout: l}
	}
	t.Run("New shows the Layout the names under which T's fields are stored, those of embedded structs too", func(t *testing.T) {
		var shown []string
		kit.New[namesAll](t, kit.Memory(), config(callsByKey{shown: &shown}))
		if want := []string{"Plain", "deep", "inner", "maybe", "tagged"}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
	})
	t.Run("they are those of Config.Codec", func(t *testing.T) {
		var shown []string
		cfg := config(bare{callsByKey{shown: &shown}})
		cfg.Codec = sessions.MsgPack{}
		kit.New[namesAll](t, kit.Memory(), cfg)
		if want := []string{"Plain", "deep", "maybe", "packed", "tagged"}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
	})
	t.Run("and what a marshaler of T's writes", func(t *testing.T) {
		_, err := sessions.New[namesMarshal](kit.Memory(), config(callsByKey{}))
		if want := "sessions: T is seams_test.namesMarshal: _own begins with _: leave it out"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("what it refuses is New's error, whole", func(t *testing.T) {
		_, err := sessions.New[namesBad](kit.Memory(), config(callsByKey{}))
		if want := "sessions: T is seams_test.namesBad: _a begins with _: leave it out\n_b begins with _: leave it out"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}
