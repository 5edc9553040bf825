package express_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// FuzzCookie reads a session whose cookie has any attributes, each given as it stands in the document; "" is one that is
// not there. The rolling cookie, the one of a save and the one that a sign-out expires have the attributes that the
// serializer of package cookie gives them, and another parser reads those of a line as they are meant.
func FuzzCookie(f *testing.F) {
	f.Add("900000", "true", "false", "", `"example.com"`, `"/app"`, `"lax"`, `"high"`)
	f.Add("null", "", "true", "true", "", "", "true", `"Medium"`)
	f.Add("false", "0", "1", "[]", `".Example.com"`, `"/a b"`, `"NONE"`, `"LOW"`)
	f.Add("1.5", "{}", `""`, "-0", `"a..b"`, `"/;"`, "false", "3")
	f.Add("8.64e15", "null", "1e-400", "1e400", `"\u212aexample.com"`, `"/\u00e9"`, `"\u017ftrict"`, `"h\u0130gh"`)
	f.Add("-1", `"false"`, `"x"`, "0.0", `"a.com; x=y"`, `""`, `" lax"`, "null")
	f.Add("", "", "", "", "null", "null", "{}", `"none"`)
	f.Add(`"900000"`, "", "", "", "5", "[]", `"strict"`, `""`)
	f.Fuzz(func(t *testing.T, maxAge, httpOnly, secure, partitioned, domain, path, sameSite, priority string) {
		attrs := map[string]string{
			"originalMaxAge": maxAge, "httpOnly": httpOnly, "secure": secure, "partitioned": partitioned,
			"domain": domain, "path": path, "sameSite": sameSite, "priority": priority,
		}
		list := []string{`"expires":null`}
		for name, value := range attrs {
			if value != "" && !json.Valid([]byte(value)) {
				return
			} else if value != "" {
				list = append(list, fmt.Sprintf("%q:%s", name, value))
			}
		}
		synctest.Test(t, func(t *testing.T) {
			desk := newDesk[counter](t, express.Options{Secrets: []string{"keyboard cat"}, Rolling: true})
			desk.put(t, "doc", `{"cookie":{`+strings.Join(list, ",")+`},"views":1}`, time.Hour)
			cookie := signed("connect.sid", "doc", "keyboard cat")
			ms, readable := milliseconds(maxAge)
			want := cookie + cookieAttributes(attrs, expiresIn(ms))
			for _, f := range []http.HandlerFunc{
				func(http.ResponseWriter, *http.Request) {},
				func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[counter](r.Context()).Views++ },
				func(_ http.ResponseWriter, r *http.Request) {
					if err := desk.Destroy(r.Context()); err != nil {
						t.Error(err)
					}
					want = "connect.sid=" + cookieAttributes(attrs, "; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
				},
			} {
				answer := desk.serve(get("https://example.com/", cookie), f)
				if !readable {
					if answer.StatusCode != http.StatusInternalServerError || len(answer.Header["Set-Cookie"]) > 0 {
						t.Errorf("a maxAge of %s: %d, %q", maxAge, answer.StatusCode, answer.Header["Set-Cookie"])
					}
					return
				}
				same(t, "Set-Cookie", answer.Header["Set-Cookie"], []string{want})
				asBrowser(t, want, attrs)
			}
		})
	})
}

// value is one of JavaScript's, of JSON; a number is text as it was.
func value(text string) (v any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&v) // it is valid, or empty: then it is nil, like null
	return v
}

// truthy is JavaScript's.
func truthy(text string) bool {
	switch v := value(text).(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		return number(v) != 0
	}
	return true
}

// number is Infinity where JavaScript says so.
func number(n json.Number) float64 {
	f, _ := strconv.ParseFloat(string(n), 64)
	return f
}

// milliseconds reads originalMaxAge: how long the cookie is kept, 0 where it ends with the browser.
func milliseconds(text string) (ms int64, readable bool) {
	switch v := value(text).(type) {
	case nil:
		return 0, true
	case bool:
		return 0, !v
	case json.Number:
		if f := number(v); f >= 1 && f <= 8.64e15 {
			return int64(f), true
		}
	}
	return 0, false
}

func expiresIn(ms int64) string {
	if ms == 0 {
		return ""
	}
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // the last of four digits' years
	if in := time.Now().UnixMilli() + ms; in < end.UnixMilli() {
		end = time.UnixMilli(in).UTC()
	}
	return "; Expires=" + end.Format("Mon, 02 Jan 2006 15:04:05") + " GMT"
}

var (
	hostName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	asciiWord = regexp.MustCompile(`^[A-Za-z]+$`)
)

// cookieAttributes are the attributes that package cookie writes; one that it refuses, or that is no text, is left out.
func cookieAttributes(attrs map[string]string, expires string) string {
	line := ""
	if d, ok := value(attrs["domain"]).(string); ok {
		good := d != ""
		for label := range strings.SplitSeq(strings.TrimPrefix(d, "."), ".") {
			good = good && hostName.MatchString(label)
		}
		if good {
			line += "; Domain=" + d
		}
	}
	path := "/"
	if attrs["path"] != "" {
		path, _ = value(attrs["path"]).(string)
	}
	if path != "" && !strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c > '~' || c == ';' || c == '<' }) {
		line += "; Path=" + path
	}
	line += expires
	if attrs["httpOnly"] == "" || truthy(attrs["httpOnly"]) {
		line += "; HttpOnly"
	}
	if truthy(attrs["secure"]) {
		line += "; Secure"
	}
	if truthy(attrs["partitioned"]) {
		line += "; Partitioned"
	}
	word := func(name string, words ...string) string {
		v := value(attrs[name])
		if s, ok := v.(string); ok && asciiWord.MatchString(s) {
			for _, w := range words {
				if strings.EqualFold(s, w) {
					return w
				}
			}
		}
		if v == true && name == "sameSite" {
			return "Strict"
		}
		return ""
	}
	if p := word("priority", "Low", "Medium", "High"); p != "" {
		line += "; Priority=" + p
	}
	if s := word("sameSite", "Strict", "Lax", "None"); s != "" {
		line += "; SameSite=" + s
	}
	return line
}

// asBrowser reads a line by another parser, net/http's.
func asBrowser(t *testing.T, line string, attrs map[string]string) {
	t.Helper()
	c, err := http.ParseSetCookie(line)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if c.HttpOnly != strings.Contains(line, "; HttpOnly") || c.Secure != truthy(attrs["secure"]) || c.Partitioned != truthy(attrs["partitioned"]) {
		t.Errorf("%q is read as %+v", line, c)
	}
	if domain := value(attrs["domain"]); c.Domain != "" && c.Domain != domain {
		t.Errorf("%q has the domain %q, want %q", line, c.Domain, domain)
	}
}
