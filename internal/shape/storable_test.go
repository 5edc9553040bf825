package shape_test

//lint:file-ignore U1000 reflection looks at what nobody uses
//lint:file-ignore SA5008 these tags are odd on purpose

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions/internal/shape"
)

// Types that write and read themselves in some ways only. A name tells which.
type (
	onlyBinary  struct{ x int }
	onlyMsgpack struct{ x int }
	onlyCustom  struct{ x int }
	onlyJSON    struct{ x int }
	openJSON    struct{ X int }
	writesJSON  struct{ x int }
	writesText  struct{ x int }
	readsText   int
	readsString string
	readsJSON   int
	pointerText struct{ X int }
	keyText     struct{ x int }
	bothOf      struct{ onlyJSON }
	hiding      struct{ hidden }
	hidden      struct{ x int }
	stamp       struct {
		time.Time
		By string
	}
	ownStamp struct {
		time.Time
		By string
	}
	around         struct{ stamp }
	onlyNow        struct{ time.Time }
	generic[T any] struct {
		time.Time
		By T
	}
	twoMarshalers struct {
		time.Time
		bytes
		N int
	}
	bytes   [1]byte
	counted struct {
		mu sync.Mutex
		n  int
	}
	open struct {
		N  int
		mu sync.Mutex
	}
	tree struct {
		N    int
		Next *tree
		mu   sync.RWMutex
	}
	protected struct {
		N  int
		mu sync.Mutex
	}
	message struct { // as protobuf has it
		state struct{ noCopy [0]sync.Mutex }
		N     int
	}
	locker struct{ c chan int }
	value  struct{ c chan int }
	list   struct {
		*list
		mu sync.Mutex
	}
)

func (onlyBinary) MarshalBinary() ([]byte, error)        { return nil, nil }
func (*onlyBinary) UnmarshalBinary([]byte) error         { return nil }
func (onlyMsgpack) MarshalMsgpack() ([]byte, error)      { return nil, nil }
func (*onlyMsgpack) UnmarshalMsgpack([]byte) error       { return nil }
func (onlyCustom) EncodeMsgpack(*msgpack.Encoder) error  { return nil }
func (*onlyCustom) DecodeMsgpack(*msgpack.Decoder) error { return nil }
func (onlyJSON) MarshalJSON() ([]byte, error)            { return nil, nil }
func (*onlyJSON) UnmarshalJSON([]byte) error             { return nil }
func (openJSON) MarshalJSON() ([]byte, error)            { return nil, nil }
func (*openJSON) UnmarshalJSON([]byte) error             { return nil }
func (writesJSON) MarshalJSON() ([]byte, error)          { return nil, nil }
func (writesText) MarshalText() ([]byte, error)          { return nil, nil }
func (bytes) MarshalJSON() ([]byte, error)               { return nil, nil }
func (bytes) MarshalText() ([]byte, error)               { return nil, nil }
func (bytes) MarshalBinary() ([]byte, error)             { return nil, nil }
func (*readsText) UnmarshalText([]byte) error            { return nil }
func (*readsString) UnmarshalText([]byte) error          { return nil }
func (*readsJSON) UnmarshalJSON([]byte) error            { return nil }
func (*pointerText) MarshalText() ([]byte, error)        { return nil, nil }
func (*pointerText) UnmarshalText([]byte) error          { return nil }
func (keyText) MarshalText() ([]byte, error)             { return nil, nil }
func (*keyText) UnmarshalText([]byte) error              { return nil }
func (ownStamp) MarshalJSON() ([]byte, error)            { return nil, nil }
func (ownStamp) MarshalBinary() ([]byte, error)          { return nil, nil }
func (generic[T]) MarshalJSON() ([]byte, error)          { return nil, nil }
func (generic[T]) MarshalBinary() ([]byte, error)        { return nil, nil }
func (*protected) MarshalText() ([]byte, error)          { return nil, nil }
func (*protected) UnmarshalText([]byte) error            { return nil }
func (*locker) Lock()                                    {}
func (*locker) Unlock()                                  {}
func (value) Lock()                                      {}
func (value) Unlock()                                    {}

// field is a T with one field.
type field[F any] struct{ F F }

func TestUnstorable(t *testing.T) {
	const (
		nothing = "of which nothing is stored, for it has no exported fields, and codec %s does not ask its "
		lock    = "which must not be copied"
		mapped  = "in a map, and codec %s cannot call its "
		all     = "then writes all of it, so that its other fields are lost: give the embedded field a name"
		unread  = "of which nothing is read again, for it has a "
		text    = "reads text or bytes, and which is written as neither, for it has no "
		name    = "a name that codec %s does not take: use letters, digits and _ in the tag"
	)
	for _, tc := range []struct {
		t             reflect.Type
		json, msgpack string // one complaint each; empty: none; "=": that of JSON
	}{
		// What the codec does not ask.
		{reflect.TypeFor[field[*rand.PCG]](), "F is of type rand.PCG, " + nothing + "MarshalBinary", ""},
		{reflect.TypeFor[field[url.URL]](), "F.User is of type url.Userinfo, of which nothing is stored", ""},
		{reflect.TypeFor[field[*url.URL]](), "F.User is of type url.Userinfo, of which nothing is stored", ""},
		{reflect.TypeFor[field[onlyBinary]](), "F is of type shape_test.onlyBinary, " + nothing + "MarshalBinary", ""},
		{reflect.TypeFor[field[[]onlyMsgpack]](), "F[] is of type shape_test.onlyMsgpack, " + nothing + "MarshalMsgpack", ""},
		{reflect.TypeFor[field[map[string]*onlyCustom]](), "F[] is of type shape_test.onlyCustom, " + nothing + "EncodeMsgpack", ""},
		{reflect.TypeFor[field[[2]map[string][]*onlyBinary]](), "F[][][] is of type shape_test.onlyBinary", ""},
		{reflect.TypeFor[struct{ onlyBinary }](), "onlyBinary is of type shape_test.onlyBinary, " + nothing + "MarshalBinary", ""},
		{reflect.TypeFor[field[struct{ onlyBinary }]](), "F.onlyBinary is of type shape_test.onlyBinary, " + nothing + "MarshalBinary", ""},
		{reflect.TypeFor[field[onlyJSON]](), "", "F is of type shape_test.onlyJSON, " + nothing + "MarshalJSON"},
		{reflect.TypeFor[field[map[onlyJSON]int]](), "F has keys of type shape_test.onlyJSON, which encoding/json does not write and read", "F[key] is of type shape_test.onlyJSON, " + nothing + "MarshalJSON"},
		{reflect.TypeFor[field[openJSON]](), "", ""},
		{reflect.TypeFor[field[bothOf]](), "", "F.onlyJSON is of type shape_test.onlyJSON, " + nothing},
		{reflect.TypeFor[field[hiding]](), "F is of type shape_test.hiding, of which nothing is stored, for it has neither", "="},
		{reflect.TypeFor[field[json.Marshaler]](), "F is of the interface type json.Marshaler, which cannot be decoded", "="},
		{reflect.TypeFor[field[encoding.TextMarshaler]](), "F is of the interface type encoding.TextMarshaler, which cannot be decoded", "="},

		// What is written and not read, and the reverse.
		{reflect.TypeFor[field[writesJSON]](), "F is of type shape_test.writesJSON, " + unread + "MarshalJSON", "F is of type shape_test.writesJSON, " + nothing + "MarshalJSON"},
		{reflect.TypeFor[field[[]*writesText]](), "F[] is of type shape_test.writesText, " + unread + "MarshalText", "="},
		{reflect.TypeFor[field[[]readsText]](), "F[] is of type shape_test.readsText, whose UnmarshalText " + text + "MarshalText", "="},
		{reflect.TypeFor[field[*readsString]](), "", ""},
		{reflect.TypeFor[field[*readsJSON]](), "", ""},

		// What has no address in a map.
		{reflect.TypeFor[field[map[string]big.Int]](), "F[] is of type big.Int " + mapped + "MarshalJSON", "F[] is of type big.Int " + mapped + "MarshalText"},
		{reflect.TypeFor[field[map[string]struct{ A [1]pointerText }]](), "F[].A[] is of type shape_test.pointerText " + mapped + "MarshalText", "="},
		{reflect.TypeFor[field[map[pointerText]int]](), "F[key] is of type shape_test.pointerText " + mapped + "MarshalText", "="},
		{reflect.TypeFor[field[map[string]*big.Int]](), "", ""},
		{reflect.TypeFor[field[map[string][]big.Int]](), "", ""},
		{reflect.TypeFor[field[big.Int]](), "", ""},
		{reflect.TypeFor[field[map[keyText]time.Time]](), "", ""},
		{reflect.TypeFor[field[map[netip.Addr]uuid.UUID]](), "", ""},
		{reflect.TypeFor[field[map[readsString]int]](), "", ""},
		{reflect.TypeFor[field[map[bool]int]](), "F has keys of type bool, which encoding/json does not write and read", ""},
		{reflect.TypeFor[field[map[any]int]](), "F has keys of type interface {}, which encoding/json does not write and read", ""},
		{reflect.TypeFor[field[map[[2]string]int]](), "F has keys of type [2]string, which encoding/json does not write and read", ""},
		{reflect.TypeFor[field[map[float32]int]](), "F has keys of type float32, which encoding/json writes from Go 1.27 on only", ""},
		{reflect.TypeFor[field[map[writesText]int]](), "F[key] is of type shape_test.writesText, " + unread, "="},

		// Embedded marshalers.
		{reflect.TypeFor[field[stamp]](), "F embeds time.Time, whose MarshalJSON " + all, "F embeds time.Time, whose MarshalBinary " + all},
		{reflect.TypeFor[field[map[string]*stamp]](), "F[] embeds time.Time, whose MarshalJSON " + all, "F[] embeds time.Time, whose MarshalBinary " + all},
		{reflect.TypeFor[field[struct {
			time.Time `json:"at"`
			By        string
		}]](), "F embeds time.Time, whose MarshalJSON " + all, "F embeds time.Time, whose MarshalBinary " + all},
		{reflect.TypeFor[field[around]](), "F embeds time.Time, whose MarshalJSON " + all, "F embeds time.Time, whose MarshalBinary " + all},
		{reflect.TypeFor[field[ownStamp]](), "", ""},
		{reflect.TypeFor[field[generic[string]]](), "", ""},
		{reflect.TypeFor[field[onlyNow]](), "", ""},
		{reflect.TypeFor[field[twoMarshalers]](), "F.Time is of type time.Time, of which nothing is stored, for it has no exported fields, and codec json does not ask the MarshalJSON of what is embedded", "F is of type shape_test.twoMarshalers, whose UnmarshalBinary " + text + "MarshalBinary"},

		// Tags.
		{reflect.TypeFor[struct {
			A string `json:"-,"`
		}](), "", `A is tagged "-,", by which codec msgpack leaves it out: give it another name by a tag msgpack, or tag it "-" to leave it out`},
		{reflect.TypeFor[struct {
			A string `json:"-,omitempty"`
		}](), "", `A is tagged "-,omitempty", by which codec msgpack leaves it out`},
		{reflect.TypeFor[struct {
			A string `json:"-," msgpack:"-"`
			B string `json:"-" msgpack:"b"`
		}](), "", ""},
		{reflect.TypeFor[struct {
			A string `json:"user's,omitempty"`
		}](), `A is tagged "user's", ` + name, "="},
		{reflect.TypeFor[field[[]struct {
			A string `json:"a\"b"`
		}]](), `F[].A is tagged "a\"b", ` + name, ""},
		{reflect.TypeFor[struct {
			A string `json:"a€b"`
		}](), `A is tagged "a€b", ` + name, ""},
		{reflect.TypeFor[struct {
			A string `json:"'a b'"`
		}](), `A is tagged "'a b'", ` + name, "="},
		{reflect.TypeFor[struct {
			A string `json:"a:b"`
			B string `json:"b c.d/é"`
		}](), "", `A is tagged "a:b", ` + name},
		{reflect.TypeFor[struct {
			A string `json:" a"`
		}](), "", `A is tagged " a", ` + name},
		{reflect.TypeFor[struct {
			A map[string]int `json:",embed"`
		}](), "A has an option embed or format in its tag, which encoding/json knows from Go 1.27 on only: leave it out", ""},
		{reflect.TypeFor[struct {
			A time.Time `json:"a,format:DateOnly"`
		}](), "A has an option embed or format in its tag", ""},
		{reflect.TypeFor[struct {
			_msgpack struct{} `msgpack:",as_array"`
			A        int
		}](), "", "_msgpack has the option as_array, and a session is a map: leave it out"},
		{reflect.TypeFor[struct {
			time.Duration `json:"for" msgpack:"for,noinline"`
		}](), "", ""},

		// Locks.
		{reflect.TypeFor[struct {
			N  int
			mu sync.RWMutex
		}](), "mu is of type sync.RWMutex, " + lock, "="},
		{reflect.TypeFor[struct {
			N  int
			Mu sync.Mutex `json:"-"`
		}](), "Mu is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[struct {
			N int
			sync.Mutex
		}](), "Mutex is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[struct {
			N int
			a struct{ b [2][1]struct{ C sync.Once } }
		}](), "a is of type struct ", "="},
		{reflect.TypeFor[field[struct {
			N int
			A [2]struct{ M sync.Map }
		}]](), "F.A[].M is of type sync.Map, " + lock, "="},
		{reflect.TypeFor[field[counted]](), "F is of type shape_test.counted, " + lock, "="},
		{reflect.TypeFor[field[sync.WaitGroup]](), "F is of type sync.WaitGroup, " + lock, "="},
		{reflect.TypeFor[struct {
			N int
			n atomic.Int64
		}](), "n is of type atomic.Int64, " + lock, "="},
		{reflect.TypeFor[struct {
			N int
			l locker
		}](), "l is of type shape_test.locker, " + lock, "="},
		{reflect.TypeFor[struct {
			N int
			v value
			p *sync.Mutex
			s []sync.Mutex
			m map[string]counted
			c chan sync.Mutex
			i sync.Locker
			f func(*sync.Mutex)
			b strings.Builder
			*sync.WaitGroup
		}](), "", ""},
		{reflect.TypeFor[field[list]](), "F is of type shape_test.list, " + lock, "="},

		// Locks that are not copied, and replaced all the same, with what the codec decodes anew.
		{reflect.TypeFor[field[*open]](), "F.mu is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[field[[]open]](), "F[].mu is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[field[map[string]*[2]open]](), "F[][].mu is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[field[struct{ A []struct{ B *open } }]](), "F.A[].B.mu is of type sync.Mutex, " + lock, "="},
		{reflect.TypeFor[field[*tree]](), "F.mu is of type sync.RWMutex, " + lock, "="},
		{reflect.TypeFor[field[**protected]](), "", ""},
		{reflect.TypeFor[field[*message]](), "", ""},
		{reflect.TypeFor[struct {
			N int
			A *open `json:"-"`
			b *open
			c []open
			d map[string]open
		}](), "", ""},
	} {
		for codec, want := range map[string]string{"json": tc.json, "msgpack": tc.msgpack} {
			if want == "=" {
				want = tc.json
			}
			t.Run(fmt.Sprintf("T7 of %v, %s", tc.t, codec), func(t *testing.T) {
				want := strings.ReplaceAll(want, "%s", codec)
				errs := shape.Unstorable(tc.t, codec)
				if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), head(want)) || !strings.Contains(errs[0].Error(), want)) {
					t.Errorf("%d complaints: %v\nwant %s", len(errs), errs, want)
				}
			})
		}
	}
}

// head is the path and the verb of a complaint.
func head(complaint string) string {
	path, _, _ := strings.Cut(complaint, " ")
	return path + " "
}
