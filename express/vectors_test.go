package express_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A written is a new session of the recording application, and what became of it.
type written struct {
	Name, CookieName, Sid, SecretHex string
	Now                              time.Time
	HTTPS                            bool
	Cookie                           map[string]any
	Data                             string
	SetCookie, Stored                *string
	Key                              string
	Ex                               *int64
}

func (w *written) secret(t *testing.T) string {
	t.Helper()
	secret, err := hex.DecodeString(w.SecretHex)
	if err != nil || len(secret) == 0 {
		t.Fatalf("the secret %q: %v", w.SecretHex, err)
	}
	return string(secret)
}

// options are the row's, ported line by line.
func (w *written) options(t *testing.T) express.Options {
	t.Helper()
	o := express.Options{Name: w.CookieName, Secrets: []string{w.secret(t)}, Proxy: true}
	for member, value := range w.Cookie {
		text, _ := value.(string)
		switch set := express.Setting(fmt.Sprint(value)); member {
		case "maxAge":
			if ms, ok := value.(float64); ok {
				o.Cookie.MaxAge = time.Duration(ms) * time.Millisecond
			}
		case "path":
			o.Cookie.Path = text
		case "domain":
			o.Cookie.Domain = text
		case "secure":
			o.Cookie.Secure = set
		case "httpOnly":
			o.Cookie.HttpOnly = set
		case "partitioned":
			o.Cookie.Partitioned = set
		case "sameSite":
			o.Cookie.SameSite = set
		case "priority":
			o.Cookie.Priority = set
		default:
			t.Fatalf("the option cookie.%s is none of this side's", member)
		}
	}
	return o
}

// data is what was stored beside the cookie, as Node has written it.
func (w *written) data(t *testing.T) string {
	t.Helper()
	if w.Stored == nil || w.Ex == nil {
		t.Fatal("Node has stored nothing")
	}
	return withoutCookie(t, *w.Stored)
}

// request is the recorded one.
func (w *written) request(cookies ...string) *http.Request {
	r := get("/app", cookies...)
	if r.Header.Set("X-Forwarded-Proto", "http"); w.HTTPS {
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	return r
}

// line is the Set-Cookie line, if there is one.
func (w *written) line() []string {
	if w.SetCookie == nil {
		return nil
	}
	return []string{*w.SetCookie}
}

// withoutCookie takes the member cookie out of a document of Node's, in whose
// values there is no brace.
func withoutCookie(t *testing.T, document string) string {
	t.Helper()
	before, rest, ok := strings.Cut(document, `"cookie":{`)
	_, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		t.Fatalf("there is no cookie in %s", document)
	}
	if after, ok = strings.CutPrefix(after, ","); !ok {
		before = strings.TrimSuffix(before, ",")
	}
	return before + after
}

// anything is a session that writes and reads a text of its own.
type anything struct{ text string }

func (a anything) MarshalJSON() ([]byte, error) {
	if a.text == "" {
		return []byte("{}"), nil
	}
	return []byte(a.text), nil
}

func (a *anything) UnmarshalJSON(data []byte) error {
	a.text = string(data)
	return nil
}

// typed are the rows whose data a struct of Go can hold as it is.
var typed = map[string]func(*testing.T, *written, express.Options){
	"data: HTML": writes(struct {
		HTML string `json:"html"`
	}{`<a href="x">&amp;</a>`}),
	"data: line separators": writes(texts{"\u2028 and \u2029"}),
	"data: control characters": writes(texts{
		"\x00\x01\b\t\n\v\f\r\x1f\x7f\u0080",
	}),
	"data: an escape as text":  writes(texts{`\u2028 \u003c \n`}),
	"data: a slash and quotes": writes(texts{`/ " ' \`}),
	"data: numbers": writes(struct {
		N []any `json:"n"` // JavaScript writes -0 as 0, and infinity as null
	}{[]any{
		0, 0.0, 1.0, 1e5, 1e21, 1e-7, 0.1, 5e-324, 9007199254740991, 9007199254740993.0, nil, 123456789012345678901234567890.0,
	}}),
	"data: nested": writes(struct {
		User  any      `json:"user"`
		Empty struct{} `json:"empty"`
	}{User: struct {
		ID   int   `json:"id"`
		Tags []any `json:"tags"`
		None *int  `json:"none"`
		Yes  bool  `json:"yes"`
	}{7, []any{"a", map[string][][]int{"b": {{}}}}, nil, true}}),
	"data: a cookie of its own, deeper": writes(struct {
		User map[string]map[string]string `json:"user"`
	}{map[string]map[string]string{"cookie": {"expires": "never"}}}),
}

type texts struct {
	Text string `json:"text"`
}

// writes begins a session with this value, and compares it with the row's.
func writes[T any](value T) func(*testing.T, *written, express.Options) {
	return func(t *testing.T, w *written, o express.Options) {
		t.Helper()
		desk := newDesk[T](t, o, w.Sid)
		answer := desk.serve(w.request(), func(_ http.ResponseWriter, r *http.Request) {
			*sessions.FromContext[T](r.Context()) = value
		})
		same(t, "Set-Cookie", answer.Header["Set-Cookie"], w.line())
		same(t, "stored", desk.stored(t), []string{fmt.Sprintf("%s %s EX %d", w.Key, *w.Stored, *w.Ex)})
		same(t, "commands", desk.take(), []string{fmt.Sprintf("SET %s %s EX %d", w.Key, *w.Stored, *w.Ex)})
	}
}

// unwritten are the new sessions that this side begins otherwise: a rule changes
// what must be written, or returns what New refuses.
var unwritten = []struct {
	name, why string
	when      func(*written) bool
	instead   func(*testing.T, *written) (refused string)
}{
	{
		"New refuses a cookie that browsers drop",
		"the mistake is found when the program starts, and not by its visitors, who could never sign in",
		func(w *written) bool {
			partitioned, sameSite, secure := w.Cookie["partitioned"], w.Cookie["sameSite"], w.Cookie["secure"]
			return secure != true && (partitioned == true || sameSite == "none" || sameSite == "auto" && secure != "auto")
		},
		func(_ *testing.T, w *written) string {
			if w.Cookie["partitioned"] == true {
				return "Options.Cookie.Partitioned"
			}
			return "Options.Cookie.SameSite"
		},
	},
	{
		"New refuses a MaxAge that seems to lack its unit",
		"Node's 900000 would be 0.9 ms here, and every session would be over at once",
		func(w *written) bool {
			ms, ok := w.Cookie["maxAge"].(float64)
			return ok && 0 < ms && ms < 1000
		},
		func(*testing.T, *written) string { return "Options.Cookie.MaxAge" },
	},
	{
		"a MaxAge of zero is none",
		"the zero value of an option is its default; Node's maxAge 0 stores no session at all",
		func(w *written) bool { return w.Cookie["maxAge"] == 0.0 },
		func(_ *testing.T, w *written) string {
			stored, line, day := `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"views":1}`, pair(*w.SetCookie)+"; Path=/; HttpOnly", int64(86400)
			w.Stored, w.SetCookie, w.Ex = &stored, &line, &day
			return ""
		},
	},
	{
		"the cookie is written first",
		"the order of members means nothing (R13): Node puts names that look like integers before all others",
		func(w *written) bool { return w.Stored != nil && !strings.HasPrefix(*w.Stored, `{"cookie":`) },
		func(t *testing.T, w *written) string {
			cookie, data := cookieFirst(t, *w.Stored)
			stored := "{" + cookie + "," + data
			w.Stored = &stored
			return ""
		},
	},
}

func TestVectorsWritten(t *testing.T) {
	var recorded struct{ Write []*written }
	recording(t, "vectors", &recorded)
	if len(recorded.Write) < 50 {
		t.Fatalf("only %d rows", len(recorded.Write))
	}
	used := map[string]int{}
	for _, row := range recorded.Write {
		frozen(t, named("R1 R2 R4 R5 R8 R13 R14 R17", "%s", row.Name), func(t *testing.T) {
			reach(t, row.Now)
			want, refused := *row, ""
			for _, rule := range unwritten {
				if !rule.when(row) {
					continue
				}
				used[rule.name]++
				before := want
				if refused = rule.instead(t, &want); refused == "" && fmt.Sprint(before) == fmt.Sprint(want) {
					t.Errorf("%q is no difference here (%s)", rule.name, rule.why)
				}
			}
			if refused != "" {
				_, err := tryDesk[visit](row.options(t))
				if err == nil || !strings.Contains(err.Error(), refused) {
					t.Errorf("New says %v, and should refuse %s", err, refused)
				}
				return
			}
			writes(anything{want.data(t)})(t, &want, row.options(t))
			if row.Data == `{"views":1}` {
				writes(visit{1})(t, &want, row.options(t))
			} else if write, ok := typed[row.Name]; ok {
				used[row.Name]++
				write(t, &want, row.options(t))
			}
		})
	}
	for _, rule := range unwritten {
		if used[rule.name] == 0 {
			t.Errorf("%q is no difference anywhere (%s)", rule.name, rule.why)
		}
	}
	for name := range typed {
		if used[name] == 0 {
			t.Errorf("there is no row %q any more", name)
		}
	}
}

// reach waits for the instant of a row.
func reach(t *testing.T, now time.Time) {
	t.Helper()
	if time.Sleep(time.Until(now)); !time.Now().Equal(now) {
		t.Errorf("the bubble's clock cannot go back to %v", now)
	}
}

// TestVectorsTakenOver gives Node's cookies and documents to a service that is
// configured otherwise in everything that is stored with a session.
func TestVectorsTakenOver(t *testing.T) {
	var recorded struct{ Write []*written }
	recording(t, "vectors", &recorded)
	for _, row := range recorded.Write {
		if row.Stored == nil { // nothing to take over
			continue
		}
		frozen(t, named("R3 R9 R10 R15", "%s", row.Name), func(t *testing.T) {
			reach(t, row.Now)
			o := express.Options{Name: row.CookieName, Secrets: []string{"of today", row.secret(t)}, Rolling: true, Proxy: true}
			o.Cookie = express.Cookie{
				MaxAge: time.Hour, Secure: express.True, HttpOnly: express.False, Partitioned: express.True,
				SameSite: express.Lax, Priority: express.Low,
			}
			if !strings.HasPrefix(row.CookieName, "__Host-") {
				o.Cookie.Path, o.Cookie.Domain = "/app", "other.example"
			}
			cookie := signed(row.CookieName, row.Sid, row.secret(t))
			if row.SetCookie != nil && pair(*row.SetCookie) != cookie {
				t.Fatalf("Node signs %s, the test %s", pair(*row.SetCookie), cookie)
			}
			ttl := time.Duration(*row.Ex) * time.Second
			// Signed with the old secret, sent back with the new one (R16).
			line := row.line()
			for i := range line {
				line[i] = signed(row.CookieName, row.Sid, "of today") + strings.TrimPrefix(line[i], cookie)
			}

			reader := newDesk[anything](t, o)
			reader.put(t, row.Sid, *row.Stored, time.Second)
			var data string
			answer := reader.serve(row.request(cookie), func(w http.ResponseWriter, r *http.Request) {
				data = sessions.FromContext[anything](r.Context()).text
				_, _ = io.WriteString(w, reader.Info(r.Context()).ID)
			})
			if data != row.data(t) {
				t.Errorf("T is %s, want %s", data, row.data(t))
			}
			if body, _ := io.ReadAll(answer.Body); string(body) != row.Sid {
				t.Errorf("the sid is %q, want %q", body, row.Sid)
			}
			same(t, "Set-Cookie", answer.Header["Set-Cookie"], line)
			same(t, "commands", effective(reader.take()), []string{"GET " + row.Key, "EXPIRE " + row.Key + " " + seconds(ttl)})
			same(t, "stored", reader.stored(t), []string{row.Key + " " + *row.Stored + " EX " + seconds(ttl)})

			// A T that knows none of it but views leaves the rest as it is.
			counter := newDesk[visit](t, o)
			counter.put(t, row.Sid, *row.Stored, time.Second)
			answer = counter.serve(row.request(cookie), func(_ http.ResponseWriter, r *http.Request) {
				sessions.FromContext[visit](r.Context()).Views++
			})
			same(t, "Set-Cookie", answer.Header["Set-Cookie"], line)
			same(t, "stored", counter.stored(t), []string{row.Key + " " + row.counted(t) + " EX " + seconds(ttl)})
		})
	}
}

// counted is the row's document after one more view: the cookie first, and what
// was not there yet last (the order means nothing, R13).
func (w *written) counted(t *testing.T) string {
	t.Helper()
	cookie, data := cookieFirst(t, *w.Stored)
	if rest, ok := strings.CutPrefix(data, `"views":1`); ok {
		return "{" + cookie + `,"views":2` + rest
	}
	return "{" + cookie + "," + strings.TrimSuffix(data, "}") + `,"views":1}`
}

// cookieFirst takes a document of Node's apart: the member cookie, and what
// follows it if it is put first, with the closing brace.
func cookieFirst(t *testing.T, document string) (cookie, data string) {
	t.Helper()
	_, rest, _ := strings.Cut(document, `"cookie":{`)
	cookie, _, _ = strings.Cut(rest, "}")
	return `"cookie":{` + cookie + "}", withoutCookie(t, document)[1:]
}

// TestVectorsByHand are those of express-session's own tests and of the wire's
// description, typed by hand: a source beside the recorder.
func TestVectorsByHand(t *testing.T) {
	const uuid1, uuid2 = "123e4567-e89b-42d3-a456-426614174000", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
	buffer := "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
	for _, tc := range []struct{ sid, secret, value string }{
		{"apple", "keyboard cat", "s%3Aapple.D8Y%2BpkTAmeR0PobOhY4G97PRW%2Bj7bUnP%2F5m6%2FOn1MCU"},
		{"%", "keyboard cat", "s%3A%25.kzQ6x52kKVdF35Qh62AWk4ZekS28K5XYCXKa%2FOTZ01g"},
		{"/foo", "keyboard cat", "s%3A%2Ffoo.paEKBtAHbV5s1IB8B2zPnzAgYmmnRPIqObW4VRYj%2FMQ"},
		{uuid1, "keyboard cat", "s%3A" + uuid1 + ".HlYNHrGJpu1WnyL0qewjcWCyg%2BJsJZnJgOOm0l1V8E0"},
		{uuid2, "shhhh, very secret", "s%3A" + uuid2 + ".4tFzYgchIpq%2BlE%2BpIIFECJ2nQbM4wKP2xHE9KRBJDaM"},
		{uuid2, buffer, "s%3A" + uuid2 + ".XMIVmgzQjG1u8CkjDASDKZXHV0IbEYemNYn2v21ImDE"},
	} {
		frozen(t, named("R1 R2 R3", "%s, %s", tc.sid, tc.secret), func(t *testing.T) {
			desk := newDesk[visit](t, express.Options{Secrets: []string{tc.secret}}, tc.sid)
			count := func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[visit](r.Context()).Views++ }
			sent := desk.serve(get("/"), count).Header["Set-Cookie"]
			same(t, "Set-Cookie", sent, []string{"connect.sid=" + tc.value + "; Path=/; HttpOnly"})
			desk.serve(get("/", "connect.sid="+tc.value), count)
			same(t, "stored", desk.stored(t), []string{
				"sess:" + tc.sid + ` {"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"views":2} EX 86400`,
			})
		})
	}
}
