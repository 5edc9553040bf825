package site

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A browser has one cookie jar for both tabs.
type browser struct {
	t *testing.T
	*http.Client
	url, lane string
	races     int
}

func newBrowser(t *testing.T, lane string) *browser {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	h, err := New(rdb, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	jar, _ := cookiejar.New(nil)
	client := srv.Client()
	client.Jar = jar
	return &browser{t, client, srv.URL, lane, 0}
}

// post sends a request, and returns its status and its body.
func (b *browser) post(path string) (int, string) {
	res, err := b.Post(b.url+path, "", nil)
	if err != nil {
		b.t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Error(err)
	}
	return res.StatusCode, string(body)
}

// do does one thing after another.
func (b *browser) do(actions ...string) {
	b.t.Helper()
	for _, action := range actions {
		if status, body := b.post("/" + b.lane + "/" + action); status != http.StatusOK {
			b.t.Fatalf("%s: %d %s", action, status, body)
		}
	}
}

// race plays the three steps of [meetings], as the page does. first is the status of tab A.
func (b *browser) race(tabA, tabB string) (first int) {
	b.t.Helper()
	b.races++
	done := make(chan int)
	go func() {
		status, _ := b.post(fmt.Sprintf("/%s/%s?tab=A&hold=%d", b.lane, tabA, b.races))
		done <- status
	}()
	b.do(fmt.Sprintf("%s?tab=B&after=%d", tabB, b.races))
	if status, body := b.post(fmt.Sprintf("/release?race=%d", b.races)); status != http.StatusNoContent {
		b.t.Fatalf("release: %d %s", status, body)
	}
	return <-done
}

// stored is the session that the browser then has.
func (b *browser) stored() (s Session) {
	b.t.Helper()
	res, err := b.Get(b.url + "/" + b.lane + "/session")
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// That scs fails is asserted too: the page says so.
func TestRaces(t *testing.T) {
	for _, test := range []struct {
		name         string
		begin        []string
		tabA, tabB   string
		times        int
		here, scs    string
		statusOfTabA int // here; with scs it is 200
	}{
		{"C9 fifty clicks each with Update", nil, "count", "count", 50, "{ en [] 100}", "{ en [] 50}", 200},
		{"fifty plain clicks each", nil, "click", "click", 50, "{ en [] 50}", "", 200},
		{"C7 a language and a pear", nil, "language", "cart", 1, "{ de [pear] 0}", "{ de [] 0}", 200},
		{"C1 C3 a pear and a sign-out", []string{"signin"}, "cart", "signout", 1, "{  [] 0}", "{ada en [pear] 0}", 409},
		{"C4 C14 a language and a sign-in", nil, "language", "signin", 1, "{ada en [] 0}", "{ de [] 0}", 409},
	} {
		t.Run(test.name, func(t *testing.T) {
			for lane, want := range map[string]string{"here": test.here, "scs": test.scs} {
				if want == "" {
					continue
				}
				b := newBrowser(t, lane)
				b.do(append([]string{"begin"}, test.begin...)...)
				for range test.times {
					status := http.StatusOK
					if lane == "here" {
						status = test.statusOfTabA
					}
					if got := b.race(test.tabA, test.tabB); got != status {
						t.Errorf("%s: tab A gets %d, want %d", lane, got, status)
					}
				}
				if got := fmt.Sprint(b.stored()); got != want {
					t.Errorf("%s: %s is stored, want %s", lane, got, want)
				}
			}
		})
	}
}

func TestLog(t *testing.T) {
	for lane, want := range map[string][]string{
		"here": {" created ", "B saved ", "A merged cart", "A saved "},
		"scs":  {" DEL ", " SET language:en", "B SET cart:[pear] language:en", "A SET language:de"},
	} {
		b := newBrowser(t, lane)
		res, err := b.Get(b.url + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b.do("begin")
		b.race("language", "cart")
		events := bufio.NewScanner(res.Body)
		for _, want := range want {
			var l line
			for events.Scan() {
				if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
					if err := json.Unmarshal([]byte(data), &l); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			if got := l.Tab + " " + l.Kind + " " + l.Text; l.Lane != lane || got != want {
				t.Errorf("%s: the log has %q, want %q", l.Lane, got, want)
			}
		}
		b.CloseIdleConnections()
	}
}

// A request of a page that has been closed is not held for ever.
func TestOtherTabDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meetings{waiting: map[string]chan struct{}{}}
		served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request is served") })
		for query, h := range map[string]http.Handler{"hold": m.hold(served), "after": m.wait(served), "race": http.HandlerFunc(m.release)} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/?"+query+"=1", nil))
			if w.Code != http.StatusRequestTimeout || len(m.waiting) != 0 {
				t.Errorf("%s: %d, and %d still wait", query, w.Code, len(m.waiting))
			}
		}
	})
}

func TestForeignRequests(t *testing.T) {
	b := newBrowser(t, "here")
	r, _ := http.NewRequest("POST", b.url+"/here/begin", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("a request of another site gets %s, and the headers %v", res.Status, res.Header)
	}
}

// The page shows code of lanes.go, and the version of scs.
func TestPageIsTrue(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page, lanes := read("static/index.html"), read("lanes.go")
	shown := regexp.MustCompile(`<code>(.*?)</code>`).FindAllStringSubmatch(page, -1)
	if len(shown) == 0 {
		t.Error("no code is found in the page")
	}
	for _, code := range shown {
		if !strings.Contains(lanes, code[1]) {
			t.Errorf("the page shows %s, which is not in lanes.go", code[1])
		}
	}
	version := regexp.MustCompile(`alexedwards/scs/v2 (\S+)`).FindStringSubmatch(read("../go.mod"))
	if version == nil || !strings.Contains(page, "<small>"+version[1]+"</small>") {
		t.Errorf("the page does not say scs %v", version)
	}
}
