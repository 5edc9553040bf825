package node_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// A question is a request with what its handler does, in this order.
type question struct {
	method, start string
	steps         []string
	uninitialized bool // is saved
}

// begun tells whether the header goes out before the step.
func (q *question) begun(step string) bool {
	sends := slices.IndexFunc(q.steps, func(s string) bool {
		return s == "write" || s == "flush" || strings.HasPrefix(s, "header") || strings.HasPrefix(s, "redirect")
	})
	return sends >= 0 && sends < slices.Index(q.steps, step)
}

const expiry = "an expired one"

// answerDifferences are those of express/decisions_test.go that the answers show.
var answerDifferences = []struct {
	name    string
	when    func(*question) bool
	instead func(cookies, stored *[]string)
}{
	{
		"destroying expires the cookie",
		func(q *question) bool {
			return q.start == "loaded" && slices.Contains(q.steps, "destroy") && !q.begun("destroy")
		},
		func(cookies, _ *[]string) { *cookies = append(*cookies, expiry) },
	},
	{
		"a session that begins after the first byte is not stored",
		func(q *question) bool {
			return q.start != "loaded" && !q.uninitialized && q.begun("count") && !slices.Contains(q.steps, "destroy")
		},
		func(_, stored *[]string) {
			*stored = slices.DeleteFunc(*stored, func(s string) bool { return strings.HasPrefix(s, "new") })
		},
	},
}

// TestAnswers asks both sides for every kind of answer around every use of the session: a session is stored, touched and
// ended, and its cookie sent, in the same cases.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	used := map[string]int{}
	for _, o := range []express.Options{{}, {SaveUninitialized: true}, {Rolling: true}, {Resave: true}} {
		t.Run(fmt.Sprintf("W1 L8 R14 saveUninitialized=%t rolling=%t resave=%t", o.SaveUninitialized, o.Rolling, o.Resave), func(t *testing.T) {
			o.Secrets, o.Cookie.MaxAge = []string{"keyboard cat"}, quarter
			a := inNode("10", o)
			a.script = "answers.mjs"
			node, gopher := w.startNode(t, a), w.startSteps(t, o)
			for _, q := range questions(o.SaveUninitialized) {
				status, cookies, stored := w.answer(t, node, q)
				for _, d := range answerDifferences {
					if d.when(q) {
						used[d.name]++
						d.instead(&cookies, &stored)
					}
				}
				want := fmt.Sprint(status, cookies, stored)
				status, cookies, stored = w.answer(t, gopher, q)
				if got := fmt.Sprint(status, cookies, stored); got != want {
					t.Errorf("%s %s %q: %s, in Node %s", q.method, q.start, q.steps, got, want)
				}
			}
		})
	}
	for _, d := range answerDifferences {
		if used[d.name] == 0 && !t.Failed() {
			t.Errorf("%q is no difference anywhere", d.name)
		}
	}
}

func questions(uninitialized bool) (all []*question) {
	uses := []string{"", "count", "touch", "count save", "destroy", "count destroy", "count save destroy", "destroy destroy", "cookie count"}
	answers := []string{"", "status:204", "status:304", "status:500", "header:200", "header:304", "length:0", "hints", "flush", "write", "redirect:303"}
	for _, method := range []string{"GET", "HEAD"} {
		for _, start := range []string{"new", "loaded", "unknown", "unsigned"} {
			for _, use := range uses {
				for i, answer := range answers {
					orders := []string{use + " " + answer, answer + " " + use}
					if use == "" || answer == "" || strings.HasPrefix(answer, "redirect") || strings.HasPrefix(use, "cookie") {
						orders = orders[:1] // a redirect ends the answer in Node, and a header that is out takes no cookie
					}
					for _, steps := range orders {
						if method == "HEAD" && i%3 > 0 { // every third will do
							continue
						}
						all = append(all, &question{method, start, strings.Fields(steps), uninitialized})
					}
				}
			}
		}
	}
	return all
}

// answer asks one side: for the status, what its Set-Cookie lines are, and what is stored then.
func (w *world) answer(t *testing.T, s *site, q *question) (status int, cookies, stored []string) {
	t.Helper()
	ctx := t.Context()
	if err := w.redis.FlushDB(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	target := "http://127.0.0.1:" + s.port
	r, err := http.NewRequestWithContext(ctx, q.method, target+"/?do="+url.QueryEscape(strings.Join(q.steps, " ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	const signed = "connect.sid=s%3Aapple.D8Y%2BpkTAmeR0PobOhY4G97PRW%2Bj7bUnP%2F5m6%2FOn1MCU"
	switch q.start {
	case "loaded", "unsigned":
		const apple = `{"cookie":{"originalMaxAge":900000,"expires":"2036-11-23T06:12:09.884Z","httpOnly":true,"path":"/"},"views":5}`
		if err := w.redis.Set(ctx, "sess:apple", apple, 5*time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if r.Header.Set("Cookie", signed); q.start == "unsigned" {
			r.Header.Set("Cookie", strings.Replace(signed, "D8Y", "E8Y", 1))
		}
	case "unknown":
		r.Header.Set("Cookie", signed)
	}
	settled, err := http.NewRequestWithContext(ctx, "GET", target+"/settled", nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, r := range []*http.Request{r, settled} { // an answer without a body overtakes what is stored
		res, err := w.wire.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %q: %v", s.name, q.steps, err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Errorf("%s: %q: %v", s.name, q.steps, err)
		}
		_ = res.Body.Close()
		if i == 0 {
			status, lines = res.StatusCode, res.Header["Set-Cookie"]
		}
	}
	for _, line := range lines {
		kind := "a new one"
		for part, of := range map[string]string{"mine=1": "the handler's", "=s%3Aapple.": "the old one", "Jan 1970": expiry} {
			if strings.Contains(line, part) {
				kind = of
			}
		}
		cookies = append(cookies, kind)
	}
	for _, key := range w.keys(t) {
		r := w.stored(t, s, strings.TrimPrefix(key, "sess:"))
		name, kept := "new", "its expiry stands"
		if key == "sess:apple" {
			name = "apple"
		}
		if r.left > 10*time.Minute {
			kept = "restarted"
		}
		stored = append(stored, fmt.Sprintf("%s with %s views, %s", name, cmp.Or(string(r.fields["views"]), "no"), kept))
	}
	slices.Sort(stored)
	return status, cookies, stored
}

// startSteps is answers.mjs in Go.
func (w *world) startSteps(t *testing.T, o express.Options) *site {
	t.Helper()
	return serveGo(t, w, o, func(m *sessions.Manager[visit], _ *redis.Client) http.Handler {
		idle := make(chan struct{}, 1) // a token: no request runs
		idle <- struct{}{}
		handler := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { takeSteps(t, m, w, r) }))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-idle
			defer func() { idle <- struct{}{} }()
			if r.URL.Path != "/settled" {
				handler.ServeHTTP(w, r)
			}
		})
	})
}

func takeSteps(t *testing.T, m *sessions.Manager[visit], w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	s := m.FromContext(ctx)
	status, sent := http.StatusOK, false
	send := func(status int) {
		if !sent {
			sent = true
			w.WriteHeader(status)
		}
	}
	for step := range strings.FieldsSeq(r.URL.Query().Get("do")) {
		var err error
		name, arg, _ := strings.Cut(step, ":")
		n, _ := strconv.Atoi(arg)
		switch name {
		case "count":
			s.Views++
		case "touch":
			err = m.Touch(ctx)
		case "save":
			if err = m.Save(ctx); errors.Is(err, sessions.ErrCommitted) {
				err = nil // the difference of what begins after the first byte
			}
		case "destroy":
			err = m.Destroy(ctx)
		case "cookie":
			w.Header().Set("Set-Cookie", "mine=1")
		case "status":
			status = n
		case "header":
			send(n)
		case "length":
			w.Header().Set("Content-Length", arg)
		case "hints":
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
		case "flush":
			send(status)
			err = http.NewResponseController(w).Flush()
		case "write":
			send(status)
			_, err = io.WriteString(w, "x")
		case "redirect":
			sent = true
			http.Redirect(w, r, "/elsewhere", n)
		}
		if err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	send(status)
}
