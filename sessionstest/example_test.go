package sessionstest_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

// Session is what the program of the examples knows about a visitor.
type Session struct {
	UserID string   `json:"user_id"`
	Cart   []string `json:"cart"`
}

// newApp is the program that the examples test.
func newApp(m *sessions.Manager[Session]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Session](r.Context()).UserID = r.FormValue("user")
		if err := m.SignIn(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/cart", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /cart/{item}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Cart = append(s.Cart, r.PathValue("item"))
	})
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		if s.UserID == "" {
			http.Error(w, "please sign in", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s has %v", s.UserID, s.Cart)
	})
	return m.Handler(mux)
}

var t = new(testing.T) // in a program's test it is the test's

func TestCart(t *testing.T) {
	m := sessionstest.New[Session](t, sessions.Config{}) // best the program's own Config
	app := newApp(m)                                     // its routes, wrapped with m.Handler

	ann := sessionstest.NewClient(t, m, app, &Session{UserID: "ann"})
	got := ann.Do(httptest.NewRequest("POST", "/cart/pear", nil))
	if got.Code != http.StatusOK || !got.Saved || !slices.Equal(got.Session.Cart, []string{"pear"}) {
		t.Errorf("%d, saved %t, cart %q", got.Code, got.Saved, got.Session.Cart)
	}

	visitor := sessionstest.NewClient(t, m, app, nil) // without a session
	if got := visitor.Do(httptest.NewRequest("GET", "/cart", nil)); got.Code != http.StatusUnauthorized {
		t.Errorf("a visitor gets %d, want 401", got.Code)
	}
}

// A user puts something into the cart.
func Example() {
	m := sessionstest.New[Session](t, sessions.Config{})
	ann := sessionstest.NewClient(t, m, newApp(m), &Session{UserID: "ann"})

	got := ann.Do(httptest.NewRequest("POST", "/cart/pear", nil))
	fmt.Println(got.Code, got.Session.Cart, "saved:", got.Saved)

	got = ann.Do(httptest.NewRequest("GET", "/cart", nil))
	fmt.Println(got.Code, got.Body, "saved:", got.Saved)
	// Output:
	// 200 [pear] saved: true
	// 200 ann has [pear] saved: false
}

// A visitor's cart survives the sign-in, which renews the token; the sign-out ends the session.
func ExampleClient_Do() {
	m := sessionstest.New[Session](t, sessions.Config{})
	visitor := sessionstest.NewClient(t, m, newApp(m), nil)
	post := func(path string) *sessionstest.Result[Session] {
		return visitor.Do(httptest.NewRequest("POST", "https://example.com"+path, nil))
	}

	post("/cart/pear")

	got := post("/login?user=ann")
	fmt.Println(got.Code, got.Header().Get("Location"), "renewed:", got.Renewed)

	got = visitor.Do(httptest.NewRequest("GET", got.Header().Get("Location"), nil))
	fmt.Println(got.Code, got.Body)

	got = post("/logout")
	fmt.Println(got.Code, "destroyed:", got.Destroyed)
	// Output:
	// 303 /cart renewed: true
	// 200 ann has [pear]
	// 200 destroyed: true
}

// A test through a real server, with Go's cookie jar. The cookie is Secure, so the server speaks TLS.
func ExampleCookie() {
	m := sessionstest.New[Session](t, sessions.Config{})
	server := httptest.NewTLSServer(newApp(m))
	defer server.Close()

	client := server.Client()
	client.Jar, _ = cookiejar.New(nil)
	address, _ := url.Parse(server.URL)
	client.Jar.SetCookies(address, []*http.Cookie{sessionstest.Cookie(t, m, Session{UserID: "ann"}, sessions.Remembered)})

	res, err := client.Get(server.URL + "/cart")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	fmt.Println(res.Status)
	// Output: 200 OK
}

// The README shows TestCart.
func TestReadme(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, test, _ := strings.Cut(read("example_test.go"), "\nfunc TestCart(")
	test, _, _ = strings.Cut(test, "\n}\n")
	if !strings.Contains(read("../README.md"), "```go\nfunc TestCart("+test+"\n}\n```") {
		t.Errorf("README.md does not show TestCart as it is:\n%s", test)
	}
}
