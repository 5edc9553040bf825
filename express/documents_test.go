package express_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A document is one that was stored, and what became of three requests for it:
// one that reads, one that counts, one that counts and saves.
type document struct {
	What              string
	Stored            *string
	StoredBase64      []byte
	StoredList        []string
	Read, Count, Save answered
}

type answered struct {
	Status    int
	SetCookie []string
	Session   map[string]json.RawMessage
	Late      []string // what has failed once the answer was under way
	Commands  [][]string
}

// documents reads the rows, with their {fill}s filled in.
func documents(t testing.TB) []*document {
	t.Helper()
	var recorded struct{ Rows []json.RawMessage }
	recording(t, "documents", &recorded)
	if len(recorded.Rows) < 200 {
		t.Fatalf("only %d rows", len(recorded.Rows))
	}
	var rows []*document
	for _, raw := range recorded.Rows {
		var long struct{ Fill int }
		if err := json.Unmarshal(raw, &long); err != nil {
			t.Fatal(err)
		}
		d := new(document)
		if err := json.Unmarshal(bytes.ReplaceAll(raw, []byte("{fill}"), bytes.Repeat([]byte("x"), long.Fill)), d); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, d)
	}
	return rows
}

func (d *document) text() string {
	if d.Stored != nil {
		return *d.Stored
	}
	return string(d.StoredBase64)
}

// A task is one of the three requests.
type task struct {
	*document
	path string
	node answered
}

func (d *document) tasks() []task {
	return []task{{d, "read", d.Read}, {d, "count", d.Count}, {d, "save", d.Save}}
}

func (r task) is(whats ...string) bool { return slices.Contains(whats, r.What) }
func (r task) answered() bool          { return r.node.Status == http.StatusOK }
func (r task) writes() bool            { return r.path != "read" }

const (
	standing = `{"cookie":{"originalMaxAge":900000,"expires":"2000-01-01T00:15:00.000Z","httpOnly":true,"path":"/"}`
	ends     = "; Expires=Sat, 01 Jan 2000 00:15:00 GMT; HttpOnly"
)

func docLine(attributes string) []string {
	return []string{signed("connect.sid", "doc", "keyboard cat") + attributes}
}

// isNothing says that the document stands for no session.
func (r task) isNothing() bool {
	return r.is("empty", "TOMBSTONE", "the value null", "the value false", "the value 0", "the value -0", `the value ""`)
}

// refuse is what becomes of a request for a session that cannot be read.
func (r task) refuse(it *deed) {
	*it = deed{status: http.StatusInternalServerError, commands: []string{"GET sess:doc"}, session: "0"}
}

// fresh is what a request does that finds no session.
func (r task) fresh(it *deed) {
	*it = deed{status: http.StatusOK, commands: []string{"GET sess:doc"}, session: "0"}
	if r.writes() {
		it.commands = append(it.commands, "SET sess:new "+standing+`,"views":1} EX 900`)
		it.cookies = []string{signed("connect.sid", "new", "keyboard cat") + "; Path=/" + ends}
		it.session = "1"
	}
}

// usual is what a request does for a session with one view and nothing odd.
func (r task) usual(it *deed) {
	*it = deed{status: http.StatusOK, commands: []string{"GET sess:doc", "EXPIRE sess:doc 900"}, cookies: docLine("; Path=/" + ends), session: "1"}
	if r.writes() {
		it.commands[1], it.session = "SET sess:doc "+standing+`,"views":2} EX 900`, "2"
	}
	if r.path == "save" {
		it.commands = touching(it.commands)
	}
}

// touching adds the touch behind a save: for as long as that has set.
func touching(commands []string) []string {
	last := commands[len(commands)-1]
	return append(commands, "EXPIRE sess:doc "+last[strings.LastIndex(last, " ")+1:])
}

// edit changes what is set.
func (it *deed) edit(change func(document string) string) {
	for i, c := range it.commands {
		if rest, ok := strings.CutPrefix(c, "SET sess:doc "); ok {
			at := strings.LastIndex(rest, " EX ")
			it.commands[i] = "SET sess:doc " + change(rest[:at]) + rest[at:]
		}
	}
}

// order puts the cookie first, then the other members as they are in the stored
// document; T's views are the last if they are not there yet.
func (r task) order(t *testing.T, it *deed) {
	t.Helper()
	it.edit(func(document string) string {
		cookie, _ := cookieFirst(t, document)
		document = "{" + cookie
		names, values := members(t, r.text())
		if !slices.Contains(names, "views") {
			names = append(names, "views")
		}
		values["views"] = json.RawMessage(it.session)
		for _, name := range names {
			if name != "cookie" {
				document += fmt.Sprintf(",%s:%s", encoded(t, name), values[name])
			}
		}
		return document + "}"
	})
}

// asStored are members of cookies: as Node rewrites them, and as they were.
var asStored = map[string][]string{
	"originalMaxAge 1500.5":        {":1500,", ":1500.5,"},
	"originalMaxAge 9e5":           {":900000,", ":9e5,"},
	`path "/\u00e9"`:               {"é", `\u00e9`},
	`domain "b\u00fccher.example"`: {"ü", `\u00fc`},
}

// otherwise are the documents that this side treats otherwise. Rules apply in
// this order.
var otherwise = []struct {
	name, why string
	when      func(task) bool
	instead   func(*testing.T, task, *deed)
}{
	{
		"saving touches first",
		"Node stores the expires of the request before, and deletes the session if that is past or no date (R9)",
		func(r task) bool {
			return r.path == "save" && r.answered() && len(r.Save.Commands) == 3 && fmt.Sprint(r.Save.Commands[1]) != fmt.Sprint(r.Count.Commands[1])
		},
		func(_ *testing.T, r task, it *deed) { it.commands = touching(words(r.Count.Commands)) },
	},
	{
		"what cannot be read is answered by 500",
		"as Node answers most of it; to some requests it gives no answer at all",
		func(r task) bool { return !r.answered() && r.node.Status != http.StatusInternalServerError },
		func(_ *testing.T, r task, it *deed) { r.refuse(it) },
	},
	{
		"a tombstone is no session",
		"connect-redis 6.1.0 and 6.1.2 have written it for one that was destroyed; others take it for broken JSON",
		func(r task) bool { return r.is("TOMBSTONE") },
		func(_ *testing.T, r task, it *deed) { r.fresh(it) },
	},
	{
		"the cookie must be an object",
		"what else is there was not written by express-session; Node takes some of it for an empty cookie",
		func(r task) bool {
			return r.is("cookie false", "cookie 0", `cookie ""`, "cookie []", `cookie ["x"]`)
		},
		func(_ *testing.T, r task, it *deed) { r.refuse(it) },
	},
	{
		"originalMaxAge must be null, false or a positive number that a date can be made of",
		"Node deletes the session on the spot, or at the next save; here nothing is deleted that is not understood",
		func(r task) bool {
			return slices.Contains([]string{`""`, "0", "-0", "-1", "0.5", "1e300", "1e400", "-1e400"}, strings.TrimPrefix(r.What, "originalMaxAge "))
		},
		func(_ *testing.T, r task, it *deed) { r.refuse(it) },
	},
	{
		"a member must fit the field of T",
		"an int takes no fraction, and Node itself never writes 1.0",
		func(r task) bool { return r.is("views with a fraction") },
		func(_ *testing.T, r task, it *deed) { r.refuse(it) },
	},
	{
		"no document is read that is deeper than 100",
		"the codec's limit for all sessions, against documents that exhaust the reader",
		func(r task) bool { return r.is("200 deep") },
		func(_ *testing.T, r task, it *deed) { r.refuse(it) },
	},
	{
		"a lifetime is 292 years at most",
		"what a time.Duration holds; Node lets such a session live longer, or its touch fails",
		func(r task) bool {
			return r.is("originalMaxAge 31536000000000", "originalMaxAge 8640000000000000")
		},
		func(_ *testing.T, r task, it *deed) {
			if r.is("originalMaxAge 8640000000000000") {
				r.usual(it)
				it.cookies = docLine("; Path=/; Expires=Fri, 31 Dec 9999 23:59:59 GMT; HttpOnly")
				it.edit(func(document string) string {
					return strings.NewReplacer("900000", "8640000000000000", "2000-01-01T00:15:00.000Z", "9999-12-31T23:59:59.999Z").Replace(document)
				})
			}
			for i, c := range it.commands[1:] {
				it.commands[i+1] = c[:strings.LastIndex(c, " ")] + " 9223372036"
			}
		},
	},
	{
		"members of the cookie keep their bytes",
		"but for expires they are the other side's; Node writes what it has understood",
		func(r task) bool { return r.writes() && asStored[r.What] != nil },
		func(_ *testing.T, r task, it *deed) { it.edit(strings.NewReplacer(asStored[r.What]...).Replace) },
	},
	{
		"a member of the cookie that is none of express-session's means nothing",
		"Node copies it into an object of its own: it fails, or stores an object's inner members",
		func(r task) bool {
			return r.is("a member maxAge that is text", "a member __proto__") || r.is("a member toJSON") && r.writes()
		},
		func(_ *testing.T, r task, it *deed) { r.usual(it) },
	},
	{
		"members of the cookie that are none of express-session's are kept",
		"a newer version of it may know them, or another program (R10); Node drops them",
		func(r task) bool {
			return r.writes() && (r.is("an unknown member", "originalMaxAge in another case") || strings.HasPrefix(r.What, "a member ") && !r.is("a member twice"))
		},
		func(_ *testing.T, r task, it *deed) {
			_, member, _ := strings.Cut(r.text(), `"path":"/"`)
			member, _, _ = strings.Cut(member, `},"views"`)
			it.edit(func(document string) string {
				return strings.Replace(document, `"path":"/"`, `"path":"/"`+member, 1)
			})
		},
	},
	{
		"an attribute that no cookie can have is left out",
		"the cookie goes out all the same, for a new sid that is not sent is a session lost; Node sends none, and fails when the answer is under way",
		func(r task) bool {
			return len(r.node.Late) > 0 && !strings.HasPrefix(r.What, "originalMaxAge")
		},
		func(_ *testing.T, r task, it *deed) {
			it.cookies = docLine("; Path=/" + ends)
			if strings.HasPrefix(r.What, "path ") {
				it.cookies = docLine(ends)
			}
		},
	},
	{
		"an attribute that is no text is left out",
		"nobody has configured a number; Node writes it",
		func(r task) bool { return r.is("path 1", "domain 1") },
		func(_ *testing.T, _ task, it *deed) {
			it.cookies[0] = strings.NewReplacer("; Path=1", "", "; Domain=1", "").Replace(it.cookies[0])
		},
	},
	{
		"members with reserved names are kept",
		"reading rewrites nothing, and a save does not drop what it does not know (R10); Node drops them at once (R11)",
		func(r task) bool { return strings.HasPrefix(r.What, "reserved: ") },
		func(t *testing.T, r task, it *deed) {
			if r.usual(it); r.writes() {
				r.order(t, it)
			}
		},
	},
	{
		"members that T does not know keep their bytes",
		"numbers beyond 2^53 and all escapes survive (R10, R12); Node writes what it has understood",
		func(r task) bool {
			return r.writes() && r.is("numbers", "a number beyond 2^53", "a number beyond a double", "a number as Node would not write it", "a surrogate pair escaped")
		},
		func(t *testing.T, r task, it *deed) { r.order(t, it) },
	},
	{
		"U+2028 and U+2029 are written as Node writes them",
		"what is stored is written as a whole, whoever has put the escape there",
		func(r task) bool { return r.writes() && r.is("text as Node would not write it") },
		func(t *testing.T, r task, it *deed) {
			r.order(t, it)
			it.edit(func(document string) string { return strings.ReplaceAll(document, `\u2028`, "\u2028") })
		},
	},
	{
		"bytes that are no UTF-8 are kept",
		"they are foreign like the rest of the member; Node reads and writes U+FFFD",
		func(r task) bool { return r.writes() && strings.HasPrefix(r.What, "bytes that are no UTF-8") },
		func(_ *testing.T, r task, it *deed) {
			if r.is("bytes that are no UTF-8, in text") {
				it.edit(func(string) string { return standing + `,"t":"` + "\xff\xc0\xaf\xed\xa0\x80" + `","views":2}` })
			} else {
				it.edit(func(string) string { return standing + `,"` + "\xe9" + `":1,"views":1}` })
			}
		},
	},
	{
		"a name with half a surrogate pair is written with U+FFFD",
		"a Go string cannot hold it; in values it is kept",
		func(r task) bool { return r.writes() && r.is("lone surrogates") },
		func(t *testing.T, r task, it *deed) { r.order(t, it) },
	},
	{
		"the cookie comes first, then all other members as they are stored",
		"the order of members means nothing (R13)",
		func(r task) bool {
			return r.writes() && r.is("cookie not first", "cookie between", "integer-like names out of order")
		},
		func(t *testing.T, r task, it *deed) { r.order(t, it) },
	},
}

// TestDocuments compares what requests make of a stored document with what
// Node has made of it. Nothing that cannot be read is ever changed, and no
// cookie takes its cookie's place.
func TestDocuments(t *testing.T) {
	used := map[string]int{}
	for _, row := range documents(t) {
		for _, task := range row.tasks() {
			frozen(t, named("R6 R7 R8 R9 R10 R11 R12 R13", "%s, %s", row.What, task.path), func(t *testing.T) {
				want := deed{status: task.node.Status, commands: words(task.node.Commands), cookies: slices.Clone(task.node.SetCookie), session: "0"}
				if v := string(task.node.Session["views"]); v != "" && v != "null" {
					want.session = v
				}
				for _, rule := range otherwise {
					if !rule.when(task) {
						continue
					}
					used[rule.name]++
					before := fmt.Sprint(want)
					if rule.instead(t, task, &want); fmt.Sprint(want) == before {
						t.Errorf("%q is no difference here (%s)", rule.name, rule.why)
					}
				}
				task.serve(t, want)
			})
		}
	}
	for _, rule := range otherwise {
		if used[rule.name] == 0 {
			t.Errorf("%q is no difference anywhere (%s)", rule.name, rule.why)
		}
	}
}

// counter is a T of which 0 is stored too.
type counter struct {
	Views int `json:"views"`
}

func (r task) serve(t *testing.T, want deed) {
	desk := newDesk[counter](t, express.Options{
		Secrets: []string{"keyboard cat"}, Rolling: true, Cookie: express.Cookie{MaxAge: 15 * time.Minute},
	}, "new")
	before := map[string]string{}
	if r.StoredList != nil {
		desk.broken = errors.New("WRONGTYPE")
	} else {
		desk.put(t, "doc", r.text(), time.Second) // no session lasts for less: none would be shortened
		before["sess:doc"] = r.text() + " EX 1"
	}
	views := "0"
	answer := desk.serve(get("/"+r.path, signed("connect.sid", "doc", "keyboard cat")), func(_ http.ResponseWriter, q *http.Request) {
		c := sessions.FromContext[counter](q.Context())
		if r.writes() {
			c.Views++
		}
		if r.path == "save" {
			if err := desk.Save(q.Context()); err != nil {
				t.Error(err)
			}
		}
		views = strconv.Itoa(c.Views)
	})
	if answer.StatusCode != want.status {
		t.Errorf("status %d, want %d", answer.StatusCode, want.status)
	}
	if views != want.session {
		t.Errorf("views is %s, want %s", views, want.session)
	}
	same(t, "commands", effective(desk.take()), want.commands)
	same(t, "stored", desk.stored(t), replay(before, want.commands))
	same(t, "Set-Cookie", answer.Header["Set-Cookie"], want.cookies)
	unread := desk.broken == nil && !r.isNothing() && !slices.ContainsFunc(want.commands, func(c string) bool {
		return strings.HasPrefix(c, "EXPIRE sess:doc ") || strings.HasPrefix(c, "SET sess:doc ")
	})
	if got := desk.told(sessions.EventUndecodable) == 1; got != unread {
		t.Errorf("it was reported as unreadable: %t, want %t", got, unread)
	}
}
