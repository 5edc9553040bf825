package sessions_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// counted is a Store of one's own, around another: it counts the calls. A store that wraps one which lists users'
// sessions embeds an OwnerStore, or New would find no list. Timeout and Validate are the store's as well: as a Timed one it
// says how long a load or a commit may take, as a Validator what is wrong with its settings.
type counted struct {
	sessions.OwnerStore
	calls   map[string]int // of one goroutine, in this example
	timeout time.Duration
}

func (c *counted) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	c.calls["load"]++
	return c.OwnerStore.Load(ctx, key, touch)
}

func (c *counted) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	c.calls["place"]++
	return c.OwnerStore.Place(ctx, p)
}

func (c *counted) Timeout() time.Duration { return c.timeout }

func (c *counted) Validate() error {
	if c.timeout > 2*time.Second {
		return fmt.Errorf("the timeout of %v is longer than anybody waits for a page", c.timeout)
	}
	return nil
}

var (
	_ sessions.Store     = (*counted)(nil)
	_ sessions.Timed     = (*counted)(nil)
	_ sessions.Validator = (*counted)(nil)
)

// A Store of one's own may wrap another one. Package storetest tests it.
func ExampleStore() {
	store := &counted{OwnerStore: &sessions.MemoryStore{}, calls: map[string]int{}, timeout: 3 * time.Second}
	_, err := sessions.New[Member](store, sessions.Config{})
	fmt.Println(err)

	store.timeout = time.Second
	m, err := sessions.New[Member](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).User = "ann"
	err = m.SignIn(ctx) // places the session beside ann's others
	outcome, _ := m.Commit(ctx)
	_, _ = m.Load(context.Background(), outcome.Token.Reveal())
	fmt.Println(err, store.calls)
	// Output:
	// the timeout of 3s is longer than anybody waits for a page
	// <nil> map[load:1 place:1]
}

// encrypted is a Layout that encrypts what is stored. It is an OwnerLayout, because DefaultLayout is one.
type encrypted struct {
	sessions.DefaultLayout
	aead cipher.AEAD
}

func (e encrypted) Seal(r sessions.Record) ([]byte, error) {
	plain, err := e.DefaultLayout.Seal(r)
	nonce := make([]byte, e.aead.NonceSize())
	rand.Read(nonce)
	return e.aead.Seal(nonce, nonce, plain, nil), err
}

func (e encrypted) Open(stored []byte) (sessions.Record, error) {
	n := e.aead.NonceSize()
	if len(stored) < n {
		return sessions.Record{}, errors.New("it is too short")
	}
	plain, err := e.aead.Open(nil, stored[:n], stored[n:], nil)
	if err != nil {
		return sessions.Record{}, err
	}
	r, err := e.DefaultLayout.Open(plain)
	r.Prefix = n // the nonce is another one for each write, so it identifies the write
	return r, err
}

// ValidateFields makes it a FieldsValidator: New asks what is wrong with the names of T's fields.
func (e encrypted) ValidateFields(names []string) error {
	if slices.Contains(names, "password") {
		return errors.New("a password does not belong in a session, encrypted or not")
	}
	return nil
}

var (
	_ sessions.OwnerLayout     = encrypted{}
	_ sessions.FieldsValidator = encrypted{}
)

// A Layout may wrap DefaultLayout: here it encrypts what is in the store.
func ExampleLayout() {
	block, err := aes.NewCipher([]byte("0123456789abcdef")) // from a secret manager, not from the source
	if err != nil {
		log.Fatal(err)
	}
	aead, _ := cipher.NewGCM(block)
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{Layout: encrypted{aead: aead}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).UserID = "ann"
	outcome, _ := m.Commit(ctx)
	token := outcome.Token.Reveal()

	data, _, err := store.Load(ctx, sessions.DefaultLayout{}.Key("session", token), 0)
	fmt.Println("legible in the store:", strings.Contains(string(data), "ann"), err)
	ctx, _ = m.Load(context.Background(), token)
	fmt.Println("read:", m.FromContext(ctx).UserID)

	_, err = sessions.New[struct {
		Password string `json:"password"`
	}](store, sessions.Config{Layout: encrypted{aead: aead}})
	fmt.Println(err)
	// Output:
	// legible in the store: false <nil>
	// read: ann
	// sessions: T is struct { Password string "json:\"password\"" }: a password does not belong in a session, encrypted or not
}

// keyed is a Layout whose Info.ID is made of the key, so it is an Identifier: for records that have no room for an ID.
type keyed struct{ sessions.DefaultLayout }

func (keyed) ID(key string) string { return "of " + key[:6] }

func ExampleIdentifier() {
	var layout sessions.Layout = keyed{}
	_, identifies := layout.(sessions.Identifier)
	fmt.Println(identifies)
	// Output: true
}

// indented is a Codec around JSON, for people who read records in redis-cli. JSON encodes by AppendMarshal too, as an
// AppendCodec, and takes documents apart, as a FieldCodec and a FieldWalker; what it inherits must write the same form.
type indented struct{ sessions.JSON }

func (indented) Name() string { return "indented" }

func (c indented) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

func (indented) AppendMarshal(b []byte, v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(b, data...), err
}

var (
	_ sessions.Codec       = indented{}
	_ sessions.AppendCodec = indented{}
	_ sessions.FieldCodec  = indented{}
	_ sessions.FieldWalker = indented{}
)

func ExampleCodec() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{Codec: indented{}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).UserID = "ann"
	outcome, _ := m.Commit(ctx)

	data, _, err := store.Load(ctx, sessions.DefaultLayout{}.Key("session", outcome.Token.Reveal()), 0)
	if err != nil {
		log.Fatal(err)
	}
	_, payload, _ := strings.Cut(string(data), "\n")
	fmt.Println(payload)
	// Output:
	// {
	//   "user_id": "ann",
	//   "views": 0,
	//   "cart": null
	// }
}

// A FieldCodec takes a document apart, and puts it together again, without decoding the values.
func ExampleFieldCodec() {
	var fields sessions.Fields
	fields, err := sessions.JSON{}.Split([]byte(`{"user_id":"ann","views":12345678901234567890}`))
	if err != nil {
		log.Fatal(err)
	}
	fields = append(fields, sessions.Field{Name: "notice", Value: []byte(`"hello"`)})
	data, err := sessions.JSON{}.Join(fields)
	fmt.Println(string(data), err)
	// Output: {"user_id":"ann","views":12345678901234567890,"notice":"hello"} <nil>
}

// appHeader is a Transport of one's own: an app sends the token in one header and gets it in another. It has no cookie, so it
// is no CookieTransport, and it keeps nothing with the session, so it is no Attributor. Its app drops a token that
// came over plain HTTP: as a SecureTransport it says so, and one that goes there is logged. As an OutcomeValidator it tells New
// what it could not send.
type appHeader struct{}

func (appHeader) Tokens(r *http.Request) []string { return r.Header.Values("Session") }
func (appHeader) Vary() string                    { return "Session" }
func (appHeader) Secure() bool                    { return true }

func (appHeader) Write(h http.Header, _ *http.Request, o sessions.Outcome) (sent bool) {
	h.Del("New-Session")
	news := map[sessions.OutcomeKind]string{
		sessions.OutcomeCreated:   o.Token.Reveal(),
		sessions.OutcomeRenewed:   o.Token.Reveal(),
		sessions.OutcomeDestroyed: "none",
		sessions.OutcomeChanged:   "", // the app has the token already
		sessions.OutcomeUnchanged: "",
	}[o.Kind]
	if news != "" {
		h.Set("New-Session", news)
	}
	return news != ""
}

func (appHeader) ValidateOutcome(o sessions.Outcome) error {
	if len(o.Token.Reveal()) > 200 {
		return errors.New("the app has room for tokens of 200 bytes")
	}
	return nil
}

var (
	_ sessions.Transport        = appHeader{}
	_ sessions.SecureTransport  = appHeader{}
	_ sessions.OutcomeValidator = appHeader{}
)

// A Transport carries the token. This one uses headers; Cookie is also a CookieTransport, and package express's an Attributor.
func ExampleTransport() {
	m := manager(sessions.Config{Transport: appHeader{}})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Views++
		fmt.Fprint(w, s.Views)
	}))
	token := ""
	for range 2 {
		r := httptest.NewRequest("GET", "https://example.com/", nil)
		if token != "" {
			r.Header.Set("Session", token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("New-Session"); got != "" {
			token = got
		}
		fmt.Println(w.Body, w.Header().Get("Vary"))
	}
	_, hasCookie := any(sessions.Cookie{}).(sessions.CookieTransport)
	_, keepsAttrs := any(sessions.Cookie{}).(sessions.Attributor)
	fmt.Println(hasCookie, keepsAttrs)
	// Output:
	// 1 Session
	// 2 Session
	// true false
}

// Events are for metrics and for an audit log. Every kind has a name.
func ExampleEvent() {
	metrics := map[sessions.EventKind]int{}
	m := manager(sessions.Config{
		Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(_ context.Context, e sessions.Event) {
			switch metrics[e.Kind]++; e.Kind {
			case sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventRevoked, sessions.EventEvicted, sessions.EventExpired:
				fmt.Println("audit:", e.Kind, "by", e.Op) // who came and went: e.Session has the user
			case sessions.EventUnavailable, sessions.EventFailed, sessions.EventUnknownTokens:
				fmt.Println("alert:", e.Kind, e.Err) // somebody has to look
			case sessions.EventLateChange, sessions.EventLateUse, sessions.EventUndelivered, sessions.EventWithheld, sessions.EventTwoSessions:
				fmt.Println("mistake:", e.Kind, e.Err) // in the program, or in what is before it
			case sessions.EventLoaded, sessions.EventNotFound, sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventMerged, sessions.EventConflict,
				sessions.EventGone, sessions.EventUndecodable, sessions.EventRecovered, sessions.EventTouchSkipped: // counted above
			}
		},
	})
	ctx, _ := m.Load(context.Background())
	m.SignIn(ctx)
	m.Destroy(ctx)
	fmt.Println(metrics[sessions.EventCreated], metrics[sessions.EventSaved], metrics[sessions.EventGone])
	// Output:
	// audit: signed in by sign in
	// audit: destroyed by destroy
	// 1 0 0
}

// A program that cannot reach its Redis says so when it starts.
func ExampleRedisStore_Ping() {
	srv, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	opts, err := redis.ParseURL("redis://" + srv.Addr())
	if err != nil {
		log.Fatal(err)
	}
	opts.ContextTimeoutEnabled, opts.DialerRetries = true, 1
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{})
	fmt.Println(store.Ping(context.Background()))
	srv.Close()
	err = store.Ping(context.Background())
	fmt.Println(errors.Is(err, sessions.ErrUnavailable), strings.Contains(err.Error(), ": check that a server runs at 127.0.0.1:"))
	// Output:
	// <nil>
	// true true
}

// A write is done when a replica has it. Here there is none, so it is stored and may be lost.
func ExampleRedisConfig_waitReplicas() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{
		WaitReplicas: 1,                      // of two or more, so that one may be away
		WaitTimeout:  200 * time.Millisecond, // and then it is ErrUnavailable
	})
	ctx := context.Background()
	err = store.Create(ctx, "key", []byte("value"), time.Hour)
	fmt.Println(errors.Is(err, sessions.ErrUnavailable), errors.Is(err, sessions.ErrRefused), redis.HasErrorPrefix(err, "WAIT"))
	value, _, err := store.Load(ctx, "key", 0)
	fmt.Println(string(value), err)
	// Output:
	// true false true
	// value <nil>
}

// Keys lists every session in Redis, by the hash of its token.
func ExampleRedisStore_Keys() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "shop:", Timeout: 500 * time.Millisecond})

	ctx := context.Background()
	store.Create(ctx, "b", []byte("…"), time.Hour)
	store.Create(ctx, "a", []byte("…"), time.Hour)
	var keys []string
	for key, err := range store.Keys(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	fmt.Println(keys)
	// Output: [a b]
}
