package node_test

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// A vector is a row of what Node has written, see README.md.
type vector struct {
	Name, CookieName, Sid, SecretHex string
	SetCookie, Key, Stored           *string
}

// TestVectors takes the recorded sessions round, each with its cookie and its
// stored bytes: Go reads them, and writes what Node reads, and again.
func TestVectors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../express/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ Write []vector }
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	pairs, rows := map[[2]string]*pair{}, 0
	for _, v := range recorded.Write {
		secret, err := hex.DecodeString(v.SecretHex)
		if err != nil {
			t.Fatal(err)
		}
		if v.Stored == nil || v.SetCookie == nil {
			continue // it had no cookie, or was over at once
		}
		if strings.Contains(*v.Stored, `"originalMaxAge":1,`) {
			continue // a millisecond: over before Node saves what Go has
		}
		rows++
		with := [2]string{v.CookieName, string(secret)}
		if pairs[with] == nil {
			pairs[with] = w.pair(t, "10", express.Options{
				Name: v.CookieName, Secrets: []string{string(secret)}, Rolling: true, Proxy: true,
				Cookie: express.Cookie{Secure: secureFor(v.CookieName)},
			})
		}
		t.Run("R1 R2 R3 R5 R10 R13 "+v.Name, func(t *testing.T) { pairs[with].round(t, v) })
	}
	if rows < 60 {
		t.Errorf("there are %d vectors", rows)
	}
}

// secureFor is Secure where browsers ask for it.
func secureFor(name string) express.Setting {
	if strings.HasPrefix(name, "__") {
		return express.True
	}
	return ""
}

func (p *pair) round(t *testing.T, v vector) {
	ctx := t.Context()
	p.redis.FlushDB(ctx)
	if err := p.redis.Set(ctx, *v.Key, *v.Stored, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	pairOf := func(line string) string { kept, _, _ := strings.Cut(line, ";"); return kept }
	sent := pairOf(*v.SetCookie)
	var members []string // but for the expires, which moves on
	b := p.browser(t)
	b.client.Jar = nil // what Domain and Path say is not for here
	b.scheme = "https"
	for n, at := range []*site{p.gopher, p.node, p.gopher, p.node} {
		a, err := b.send(at, "POST /save", []string{`{"rate": 1}`, `{"rate": 2}`}[n%2], http.Header{"Cookie": {sent}})
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", at.name, a.status, a.Error, err)
		}
		if a.ID != v.Sid {
			t.Errorf("%s: the sid is %q, want %q", at.name, a.ID, v.Sid)
		}
		// Byte for byte Node's cookie, whoever sends it.
		if len(a.setCookie) != 1 || pairOf(a.setCookie[0]) != sent {
			t.Errorf("%s: Set-Cookie: %q, want %s", at.name, a.setCookie, sent)
		} else if got, want := attributes(a.setCookie[0]), attributes(*v.SetCookie); got != want {
			t.Errorf("%s: Set-Cookie: %s, want %s", at.name, got, want)
		}
		sent = pairOf(strings.Join(a.setCookie, ""))
		if keys := p.keys(t); !slices.Equal(keys, []string{*v.Key}) {
			t.Fatalf("%s: there is %q, want %q", at.name, keys, *v.Key)
		}
		raw, err := p.redis.Get(ctx, *v.Key).Result()
		if err != nil {
			t.Fatal(err)
		}
		now := membersOf(t, raw)
		if n == 0 {
			if members = now; !slices.Equal(now, membersOf(t, *v.Stored)) {
				t.Errorf("Go made of\n%s\nthis:\n%s", *v.Stored, raw)
			}
		} else if !slices.Equal(now, members) {
			t.Errorf("%s wrote\n%q, want\n%q", at.name, now, members)
		}
	}
}

// attributes are those of a Set-Cookie line, without when it expires.
func attributes(line string) string {
	var kept []string
	for i, attr := range strings.Split(line, "; ") {
		if name, _, _ := strings.Cut(attr, "="); name == "Expires" {
			kept = append(kept, name)
		} else if i > 0 {
			kept = append(kept, attr)
		}
	}
	return strings.Join(kept, "; ")
}

var digits = regexp.MustCompile("[0-9]")

// membersOf are the members of a document and of its cookie, sorted, with the
// bytes of their values; but for the digits of the expires, for the age, from
// which Node takes a millisecond at times, and for what this test changes.
func membersOf(t *testing.T, document string) (members []string) {
	t.Helper()
	var all, cookie map[string]json.RawMessage
	err := json.Unmarshal([]byte(document), &all)
	if err == nil {
		err = json.Unmarshal(all["cookie"], &cookie)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	for name, value := range all {
		if name != "cookie" && name != "rate" {
			members = append(members, name+": "+string(value))
		}
	}
	for name, value := range cookie {
		switch name {
		case "expires":
			value = digits.ReplaceAll(value, []byte("0"))
		case "originalMaxAge":
			if _, err := strconv.Atoi(string(value)); err == nil {
				value = json.RawMessage("a number")
			}
		}
		members = append(members, "cookie."+name+": "+string(value))
	}
	slices.Sort(members)
	return members
}
