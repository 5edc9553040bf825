package express_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// TestTheirCases keeps testdata/their-tests.md true: it has each of express-session's own test cases, and each that
// holds here names a test that there is.
func TestTheirCases(t *testing.T) {
	sources := map[string]string{}
	for _, name := range []string{".", "testdata"} {
		entries, err := os.ReadDir(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), "_test.go") || e.Name() == "vectors.json" {
				data, err := os.ReadFile(name + "/" + e.Name())
				if err != nil {
					t.Fatal(err)
				}
				sources[e.Name()] = string(data)
			}
		}
	}
	table, err := os.ReadFile("testdata/their-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| (.+) \\| (?:`(Test\\w+)(?:: ([^`]+))?`|(differs|none): .+) \\|$")
	cases := 0
	for line := range strings.Lines(string(table)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "| should") {
			continue
		}
		cases++
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("neither a test nor a reason: %s", line)
			continue
		}
		found := m[2] == ""
		for _, source := range sources {
			// The rows of a recording's test are in the recording.
			found = found || strings.Contains(source, "func "+m[2]+"(") &&
				(strings.Contains(source, m[3]) || strings.HasPrefix(m[2], "TestVectors") && strings.Contains(sources["vectors.json"], `"`+m[3]+`"`))
		}
		if !found {
			t.Errorf("there is no such test: %s", line)
		}
	}
	if cases != 160 {
		t.Errorf("%d cases, express-session 1.19.0 has 160", cases)
	}
}

// A visitor keeps the cookie that the desk sends.
type visitor struct {
	*desk[visit]
	t      *testing.T
	cookie string
}

func newVisitor(t *testing.T, o express.Options, sids ...string) *visitor {
	o.Secrets = []string{secret}
	return &visitor{newDesk[visit](t, o, sids...), t, ""}
}

// ask sends a request and returns its Set-Cookie lines.
func (v *visitor) ask(handle http.HandlerFunc) (lines []string) {
	v.t.Helper()
	lines = v.serve(get("/", v.cookie), handle).Header["Set-Cookie"]
	if len(lines) > 1 {
		v.t.Errorf("Set-Cookie %q", lines)
	}
	if len(lines) > 0 {
		v.cookie = pair(lines[0])
	}
	return lines
}

// count adds a view, and does then what is left.
func count(then ...func(context.Context) error) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[visit](r.Context()).Views++
		for _, f := range then {
			if err := f(r.Context()); err != nil {
				panic(err)
			}
		}
	}
}

// views are those of each stored session, with the sid.
func (v *visitor) views(want ...string) {
	v.t.Helper()
	var got []string
	for _, line := range v.stored(v.t) {
		key, _, _ := strings.Cut(line, " ")
		_, n, found := strings.Cut(line, `"views":`)
		if n, _, _ = strings.Cut(n, "}"); !found {
			n = "0"
		}
		got = append(got, strings.TrimPrefix(key, "sess:")+" "+n)
	}
	same(v.t, "stored views", got, want)
}

// sets counts the SETs since the last take.
func (v *visitor) sets() (n int) {
	for _, c := range v.take() {
		if strings.HasPrefix(c, "SET ") {
			n++
		}
	}
	return n
}

// TestTheirs has those of express-session's own test cases that no other test here shows.
func TestTheirs(t *testing.T) {
	maxAge := express.Options{Cookie: express.Cookie{MaxAge: time.Minute}}

	frozen(t, "L14 a handler within the same Manager's twice begins one session", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a")
		lines := v.ask(v.Handler(count()).ServeHTTP)
		if v.views("a 1"); len(lines) != 1 || v.sets() != 1 {
			t.Errorf("Set-Cookie %q", lines)
		}
	})
	frozen(t, "L1 two visitors have two sessions", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a", "b")
		v.ask(count())
		v.cookie = ""
		v.ask(count())
		v.views("a 1", "b 1")
	})
	frozen(t, "L16 a request whose path is empty is one for /", func(t *testing.T) {
		d := newDesk[visit](t, express.Options{Secrets: []string{secret}}, "a")
		r := get("/")
		r.URL.Path, r.RequestURI = "", ""
		if lines := d.serve(r, count()).Header["Set-Cookie"]; len(lines) != 1 {
			t.Errorf("Set-Cookie %q", lines)
		}
	})
	for target, covered := range map[string]bool{"/foo/bar": true, "/foo/foo/bar": false} {
		frozen(t, fmt.Sprintf("L16 below a prefix that is stripped the path that was sent counts: %s, %t", target, covered), func(t *testing.T) {
			d := newDesk[visit](t, express.Options{Secrets: []string{secret}, Cookie: express.Cookie{Path: "/foo/bar"}}, "a")
			w := httptest.NewRecorder()
			http.StripPrefix("/foo", d.Handler(count())).ServeHTTP(w, get(target))
			if sent := len(w.Result().Header["Set-Cookie"]) == 1; sent != covered {
				t.Errorf("Set-Cookie %q", w.Result().Header["Set-Cookie"])
			}
		})
	}
	frozen(t, "T2 a sid that nobody has signed is not asked for", func(t *testing.T) {
		v := newVisitor(t, maxAge)
		v.put(t, "a", nodeDoc("60000", `,"views":1`), time.Minute)
		v.cookie = strings.Replace(signed("connect.sid", "a", secret), ".", ".x", 1)
		v.ask(func(http.ResponseWriter, *http.Request) {})
		same(t, "commands", v.take(), nil)
	})
	frozen(t, "L5 a session that has expired is gone, and the next one has another sid", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a", "b")
		v.ask(count())
		time.Sleep(time.Minute + time.Second)
		v.views()
		v.ask(count())
		v.views("b 1")
	})
	frozen(t, "R14 the stored expires is the cookie's, and a later request moves both", func(t *testing.T) {
		o := maxAge
		o.Rolling, o.Resave = true, true
		v := newVisitor(t, o, "a")
		for range 2 {
			end := time.Now().Add(time.Minute).UTC()
			lines := v.ask(func(w http.ResponseWriter, r *http.Request) {
				if v.Info(r.Context()).New {
					count()(w, r)
				}
				_, _ = io.WriteString(w, "a slow ")
				time.Sleep(5 * time.Second)
				_, _ = io.WriteString(w, "answer")
			})
			if len(lines) != 1 || !strings.Contains(lines[0], "; Expires="+end.Format(http.TimeFormat)) || !strings.Contains(v.stored(t)[0], `"expires":"`+end.Format("2006-01-02T15:04:05.000Z")+`"`) {
				t.Errorf("Set-Cookie %q, stored %q; want %v", lines, v.stored(t), end)
			}
		}
	})
	frozen(t, "C7 a member of an object that is called cookie is a member", func(t *testing.T) {
		type user struct {
			User map[string]int `json:"user"`
		}
		d := newDesk[user](t, express.Options{Secrets: []string{secret}}, "a")
		cookie := ""
		for n := range 2 {
			res := d.serve(get("/", cookie), func(_ http.ResponseWriter, r *http.Request) {
				u := d.FromContext(r.Context())
				u.User = map[string]int{"cookie": u.User["cookie"] + 1}
			})
			if n == 0 {
				cookie = pair(res.Header["Set-Cookie"][0])
			}
			if doc := d.stored(t)[0]; !strings.Contains(doc, fmt.Sprintf(`"user":{"cookie":%d}`, n+1)) {
				t.Errorf("stored %s", doc)
			}
		}
	})
	frozen(t, "L12 regenerate is SignIn: the first request begins a session, the second gives it another sid", func(t *testing.T) {
		o := maxAge
		o.SaveUninitialized = true
		v := newVisitor(t, o, "a", "b")
		for _, want := range []string{"a 0", "b 0"} {
			lines := v.ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := v.SignIn(r.Context()); err != nil {
					t.Error(err)
				}
			})
			if v.views(want); len(lines) != 1 || !strings.HasPrefix(lines[0], "connect.sid=s%3A"+want[:1]+".") {
				t.Errorf("Set-Cookie %q, want the sid of %s", lines, want)
			}
		}
	})
	frozen(t, "L19 Reload finds what another request has saved meanwhile, and drops what this one has changed", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a")
		v.ask(count())
		v.ask(func(w http.ResponseWriter, r *http.Request) {
			count()(w, r)
			v.ask(count())
			v.ask(count())
			if err := v.Reload(r.Context()); err != nil || v.FromContext(r.Context()).Views != 3 {
				t.Errorf("%v, %+v", err, v.FromContext(r.Context()))
			}
		})
		v.views("a 3")
	})
	frozen(t, "L19 Reload, however often, is ErrGone where the session has ended, and brings nothing back", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a")
		v.ask(count())
		lines := v.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := v.MemoryStore.Delete(r.Context(), "a"); err != nil {
				t.Error(err)
			}
			for range 20 {
				if err := v.Reload(r.Context()); !errors.Is(err, sessions.ErrGone) {
					t.Errorf("it is %v", err)
				}
			}
		})
		if v.views(); len(lines) > 0 {
			t.Errorf("Set-Cookie %q", lines)
		}
	})
	frozen(t, "L13 what Save has stored the end of the request does not store again, also after a Reload", func(t *testing.T) {
		o := maxAge
		o.Resave, o.SaveUninitialized = true, true
		v := newVisitor(t, o, "a")
		for n, want := range []string{"a 1", "a 2", "a 2"} {
			v.ask(func(w http.ResponseWriter, r *http.Request) {
				if n == 2 {
					if err := v.Reload(r.Context()); err != nil {
						t.Error(err)
					}
				} else {
					count()(w, r)
				}
				if err := v.Save(r.Context()); err != nil {
					t.Error(err)
				}
			})
			if v.views(want); v.sets() != 1 {
				t.Errorf("request %d sends more than one SET", n+1)
			}
		}
	})
	frozen(t, "L10 what is destroyed after the first byte is gone, and the answer goes on", func(t *testing.T) {
		v := newVisitor(t, maxAge, "a")
		v.ask(count())
		res := v.serve(get("/", v.cookie), func(w http.ResponseWriter, r *http.Request) {
			count()(w, r)
			_, _ = io.WriteString(w, "destroyed, ")
			if err := v.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "and done")
		})
		if v.views(); res.StatusCode != 200 || body(res) != "destroyed, and done" {
			t.Errorf("%d", res.StatusCode)
		}
	})
}

// TestTheirAnswers are the answers of express-session's cases: whoever has seen the header finds the session stored,
// with its cookie in that header, and the answer is the handler's.
func TestTheirAnswers(t *testing.T) {
	write := func(w http.ResponseWriter, parts ...string) {
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
		}
	}
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		body   string
	}{
		{"a body", func(w http.ResponseWriter, _ *http.Request) { write(w, "saved") }, 200, "saved"},
		{"none", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"a write of nothing", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }, 200, ""},
		{"a Content-Length of 0", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(200)
		}, 200, ""},
		{"a body of a known length", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5"); write(w, "saved") }, 200, "saved"},
		{"a body of a known length in two parts", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "12")
			write(w, "hello, ", "world")
		}, 200, "hello, world"},
		{"two headers, of which the first counts", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			write(w, "once")
			w.WriteHeader(500)
		}, 201, "once"},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) }, 500, "no\n"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		{"not modified", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", http.StatusSeeOther) }, 303, "<a href=\"/next\">See Other</a>.\n\n"},
		{"a writer that a middleware inside has wrapped", func(w http.ResponseWriter, _ *http.Request) {
			write(struct{ http.ResponseWriter }{w}, "hello, ", "world")
		}, 200, "hello, world"},
	} {
		frozen(t, "W1 R14 "+row.name, func(t *testing.T) {
			v := newVisitor(t, express.Options{Cookie: express.Cookie{MaxAge: time.Minute}}, "a")
			w := &watcher{ResponseRecorder: httptest.NewRecorder(), look: func(h http.Header) {
				if v.views("a 1"); len(h["Set-Cookie"]) != 1 {
					t.Errorf("Set-Cookie %q", h["Set-Cookie"])
				}
			}}
			v.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				count()(w, r)
				row.answer(w, r)
			})).ServeHTTP(w, get("/"))
			w.first() // net/http sends the header of an answer of nothing
			if w.Code != row.status || w.Body.String() != row.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, row.status, row.body)
			}
		})
	}

	down := fmt.Errorf("%w: boom", sessions.ErrUnavailable)
	for _, row := range []struct {
		name        string
		load, write error
		cookie      bool
		handle      func(v *visitor, w http.ResponseWriter, r *http.Request)
		status      int
		left        []string
	}{
		{"F1 where the store cannot load, the handler is not called", down, nil, true, func(v *visitor, _ http.ResponseWriter, _ *http.Request) {
			v.t.Error("it is called")
		}, 503, []string{"a 1"}},
		{"F2 where the store cannot save, nothing of the page is sent", nil, down, false, func(_ *visitor, w http.ResponseWriter, r *http.Request) {
			count()(w, r)
			write(w, "saved")
		}, 503, nil},
		{"L22 where the store cannot delete, Destroy says so, and the answer is the handler's", nil, down, true, func(v *visitor, _ http.ResponseWriter, r *http.Request) {
			if err := v.Destroy(r.Context()); !errors.Is(err, down) {
				v.t.Errorf("it says %v", err)
			}
		}, 200, []string{"a 1"}},
	} {
		frozen(t, row.name, func(t *testing.T) {
			v := newVisitor(t, express.Options{Cookie: express.Cookie{MaxAge: time.Minute}}, "a")
			if row.cookie {
				v.ask(count())
			}
			v.broken, v.refuses = row.load, row.write
			res := v.serve(get("/", v.cookie), func(w http.ResponseWriter, r *http.Request) { row.handle(v, w, r) })
			if lines := res.Header["Set-Cookie"]; res.StatusCode != row.status || len(lines) > 0 || strings.Contains(body(res), "saved") {
				t.Errorf("%d, Set-Cookie %q", res.StatusCode, lines)
			}
			v.views(row.left...)
		})
	}
}

// A watcher looks when the first byte goes out.
type watcher struct {
	*httptest.ResponseRecorder
	look func(http.Header)
}

func (w *watcher) first() {
	if look := w.look; look != nil {
		w.look = nil
		look(w.Header())
	}
}

func (w *watcher) WriteHeader(status int) { w.first(); w.ResponseRecorder.WriteHeader(status) }

func (w *watcher) Write(p []byte) (int, error) { w.first(); return w.ResponseRecorder.Write(p) }

func (w *watcher) WriteString(p string) (int, error) {
	w.first()
	return w.ResponseRecorder.WriteString(p)
}
