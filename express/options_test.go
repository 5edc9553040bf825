package express_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// bare is a T with nothing to say against it.
type bare struct {
	Views int `json:"views"`
}

// tryNew is New's error, line by line, on a client that is never asked.
func tryNew[T any](t testing.TB, o express.Options) []string {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { rdb.Close() })
	return lines(express.New[T](rdb, o))
}

func lines[T any](m *sessions.Manager[T], err error) []string {
	switch {
	case err == nil && m == nil:
		return []string{"neither a Manager nor an error"}
	case err != nil && m != nil:
		return []string{"a Manager and " + err.Error()}
	case err != nil:
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

func TestOptionsRefused(t *testing.T) {
	secrets := []string{"keyboard cat"}
	host := "browsers keep a cookie named __Host-sid only "
	for _, group := range []struct {
		name string
		rows []struct {
			name string
			o    express.Options
			want []string
		}
	}{
		{"R3 secrets", []optionsRow{
			{"none", express.Options{}, []string{"express: Options.Secrets: there is none: give the secret of the Express app"}},
			{"an empty list", express.Options{Secrets: []string{}}, []string{"express: Options.Secrets: there is none: give the secret of the Express app"}},
			{"an empty one", express.Options{Secrets: []string{"a", ""}}, []string{"express: Options.Secrets: number 2 is empty: anybody could sign with it"}},
			{"two empty ones", express.Options{Secrets: []string{"", ""}}, []string{
				"express: Options.Secrets: number 1 is empty: anybody could sign with it",
				"express: Options.Secrets: number 2 is empty: anybody could sign with it",
			}},
		}},
		{"R14 durations", []optionsRow{
			{"MaxAge of Node's milliseconds", express.Options{Cookie: express.Cookie{MaxAge: 900000}}, []string{
				"express: Options.Cookie.MaxAge: 900µs seems to lack its unit: Node counts milliseconds: write 15 * time.Minute for its 900000",
			}},
			{"MaxAge of 30 days in Node's milliseconds", express.Options{Cookie: express.Cookie{MaxAge: 2592000000}}, []string{
				"express: Options.Cookie.MaxAge: 2.592s seems to lack its unit: Node counts milliseconds: write 15 * time.Minute for its 900000",
			}},
			{"MaxAge of 5 hours in Node's milliseconds", express.Options{Cookie: express.Cookie{MaxAge: 18000000}}, []string{
				"express: Options.Cookie.MaxAge: 18ms seems to lack its unit: Node counts milliseconds: write 15 * time.Minute for its 900000",
			}},
			{"MaxAge negative", express.Options{Cookie: express.Cookie{MaxAge: -time.Second}}, []string{
				"express: Options.Cookie.MaxAge: -1s is negative: leave it out, or give it a duration",
			}},
			{"TTL of connect-redis' seconds", express.Options{TTL: 86400}, []string{
				"express: Options.TTL: 86.4µs seems to lack its unit: connect-redis counts whole seconds: write 24 * time.Hour for its 86400",
			}},
			{"TTL of half seconds", express.Options{TTL: 1500 * time.Millisecond}, []string{
				"express: Options.TTL: 1.5s seems to lack its unit: connect-redis counts whole seconds: write 24 * time.Hour for its 86400",
			}},
			{"TTL negative", express.Options{TTL: -1}, []string{"express: Options.TTL: -1ns is negative: leave it out, or give it a duration"}},
			{"Remember of milliseconds", express.Options{Remember: 2592000000}, []string{
				"express: Options.Remember: 2.592s seems to lack its unit: Node counts milliseconds: write 30 * 24 * time.Hour for its 2592000000",
			}},
			{"Remember negative", express.Options{Remember: -time.Hour}, []string{
				"express: Options.Remember: -1h0m0s is negative: leave it out, or give it a duration",
			}},
			{"Timeout negative", express.Options{Timeout: -1}, []string{"sessions: RedisStore: RedisConfig.Timeout is -1ns, less than a millisecond: leave it zero for 1s, or add the unit, as in 2 * time.Second"}},
		}},
		{"T7 policies", []optionsRow{
			{"OnUndecodable", express.Options{OnUndecodable: 9}, []string{
				"sessions: Config.OnUndecodable: it is none of UndecodableFresh, UndecodableReadOnly and UndecodableFail",
			}},
		}},
		{"R4 settings", []optionsRow{
			{"Secure", express.Options{Cookie: express.Cookie{Secure: "yes"}}, []string{`express: Options.Cookie.Secure: "yes" is none of ["true" "false" "auto"]`}},
			{"HttpOnly", express.Options{Cookie: express.Cookie{HttpOnly: express.Auto}}, []string{`express: Options.Cookie.HttpOnly: "auto" is none of ["true" "false"]`}},
			{"Partitioned", express.Options{Cookie: express.Cookie{Partitioned: "1"}}, []string{`express: Options.Cookie.Partitioned: "1" is none of ["true" "false"]`}},
			{"SameSite", express.Options{Cookie: express.Cookie{SameSite: express.High}}, []string{
				`express: Options.Cookie.SameSite: "high" is none of ["true" "false" "strict" "lax" "none" "auto"]`,
			}},
			{"Priority", express.Options{Cookie: express.Cookie{Priority: express.True}}, []string{
				`express: Options.Cookie.Priority: "true" is none of ["low" "medium" "high"]`,
			}},
		}},
		{"R4 names, paths and domains", []optionsRow{
			{"a long Name", express.Options{Name: strings.Repeat("n", 4096), NewID: draws("one", "two")}, []string{
				"sessions: Config.NewToken: express: Options.Name, NewID: the cookie's name and value are 4149 bytes with a sid of 3, browsers keep 4096: shorten one of the two",
			}},
			{"Path without a slash", express.Options{Cookie: express.Cookie{Path: "app"}}, []string{
				`express: Options.Cookie.Path: "app" is not a path: start it with / and leave out control characters and semicolons`,
			}},
			{"Path with a semicolon", express.Options{Cookie: express.Cookie{Path: "/a;b"}}, []string{
				`express: Options.Cookie.Path: "/a;b" is not a path: start it with / and leave out control characters and semicolons`,
			}},
			{"Domain", express.Options{Cookie: express.Cookie{Domain: "https://example.com"}}, []string{
				`express: Options.Cookie.Domain: "https://example.com" is not a domain a cookie can have: use a host name such as example.com`,
			}},
		}},
		{"T7 what a browser drops", []optionsRow{
			{"__Host- without Secure", express.Options{Name: "__Host-sid"}, []string{
				"express: Options.Cookie.Secure: " + host + "if it is Secure: set it to True",
			}},
			{"__Host- with Auto", express.Options{Name: "__Host-sid", Cookie: express.Cookie{Secure: express.Auto}}, []string{
				"express: Options.Cookie.Secure: " + host + "if it is Secure: set it to True",
			}},
			{"__Host- with a Domain", express.Options{Name: "__Host-sid", Cookie: express.Cookie{Secure: express.True, Domain: "example.com"}}, []string{
				"express: Options.Name: browsers keep a cookie named __Host-sid only without a Domain and with the path /: leave both out",
			}},
			{"__Host- with a Path", express.Options{Name: "__Host-sid", Cookie: express.Cookie{Secure: express.True, Path: "/app"}}, []string{
				"express: Options.Name: browsers keep a cookie named __Host-sid only without a Domain and with the path /: leave both out",
			}},
			{"__Secure- in any case", express.Options{Name: "__SECURE-sid"}, []string{
				"express: Options.Cookie.Secure: browsers keep a cookie named __SECURE-sid only if it is Secure: set it to True",
			}},
			{"__Http- without Secure", express.Options{Name: "__Http-sid"}, []string{
				"express: Options.Cookie.Secure: browsers keep a cookie named __Http-sid only if it is Secure: set it to True",
			}},
			{"__Http- without HttpOnly", express.Options{Name: "__http-sid", Cookie: express.Cookie{Secure: express.True, HttpOnly: express.False}}, []string{
				"express: Options.Cookie.HttpOnly: browsers keep a cookie named __http-sid only if it is HttpOnly: leave it out",
			}},
			{"__Host-Http- without HttpOnly", express.Options{Name: "__Host-Http-sid", Cookie: express.Cookie{Secure: express.True, HttpOnly: express.False}}, []string{
				"express: Options.Cookie.HttpOnly: browsers keep a cookie named __Host-Http-sid only if it is HttpOnly: leave it out",
			}},
			{"SameSite None without Secure", express.Options{Cookie: express.Cookie{SameSite: express.None}}, []string{
				"express: Options.Cookie.SameSite: browsers keep a SameSite=None cookie only if it is Secure: set Secure to True, or SameSite and Secure to Auto",
			}},
			{"SameSite None with Secure False", express.Options{Cookie: express.Cookie{SameSite: "NONE", Secure: express.False}}, []string{
				"express: Options.Cookie.SameSite: browsers keep a SameSite=None cookie only if it is Secure: set Secure to True, or SameSite and Secure to Auto",
			}},
			{"SameSite Auto with Secure False", express.Options{Cookie: express.Cookie{SameSite: express.Auto, Secure: express.False}}, []string{
				"express: Options.Cookie.SameSite: Auto is None on a secure request, and browsers keep that cookie only if it is Secure: set Secure to Auto, or to True",
			}},
			{"Partitioned without Secure", express.Options{Cookie: express.Cookie{Partitioned: express.True}}, []string{
				"express: Options.Cookie.Partitioned: browsers keep a Partitioned cookie only if it is Secure: set Secure to True",
			}},
		}},
		{"T1 NewID", []optionsRow{
			{"constant", express.Options{NewID: always("one", nil)}, []string{
				"sessions: Config.NewToken: it draws the same token twice: every one must be unguessable (ASVS 5.0 7.2.3)",
			}},
			{"fails", express.Options{NewID: always("", errors.New("no entropy"))}, []string{"sessions: Config.NewToken: no entropy"}},
			{"draws nothing", express.Options{NewID: always("", nil)}, []string{
				"sessions: Config.NewToken: express: Options.NewID: it draws a sid of 0 bytes that is no text: draw at least one character, in UTF-8",
			}},
			{"draws what is no text", express.Options{NewID: draws("\xff1", "\xff2")}, []string{
				"sessions: Config.NewToken: express: Options.NewID: it draws a sid of 2 bytes that is no text: draw at least one character, in UTF-8",
			}},
			{"draws more than a cookie can hold", express.Options{NewID: always(strings.Repeat("x", 4096), nil)}, []string{
				"sessions: Config.NewToken: express: Options.Name, NewID: the cookie's name and value are 4155 bytes with a sid of 4096, browsers keep 4096: shorten one of the two",
			}},
		}},
		{"R5 prefix and size", []optionsRow{
			{"NoPrefix with a Prefix", express.Options{Prefix: "sess:", NoPrefix: true}, []string{
				`sessions: RedisStore: RedisConfig.NoPrefix contradicts the Prefix "sess:": leave one of them out`,
			}},
			{"MaxSize negative", express.Options{MaxSize: -1}, []string{"sessions: Config.MaxSize: -1 is negative: use bytes, or 0 for 64 KiB"}},
			{"OnConflict", express.Options{OnConflict: 7}, []string{
				"sessions: Config.OnConflict: it is none of ConflictMerge, ConflictLastWrite and ConflictReject",
			}},
		}},
	} {
		for _, row := range group.rows {
			t.Run(group.name+": "+row.name, func(t *testing.T) {
				if group.name != "R3 secrets" {
					row.o.Secrets = secrets
				}
				same(t, "New reports", tryNew[bare](t, row.o), row.want)
			})
		}
	}
}

type optionsRow = struct {
	name string
	o    express.Options
	want []string
}

func always(sid string, err error) func() (string, error) {
	return func() (string, error) { return sid, err }
}

func TestOptionsRefusedAtOnce(t *testing.T) {
	t.Run("T7 every mistake of the Options, the client and T", func(t *testing.T) {
		got := lines(express.New[struct {
			ID int `json:"id"`
		}](nil, express.Options{
			Name: "__Host-sid", Prefix: "p:", NoPrefix: true, TTL: 86400, Remember: -1, Timeout: -1, MaxSize: -1,
			NewID: always("one", nil), OnConflict: -1,
			Cookie: express.Cookie{
				MaxAge: -1, Path: "app", Domain: "exa mple",
				Secure: "si", HttpOnly: "si", Partitioned: "si", SameSite: "si", Priority: "si",
			},
		}))
		var fields []string
		for _, line := range got {
			words := strings.SplitN(line, ":", 3)
			fields = append(fields, strings.TrimSpace(words[1]))
			if len(words) < 3 || len(words[2]) < 20 {
				t.Errorf("no remedy in %q", line)
			}
		}
		same(t, "New reports mistakes of", fields, []string{
			"Options.Secrets", "Options.TTL", "Options.Cookie.MaxAge", "Options.Remember",
			"Options.Cookie.Secure", "Options.Cookie.HttpOnly", "Options.Cookie.Partitioned", "Options.Cookie.SameSite", "Options.Cookie.Priority",
			"Options.Cookie.Path", "Options.Cookie.Domain", "Options.Cookie.Secure",
			"Config.MaxSize", "RedisStore", "RedisStore", "RedisStore",
			"Config.OnConflict", "Config.NewToken", "T is struct { ID int \"json",
		})
	})
}

func TestClientsRefused(t *testing.T) {
	o := express.Options{Secrets: []string{"keyboard cat"}}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	replicas := redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true})
	defer replicas.Close()
	const none = "sessions: RedisStore: the client is nil: pass one from redis.NewClient, NewFailoverClient or NewClusterClient"
	for name, row := range map[string]struct {
		rdb  redis.UniversalClient
		want string
	}{
		"nil":          {nil, none},
		"a nil client": {(*redis.Client)(nil), none},
		"a Ring":       {ring, "use a *redis.Client or *redis.ClusterClient"},
		"replicas":     {replicas, "ClusterOptions.ReadOnly"},
	} {
		t.Run("New refuses "+name, func(t *testing.T) {
			got := lines(express.New[bare](row.rdb, o))
			if len(got) != 1 || !strings.Contains(got[0], row.want) {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

// Node's own names, each as a field of T.
type (
	takenInside struct {
		Touch int `json:"touch"`
	}
	takenByEmbedding struct {
		takenInside
		*TakenPointer
		Views int
	}
	TakenPointer struct {
		ToString string `json:"toString"`
	}
	takenByMarshaler struct {
		ID int `json:"-"`
	}
	notTaken struct {
		Cookie int            // Cookie is not cookie
		Below  map[string]int `json:"below"`
		Nested struct {
			ID int `json:"id"`
		} `json:"nested"`
		Skipped int `json:"-"`
	}
	versioned struct{ Views int }
)

func (m takenByMarshaler) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"id": m.ID})
}

func (m *takenByMarshaler) UnmarshalJSON(data []byte) error {
	var v struct{ ID int }
	err := json.Unmarshal(data, &v)
	m.ID = v.ID
	return err
}

func (*versioned) SessionVersion() int                       { return 1 }
func (*versioned) UpgradeSession(int, func(any) error) error { return nil }

func TestTypesRefused(t *testing.T) {
	o := express.Options{Secrets: []string{"keyboard cat"}}
	taken := func(name string) string {
		return fmt.Sprintf("field %q has a name that Node's Session object needs for itself, and would be lost there: give it another one by a json tag", name)
	}

	// The members of Session and of Object in Node 20.
	for name, got := range map[string][]string{
		"cookie": tryNew[struct {
			V int `json:"cookie"`
		}](t, o),
		"req": tryNew[struct {
			V int `json:"req"`
		}](t, o),
		"id": tryNew[struct {
			V int `json:"id"`
		}](t, o),
		"touch": tryNew[struct {
			V int `json:"touch"`
		}](t, o),
		"resetMaxAge": tryNew[struct {
			V int `json:"resetMaxAge"`
		}](t, o),
		"save": tryNew[struct {
			V int `json:"save"`
		}](t, o),
		"reload": tryNew[struct {
			V int `json:"reload"`
		}](t, o),
		"destroy": tryNew[struct {
			V int `json:"destroy"`
		}](t, o),
		"regenerate": tryNew[struct {
			V int `json:"regenerate"`
		}](t, o),
		"constructor": tryNew[struct {
			V int `json:"constructor"`
		}](t, o),
		"__proto__": tryNew[struct {
			V int `json:"__proto__"`
		}](t, o),
		"__defineGetter__": tryNew[struct {
			V int `json:"__defineGetter__"`
		}](t, o),
		"__defineSetter__": tryNew[struct {
			V int `json:"__defineSetter__"`
		}](t, o),
		"__lookupGetter__": tryNew[struct {
			V int `json:"__lookupGetter__"`
		}](t, o),
		"__lookupSetter__": tryNew[struct {
			V int `json:"__lookupSetter__"`
		}](t, o),
		"hasOwnProperty": tryNew[struct {
			V int `json:"hasOwnProperty"`
		}](t, o),
		"isPrototypeOf": tryNew[struct {
			V int `json:"isPrototypeOf"`
		}](t, o),
		"propertyIsEnumerable": tryNew[struct {
			V int `json:"propertyIsEnumerable"`
		}](t, o),
		"toLocaleString": tryNew[struct {
			V int `json:"toLocaleString"`
		}](t, o),
		"toString": tryNew[struct {
			V int `json:"toString"`
		}](t, o),
		"valueOf": tryNew[struct {
			V int `json:"valueOf"`
		}](t, o),
	} {
		t.Run("R11 a field "+name, func(t *testing.T) {
			same(t, "New reports", got, []string{fmt.Sprintf("sessions: T is struct { V int \"json:\\\"%s\\\"\" }: %s", name, taken(name))})
		})
	}

	for _, row := range []struct {
		name      string
		got, want []string
	}{
		{"R11 by embedding", tryNew[takenByEmbedding](t, o), []string{
			"sessions: T is express_test.takenByEmbedding: " + taken("toString"), taken("touch"),
		}},
		{"R11 from a MarshalJSON", tryNew[takenByMarshaler](t, o), []string{"sessions: T is express_test.takenByMarshaler: " + taken("id")}},
		{"R11 not below the top, nor in other letters", tryNew[notTaken](t, o), nil},
		{"a Versioned T", tryNew[versioned](t, o), []string{
			"sessions: T is express_test.versioned: it is Versioned, and the Layout keeps no version, so that every load would upgrade it again: keep a version in T",
		}},
		{"T is no struct", tryNew[int](t, o), []string{"sessions: T is int: a session is a struct: New[YourStruct], without a pointer"}},
		{"T is a pointer", tryNew[*bare](t, o), []string{"sessions: T is *express_test.bare: a session is a struct: New[YourStruct], without a pointer"}},
	} {
		t.Run(row.name, func(t *testing.T) { same(t, "New reports", row.got, row.want) })
	}
}

func TestOptionsAccepted(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer rdb.Close()
	yes := express.True
	for name, o := range map[string]express.Options{
		"secrets alone":                      {},
		"all of them":                        {Name: "sid", Prefix: "p:", TTL: time.Hour, Rolling: true, SaveUninitialized: true, Resave: true, Proxy: true, Remember: time.Hour, Timeout: time.Minute, MaxSize: 1 << 10, OnConflict: sessions.ConflictReject},
		"NoPrefix":                           {NoPrefix: true},
		"15 minutes":                         {Cookie: express.Cookie{MaxAge: 15 * time.Minute}},
		"Path and Domain":                    {Cookie: express.Cookie{Path: "/app/", Domain: ".example.com"}},
		"__Host- and Secure":                 {Name: "__Host-sid", Cookie: express.Cookie{Secure: yes, Path: "/"}},
		"__Host-Http- and Secure":            {Name: "__Host-Http-sid", Cookie: express.Cookie{Secure: yes}},
		"__Http-, Domain and Path":           {Name: "__Http-sid", Cookie: express.Cookie{Secure: yes, Path: "/app", Domain: "example.com"}},
		"__Secure-, Domain and Path":         {Name: "__Secure-sid", Cookie: express.Cookie{Secure: yes, Path: "/app", Domain: "example.com"}},
		"SameSite None, Partitioned, Secure": {Cookie: express.Cookie{Secure: yes, SameSite: express.None, Partitioned: yes}},
		"SameSite and Secure Auto":           {Cookie: express.Cookie{Secure: express.Auto, SameSite: express.Auto}},
		"all False":                          {Cookie: express.Cookie{Secure: express.False, SameSite: express.False, HttpOnly: express.False, Partitioned: express.False}},
		"shouted":                            {Cookie: express.Cookie{Secure: "TRUE", SameSite: "NONE", HttpOnly: "FALSE", Partitioned: "True", Priority: "HIGH"}},
		"a short NewID":                      {NewID: draws("a", "b", "c")},
	} {
		t.Run("New takes "+name, func(t *testing.T) {
			o.Secrets = []string{"keyboard cat"}
			same(t, "New reports", lines(express.New[bare](rdb, o)), nil)
		})
	}
}
