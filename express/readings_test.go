package express_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A reading is a request with these Cookie lines, and the sid that Node went to
// the store with.
type reading struct {
	Name          string
	CookieHeaders []string
	Sid           *string
}

// misread are the headers that this side reads otherwise: Node's sid, and then
// what happens here.
var misread = []struct {
	name, why string
	rows      []string
	loaded    []string
	whose     string
}{
	{
		"a second cookie of the name counts where the first is not valid",
		"another host of the domain may have set the first one, and must not sign anybody out",
		[]string{"two, the first with a wrong signature", "two, the first unsigned", "two, the first empty"},
		[]string{"pear"},
		"pear",
	},
	{
		"two sessions are none",
		"which of the two is the user's cannot be told, and one may be an attacker's",
		[]string{"two, both valid", "two header lines, both valid"},
		[]string{"apple", "pear"},
		"",
	},
	{
		"bytes beyond ASCII are read as they are",
		"Node takes each byte for a character; no browser sends such a cookie, for none was ever set",
		[]string{"not encoded, not ASCII"},
		[]string{"é"},
		"é",
	},
}

type whose struct {
	Whose string `json:"whose,omitempty"`
}

func TestVectorsRead(t *testing.T) {
	var recorded struct {
		ReadWith struct {
			CookieName string
			Secrets    []string
		}
		Read []*reading
	}
	recording(t, "vectors", &recorded)
	if len(recorded.Read) < 70 || len(recorded.ReadWith.Secrets) != 2 {
		t.Fatalf("only %d rows and %d secrets", len(recorded.Read), len(recorded.ReadWith.Secrets))
	}
	sids := map[string]bool{"": true} // and all that either side reads
	for _, row := range recorded.Read {
		if row.Sid != nil {
			sids[*row.Sid] = true
		}
	}
	for _, rule := range misread {
		for _, sid := range rule.loaded {
			sids[sid] = true
		}
	}
	known := map[string]bool{}
	for _, row := range recorded.Read {
		known[row.Name] = true
		frozen(t, named("L10 R1 R3 R16", "%s", row.Name), func(t *testing.T) {
			desk := newDesk[whose](t, express.Options{Name: recorded.ReadWith.CookieName, Secrets: recorded.ReadWith.Secrets})
			for sid := range sids {
				data, err := json.Marshal(whose{sid})
				if err != nil {
					t.Fatal(err)
				}
				desk.put(t, sid, `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},`+string(data[1:]), 23*time.Hour)
			}
			var loaded []string
			owner := ""
			if row.Sid != nil {
				loaded, owner = []string{*row.Sid}, *row.Sid
			}
			for _, rule := range misread {
				if slices.Contains(rule.rows, row.Name) {
					if slices.Equal(loaded, rule.loaded) && owner == rule.whose {
						t.Errorf("%q is no difference here (%s)", rule.name, rule.why)
					}
					loaded, owner = rule.loaded, rule.whose
				}
			}
			var commands []string
			for _, sid := range loaded {
				commands = append(commands, "GET sess:"+sid)
				if len(loaded) == 1 { // two are refused, and a refused one is not touched
					commands = append(commands, "EXPIRE sess:"+sid+" 86400")
				}
			}

			var session string
			desk.serve(get("/", row.CookieHeaders...), func(_ http.ResponseWriter, r *http.Request) {
				session = sessions.FromContext[whose](r.Context()).Whose
			})
			if session != owner {
				t.Errorf("the session of %q, want %q", session, owner)
			}
			same(t, "commands", desk.take(), commands)
			if two := desk.told(sessions.EventTwoSessions) > 0; two != (len(loaded) > 1) {
				t.Errorf("two sessions: %t, want %t", two, len(loaded) > 1)
			}

			// Destroy ends what was read, and nothing else.
			before := desk.stored(t)
			answer := desk.serve(get("/", row.CookieHeaders...), func(_ http.ResponseWriter, r *http.Request) {
				if err := desk.Destroy(r.Context()); err != nil {
					t.Error(err)
				}
			})
			left := desk.stored(t)
			if want := slices.DeleteFunc(before, func(line string) bool {
				return slices.ContainsFunc(loaded, func(sid string) bool { return strings.HasPrefix(line, "sess:"+sid+" {") })
			}); len(left) != len(sids)-len(loaded) || !slices.Equal(left, want) {
				t.Errorf("Destroy leaves %q", left)
			}
			if expired := len(answer.Header["Set-Cookie"]) > 0; expired != (len(loaded) > 0) {
				t.Errorf("Destroy sends %q", answer.Header["Set-Cookie"])
			}
		})
	}
	for _, rule := range misread {
		for _, name := range rule.rows {
			if !known[name] {
				t.Errorf("%q (%s): there is no row %q any more", rule.name, rule.why, name)
			}
		}
	}
}

// FuzzCookieHeader reads what it has sent, and from any header no sid that was
// not signed with one of the secrets.
func FuzzCookieHeader(f *testing.F) {
	f.Add("apple", "keyboard cat", "connect.sid=s%3Apear.LVFtSc2rY7PILhy%2B6i6OxLc4G4EoHYQtcREtZ0F8Wiw")
	f.Add("a.b..c.", "\x00\x01", `connect.sid=s:a.b..c.; connect.sid="s%3Aa.b"; connect.sid=s%3A.`)
	f.Add("\xff", "keyboard cat", "")
	f.Add("%zz%20 \u2028", "é", "connect.sid=%ff%; ; =; connect.sid")
	for _, n := range []int{200, 201, 3900, 4038} { // around what each Store takes, and what a browser keeps
		f.Add(strings.Repeat("s", n), "keyboard cat", "")
	}
	f.Fuzz(func(t *testing.T, sid, secret, header string) {
		if secret == "" {
			t.Skip("New refuses an empty secret")
		}
		desk := newDesk[visit](t, express.Options{Secrets: []string{secret, "keyboard cat"}}, sid)
		count := func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[visit](r.Context()).Views++ }
		answer := desk.serve(get("/"), count)
		sent := answer.Header["Set-Cookie"]
		const room = len("=") + 4096                                                               // that browsers keep
		if sid == "" || !utf8.ValidString(sid) || len(signed("connect.sid", sid, secret)) > room { // and could not be read back
			if answer.StatusCode != http.StatusInternalServerError || len(sent) > 0 || len(desk.stored(t)) > 0 {
				t.Errorf("a session has begun under the sid %q: %q", sid, desk.stored(t))
			}
			return
		}
		if len(sent) != 1 || strings.ContainsFunc(pair(sent[0]), func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`",;\`, c) }) {
			t.Fatalf("Set-Cookie %q", sent)
		}
		desk.take()

		desk.serve(get("/", header), func(http.ResponseWriter, *http.Request) {})
		for _, c := range desk.take() {
			found, ok := strings.CutPrefix(c, "GET sess:")
			if !ok {
				continue
			}
			if !carries(header, found, secret) && !carries(header, found, "keyboard cat") {
				t.Errorf("from %q it went for %q, which nobody has signed", header, found)
			}
		}

		desk.serve(get("/", pair(sent[0])+"; "+header), count)
		if got := desk.stored(t); len(got) != 1 || !strings.Contains(got[0], `"views":2`) {
			t.Errorf("the browser's own cookie, %s, is not read again before %q: %q", pair(sent[0]), header, got)
		}
	})
}

// carries says that the sid is somewhere in the header with its signature, as
// it is or percent-encoded.
func carries(header, sid, secret string) bool {
	value, err := url.PathUnescape(signed("", sid, secret)[1:])
	if err != nil {
		return false
	}
	var decoded []byte
	for i := 0; i < len(header); i++ {
		if i+2 < len(header) && header[i] == '%' {
			if c, err := url.PathUnescape(header[i : i+3]); err == nil {
				decoded = append(decoded, c...)
				i += 2
				continue
			}
		}
		decoded = append(decoded, header[i])
	}
	return strings.Contains(header, value) || strings.Contains(string(decoded), value)
}
