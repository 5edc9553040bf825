package express_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A decision is one request to the recording application.
type decision struct {
	Resave, Rolling, SaveUninitialized bool
	MaxAge                             *int64
	Start, Action, Cookie              string
	Stored                             *string
	Result                             struct {
		Commands  [][]string
		SetCookie []string
		Status    int
		Body      struct {
			ID      string
			Session json.RawMessage
		}
	}
}

func (d *decision) is(actions ...string) bool { return slices.Contains(actions, d.Action) }
func (d *decision) loaded() bool              { return d.Start == "loaded" }

// initial says that a session that is not stored is, although nothing was put
// into it.
func (d *decision) initial() bool { return !d.loaded() && d.SaveUninitialized }

func (d *decision) name() string {
	maxAge := "no maxAge"
	if d.MaxAge != nil {
		maxAge = "maxAge"
	}
	return fmt.Sprintf("resave=%t rolling=%t saveUninitialized=%t %s, %s, %s", d.Resave, d.Rolling, d.SaveUninitialized, maxAge, d.Start, d.Action)
}

// A deed is what a request does, by one side or the other.
type deed struct {
	status   int
	commands []string
	cookies  []string
	session  string // as JSON, and null for none
	lost     bool   // a change came too late
}

// set is a SET of the row's session with that many views, as a request at the
// recorded instant writes it.
func (d *decision) set(sid string, views int) string {
	age, expires, seconds := "null", "null", "86400"
	if d.MaxAge != nil {
		age, expires, seconds = "900000", `"2000-01-01T00:15:00.000Z"`, "900"
	}
	data := ""
	if views > 0 {
		data = fmt.Sprintf(`,"views":%d`, views)
	}
	return fmt.Sprintf(`SET sess:%s {"cookie":{"originalMaxAge":%s,"expires":%s,"httpOnly":true,"path":"/"}%s} EX %s`, sid, age, expires, data, seconds)
}

const expired = "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"

// differences are the decisions that this side takes otherwise, and why. What a
// rule makes of Node's deed is what this side must do.
var differences = []struct {
	name    string
	why     string
	when    func(*decision) bool
	instead func(*decision, *deed)
}{
	{
		"destroying expires the cookie",
		"a browser that has signed out is not to carry a dead sid, which Node leaves it",
		func(d *decision) bool { return d.is("destroyed") && d.loaded() },
		func(_ *decision, it *deed) { it.cookies = []string{expired} },
	},
	{
		"destroying leaves a fresh T",
		"FromContext never fails, where req.session is undefined",
		func(d *decision) bool { return d.is("destroyed") },
		func(_ *decision, it *deed) { it.session = "{}" },
	},
	{
		"what was never stored is not deleted",
		"Node deletes the sid that it has drawn for this very request, and nothing can be there",
		func(d *decision) bool {
			return d.is("destroyed", "regenerated", "regenerated then changed", "renewed") && !d.loaded()
		},
		func(_ *decision, it *deed) {
			it.commands = slices.DeleteFunc(it.commands, func(c string) bool { return strings.HasPrefix(c, "DEL ") })
		},
	},
	{
		"regenerating is destroying, and a new session begins with the first change",
		"nothing is stored for a visitor into whose session nothing was put; Node stores the empty one whatever saveUninitialized says",
		func(d *decision) bool { return d.is("regenerated") },
		func(d *decision, it *deed) {
			it.commands = slices.DeleteFunc(it.commands, func(c string) bool { return strings.HasPrefix(c, "SET ") })
			it.cookies = nil
			if d.loaded() {
				it.cookies = []string{expired}
			}
		},
	},
	{
		"Renew is done when it returns",
		"the old sid is refused from then on, so the session must be there under the new one; what changes later is another write",
		func(d *decision) bool { return d.is("renewed") && (d.loaded() || d.initial()) },
		func(d *decision, it *deed) {
			if d.loaded() {
				it.commands = []string{"GET sess:sid-1", d.set("sid-2", 1), "DEL sess:sid-1", d.set("sid-2", 2)}
			} else {
				it.commands = slices.Insert(it.commands, len(it.commands)-1, d.set("sid-2", 0))
			}
		},
	},
	{
		"saving what has not changed stores nothing",
		"a write that says nothing new could only undo another request's; and Node stores a new session so without telling the browser its sid",
		func(d *decision) bool {
			return d.is("saved unchanged") && !d.initial() && !(d.loaded() && d.Resave)
		},
		func(_ *decision, it *deed) {
			it.commands = slices.DeleteFunc(it.commands, func(c string) bool { return strings.HasPrefix(c, "SET ") })
		},
	},
	{
		"saving touches first",
		"Node stores the expires of the request before, and lets the session end by it if that request was long ago (R9); its EXPIRE afterwards mends the TTL alone",
		func(d *decision) bool {
			return d.loaded() && d.MaxAge != nil && (d.is("saved", "saved then changed") || d.is("saved unchanged") && d.Resave)
		},
		func(d *decision, it *deed) {
			views := 2
			if d.is("saved unchanged") {
				views = 1
			}
			it.commands[1] = d.set("sid-1", views)
		},
	},
	{
		"a session that begins after the first byte is not stored",
		"its cookie can no longer be sent, so nobody would ever come back to it; Node stores it all the same",
		func(d *decision) bool { return d.is("late") && !d.loaded() && !d.initial() },
		func(_ *decision, it *deed) {
			it.commands = slices.DeleteFunc(it.commands, func(c string) bool { return strings.HasPrefix(c, "SET ") })
			it.lost = true
		},
	},
	{
		"what is to be stored is stored before the first byte",
		"whoever has seen a byte, or the cookie, finds the session stored; Node sends both and stores afterwards",
		func(d *decision) bool { return d.is("late") && (d.initial() || d.loaded() && d.Resave) },
		func(d *decision, it *deed) {
			first := d.set("sid-1", 0)
			if d.loaded() {
				first = d.set("sid-1", 1)
			}
			it.commands = slices.Insert(it.commands, len(it.commands)-1, first)
		},
	},
}

// TestDecisions compares what a request stores, touches, deletes and sends with
// what the same request has done in Node.
func TestDecisions(t *testing.T) {
	var recorded struct{ Rows []*decision }
	recording(t, "decisions", &recorded)
	if len(recorded.Rows) < 500 {
		t.Fatalf("only %d rows", len(recorded.Rows))
	}
	used := map[string]int{}
	for _, row := range recorded.Rows {
		frozen(t, named("R4 R5 R9 R14 R15", "%s", row.name()), func(t *testing.T) {
			want := deed{
				status: row.Result.Status, commands: words(row.Result.Commands), cookies: slices.Clone(row.Result.SetCookie),
				session: string(row.Result.Body.Session),
			}
			for _, rule := range differences {
				if !rule.when(row) {
					continue
				}
				used[rule.name]++
				before := fmt.Sprint(want)
				if rule.instead(row, &want); fmt.Sprint(want) == before {
					t.Errorf("%q is no difference here (%s)", rule.name, rule.why)
				}
			}
			row.serve(t, want)
		})
	}
	for _, rule := range differences {
		if used[rule.name] == 0 {
			t.Errorf("%q is no difference anywhere (%s)", rule.name, rule.why)
		}
	}
}

func (d *decision) serve(t *testing.T, want deed) {
	o := express.Options{
		Secrets: []string{"keyboard cat"}, Resave: d.Resave, Rolling: d.Rolling, SaveUninitialized: d.SaveUninitialized,
	}
	age, before := 24*time.Hour, map[string]string{}
	if d.MaxAge != nil {
		age = time.Duration(*d.MaxAge) * time.Millisecond
		o.Cookie.MaxAge = age
	}
	desk := newDesk[visit](t, o, d.Result.Body.ID)
	if d.loaded() {
		if d.Stored == nil {
			t.Fatal("the row is loaded, and nothing is stored")
		}
		desk.put(t, "sid-1", *d.Stored, age-time.Minute)
		before["sess:sid-1"] = *d.Stored + " EX " + seconds(age-time.Minute)
	}

	var id, session string
	answer := desk.serve(get("/", d.Cookie), func(w http.ResponseWriter, r *http.Request) {
		d.act(t, desk, w, r)
		data, err := json.Marshal(sessions.FromContext[visit](r.Context()))
		if err != nil {
			t.Error(err)
		}
		id, session = desk.Info(r.Context()).ID, string(data)
		_, _ = w.Write(data)
	})

	commands := desk.take()
	for _, c := range commands {
		if strings.HasPrefix(c, "EXPIRE ") && c != "EXPIRE sess:sid-1 "+seconds(age) {
			t.Errorf("%s, but it lasts %v", c, age)
		}
	}
	same(t, "commands", effective(commands), want.commands)
	same(t, "stored", desk.stored(t), replay(before, want.commands))
	same(t, "Set-Cookie", answer.Header["Set-Cookie"], want.cookies)
	if answer.StatusCode != want.status {
		t.Errorf("status %d, want %d", answer.StatusCode, want.status)
	}
	if session != want.session {
		t.Errorf("the handler saw %s, want %s", session, want.session)
	}
	if id != d.Result.Body.ID && (id != "" || d.loaded() && !d.is("destroyed", "regenerated", "regenerated then changed")) {
		t.Errorf("the handler saw the sid %q, want %s", id, d.Result.Body.ID)
	}
	if got := desk.told(sessions.EventLateChange) > 0; got != want.lost {
		t.Errorf("a change was lost: %t, want %t", got, want.lost)
	}
	if n := desk.told(sessions.EventFailed); n > 0 {
		t.Errorf("%d saves have failed", n)
	}
}

// act does to the session what the recorded handler has done.
func (d *decision) act(t *testing.T, desk *desk[visit], w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	v := sessions.FromContext[visit](ctx)
	count := func() error { v.Views++; return nil }
	destroy, renew := func() error { return desk.Destroy(ctx) }, func() error { return desk.Renew(ctx) }
	save, touch := func() error { return desk.Save(ctx) }, func() error { return desk.Touch(ctx) }
	begin := func() error { _, err := io.WriteString(w, " "); return err }
	revert := func() error { v.Views--; return nil }
	steps, ok := map[string][]func() error{
		"untouched":                nil,
		"touched":                  {touch},
		"changed":                  {count},
		"reverted":                 {count, revert},
		"saved":                    {count, save},
		"saved then changed":       {count, save, count},
		"saved unchanged":          {save},
		"late":                     {begin, count},
		"renewed":                  {renew, count},
		"regenerated":              {destroy},
		"regenerated then changed": {destroy, count},
		"destroyed":                {destroy},
	}[d.Action]
	if !ok {
		t.Error(errors.New("unknown action " + d.Action))
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Error(err)
		}
	}
}
