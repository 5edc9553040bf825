package express_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// FuzzDocument reads any document and counts in it. What cannot be read is
// never changed, and no session takes its place; what can keeps all that T does
// not know, byte for byte.
func FuzzDocument(f *testing.F) {
	for _, d := range documents(f) {
		if d.StoredList == nil && len(d.text()) < 1000 {
			f.Add(d.text())
		}
	}
	f.Fuzz(func(t *testing.T, document string) {
		synctest.Test(t, func(t *testing.T) {
			desk := newDesk[counter](t, express.Options{
				Secrets: []string{"keyboard cat"}, Rolling: true, Cookie: express.Cookie{MaxAge: 15 * time.Minute},
			}, "new")
			desk.put(t, "doc", document, time.Minute)
			cookie := signed("connect.sid", "doc", "keyboard cat")
			before := -1
			answer := desk.serve(get("/", cookie), func(_ http.ResponseWriter, r *http.Request) {
				before = sessions.FromContext[counter](r.Context()).Views
			})
			readable, status := desk.told(sessions.EventUndecodable) == 0, http.StatusOK
			if !readable {
				status = http.StatusInternalServerError
			}
			if answer.StatusCode != status {
				t.Errorf("reading: status %d, want %d", answer.StatusCode, status)
			}
			none := readable && len(desk.take()) == 1 // a session that is there is touched too
			stored := desk.stored(t)
			if len(stored) != 1 || !strings.HasPrefix(stored[0], "sess:doc "+document+" EX ") || (!readable || none) && !strings.HasSuffix(stored[0], " EX 60") {
				t.Fatalf("reading has changed it: readable %t, %q", readable, stored)
			}

			answer = desk.serve(get("/", cookie), func(_ http.ResponseWriter, r *http.Request) {
				sessions.FromContext[counter](r.Context()).Views++
			})
			if answer.StatusCode != status {
				t.Errorf("counting: status %d, want %d", answer.StatusCode, status)
			}
			stored = desk.stored(t)
			if !readable {
				same(t, "stored beside what cannot be read", stored, []string{"sess:doc " + document + " EX 60"})
				same(t, "Set-Cookie", answer.Header["Set-Cookie"], nil)
				return
			} else if none {
				same(t, "stored beside no session", stored, []string{
					"sess:doc " + document + " EX 60", "sess:new " + standing + `,"views":1} EX 900`,
				})
				return
			}
			if len(stored) != 1 {
				t.Fatalf("counting has stored %q", stored)
			}
			rewritten := strings.TrimPrefix(stored[0][:strings.LastIndex(stored[0], " EX ")], "sess:doc ")
			_, was := members(t, document)
			_, is := members(t, rewritten)
			if got, want := string(is["views"]), fmt.Sprint(before+1); got != want {
				t.Errorf("views is %s, want %s", got, want)
			}
			_, wasCookie := members(t, string(was["cookie"]))
			_, isCookie := members(t, string(is["cookie"]))
			for _, name := range []string{"httpOnly", "path"} { // which it fills in
				if wasCookie[name] == nil {
					delete(isCookie, name)
				}
			}
			kept(t, "members", was, is, "cookie", "views")
			kept(t, "members of the cookie", wasCookie, isCookie, "expires")
		})
	})
}

var escape = regexp.MustCompile(`(?s)\\(u202[89]|.)`)

// kept compares the members of two objects, but for those that are to change.
func kept[V ~[]byte](t *testing.T, what string, was, is map[string]V, but ...string) {
	t.Helper()
	plain := func(members map[string]V) map[string]string {
		values := map[string]string{}
		for name, value := range members {
			if slices.Contains(but, name) || strings.ContainsRune(name, '\uFFFD') { // which a name may become that is not Unicode
				continue
			}
			values[name] = escape.ReplaceAllStringFunc(string(value), func(e string) string {
				return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(e)
			})
		}
		return values
	}
	if w, i := plain(was), plain(is); !maps.Equal(w, i) {
		t.Errorf("%s were %q and are %q", what, w, i)
	}
}
