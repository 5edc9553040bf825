package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/vmihailenco/msgpack/v5"
)

// What *T may implement, and how one can miss it. A name tells what is special.
type (
	traitX struct{ X int }

	traitDefaulted        struct{ X int }
	traitDefaultsEmbedded struct {
		traitDefaulted
		Y int
	}
	traitDefaultsValue    struct{ X int }
	traitDefaultsArgument struct{ X int }
	traitDefaultsResult   struct{ X int }
	traitDefaultsTooLarge struct{ X string }
	traitDefaultsBroken   struct{ X any }

	traitOwnerValue     struct{ X string }
	traitOwnerArgument  struct{ X string }
	traitOwnerInt       struct{ X string }
	traitOwnerError     struct{ X string }
	traitOwnerPanicking struct{ X *traitX }

	traitVersioned        struct{ X int }
	traitVersionValue     struct{ X int }
	traitVersionAlone     struct{ X int }
	traitUpgradeAlone     struct{ X int }
	traitVersionInt64     struct{ X int }
	traitVersionArgument  struct{ X int }
	traitUpgradeValue     struct{ X int }
	traitUpgradeBytes     struct{ X int }
	traitUpgradeNoError   struct{ X int }
	traitUpgradeSwapped   struct{ X int }
	traitVersionBoth      struct{ X int }
	traitVersionAloneOdd  struct{ X int }
	traitVersionZero      struct{ X int }
	traitVersionNegative  struct{ X int }
	traitVersionHuge      struct{ X int }
	traitVersionLargest   struct{ X int }
	traitVersionPanicking struct{ X *traitX }

	traitMergeValue    struct{ X int }
	traitMergeByValue  struct{ X int }
	traitMergeOther    struct{ X int }
	traitMergeNoError  struct{ X int }
	traitMergeOne      struct{ X int }
	traitMergeThree    struct{ X int }
	traitMergeContext  struct{ X int }
	traitMergeAny      struct{ X int }
	traitMerging       struct{ X int }
	traitMergeEmbedded struct {
		traitMerging
		Y int
	}

	traitAll struct {
		X int
		C chan int
	}
	traitEvery struct{ X int }
	traitCase  struct{ X int }
)

func (s *traitDefaulted) SessionDefaults()            { s.X = 1 }
func (traitDefaultsValue) SessionDefaults()           {}
func (*traitDefaultsArgument) SessionDefaults(_ bool) {}
func (*traitDefaultsResult) SessionDefaults() error   { return nil }
func (s *traitDefaultsTooLarge) SessionDefaults()     { s.X = strings.Repeat("x", 70<<10) }
func (s *traitDefaultsBroken) SessionDefaults()       { s.X = func() {} }

func (s traitOwnerValue) SessionOwner() string           { return s.X }
func (s *traitOwnerArgument) SessionOwner(_ bool) string { return s.X }
func (s *traitOwnerInt) SessionOwner() int               { return 1 }
func (s *traitOwnerError) SessionOwner() (string, error) { return s.X, nil }
func (s *traitOwnerPanicking) SessionOwner() string      { return fmt.Sprint(s.X.X) }

func (*traitVersioned) SessionVersion() int                       { return 1 }
func (*traitVersioned) UpgradeSession(int, func(any) error) error { return nil }

func (traitVersionValue) SessionVersion() int                        { return 1 }
func (*traitVersionValue) UpgradeSession(int, func(any) error) error { return nil }

func (*traitVersionAlone) SessionVersion() int                       { return 1 }
func (*traitUpgradeAlone) UpgradeSession(int, func(any) error) error { return nil }

func (*traitVersionInt64) SessionVersion() int64                     { return 1 }
func (*traitVersionInt64) UpgradeSession(int, func(any) error) error { return nil }

func (*traitVersionArgument) SessionVersion(context.Context) int        { return 1 }
func (*traitVersionArgument) UpgradeSession(int, func(any) error) error { return nil }

func (*traitUpgradeValue) SessionVersion() int                      { return 1 }
func (traitUpgradeValue) UpgradeSession(int, func(any) error) error { return nil }

func (*traitUpgradeBytes) SessionVersion() int              { return 1 }
func (*traitUpgradeBytes) UpgradeSession(int, []byte) error { return nil }

func (*traitUpgradeNoError) SessionVersion() int                       { return 1 }
func (*traitUpgradeNoError) UpgradeSession(int, func(any) error)       {}
func (*traitUpgradeSwapped) SessionVersion() int                       { return 1 }
func (*traitUpgradeSwapped) UpgradeSession(func(any) error, int) error { return nil }

func (*traitVersionBoth) SessionVersion() string   { return "1" }
func (*traitVersionBoth) UpgradeSession(int) error { return nil }

func (*traitVersionAloneOdd) SessionVersion() string { return "1" }

func (*traitVersionZero) SessionVersion() int                           { return 0 }
func (*traitVersionZero) UpgradeSession(int, func(any) error) error     { return nil }
func (*traitVersionNegative) SessionVersion() int                       { return -1 }
func (*traitVersionNegative) UpgradeSession(int, func(any) error) error { return nil }
func (*traitVersionHuge) SessionVersion() int                           { return math.MaxInt32 + 1 }
func (*traitVersionHuge) UpgradeSession(int, func(any) error) error     { return nil }
func (*traitVersionLargest) SessionVersion() int                        { return math.MaxInt32 }
func (*traitVersionLargest) UpgradeSession(int, func(any) error) error  { return nil }

func (s *traitVersionPanicking) SessionVersion() int                     { return s.X.X }
func (*traitVersionPanicking) UpgradeSession(int, func(any) error) error { return nil }

func (traitMergeValue) MergeSession(_, _ *traitMergeValue) error     { return nil }
func (*traitMergeByValue) MergeSession(_, _ traitMergeByValue) error { return nil }
func (*traitMergeOther) MergeSession(_, _ *traitX) error             { return nil }
func (*traitMergeNoError) MergeSession(_, _ *traitMergeNoError)      {}
func (*traitMergeOne) MergeSession(*traitMergeOne) error             { return nil }
func (*traitMergeThree) MergeSession(_, _, _ *traitMergeThree) error { return nil }
func (*traitMergeContext) MergeSession(context.Context, *traitMergeContext, *traitMergeContext) error {
	return nil
}
func (*traitMergeAny) MergeSession(_, _ any) error          { return nil }
func (*traitMerging) MergeSession(_, _ *traitMerging) error { return nil }

func (traitAll) SessionDefaults()                          {}
func (*traitAll) SessionOwner() []byte                     { return nil }
func (*traitAll) SessionVersion() uint                     { return 1 }
func (traitAll) UpgradeSession(int, func(any) error) error { return nil }
func (*traitAll) MergeSession(_, _ *traitX) error          { return nil }

func (*traitEvery) SessionDefaults()                          {}
func (*traitEvery) SessionOwner() string                      { return "" }
func (*traitEvery) SessionVersion() int                       { return 1 }
func (*traitEvery) UpgradeSession(int, func(any) error) error { return nil }
func (*traitEvery) MergeSession(_, _ *traitEvery) error       { return nil }

func (*traitCase) SessionOwners() []string { return nil }
func (*traitCase) MergeSessions() error    { return nil }

func TestTraits(t *testing.T) {
	const (
		never   = ", so it is never called: declare func (s *"
		value   = " has a value receiver, so what it sets is lost: declare func (s *"
		version = ") SessionVersion() int"
		upgrade = ") UpgradeSession(from int, decode func(any) error) error"
		alone   = "it has one of SessionVersion and UpgradeSession, and needs both: declare the other one too"
	)
	for _, tc := range []shaped{
		shape[traitEvery]("has all five"),
		shape[traitCase]("has methods of names that are none of them"),

		shape[traitDefaulted]("has SessionDefaults"),
		shape[traitDefaultsEmbedded]("has SessionDefaults by embedding"),
		shape[traitDefaultsValue]("has SessionDefaults on the value", "method SessionDefaults"+value+"traitDefaultsValue) SessionDefaults()"),
		shape[traitDefaultsArgument]("has SessionDefaults with an argument", "method SessionDefaults is a func(*sessions_test.traitDefaultsArgument, bool)"+never+"traitDefaultsArgument) SessionDefaults()"),
		shape[traitDefaultsResult]("has SessionDefaults with a result", "method SessionDefaults is a func(*sessions_test.traitDefaultsResult) error"+never+"traitDefaultsResult) SessionDefaults()"),
		shape[traitDefaultsBroken]("has SessionDefaults that set what no codec takes", "codec … cannot encode what SessionDefaults sets"),

		shape[traitOwnerValue]("has SessionOwner on the value, which sets nothing"),
		shape[traitOwnerArgument]("has SessionOwner with an argument", "method SessionOwner is a func(*sessions_test.traitOwnerArgument, bool) string"+never+"traitOwnerArgument) SessionOwner() string"),
		shape[traitOwnerInt]("has SessionOwner of an int", "method SessionOwner is a func(*sessions_test.traitOwnerInt) int"+never+"traitOwnerInt) SessionOwner() string"),
		shape[traitOwnerError]("has SessionOwner with an error", "method SessionOwner is a func(*sessions_test.traitOwnerError) (string, error)"+never+"traitOwnerError) SessionOwner() string"),

		shape[traitOwnerPanicking]("panics for the owner of a fresh T, which is nobody", `SessionOwner panics on a zero T: … return "" for nobody`),

		shape[traitVersioned]("is Versioned"),
		shape[traitVersionValue]("has SessionVersion on the value, which sets nothing"),
		shape[traitVersionAlone]("has SessionVersion alone", alone),
		shape[traitUpgradeAlone]("has UpgradeSession alone", alone),
		shape[traitVersionInt64]("has SessionVersion of an int64", "method SessionVersion is a func(*sessions_test.traitVersionInt64) int64"+never+"traitVersionInt64"+version),
		shape[traitVersionArgument]("has SessionVersion with an argument", "method SessionVersion is a func(*sessions_test.traitVersionArgument, context.Context) int"+never+"traitVersionArgument"+version),
		shape[traitUpgradeValue]("upgrades a copy", "method UpgradeSession"+value+"traitUpgradeValue"+upgrade),
		shape[traitUpgradeBytes]("has UpgradeSession of bytes", "method UpgradeSession is a func(*sessions_test.traitUpgradeBytes, int, []uint8) error"+never+"traitUpgradeBytes"+upgrade),
		shape[traitUpgradeNoError]("has UpgradeSession without an error", "method UpgradeSession is a func(*sessions_test.traitUpgradeNoError, int, func(interface {}) error)"+never+"traitUpgradeNoError"+upgrade),
		shape[traitUpgradeSwapped]("has UpgradeSession the other way round", "method UpgradeSession is a func(*sessions_test.traitUpgradeSwapped, func(interface {}) error, int) error"+never+"traitUpgradeSwapped"+upgrade),
		shape[traitVersionBoth]("has both with other signatures", "method SessionVersion is a func(*sessions_test.traitVersionBoth) string"+never+"traitVersionBoth"+version, "method UpgradeSession is a func(*sessions_test.traitVersionBoth, int) error"+never+"traitVersionBoth"+upgrade),
		shape[traitVersionAloneOdd]("has SessionVersion alone, with another signature", "method SessionVersion is a func(*sessions_test.traitVersionAloneOdd) string"+never+"traitVersionAloneOdd"+version, alone),
		shape[traitVersionZero]("has version 0", "SessionVersion is 0: return 1 or more, as a T that was never Versioned is version 0"),
		shape[traitVersionNegative]("has a negative version", "SessionVersion is -1: return 1 or more"),
		shape[traitVersionHuge]("has a version that no header holds", "SessionVersion is 2147483648: return 1 or more"),
		shape[traitVersionLargest]("has the largest version there is"),
		shape[traitVersionPanicking]("panics for its version", "SessionVersion panics on a zero T: … nil pointer dereference: return a constant"),

		shape[traitMerging]("is Merging"),
		shape[traitMergeValue]("merges into a copy", "method MergeSession"+value+"traitMergeValue) MergeSession(base, theirs *traitMergeValue) error"),
		shape[traitMergeByValue]("merges values", "method MergeSession is a func(*sessions_test.traitMergeByValue, sessions_test.traitMergeByValue, sessions_test.traitMergeByValue) error"+never+"traitMergeByValue) MergeSession(base, theirs *traitMergeByValue) error"),
		shape[traitMergeOther]("merges another type", "method MergeSession is a func(*sessions_test.traitMergeOther, *sessions_test.traitX, *sessions_test.traitX) error"+never+"traitMergeOther) MergeSession(base, theirs *traitMergeOther) error"),
		shape[traitMergeEmbedded]("embeds what is Merging", "method MergeSession is a func(*sessions_test.traitMergeEmbedded, *sessions_test.traitMerging, *sessions_test.traitMerging) error"+never+"traitMergeEmbedded) MergeSession(base, theirs *traitMergeEmbedded) error"),
		shape[traitMergeNoError]("merges without an error", "method MergeSession is a func(*sessions_test.traitMergeNoError, *sessions_test.traitMergeNoError, *sessions_test.traitMergeNoError)"+never+"traitMergeNoError) MergeSession("),
		shape[traitMergeOne]("merges without a base", "method MergeSession is a func(*sessions_test.traitMergeOne, *sessions_test.traitMergeOne) error"+never+"traitMergeOne) MergeSession("),
		shape[traitMergeThree]("merges three", "method MergeSession is a func("),
		shape[traitMergeContext]("merges with a context", "method MergeSession is a func(*sessions_test.traitMergeContext, context.Context, "),
		shape[traitMergeAny]("merges anything", "method MergeSession is a func(*sessions_test.traitMergeAny, interface {}, interface {}) error"+never+"traitMergeAny) MergeSession(base, theirs *traitMergeAny) error"),
	} {
		tc.run(t)
	}
	t.Run("T7 a T whose defaults are over MaxSize", func(t *testing.T) {
		_, err := sessions.New[traitDefaultsTooLarge](kit.Memory(), sessions.Config{})
		wantComplaints(t, err, "sessions: Config.MaxSize: 65536 bytes are too few even for a fresh sessions_test.traitDefaultsTooLarge: raise it")
	})
	t.Run("T7 near misses of all five, a field, and OnConflict are reported at once", func(t *testing.T) {
		_, err := sessions.New[traitAll](kit.Memory(), sessions.Config{OnConflict: 7})
		wantComplaints(t, err,
			"sessions: Config.OnConflict: ",
			"sessions: T is sessions_test.traitAll: method SessionDefaults has a value receiver",
			"sessions: T is sessions_test.traitAll: method SessionOwner is a func(*sessions_test.traitAll) []uint8",
			"sessions: T is sessions_test.traitAll: method SessionVersion is a func(*sessions_test.traitAll) uint",
			"sessions: T is sessions_test.traitAll: method UpgradeSession has a value receiver",
			"sessions: T is sessions_test.traitAll: method MergeSession is a func(",
			"sessions: T is sessions_test.traitAll: C is of type chan int",
		)
	})
}

// Fields that a codec does not write, and that a merge by fields would lose.
type (
	traitHidden        struct{ X, Y int } // writes X alone
	traitHiddenMerging struct{ X, Y int }
	traitStamped       struct { // time.Time's marshaler is then its own
		time.Time
		Y int
	}
	traitOpen        struct{ X, Y int } // writes both, by itself
	traitOpenMerging struct{ X, Y int }
	traitUnordered   struct{ X, Y int } // writes both, as msgpack writes a map: in no order
)

func (s traitHidden) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]int{"X": s.X}) }

func (s traitHidden) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.Encode(map[string]int{"X": s.X})
}

func (s traitHiddenMerging) MarshalJSON() ([]byte, error) { return traitHidden(s).MarshalJSON() }

func (s traitHiddenMerging) EncodeMsgpack(e *msgpack.Encoder) error {
	return traitHidden(s).EncodeMsgpack(e)
}
func (*traitHiddenMerging) MergeSession(_, _ *traitHiddenMerging) error { return nil }

func (s traitOpen) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"X": s.X, "Y": s.Y})
}

func (s traitOpen) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.Encode(struct{ X, Y int }{s.X, s.Y})
}

func (s traitOpenMerging) MarshalJSON() ([]byte, error) { return traitOpen(s).MarshalJSON() }

func (s traitOpenMerging) EncodeMsgpack(e *msgpack.Encoder) error {
	return traitOpen(s).EncodeMsgpack(e)
}
func (*traitOpenMerging) MergeSession(_, _ *traitOpenMerging) error { return nil }

func (s traitUnordered) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.Encode(map[string]int{"X": s.X, "Y": s.Y})
}

func TestHiddenFields(t *testing.T) {
	for policy, onConflict := range conflictPolicies {
		merges := onConflict == sessions.ConflictMerge
		for _, c := range []sessions.FieldCodec{sessions.JSON{}, sessions.MsgPack{}} {
			var lost []string
			if merges {
				lost = []string{fmt.Sprintf("field Y is lost, codec %s does not write it as %q: … MergeSession, or Config.OnConflict", c.Name(), "Y")}
			}
			for _, tc := range []shaped{
				shape[traitHidden]("hides a field", lost...),
				shape[traitHiddenMerging]("hides a field and is Merging"),
				shape[traitOpen]("writes its fields itself"),
				shape[traitOpenMerging]("writes its fields itself and is Merging"),
			} {
				tc.desc += ", by " + policy
				tc.cfg.OnConflict = onConflict
				tc.under(c.Name()).run(t)
			}
			t.Run("T7 a T that does not encode to an object, by "+policy+", "+c.Name(), func(t *testing.T) {
				_, err := sessions.New[traitStamped](kit.Memory(), sessions.Config{Codec: c, OnConflict: onConflict})
				if err == nil || len(complaints(t, err)) != 1 {
					t.Errorf("New says %v: nothing of it would ever be read again", err)
				}
			})
		}
	}
	t.Run("T7 K5 a T that writes its fields in no order is accepted each time", func(t *testing.T) {
		for range 50 {
			if _, err := sessions.New[traitUnordered](kit.Memory(), sessions.Config{Codec: sessions.MsgPack{}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("T7 mistakes that no policy mends are reported under each", func(t *testing.T) {
		for policy, onConflict := range conflictPolicies {
			_, err := sessions.New[struct {
				A string `json:"B"`
				B int
			}](kit.Memory(), sessions.Config{OnConflict: onConflict})
			if err == nil {
				t.Errorf("by %s: two fields of one name are accepted", policy)
			}
		}
	})
}
