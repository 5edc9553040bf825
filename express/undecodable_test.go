package express_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// member is the T of these tests: what passport and connect-flash keep.
type member struct {
	Passport struct {
		User string `json:"user,omitempty"`
	} `json:"passport,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	Messages []string  `json:"messages,omitempty"`
	Views    int       `json:"views,omitempty"`
}

// misfits are documents of Node's that are no session of a member.
var misfits = []struct{ name, document string }{
	{"a number for a string", nodeDoc("900000", `,"passport":{"user":7},"views":1`)},
	{"an empty string for a time", nodeDoc("900000", `,"since":"","views":1`)},
	{"a string for a list", nodeDoc("900000", `,"messages":"hello","views":1`)},
	{"more than MaxSize", nodeDoc("900000", `,"views":1,"cart":"`+strings.Repeat("x", 2000)+`"`)},
	{"another serializer", "\x82\xa6cookie\x81\xaeoriginalMaxAge\xce\x00\x0d\xbb\xa0\xa5views\x01"},
}

// A guest is a request's T and its Manager.
type guest struct {
	*desk[member]
	*member
}

// acts are what a handler may do; each but a read changes T.
var acts = []struct {
	name string
	act  func(ctx context.Context, g guest) error
}{
	{"read", func(context.Context, guest) error { return nil }},
	{"change", func(_ context.Context, g guest) error { g.Views++; return nil }},
	{"Save", func(ctx context.Context, g guest) error { g.Views++; return g.desk.Manager.Save(ctx) }},
	{"Update", func(ctx context.Context, g guest) error {
		return g.Update(ctx, func(m *member) error { m.Views++; return nil })
	}},
	{"SignIn", func(ctx context.Context, g guest) error { g.Passport.User = "ann"; return g.SignIn(ctx) }},
	{"Renew", func(ctx context.Context, g guest) error { g.Views++; return g.Renew(ctx) }},
	{"Renew, unchanged", func(ctx context.Context, g guest) error { return g.Renew(ctx) }},
	{"Save, unchanged", func(ctx context.Context, g guest) error { return g.desk.Manager.Save(ctx) }},
	{"Reload", func(ctx context.Context, g guest) error { return g.Reload(ctx) }},
	{"Touch", func(ctx context.Context, g guest) error { return g.Touch(ctx) }},
	{"Destroy", func(ctx context.Context, g guest) error { return g.Destroy(ctx) }},
}

var policies = map[string]sessions.UndecodablePolicy{
	"not given": 0, "Fresh": sessions.UndecodableFresh, "ReadOnly": sessions.UndecodableReadOnly, "Fail": sessions.UndecodableFail,
}

// memberDesk is a desk of members that stores and sends as much as it may.
func memberDesk(t *testing.T, policy sessions.UndecodablePolicy) *desk[member] {
	return newDesk[member](t, express.Options{
		Secrets: []string{secret}, Rolling: true, Resave: true, SaveUninitialized: policy != sessions.UndecodableFresh,
		MaxSize: 1000, OnUndecodable: policy,
	}, "new", "newer")
}

// undecoded says that an error is of a record that cannot be read.
func undecoded(err error) bool {
	_, ok := errors.AsType[*sessions.DecodeError](err)
	return ok
}

// What does not fit T never costs a visitor the session that Node goes on
// reading: unless Go was told to, nothing takes the place of its cookie.
func TestUndecodable(t *testing.T) {
	for _, misfit := range misfits {
		for policyName, policy := range policies {
			for _, act := range acts {
				frozen(t, named("K11", "%s, %s: %s", misfit.name, policyName, act.name), func(t *testing.T) {
					d := memberDesk(t, policy)
					d.put(t, sid, misfit.document, time.Minute)
					stored := "sess:" + sid + " " + misfit.document + " EX 60"
					ran, failed := false, false
					answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
						m := d.FromContext(r.Context())
						if ran = true; m.Views != 0 || !d.Info(r.Context()).New {
							t.Errorf("the handler gets %+v", m)
						}
						err := act.act(r.Context(), guest{d, m})
						if failed = undecoded(err); err != nil && !failed {
							t.Error(err)
						}
					})
					want := wantOf(policy, act.name)
					if answer.StatusCode != want.status || ran != want.runs || failed != want.fails {
						t.Errorf("status %d, the handler ran: %t, its verb failed: %t; want %+v", answer.StatusCode, ran, failed, want)
					}
					left, sent := d.stored(t), answer.Header["Set-Cookie"]
					switch {
					case want.ends:
						same(t, "stored", left, nil)
						if len(sent) != 1 || !strings.HasPrefix(sent[0], "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970") {
							t.Errorf("Set-Cookie %q", sent)
						}
					case want.begins:
						if !slices.Contains(left, stored) || len(left) != 2 || len(sent) != 1 {
							t.Errorf("stored %q, Set-Cookie %q", left, sent)
						}
					default:
						same(t, "stored", left, []string{stored})
						same(t, "Set-Cookie", sent, nil)
					}
					if d.told(sessions.EventUndecodable) == 0 {
						t.Error("no event tells of it")
					}
				})
			}
		}
	}
}

// wanted is what becomes of a request.
type wanted struct {
	status int
	runs   bool // the handler
	fails  bool // its verb
	begins bool // a session of its own
	ends   bool // the record
}

func wantOf(policy sessions.UndecodablePolicy, act string) wanted {
	w := wanted{status: http.StatusOK, runs: true, ends: act == "Destroy"}
	idle := slices.Contains([]string{"read", "Save, unchanged", "Destroy"}, act)
	switch policy {
	case sessions.UndecodableFresh:
		w.begins = !idle && !slices.Contains([]string{"Renew, unchanged", "Reload", "Touch"}, act)
	case sessions.UndecodableReadOnly:
		if w.fails = !idle && act != "change"; act == "change" {
			w.status = http.StatusInternalServerError
		}
	default:
		w = wanted{status: http.StatusInternalServerError}
	}
	return w
}

func TestUndecodableErrors(t *testing.T) {
	misfit := misfits[0].document
	frozen(t, "K11 ErrorHandler is given the DecodeError, in the place of a load and of a save", func(t *testing.T) {
		for _, policy := range []sessions.UndecodablePolicy{sessions.UndecodableFail, sessions.UndecodableReadOnly} {
			var given error
			d := newDesk[member](t, express.Options{
				Secrets: []string{secret}, OnUndecodable: policy,
				ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
					given = err
					w.WriteHeader(http.StatusTeapot)
				},
			})
			d.put(t, sid, misfit, time.Minute)
			answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
				d.FromContext(r.Context()).Views++
			})
			broken, _ := errors.AsType[*sessions.DecodeError](given)
			if broken == nil || broken.Path != "passport" || broken.ID != "" || answer.StatusCode != http.StatusTeapot {
				t.Errorf("policy %d: status %d, %v", policy, answer.StatusCode, given)
			}
			if says := strings.Contains(given.Error(), "call Destroy"); says != (policy == sessions.UndecodableReadOnly) {
				t.Errorf("policy %d: %v", policy, given)
			}
		}
	})
	frozen(t, "K11 outside HTTP Load fails, or nothing is committed", func(t *testing.T) {
		d := memberDesk(t, sessions.UndecodableFail)
		d.put(t, sid, misfit, time.Minute)
		if ctx, err := d.Manager.Load(t.Context(), sid); !undecoded(err) || ctx != t.Context() {
			t.Errorf("Load: %v", err)
		}
		d = memberDesk(t, sessions.UndecodableReadOnly)
		d.put(t, sid, misfit, time.Minute)
		ctx, err := d.Manager.Load(t.Context(), sid)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := d.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged || o.Token != "" {
			t.Errorf("Commit of what has not changed: %v, %+v", err, o)
		}
		d.FromContext(ctx).Views++
		if o, err := d.Commit(ctx); !undecoded(err) || o.Kind != sessions.OutcomeUnchanged || o.Token != "" {
			t.Errorf("Commit: %v, %+v", err, o)
		}
		same(t, "stored", d.stored(t), []string{"sess:" + sid + " " + misfit + " EX 60"})
	})
	frozen(t, "K11 a change after the first byte is not stored either", func(t *testing.T) {
		d := memberDesk(t, sessions.UndecodableReadOnly)
		d.put(t, sid, misfit, time.Minute)
		d.serve(get("/", signed("connect.sid", sid, secret)), func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			d.FromContext(r.Context()).Views++
		})
		same(t, "stored", d.stored(t), []string{"sess:" + sid + " " + misfit + " EX 60"})
		if d.told(sessions.EventLateChange) != 1 {
			t.Errorf("events %+v", d.events)
		}
	})
	frozen(t, "K11 L11 after Destroy the session is a new one, and what a failed sign-in has left in T is not in it", func(t *testing.T) {
		d := memberDesk(t, sessions.UndecodableReadOnly)
		d.put(t, sid, misfit, time.Minute)
		answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
			m := d.FromContext(r.Context())
			m.Passport.User = "ann"
			if err := d.SignIn(r.Context()); !undecoded(err) {
				t.Errorf("SignIn: %v", err)
			}
			if err := d.Destroy(r.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			if m.Views++; m.Passport.User != "" {
				t.Errorf("T is %+v", m)
			}
		})
		left := d.stored(t)
		if len(left) != 1 || !strings.HasPrefix(left[0], "sess:new ") || len(answer.Header["Set-Cookie"]) != 1 {
			t.Errorf("stored %q, Set-Cookie %q", left, answer.Header["Set-Cookie"])
		}
	})
}

// Node takes the first cookie. Which is the user's nobody can tell, so what
// cannot be read counts as a session beside another.
func TestUndecodableAmongTwo(t *testing.T) {
	const other = "pear"
	a, b := signed("connect.sid", sid, secret), signed("connect.sid", other, secret)
	good := strings.Replace(nodeDoc("900000", `,"views":8`), `"path":"/"`, `"path":"/shop"`, 1)
	for policyName, policy := range policies {
		for name, cookies := range map[string]string{"the first cannot be read": a + "; " + b, "the second cannot be read": b + "; " + a} {
			frozen(t, named("K11 T4", "%s: %s", policyName, name), func(t *testing.T) {
				d := memberDesk(t, policy)
				d.put(t, sid, misfits[0].document, time.Minute)
				d.put(t, other, good, time.Minute)
				before, views := d.stored(t), -1
				answer := d.serve(get("/", cookies), func(_ http.ResponseWriter, r *http.Request) {
					views = d.FromContext(r.Context()).Views
				})
				switch policy {
				case sessions.UndecodableFresh:
					if views != 8 {
						t.Errorf("views %d", views)
					}
				case sessions.UndecodableReadOnly:
					if views != 0 || answer.StatusCode != http.StatusOK {
						t.Errorf("views %d, status %d", views, answer.StatusCode)
					}
				default:
					if views != -1 || answer.StatusCode != http.StatusInternalServerError {
						t.Errorf("views %d, status %d", views, answer.StatusCode)
					}
				}
				if policy == sessions.UndecodableFresh {
					return
				}
				same(t, "stored", d.stored(t), before)
				same(t, "Set-Cookie", answer.Header["Set-Cookie"], nil)
			})
			frozen(t, named("K11 L10", "ReadOnly: Destroy ends both: %s", name), func(t *testing.T) {
				d := memberDesk(t, sessions.UndecodableReadOnly)
				d.put(t, sid, misfits[0].document, time.Minute)
				d.put(t, other, good, time.Minute)
				answer := d.serve(get("/", cookies), func(_ http.ResponseWriter, r *http.Request) {
					if err := d.Destroy(r.Context()); err != nil {
						t.Error(err)
					}
				})
				same(t, "stored", d.stored(t), nil)
				same(t, "Set-Cookie", answer.Header["Set-Cookie"], []string{strings.Replace(expired, "Path=/", "Path=/shop", 1), expired})
			})
		}
	}
	for _, cookies := range []string{a + "; " + b, b + "; " + a} {
		frozen(t, "K11 T4 one that cannot be read beside one that is not stored", func(t *testing.T) {
			d := memberDesk(t, sessions.UndecodableReadOnly)
			d.put(t, sid, misfits[0].document, time.Minute)
			answer := d.serve(get("/", cookies), func(_ http.ResponseWriter, r *http.Request) {
				d.FromContext(r.Context()).Views++
			})
			if answer.StatusCode != http.StatusInternalServerError || len(answer.Header["Set-Cookie"]) > 0 || len(d.stored(t)) != 1 {
				t.Errorf("status %d, %q, %q", answer.StatusCode, answer.Header["Set-Cookie"], d.stored(t))
			}
		})
	}
}

// Of two valid sessions one is the user's in Node.
func TestTwoSessionsStay(t *testing.T) {
	const other = "pear"
	for policyName, policy := range policies {
		for _, act := range acts {
			frozen(t, named("K11 T4 L21", "%s, two valid sessions: %s", policyName, act.name), func(t *testing.T) {
				d := memberDesk(t, policy)
				d.put(t, sid, nodeDoc("900000", `,"views":7`), time.Minute)
				d.put(t, other, nodeDoc("900000", `,"views":8`), time.Minute)
				before := d.stored(t)
				var err error
				answer := d.serve(get("/", signed("connect.sid", sid, secret)+"; "+signed("connect.sid", other, secret)), func(_ http.ResponseWriter, r *http.Request) {
					err = act.act(r.Context(), guest{d, d.FromContext(r.Context())})
				})
				left, sent := d.stored(t), answer.Header["Set-Cookie"]
				writes := slices.Contains([]string{"change", "Save", "Update", "Renew"}, act.name)
				switch {
				case act.name == "SignIn":
					if len(left) != 1 || !strings.HasPrefix(left[0], "sess:new ") || len(sent) != 1 || err != nil {
						t.Errorf("stored %q, Set-Cookie %q, %v", left, sent, err)
					}
				case act.name == "Destroy":
					same(t, "stored", left, nil)
					same(t, "Set-Cookie", sent, []string{expired})
				case policy == sessions.UndecodableFresh && writes:
					if len(left) != 3 || len(sent) != 1 || err != nil {
						t.Errorf("stored %q, Set-Cookie %q, %v", left, sent, err)
					}
				default:
					same(t, "stored", left, before)
					same(t, "Set-Cookie", sent, nil)
					if refused := errors.Is(err, sessions.ErrConflict) || answer.StatusCode == http.StatusConflict; refused != writes {
						t.Errorf("status %d, %v", answer.StatusCode, err)
					}
				}
			})
		}
	}
}

// A visitor with two valid sessions whose sign-in page stores something gets there.
func TestTwoSessionsWayOut(t *testing.T) {
	const other = "pear"
	frozen(t, "K11 T4 L10 ErrorHandler ends both, and the page works when it is asked for again", func(t *testing.T) {
		var d *desk[member]
		d = newDesk[member](t, express.Options{
			Secrets: []string{secret},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if !errors.Is(err, sessions.ErrConflict) || !d.Info(r.Context()).New || d.Destroy(r.Context()) != nil {
					t.Errorf("the error is %v", err)
				}
				http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
			},
		}, "new")
		d.put(t, sid, nodeDoc("900000", `,"views":7`), time.Minute)
		d.put(t, other, strings.Replace(nodeDoc("900000", `,"views":8`), `"path":"/"`, `"path":"/sign-in"`, 1), time.Minute)
		page := func(_ http.ResponseWriter, r *http.Request) { d.FromContext(r.Context()).Views++ }
		answer := d.serve(get("/sign-in", signed("connect.sid", other, secret)+"; "+signed("connect.sid", sid, secret)), page)
		if answer.StatusCode != http.StatusSeeOther || len(d.stored(t)) > 0 {
			t.Errorf("status %d, stored %q", answer.StatusCode, d.stored(t))
		}
		same(t, "Set-Cookie", answer.Header["Set-Cookie"], []string{strings.Replace(expired, "Path=/", "Path=/sign-in", 1), expired})
		answer = d.serve(get("/sign-in"), page)
		if answer.StatusCode != http.StatusOK || len(d.stored(t)) != 1 || len(answer.Header["Set-Cookie"]) == 0 {
			t.Errorf("status %d, stored %q", answer.StatusCode, d.stored(t))
		}
	})
}

// Node writes what does not fit while a request of Go's is on its way.
func TestUndecodableMeanwhile(t *testing.T) {
	for _, misfit := range misfits {
		for policyName, policy := range policies {
			for _, act := range acts {
				frozen(t, named("K6 K11", "meanwhile %s, %s: %s", misfit.name, policyName, act.name), func(t *testing.T) {
					d := memberDesk(t, policy)
					d.put(t, sid, nodeDoc("900000", `,"views":1`), time.Minute)
					var err error
					answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
						m := d.FromContext(r.Context())
						if _, err := d.MemoryStore.CompareAndSwap(r.Context(), sid, nil, []byte(misfit.document), 15*time.Minute); err != nil {
							t.Error(err)
						}
						err = act.act(r.Context(), guest{d, m})
					})
					left, sent := d.stored(t), answer.Header["Set-Cookie"]
					if act.name == "Destroy" {
						same(t, "stored", left, nil)
						same(t, "Set-Cookie", sent, []string{expired})
						return
					}
					same(t, "stored", left, []string{"sess:" + sid + " " + misfit.document + " EX 900"})
					for _, line := range sent { // Rolling sends the one that the browser has
						if pair(line) != signed("connect.sid", sid, secret) {
							t.Errorf("Set-Cookie %q", line)
						}
					}
					byItself := slices.Contains([]string{"read", "change"}, act.name) // by Resave, too
					if byItself && answer.StatusCode != http.StatusInternalServerError || !byItself && !undecoded(err) {
						t.Errorf("status %d, %v", answer.StatusCode, err)
					}
				})
			}
		}
	}
	for _, nothing := range []string{"TOMBSTONE", "null", ""} {
		for _, act := range acts {
			frozen(t, named("K6 C1", "meanwhile %q, as after a destroy: %s", nothing, act.name), func(t *testing.T) {
				d := memberDesk(t, 0)
				d.put(t, sid, nodeDoc("900000", `,"views":1`), time.Minute)
				var err error
				answer := d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
					m := d.FromContext(r.Context())
					if _, err := d.MemoryStore.CompareAndSwap(r.Context(), sid, nil, []byte(nothing), time.Minute); err != nil {
						t.Error(err)
					}
					err = act.act(r.Context(), guest{d, m})
				})
				if !slices.ContainsFunc(d.stored(t), func(s string) bool { return strings.HasPrefix(s, "sess:"+sid+" "+nothing+" EX ") }) {
					t.Errorf("stored %q", d.stored(t))
				}
				gone := errors.Is(err, sessions.ErrGone) || answer.StatusCode == http.StatusConflict
				if want := !slices.Contains([]string{"read", "Save, unchanged", "SignIn", "Destroy"}, act.name); gone != want {
					t.Errorf("status %d, %v", answer.StatusCode, err)
				}
			})
		}
	}
}
