package writing_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// upgrade takes the connection over and writes a 101 of its own with this header, as gorilla/websocket does.
func upgrade(t *testing.T, w http.ResponseWriter, header http.Header) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	switching(buf, header)
}

func switching(buf *bufio.ReadWriter, header http.Header) {
	buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
	header.Write(buf)
	buf.WriteString("\r\n")
	buf.Flush()
}

// wantRoute compares the log's only line: it has this text, and the route.
func wantRoute(t *testing.T, a *kit.App, text, route string) {
	t.Helper()
	lines := a.Log.Take()
	if len(lines) != 1 || !strings.Contains(lines[0], text) || !strings.Contains(lines[0], `route="`+route+`"`) {
		t.Errorf("log %q, want one line with %q and the route %q", lines, text, route)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	type handler = func(w http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App)
	change := func(_ http.ResponseWriter, _ *http.Request, s *kit.Session, _ *kit.App) { s.Views = 2 }
	verb := func(name string) handler {
		return func(_ http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App) {
			s.Views = 2
			kit.OK(t, kit.Call(a.Manager, r.Context(), name))
		}
	}
	header := func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) {
		w.Header().Set("X-Frame-Options", "DENY")
	}
	// The ways in which a connection is taken over.
	bare := func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) { upgrade(t, w, nil) }
	withHeader := func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) { upgrade(t, w, w.Header()) }
	afterwards := func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) { // httputil.ReverseProxy
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		switching(buf, w.Header())
	}
	status := func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) { // coder/websocket
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
	handedOut := func(w http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App) {
		bare(w, r, s, a)
		o, err := a.Commit(r.Context()) // the token is in it
		kit.OK(t, err)
		if a.Views(o.Token.Reveal()) != 2 {
			t.Error("the token that Commit returns finds nothing")
		}
	}
	created, renewed, signedIn, saved := sessions.EventCreated, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventSaved
	undelivered := sessions.EventUndelivered

	for _, tc := range []struct {
		desc   string
		stored bool
		f      []handler
		cookie bool // the client gets it
		live   int  // records at the end
		events []sessions.EventKind
	}{
		{"a new session that nobody can come back to does not stay", false, []handler{change, bare}, false, 0, []sessions.EventKind{created, undelivered}},
		{"it stays if its header may have been sent", false, []handler{header, change, bare}, false, 1, []sessions.EventKind{created, undelivered}},
		{"it stays if Commit has handed its token out", false, []handler{change, handedOut}, false, 1, []sessions.EventKind{created, undelivered}},
		{"a new user whose token is not sent is told of", false, []handler{verb("SignIn"), bare}, false, 1, []sessions.EventKind{created, signedIn, undelivered}},
		{"also if middleware had asked for the header before", false, []handler{header, verb("SignIn"), bare}, false, 1, []sessions.EventKind{created, signedIn, undelivered}},
		{"a saved new session whose token is not sent is told of", false, []handler{verb("Save"), bare}, false, 1, []sessions.EventKind{created, undelivered}},
		{"a sign-in whose token is not sent is told of", true, []handler{verb("SignIn"), bare}, false, 1, []sessions.EventKind{signedIn, undelivered}},
		{"a renewal whose token is not sent is told of", true, []handler{verb("Renew"), bare}, false, 1, []sessions.EventKind{renewed, undelivered}},
		{"a session that has its token is saved", true, []handler{change, bare}, false, 1, []sessions.EventKind{saved}},
		{"a session that is only read needs nothing", true, []handler{bare}, false, 1, nil},

		{"after a verb the header that is given to the Upgrade sends the cookie", false, []handler{verb("SignIn"), withHeader}, true, 1, []sessions.EventKind{created, signedIn}},
		{"so does it after a renewal", true, []handler{header, verb("Renew"), withHeader}, true, 1, []sessions.EventKind{renewed}},
		{"a new session's cookie is in the header after the hand-over", false, []handler{change, afterwards}, true, 1, []sessions.EventKind{created}},
		{"a sign-in's too", true, []handler{header, verb("SignIn"), afterwards}, true, 1, []sessions.EventKind{signedIn}},
		{"WriteHeader with 101 sends it", false, []handler{change, status}, true, 1, []sessions.EventKind{created}},
		{"WriteHeader with 101 sends a sign-in's", true, []handler{verb("SignIn"), status}, true, 1, []sessions.EventKind{signedIn}},
	} {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("W15 W4 "+tc.desc, func(t *testing.T) {
				a, token := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{Codec: c}), ""
				if tc.stored {
					token = a.Seed(1)
				}
				a.Mux.HandleFunc("GET /rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
					s := a.FromContext(r.Context())
					for _, f := range tc.f {
						f(w, r, s, a)
					}
				})
				over := make(chan struct{})
				srv := kit.NewServer(t, kit.HTTP1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(over)
					a.Root.ServeHTTP(w, r)
				}))
				conn := dial(t, srv)
				fmt.Fprintf(conn, "GET /rooms/secret HTTP/1.1\r\nHost: example.com\r\nCookie: %s=%s\r\n\r\n", kit.CookieName, token)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				kit.Must(t, err)
				<-over
				srv.WantQuiet()
				sent := kit.TokenOf(res.Header)
				if got := sent != ""; res.StatusCode != 101 || got != tc.cookie {
					t.Errorf("%d, the cookie is sent: %t, want %t", res.StatusCode, got, tc.cookie)
				}
				if tc.cookie && a.Views(sent) != 2 {
					t.Errorf("the token finds %d views, want 2", a.Views(sent))
				}
				if live, _ := a.Store.Left(t); live != tc.live {
					t.Errorf("%d sessions are stored, want %d", live, tc.live)
				}
				a.WantEvents(t, tc.events...)
				if len(tc.events) > 0 && tc.events[len(tc.events)-1] == undelivered {
					wantRoute(t, a, "may not have arrived", "GET /rooms/{room}")
				} else if lines := a.Log.Take(); len(lines) > 0 {
					t.Errorf("log %q", lines)
				}
			})
		})
	}

	t.Run("W15 with the new session that nobody can come back to nothing else ends", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		two := []string{a.Seed(1), a.Seed(2)}
		over := make(chan struct{})
		inner := a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.FromContext(r.Context()).Views = 3
			upgrade(t, w, nil)
		}))
		srv := kit.NewServer(t, kit.HTTP1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(over)
			inner.ServeHTTP(w, r)
		}))
		conn := dial(t, srv)
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: %[1]s=%[2]s; %[1]s=%[3]s\r\n\r\n", kit.CookieName, two[0], two[1])
		<-over
		if live, _ := a.Store.Left(t); live != 2 || a.Views(two[0]) != 1 || a.Views(two[1]) != 2 {
			t.Errorf("%d sessions are stored, want the two from before", live)
		}
		a.WantEvents(t, sessions.EventTwoSessions, sessions.EventCreated, sessions.EventUndelivered)
	})
}

func TestNestedUpgrade(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"", "SignIn"} {
		t.Run("W15 L14 of two Managers each tells of its own token, verb "+verb, func(t *testing.T) {
			outer := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
			inner := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{Realm: "inner", Transport: sessions.Cookie{Name: "__Host-Http-inner"}})
			over := make(chan struct{})
			both := outer.Manager.Handler(inner.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, a := range []*kit.App{outer, inner} {
					a.FromContext(r.Context()).Views = 2
					if verb != "" {
						kit.OK(t, kit.Call(a.Manager, r.Context(), verb))
					}
				}
				upgrade(t, w, nil)
			})))
			srv := kit.NewServer(t, kit.HTTP1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(over)
				both.ServeHTTP(w, r)
			}))
			conn := dial(t, srv)
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
			<-over
			for _, a := range []*kit.App{outer, inner} {
				kinds := a.Events.Kinds()
				if live, _ := a.Store.Left(t); kinds[len(kinds)-1] != sessions.EventUndelivered || live != len(kinds)-2 {
					t.Errorf("events %v, %d sessions are stored", kinds, live)
				}
			}
		})
	}
}

// A framework's writer says by Written whether it has begun the response, as gin's and negroni's do.
type frameworkWriter struct {
	http.ResponseWriter
	status int
}

func (w *frameworkWriter) Written() bool               { return w.status != 0 }
func (w *frameworkWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *frameworkWriter) WriteHeader(code int) {
	w.status = code // 1xx too, as negroni 1 has it
	w.ResponseWriter.WriteHeader(code)
}

func (w *frameworkWriter) Write(p []byte) (int, error) {
	if !w.Written() {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// behind has the framework's writer inside.
type behind struct{ http.ResponseWriter }

func (w behind) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestAnotherWriter(t *testing.T) {
	t.Parallel()
	// open is an App in a framework whose handlers write past Handler's writer. f gets the framework's writer.
	open := func(t *testing.T, via kit.Via, wrap func(http.ResponseWriter) http.ResponseWriter, f func(w http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App)) *kit.App {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			framework := &frameworkWriter{ResponseWriter: w}
			outer := http.ResponseWriter(framework)
			if wrap != nil {
				outer = wrap(outer)
			}
			a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				r.Pattern = "/pages/{page}"
				f(framework, r, a.FromContext(r.Context()), a)
			})).ServeHTTP(outer, r)
		})
		return a
	}
	write := func(w http.ResponseWriter, _ *http.Request, s *kit.Session, _ *kit.App) {
		s.Views = 2
		fmt.Fprint(w, "page")
	}
	other := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Realm: "other", Transport: sessions.Cookie{Name: "__Host-Http-other"}})
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"the writer": nil, "a writer around it": func(w http.ResponseWriter) http.ResponseWriter { return behind{w} },
	} {
		kit.EachVia(t, "W15 a new session is not stored when "+name+" says that the response has begun", func(t *testing.T, via kit.Via) {
			a := open(t, via, wrap, write)
			res := a.Browser().Get("/")
			a.Server().WantQuiet()
			if res.StatusCode != 200 || res.Text != "page" || len(res.SetCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
			}
			a.WantCalls(t, "it", "")
			if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventLateChange || !errors.Is(events[0].Err, sessions.ErrCommitted) {
				t.Errorf("events %v, want one LateChange of ErrCommitted", events)
			}
			wantRoute(t, a, "another writer", "GET /pages/{page}")
		})
	}

	kit.EachVia(t, "W15 a stored session is saved when another writer has begun the response", func(t *testing.T, via kit.Via) {
		a := open(t, via, nil, write)
		token := a.Seed(1)
		res := a.Browser().As(token).Get("/")
		a.Server().WantQuiet()
		if got := a.Views(token); res.Text != "page" || got != 2 {
			t.Errorf("%q, %d views", res.Text, got)
		}
		a.WantEvents(t, sessions.EventSaved, sessions.EventLateUse)
		wantRoute(t, a, "another writer", "GET /pages/{page}")
	})

	kit.EachVia(t, "W15 T9 a session that was looked at in time, but another writer has sent the header, is told of with that reason", func(t *testing.T, via kit.Via) {
		a := open(t, via, nil, func(w http.ResponseWriter, _ *http.Request, _ *kit.Session, _ *kit.App) { fmt.Fprint(w, "page") })
		a.Browser().As(a.Seed(1)).Get("/")
		a.Server().WantQuiet()
		if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventLateUse || !errors.Is(events[0].Err, sessions.ErrCommitted) {
			t.Errorf("events %v, want one LateUse of ErrCommitted", events)
		}
		wantRoute(t, a, "another writer", "GET /pages/{page}")
	})

	kit.EachVia(t, "W15 a save that fails when another writer has begun the response leaves that alone", func(t *testing.T, via kit.Via) {
		a := open(t, via, nil, write)
		token := a.Seed(1)
		a.Store.Fail(sessions.ErrTooLarge, "before CompareAndSwap")
		res := a.Browser().As(token).Get("/")
		a.Server().WantQuiet()
		if res.StatusCode != 200 || res.Text != "page" {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
		a.WantEvents(t, sessions.EventLateChange)
	})

	for _, tc := range []struct {
		verb   string
		stored bool
	}{{"Save", false}, {"SignIn", false}, {"SignIn", true}, {"Renew", true}} {
		t.Run(fmt.Sprintf("W15 %s after another writer began the response is ErrCommitted, stored is %t", tc.verb, tc.stored), func(t *testing.T) {
			a := open(t, kit.HTTP2, nil, func(w http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App) {
				fmt.Fprint(w, "page")
				a.Store.Calls()
				s.Views++
				kit.WantErr(t, tc.verb, kit.Call(a.Manager, r.Context(), tc.verb), sessions.ErrCommitted)
				s.Views--
				a.WantCalls(t, tc.verb, "")
			})
			token := ""
			if tc.stored {
				token = a.Seed(1)
			}
			a.Browser().As(token).Get("/")
			if tc.stored && a.Views(token) != 1 {
				t.Error("the old token is no longer good")
			}
		})
	}

	for _, stored := range []bool{false, true} {
		kit.EachVia(t, fmt.Sprintf("W15 the token of a SignIn before another writer begins arrives, stored is %t", stored), func(t *testing.T, via kit.Via) {
			a := open(t, via, nil, func(w http.ResponseWriter, r *http.Request, s *kit.Session, a *kit.App) {
				s.Views = 2
				kit.OK(t, a.SignIn(r.Context()))
				fmt.Fprint(w, "page")
			})
			token := ""
			if stored {
				token = a.Seed(1)
			}
			res := a.Browser().As(token).Get("/")
			if got := views(a, res); got != 2 || res.Header.Get("Cache-Control") != "private, no-store" {
				t.Errorf("%d views, %v", got, kit.Masked(res.Header))
			}
			if lines := a.Log.Take(); len(lines) > 0 {
				t.Errorf("log %q", lines)
			}
		})
	}

	t.Run("W15 W3 a 103 that the framework's writer counts as written is no beginning", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		inner := a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			a.FromContext(r.Context()).Views = 2
			fmt.Fprint(w, "page")
		}))
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(&frameworkWriter{ResponseWriter: w}, r) })
		if res := a.Browser().Get("/"); res.Text != "page" || views(a, res) != 2 {
			t.Errorf("%q, %d views", res.Text, views(a, res))
		}
	})

	t.Run("W15 the writer of another Manager's Handler says so too", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		res := kit.Serve(other.Handler(http.HandlerFunc(func(outer http.ResponseWriter, r *http.Request) {
			a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views = 2
				fmt.Fprint(outer, "page")
			})).ServeHTTP(outer, r)
		})), kit.With("", "/"))
		a.WantCalls(t, "it", "")
		a.WantEvents(t, sessions.EventLateChange)
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%v", kit.Masked(res.Header))
		}
	})

	t.Run("W15 a framework's writer that Handler's own calls reach is no other writer", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		rec := httptest.NewRecorder()
		change(a, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, "page")
			a.FromContext(r.Context()).Views++
		}).ServeHTTP(&frameworkWriter{ResponseWriter: rec}, kit.With("", "/"))
		if got := a.Views(kit.TokenOf(rec.Result().Header)); rec.Code != 202 || got != 2 {
			t.Errorf("%d, %d views", rec.Code, got)
		}
		a.WantEvents(t, sessions.EventCreated, sessions.EventSaved)
	})

	t.Run("W15 a Secure cookie on a plain-HTTP request counts as delivered", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		res := kit.Serve(change(a, func(http.ResponseWriter, *http.Request) {}), httptest.NewRequest("GET", "http://localhost/", nil))
		if got := a.Views(kit.TokenOf(res.Header)); got != 1 {
			t.Errorf("%d views, want 1", got)
		}
		a.WantEvents(t, sessions.EventCreated)
	})
}
