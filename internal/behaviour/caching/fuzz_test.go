package caching_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// FuzzCacheControl lets a handler say anything to caches, one field a line of text. Who reads the response that carries
// the cookie as RFC 9111 section 5.2 says finds a no-store and nothing that lets a shared cache keep it, and what else
// the handler has said is still there.
func FuzzCacheControl(f *testing.F) {
	for _, lines := range []string{
		"", "public, max-age=60", "max-age=60\npublic", `private="a, public", s-maxage=9`, `x="\"", public, y="\\"`, `x="never ended, no-store`,
		"No-Store", `no-store="x"`, " , ,,", `content="ESI/1.0", max-age=5`, "PUBLIC , S-MaxAge = 5", `"public"`, "x=a\"b, public\"", "\xff\"\xfe, public",
		`x="a`, "x=\"a\nno-store", `x="a\`, "=public, public=",
	} {
		f.Add(lines)
	}
	store := &kit.Store{Store: kit.Memory()}
	m := kit.New[kit.Session](f, store, sessions.Config{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	})
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		said := directivesOf(lines)
		h := serveSaying(m, lines, func(s *kit.Session) { s.Views++ })
		got := directivesOf(h["Cache-Control"])
		if want := withNoStore(said, func(name string) bool { return name == "public" || name == "s-maxage" }); !slices.Equal(got, want) {
			t.Errorf("%q becomes %q, want %q", lines, got, want)
		}
		got = directivesOf(h["Surrogate-Control"])
		if want := withNoStore(said, func(name string) bool { return name != "content" && name != "no-store" }); !slices.Equal(got, want) {
			t.Errorf("for some caches %q becomes %q, want %q", lines, got, want)
		}

		// A page that only reads says to caches what its handler said.
		if h := serveSaying(m, lines, func(*kit.Session) {}); !slices.Equal(h["Cache-Control"], lines) {
			t.Errorf("reading turns %q into %q", lines, h["Cache-Control"])
		}

		// An error page says what it must, and no-store if a middleware outside had said so.
		store.Fail(errors.New("away"))
		defer store.Heal()
		want := "private"
		if slices.ContainsFunc(said, isNoStore) {
			want = "no-store"
		}
		if h := serveSaying(m, lines, func(s *kit.Session) { s.Views++ }); !slices.Equal(h["Cache-Control"], []string{want}) || len(h["Surrogate-Control"]) > 0 {
			t.Errorf("an error turns %q into %q, want %s", lines, h, want)
		}
	})
}

// serveSaying is the header of a visitor's response where a middleware outside has said these lines to caches.
func serveSaying(m *sessions.Manager[kit.Session], lines []string, change func(*kit.Session)) http.Header {
	w := httptest.NewRecorder()
	w.Header()["Cache-Control"] = slices.Clone(lines)
	w.Header()["Surrogate-Control"] = slices.Clone(lines)
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		change(m.FromContext(r.Context()))
	})).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	return w.Header()
}

// directivesOf reads a list of directives (RFC 9110 sections 5.6.1 and 5.6.4): commas end one, but not within quotes, where a
// backslash takes the next byte for itself. One whose quotes do not end says nothing.
func directivesOf(lines []string) (directives []string) {
	for _, line := range lines {
		var d []byte
		quoted, escaped := false, false
		for i := range len(line) + 1 {
			if i == len(line) || line[i] == ',' && !quoted {
				if text := strings.TrimSpace(string(d)); text != "" && !quoted {
					directives = append(directives, text)
				}
				d = d[:0]
				continue
			}
			switch c := line[i]; {
			case escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			}
			d = append(d, line[i])
		}
	}
	return directives
}

// withNoStore are the directives but for those of a name that is dropped, or without a name, and a no-store.
func withNoStore(said []string, dropped func(name string) bool) (kept []string) {
	has := false
	for _, d := range said {
		name, _, _ := strings.Cut(d, "=")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !dropped(name) {
			kept = append(kept, d)
			has = has || isNoStore(d)
		}
	}
	if !has {
		kept = append(kept, "no-store")
	}
	return kept
}

func isNoStore(directive string) bool { return strings.ToLower(directive) == "no-store" } // EqualFold takes ſ for s
