package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/typedsessions/sessions"
)

// Sign-in gives the session a new token, remembered if the user asks for it.
func ExampleManager_SignIn() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.UserID = "alice" // her password was right
		var options []sessions.SignInOption
		if r.FormValue("remember") != "" {
			options = append(options, sessions.Remembered)
		}
		if err := m.SignIn(r.Context(), options...); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		fmt.Fprint(w, "welcome")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s, info := sessions.FromContext[Visitor](r.Context()), m.Info(r.Context())
		fmt.Fprintf(w, "user %q, remembered %t, signed in %t", s.UserID, info.Remembered, !info.AuthenticatedAt.IsZero())
	})
	visit := visitor(m.Handler(mux))
	fmt.Println(visit("/"))
	fmt.Println(visit("/login?remember=yes"))
	fmt.Println(visit("/"))
	// Output:
	// user "", remembered false, signed in false
	// welcome
	// user "alice", remembered true, signed in true
}

// Signing out deletes the session at once, and the response its cookie.
func ExampleManager_Destroy() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context())
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "you are still signed in, please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "bye")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %q", sessions.FromContext[Visitor](r.Context()).UserID)
	})
	visit := visitor(m.Handler(mux))
	visit("/login")
	fmt.Println(visit("/"))
	fmt.Println(visit("/logout"))
	fmt.Println(visit("/"))
	// Output:
	// user "alice"
	// bye
	// user ""
}

// A step-up: the token, the time and the method of the proof are others, the session is the same.
func ExampleManager_Reauthenticate() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context(), sessions.AuthenticatedBy("pwd"), sessions.AuthenticatedAt(time.Now().Add(-time.Hour)))
	})
	mux.HandleFunc("/step-up", func(w http.ResponseWriter, r *http.Request) { // her passkey was right
		before := m.Info(r.Context())
		err := m.Reauthenticate(r.Context(), sessions.AuthenticatedBy("passkey"))
		if err != nil && !errors.Is(err, sessions.ErrGone) {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprintf(w, "%s, within a minute: %t; then %s: %t; until %v later", before.Method, before.AuthenticatedWithin(time.Minute),
			after.Method, after.AuthenticatedWithin(time.Minute), after.ExpiresAt.Sub(before.ExpiresAt))
	})
	visit := visitor(m.Handler(mux))
	visit("/login")
	fmt.Println(visit("/step-up"))
	// Output: pwd, within a minute: false; then passkey: true; until 0s later
}

// Any other change of privilege takes a new token too.
func ExampleManager_Renew() {
	m := manager(sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
		if e.Kind != sessions.EventLoaded { // of which each request has one
			fmt.Println("event:", e.Kind)
		}
	}})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
	})
	mux.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Renew(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "the same session: ", before.ID == after.ID && before.ExpiresAt.Equal(after.ExpiresAt))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/admin"))
	// Output:
	// event: created
	// event: renewed
	// the same session: true
}

// askAgain answers a request that comes too late for a renewal, so that its client asks again, by then with the new
// token. It is not for the route that signs in.
func askAgain(m *sessions.Manager[Visitor], next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.Info(r.Context()).RenewedElsewhere {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", "1") // for the script that has called fetch
		if r.Method == http.MethodGet {
			w.Header().Set("Refresh", "1") // a page is loaded again by the browser itself
		}
		http.Error(w, "your session has just been renewed: please ask again", http.StatusServiceUnavailable)
	})
}

// Six requests are under way with one token, and one of them renews it.
func ExampleManager_Renew_parallel() {
	m := manager(sessions.Config{})
	renewed, asked := make(chan struct{}), sync.WaitGroup{}
	page := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello ", sessions.FromContext[Visitor](r.Context()).UserID)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context())
	})
	mux.Handle("/", askAgain(m, http.HandlerFunc(page)))
	mux.Handle("/admin", askAgain(m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.Renew(r.Context())
		close(renewed)
		asked.Wait() // the answer with the new token takes its time
		page(w, r)
	})))
	srv := httptest.NewTLSServer(m.Handler(mux))
	defer srv.Close()
	client := srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	do := func(res *http.Response, err error) string {
		if err != nil {
			log.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s\n", res.StatusCode, bytes.TrimSpace(body))
	}
	do(client.Post(srv.URL+"/login", "", nil))

	var first, then [5]string
	asked.Add(len(first))
	answered, all := make(chan struct{}), sync.WaitGroup{}
	for i := range first {
		all.Go(func() {
			<-renewed
			first[i] = do(client.Get(srv.URL))
			asked.Done()
			<-answered // a second later, says Retry-After
			then[i] = do(client.Get(srv.URL))
		})
	}
	fmt.Print(do(client.Get(srv.URL + "/admin")))
	close(answered)
	all.Wait()
	fmt.Print(strings.Join(first[:], ""), strings.Join(then[:], ""))
	// Output:
	// 200 hello alice
	// 503 your session has just been renewed: please ask again
	// 503 your session has just been renewed: please ask again
	// 503 your session has just been renewed: please ask again
	// 503 your session has just been renewed: please ask again
	// 503 your session has just been renewed: please ask again
	// 200 hello alice
	// 200 hello alice
	// 200 hello alice
	// 200 hello alice
	// 200 hello alice
}

// A handler that must know whether the session was saved saves it itself.
func ExampleManager_Save() {
	m := manager(sessions.Config{MaxSize: 1000, Logger: slog.New(slog.DiscardHandler)})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Notice = strings.Repeat("x", 1000)
		if err := m.Save(r.Context()); errors.Is(err, sessions.ErrTooLarge) {
			s.Notice = "That was too long."
		}
		fmt.Fprint(w, s.Notice)
	})))
	fmt.Println(visit("/"))
	// Output: That was too long.
}

// Reload drops what the request has changed.
func ExampleManager_Reload() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Cart = []string{"apples"}
	})
	mux.HandleFunc("/undo", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Cart = append(s.Cart, "pears")
		if err := m.Reload(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		fmt.Fprint(w, s.Cart)
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/undo"))
	// Output: [apples]
}

// A page that polls is passive: it does not keep the session alive. Where the
// user does something there after all, Touch does.
func ExampleManager_Touch() {
	m := manager(sessions.Config{
		IdleTimeout: 10 * time.Minute,
		Passive:     func(r *http.Request) bool { return r.URL.Path == "/poll" },
		Skip:        func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/static/") },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
	})
	mux.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Touch(r.Context()); err != nil {
			http.Error(w, "please sign in again", http.StatusConflict)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "longer: ", after.IdleUntil.After(before.IdleUntil))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/poll"))
	// Output: longer: true
}

// Info is for logs and account pages; nothing in it authenticates.
func ExampleManager_Info() {
	m := manager(sessions.Config{
		Label: func(r *http.Request) string { return r.UserAgent() },
	})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
		m.Save(r.Context())
		info := m.Info(r.Context())
		fmt.Fprintf(w, "%d characters of ID, from %q, idle until %v, at the latest %v", len(info.ID), info.Label,
			info.IdleUntil.Sub(info.LastSeenAt).Round(time.Minute), info.ExpiresAt.Sub(info.CreatedAt))
	}))
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("User-Agent", "Firefox")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: 36 characters of ID, from "Firefox", idle until 1h0m0s, at the latest 24h0m0s
}

// A counter that has to be exact, however many requests of the visitor run at
// the same time: each is counted once.
func ExampleManager_Update() {
	m := manager(sessions.Config{})
	errSoldOut := errors.New("sold out")
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := m.Update(r.Context(), func(s *Visitor) error {
			if len(s.Cart) == 2 {
				return errSoldOut // nothing is stored, and *T is what it was
			}
			s.Views++
			s.Cart = append(s.Cart, "ticket")
			return nil
		})
		switch {
		case errors.Is(err, errSoldOut): // it comes back as it was
			fmt.Fprint(w, "sold out")
		case err != nil:
			sessions.DefaultErrorHandler(w, r, err)
		default:
			fmt.Fprintf(w, "%d in the cart", len(sessions.FromContext[Visitor](r.Context()).Cart))
		}
	})))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// 1 in the cart
	// 2 in the cart
	// sold out
}

// What not to do in the function of an Update: work through what was taken out
// of T before, and count outside of T.
//
// The function is called on a T decoded afresh, so the cart from before is a
// slice that nobody stores any more. And it is called again when another
// process has saved in between, so a variable outside counts attempts, not
// Updates. Use the argument alone, and set at the start of the function what is
// computed for the time after it.
func ExampleManager_Update_incorrect() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	other, err := sessions.New[Visitor](store, sessions.Config{}) // another process
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	sessions.FromContext[Visitor](ctx).Cart = []string{"apples"}
	outcome, _ := m.Commit(ctx)
	token := outcome.Token.Reveal()

	quicker := func() { // saves the same session, the first time
		ctx, _ := other.Load(context.Background(), token)
		other.FromContext(ctx).Notice = "hello"
		other.Commit(ctx)
	}

	cart := sessions.FromContext[Visitor](ctx).Cart
	counted := 0
	m.Update(ctx, func(s *Visitor) error {
		cart[0] = "pears" // wrong: s.Cart[0]
		counted++         // wrong: it is never set back
		s.Views++         // right
		if counted == 1 {
			quicker()
		}
		return nil
	})

	s := sessions.FromContext[Visitor](ctx)
	fmt.Println("cart:", s.Cart, "and not", cart)
	fmt.Println("views:", s.Views, "and not", counted)
	// Output:
	// cart: [apples] and not [pears]
	// views: 1 and not 2
}

// Load and Commit serve what is not HTTP. Here, as an interceptor of some RPC would,
// the token comes from the call's metadata and goes back in it.
func ExampleManager_Load() {
	m := manager(sessions.Config{})

	intercept := func(ctx context.Context, metadata map[string]string, call func(context.Context)) error {
		ctx, err := m.Load(ctx, metadata["session"])
		if err != nil {
			return err
		}
		call(ctx)
		outcome, err := m.Commit(ctx) // the outcome counts with an error too
		switch outcome.Kind {
		case sessions.OutcomeCreated, sessions.OutcomeRenewed:
			metadata["session"] = outcome.Token.Reveal()
		case sessions.OutcomeDestroyed:
			delete(metadata, "session")
		case sessions.OutcomeChanged, sessions.OutcomeUnchanged: // it keeps its token
		}
		fmt.Println(outcome.Kind, outcome.Token)
		return err
	}

	metadata := map[string]string{}
	count := func(ctx context.Context) { sessions.FromContext[Visitor](ctx).Views++ }
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, func(ctx context.Context) {
		fmt.Println("views:", sessions.FromContext[Visitor](ctx).Views)
		m.Destroy(ctx)
	})
	// Output:
	// created [session token]
	// changed [session token]
	// views: 2
	// destroyed [session token]
}

// Without the Handler there is no session, and the error says so.
func ExampleManager_Commit() {
	m := manager(sessions.Config{})
	_, err := m.Commit(context.Background())
	fmt.Println(errors.Is(err, sessions.ErrNoSession), err)
	// Output: true sessions: no session of this Manager in this context: wrap the handler with its Handler, and do not Skip the request
}

// What a program does about an error, where the default response is not enough.
func Example_errors() {
	answer := func(err error) string {
		switch {
		case err == nil:
			return "done"
		case errors.Is(err, sessions.ErrRefused): // an ErrUnavailable, too
			return "nothing was stored: look at the server"
		case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, sessions.ErrNewerVersion):
			return "please try again in a moment"
		case errors.Is(err, sessions.ErrGone):
			return "you have been signed out"
		case errors.Is(err, sessions.ErrConflict), errors.Is(err, sessions.ErrOwnerLimit):
			return "please look at what is there now"
		case errors.Is(err, sessions.ErrTooLarge):
			return "that is too much for a session"
		case errors.Is(err, sessions.ErrCommitted), errors.Is(err, sessions.ErrNoSession), errors.Is(err, sessions.ErrExists):
			return "a mistake in the program"
		}
		return "an error of the codec, of T or of NewToken"
	}
	for _, err := range []error{nil, sessions.ErrUnavailable, sessions.ErrGone, sessions.ErrTooLarge} {
		fmt.Println(sessions.HTTPStatus(err), answer(err))
	}
	// Output:
	// 200 done
	// 503 please try again in a moment
	// 409 you have been signed out
	// 500 that is too much for a session
}
