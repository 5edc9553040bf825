package node_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// common are the options of the recipes, on both sides.
func common() express.Options {
	return express.Options{
		Secrets: []string{"keyboard cat, 32 bytes for fastify"},
		Cookie:  express.Cookie{MaxAge: quarter, SameSite: express.Lax},
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// recipe starts an app of recipes/.
func (w *world) recipe(t *testing.T, name string, o express.Options, config map[string]any) *site {
	t.Helper()
	a := inNode("10", o)
	a.script, a.Recipe = "recipes/"+name+".mjs", config
	return w.startNode(t, a)
}

// visitor is a browser that is shown where it is redirected to.
func (w *world) visitor(t *testing.T) *browser {
	t.Helper()
	b := w.browser(t)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

// A page is what a recipe's route answers.
type page struct {
	status    int
	location  string
	setCookie []string
	body      string
}

// visit is one request, with a form for a POST.
func (b *browser) visit(s *site, route, form string) page {
	b.t.Helper()
	method, target, _ := strings.Cut(route, " ")
	to := target
	if !strings.HasPrefix(to, "http:") {
		to = b.scheme + "://" + b.host + ":" + s.port + target
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = w.Body.Close() }()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{w.StatusCode, w.Header.Get("Location"), w.Header["Set-Cookie"], strings.TrimSpace(string(body))}
}

// finds is a visit that is answered by 200 and body.
func (b *browser) finds(s *site, route, body string) {
	b.t.Helper()
	if p := b.visit(s, route, ""); p.status != http.StatusOK || p.body != body {
		b.t.Errorf("%s: %s: %d %s, want %s", s.name, route, p.status, p.body, body)
	}
}

// leads is a visit that is redirected.
func (b *browser) leads(s *site, route, form, location string) page {
	b.t.Helper()
	p := b.visit(s, route, form)
	if p.status/100 != 3 || p.location != location {
		b.t.Errorf("%s: %s: %d to %q %s, want a redirect to %q", s.name, route, p.status, p.location, p.body, location)
	}
	return p
}

// field is a member of what the visitor has stored, "" if there is none.
func (w *world) field(t *testing.T, b *browser, s *site, name string) string {
	t.Helper()
	r := w.stored(t, s, b.sid(s))
	if r == nil {
		t.Fatalf("nothing is stored under the sid %q", b.sid(s))
	}
	return string(r.fields[name])
}

func answer200(w http.ResponseWriter, v any) { reply(w, http.StatusOK, v) }

func authenticate(r *http.Request) (UserID, bool) {
	return UserID{Text: "7", Number: r.PostFormValue("id") == "number"}, r.PostFormValue("username") == "Ada" && r.PostFormValue("password") == "secret"
}

// Every block of code in the document is one that a test runs.
func TestRecipesAreTheTestedCode(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for line := range strings.Lines(string(data)) {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		return b.String()
	}
	scripts, err := filepath.Glob("recipes/*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]string{"go": read("recipes_code_test.go")}
	for _, name := range scripts {
		tested["js"] += read(name)
	}
	_, id, _ := strings.Cut(read("../../../express/guide_test.go"), "\ntype UserID ")
	id, _, _ = strings.Cut(id, "\nfunc Example")
	if id == "" || !strings.Contains(tested["go"], "\ntype UserID "+id) {
		t.Error("the UserID of the recipes is not that of the guide")
	}
	blocks := regexp.MustCompile("(?s)```(go|js)\n(.*?)```").FindAllStringSubmatch(read("../../../docs/express-recipes.md"), -1)
	if len(blocks) < 9 {
		t.Fatalf("docs/express-recipes.md has %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		for part := range strings.SplitSeq(block[2], "…\n") { // what is left out
			if !strings.Contains(tested[block[1]], part) {
				t.Errorf("docs/express-recipes.md: no test runs\n%s", part)
			}
		}
	}
}

func TestPassport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		id   any
		form string
		read string // what Node's routes say of the user
		user string // what is stored
	}{
		{"strings", "7", "", `{"id":"7","name":"Ada"}`, `{"user":"7"}`},
		{"numbers", 7, "&id=number", `{"id":7,"name":"Ada"}`, `{"user":7}`},
	} {
		for _, keep := range []bool{false, true} {
			name := tt.name
			if keep {
				name += ", keepSessionInfo"
			}
			t.Run("R5 R10 "+name, func(t *testing.T) {
				node := w.recipe(t, "passport", common(), map[string]any{"id": tt.id, "keepSessionInfo": keep})
				gopher := serveGo(t, w, common(), func(m *sessions.Manager[Session], _ *redis.Client) http.Handler {
					mux := http.NewServeMux()
					mux.HandleFunc("POST /login", signIn(m))
					mux.HandleFunc("GET /private", private)
					mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
						answer200(w, sessions.Take(&sessions.FromContext[Session](r.Context()).Messages))
					})
					mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
						if err := m.Destroy(r.Context()); err != nil {
							t.Error(err)
						}
						http.Redirect(w, r, "/", http.StatusSeeOther)
					})
					return m.Handler(mux)
				})
				form := "username=Ada&password=secret" + tt.form
				for _, in := range []*site{node, gopher} {
					for _, out := range []*site{node, gopher} {
						b := w.visitor(t)
						back := "/"
						if keep || in == gopher { // Node's regenerate forgets it otherwise
							back = "/private?x=1"
						}
						other := map[*site]*site{node: gopher, gopher: node}[in]
						b.leads(other, "GET /private?x=1", "", "/login")
						before := b.sid(in)
						b.leads(in, "POST /login", "username=Ada&password=wrong", "/login")
						if p := b.visit(node, "GET /read", ""); !strings.Contains(p.body, `"messages":["Wrong password."]`) {
							t.Errorf("%s refused the password: Node reads %s", in.name, p.body)
						}
						b.finds(gopher, "GET /login", `["Wrong password."]`)
						b.leads(in, "POST /login", form, back)
						w.dead(t, in, before)
						if got := w.field(t, b, in, "passport"); got != tt.user {
							t.Errorf("%s signed in: passport is %s, want %s", in.name, got, tt.user)
						}
						b.finds(node, "GET /private", `{"user":`+tt.read+`}`)
						b.finds(gopher, "GET /private", `"7"`)
						signed := b.sid(in)
						b.leads(out, "POST /logout", "", "/")
						w.dead(t, in, signed)
						b.leads(gopher, "GET /private", "", "/login")
						b.leads(node, "GET /private", "", "/login")
						if p := b.visit(node, "GET /read", ""); !strings.HasPrefix(p.body, `{"user":null,`) {
							t.Errorf("signed out by %s: Node says %s", out.name, p.body)
						}
					}
				}
			})
		}
	}

	t.Run("R10 a returnTo that leads to another site", func(t *testing.T) {
		gopher := serveGo(t, w, common(), func(m *sessions.Manager[Session], _ *redis.Client) http.Handler {
			mux := http.NewServeMux()
			mux.HandleFunc("POST /login", signIn(m))
			mux.HandleFunc("GET /private", private)
			return m.Handler(mux)
		})
		for _, to := range []string{"//evil.example/private", `/\\evil.example`, "https://evil.example", "/"} {
			b := w.visitor(t)
			b.leads(gopher, "GET /private", "", "/login")
			r := w.stored(t, gopher, b.sid(gopher))
			w.put(t, gopher, b.sid(gopher), strings.Replace(r.raw, `"/private"`, `"`+to+`"`, 1))
			b.leads(gopher, "POST /login", "username=Ada&password=secret", "/")
		}
	})
}

// addressOf is where a site listens.
func addressOf(s *site) *url.URL { return &url.URL{Scheme: "http", Host: "127.0.0.1:" + s.port} }
