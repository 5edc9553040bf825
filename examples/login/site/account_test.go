package site

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

var errorPages = []struct {
	err    error
	status int
}{
	{fmt.Errorf("secret: %w", sessions.ErrUnavailable), 503},
	{fmt.Errorf("secret: %w", sessions.ErrGone), 409},
	{fmt.Errorf("secret: %w", sessions.ErrConflict), 409},
	{errors.New("secret"), 500},
}

func TestStepUp(t *testing.T) {
	bubble(t, "is asked for five minutes after the last proof, and then opens the settings", func(t *testing.T, f *fixture) {
		c := f.as(ada, sessions.Remembered)
		before := c.get("/account")
		want(t, "just signed in", before, 200, "Change your password")
		time.Sleep(5 * time.Minute)
		want(t, "later", c.get("/account"), 303, "/confirm")
		want(t, "a change", c.post("/account/password", "old", f.password, "new", "another password of mine"), 303, "/confirm")
		want(t, "a deletion", c.post("/account/delete"), 303, "/confirm")
		if !f.users.matches(f.user(ada), f.password) {
			t.Fatal("the password is changed")
		}
		want(t, "the form", c.get("/confirm"), 200, "5 minutes ago")
		got := c.post("/confirm", "password", "wrong")
		want(t, "a wrong password", got, 422, "not your password")
		if got.Renewed {
			t.Error("a wrong password has renewed the session")
		}
		got = c.post("/confirm", "password", f.password)
		want(t, "the password", got, 303, "/account")
		if !got.Renewed || got.Info.ID != before.Info.ID || !got.Info.Remembered || !got.Info.CreatedAt.Equal(before.Info.CreatedAt) || got.Info.Method != "pwd" {
			t.Errorf("renewed %t, %+v", got.Renewed, got.Info)
		}
		want(t, "the settings", c.get("/account"), 200, "Change your password")
		time.Sleep(5 * time.Minute)
		want(t, "later", c.get("/account"), 303, "/confirm")
	})
	bubble(t, "is asked for before a device is signed out, and leads back to the devices", func(t *testing.T, f *fixture) {
		c, g := f.as(ada, sessions.Remembered), f.visitor()
		g.get(authorize(t, g, "1906"))
		time.Sleep(5 * time.Minute)
		other := f.as(ada)
		want(t, "one device", c.post("/devices/end", "id", other.id()), 303, "/confirm?for=devices")
		want(t, "all others", c.post("/devices/end-others"), 303, "/confirm?for=devices")
		want(t, "the other one", other.get("/devices"), 200, "This device")
		want(t, "the form", c.get("/confirm?for=devices"), 200, "To sign a device out")
		want(t, "a wrong password", c.post("/confirm", "password", "wrong", "for", "devices"), 422, `name="for" value="devices"`)
		want(t, "the password", c.post("/confirm", "password", f.password, "for", "devices"), 303, "/devices")
		want(t, "all others", c.post("/devices/end-others"), 303, "/devices")
		want(t, "the other one", other.get("/devices"), 303, "/signin")
		want(t, "by the other site", g.get(authorize(t, g, "1906", "step-up", "yes", "for", "devices")), 303, "/devices")
		want(t, "for an address", c.post("/confirm", "password", f.password, "for", "https://evil.example"), 303, "/account")
	})
}

// A form whose token another request has just renewed is not loaded again: its address has no page.
func TestFormAfterARenewal(t *testing.T) {
	f := newFixture(t)
	old := sessionstest.Cookie(t, f.Manager, Session{UserID: f.user(ada).id})
	send := func(r *http.Request) result {
		r.AddCookie(old)
		return f.visitor().Do(r)
	}
	want(t, "the step-up", send(newForm("/confirm", "password", f.password)), 303, "/account")
	for _, test := range []struct {
		r             *http.Request
		part, refresh string
	}{
		{httptest.NewRequest("GET", "https://example.com/devices", nil), "loads again by itself", "1"},
		{newForm("/devices/end-others"), "please send it again", ""},
	} {
		got := send(test.r)
		want(t, test.r.Method, got, 503, test.part)
		if refresh := got.Header().Get("Refresh"); refresh != test.refresh {
			t.Errorf("%s: Refresh is %q, want %q", test.r.Method, refresh, test.refresh)
		}
	}
}

func TestChangePassword(t *testing.T) {
	const next = "another password of mine"
	for _, test := range []struct{ name, old, next, mistake string }{
		{"a wrong one", "wrong", next, "not your password"},
		{"a short one", "", "fourteen chars", "15 to 128"},
	} {
		f := newFixture(t)
		c := f.as(ada)
		want(t, test.name, c.post("/account/password", "old", test.old, "new", test.next), 422, test.mistake)
		if !f.users.matches(f.user(ada), f.password) {
			t.Errorf("%s: it is changed", test.name)
		}
	}
	f := newFixture(t)
	c, other, another := f.as(ada), f.as(ada), f.as(bob)
	got := c.post("/account/password", "old", f.password, "new", next)
	want(t, "the change", got, 303, "/devices")
	if !got.Renewed {
		t.Error("the session goes on with the old token")
	}
	want(t, "the page after it", c.get("/devices"), 200, "your other devices are signed out")
	want(t, "the other session", other.get("/devices"), 303, "/signin")
	want(t, "another user", another.get("/devices"), 200, "This device")
	want(t, "the old password", f.signIn(f.visitor(), ada, f.password), 422, "is wrong")
	want(t, "the new password", f.signIn(f.visitor(), ada, next), 303, "/")
}

func TestDeleteAccount(t *testing.T) {
	f := newFixture(t)
	c, other := f.as(ada), f.as(ada)
	got := c.post("/account/delete")
	want(t, "the deletion", got, 303, "/signin?after=deletion")
	if !got.Destroyed {
		t.Error("the session lives")
	}
	want(t, "the page after it", c.get("/signin?after=deletion"), 200, "Your account is deleted.")
	want(t, "the other session", other.get("/devices"), 303, "/signin")
	want(t, "a sign-in", f.signIn(f.visitor(), ada, f.password), 422, "is wrong")
}

// As accounts are in memory, a session in a Redis of one's own can be older than they are.
func TestSessionWithoutAccount(t *testing.T) {
	f := newFixture(t)
	c := f.as(ada)
	f.users.delete(f.user(ada).id)
	got := c.get("/devices")
	want(t, "a page", got, 303, "/signin")
	if !got.Destroyed {
		t.Error("the session lives")
	}
}

// id is that of the client's session.
func (c client) id() string { return c.get("/").Info.ID }

func TestDevices(t *testing.T) {
	f := newFixture(t)
	c, other, foreign := f.as(ada), f.as(ada, sessions.Remembered), f.as(bob)
	page := c.get("/devices").Body.String()
	if n := strings.Count(page, "<li>"); n != 2 {
		t.Errorf("%d devices, want 2:\n%s", n, page)
	}
	for _, part := range []string{"This device", "Stays signed in", "Sign out everywhere else", other.id()} {
		if strings.Count(page, part) != 1 {
			t.Errorf("the page has not %q once:\n%s", part, page)
		}
	}
	if strings.Index(page, "This device") > strings.Index(page, "Stays signed in") {
		t.Error("this device is not the first")
	}

	for name, id := range map[string]string{"another user's": foreign.id(), "an unknown one": "00000000-0000-4000-8000-000000000000", "none": ""} {
		want(t, name, c.post("/devices/end", "id", id), 303, "/devices")
		want(t, name, c.get("/devices"), 200, "was signed out already")
	}
	want(t, "another user", foreign.get("/devices"), 200, "This device")

	want(t, "the other one", c.post("/devices/end", "id", other.id()), 303, "/devices")
	want(t, "the page after it", c.get("/devices"), 200, "That device is signed out.")
	want(t, "the other one", other.get("/devices"), 303, "/signin")

	got := c.post("/devices/end", "id", c.id())
	want(t, "this device", got, 303, "/signin?after=signout")
	if !got.Destroyed {
		t.Error("the session lives")
	}
}

func TestEndOthers(t *testing.T) {
	f := newFixture(t)
	c, foreign := f.as(ada), f.as(bob)
	for _, message := range []string{"No other device was signed in.", "One other device is signed out.", "2 other devices are signed out."} {
		want(t, message, c.post("/devices/end-others"), 303, "/devices")
		want(t, "the page after it", c.get("/devices"), 200, message)
		f.as(ada)
		if strings.HasPrefix(message, "One") {
			f.as(ada)
		}
	}
	want(t, "another user", foreign.get("/devices"), 200, "This device")
}

func TestLimitOfThree(t *testing.T) {
	bubble(t, "ends the oldest session", func(t *testing.T, f *fixture) {
		var all []client
		for range 4 {
			all = append(all, f.as(ada))
			time.Sleep(time.Minute)
		}
		for i, c := range all {
			status := 200
			if i == 0 {
				status = 303
			}
			if got := c.get("/devices"); got.Code != status {
				t.Errorf("session %d: %d, want %d", i+1, got.Code, status)
			}
		}
	})
}

func TestLive(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(f *fixture, c client)
		says bool
	}{
		{"is signed out", func(_ *fixture, c client) { c.post("/signout") }, true},
		{"is ended by another one", func(f *fixture, c client) { f.as(ada).post("/devices/end", "id", c.id()) }, true},
		{"is ended with all others", func(f *fixture, _ client) { f.as(ada).post("/devices/end-others") }, true},
		{"is the oldest of four", func(f *fixture, _ client) {
			for range 3 {
				f.as(ada)
			}
		}, true},
		{"expires", func(*fixture, client) { time.Sleep(time.Hour) }, true}, // that the page is open is no activity
		{"goes on, and the server shuts down", func(f *fixture, _ client) { f.Close() }, false},
	} {
		bubble(t, "a page stops within two seconds when its session "+test.name, func(t *testing.T, f *fixture) {
			c := f.as(ada)
			var stream result
			done := make(chan struct{})
			go func() {
				defer close(done)
				stream = c.get("/live/events")
			}()
			time.Sleep(10*time.Second + time.Millisecond)
			synctest.Wait()
			test.end(f, c)
			select {
			case <-done:
			case <-time.After(2 * time.Second):
				t.Error("it does not stop")
				f.Close()
				<-done
			}
			body := stream.Body.String()
			if !strings.HasPrefix(body, "data: 0\n\ndata: 1\n\n") || !strings.Contains(body, "data: 10\n\n") {
				t.Errorf("it counts %q", body)
			}
			if strings.HasSuffix(body, "event: ended\ndata:\n\n") != test.says {
				t.Errorf("it ends with %q", body)
			}
		})
	}
}

func TestLiveIsNoActivity(t *testing.T) {
	bubble(t, "that keeps the session alive, also where the browser connects again", func(t *testing.T, f *fixture) {
		c := f.as(ada)
		f.Close() // so that each connection ends at once
		for range 3 {
			time.Sleep(20*time.Minute - time.Second)
			want(t, "a connection", c.get("/live/events"), 200, "")
		}
		time.Sleep(3 * time.Second)
		want(t, "a connection after an hour", c.get("/live/events"), 303, "/signin")
	})
}

// authorize goes to the provider and says who one is; it returns the address to which the provider sends back.
func authorize(t *testing.T, c client, subject string, fields ...string) (back string) {
	t.Helper()
	start := c.post("/oauth/start", fields...)
	want(t, "the start", start, 303, "/provider/authorize?")
	to, err := url.Parse(start.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the provider's page", c.get(to.String()), 200, "Grace Hopper")
	var form []string
	for name, values := range to.Query() {
		form = append(form, name, values[0])
	}
	got := c.post("/provider/authorize", append(form, "subject", subject)...)
	want(t, "the provider's answer", got, 303, "/oauth/callback?")
	return got.Header().Get("Location")
}

func TestOAuth(t *testing.T) {
	const grace, alan = "1906", "1912"
	bubble(t, "signs in, with the time of the provider", func(t *testing.T, f *fixture) {
		began := time.Now()
		time.Sleep(time.Minute)
		c := f.visitor()
		back := authorize(t, c, grace)
		got := c.get(back)
		want(t, "the callback", got, 303, "/")
		if !got.Renewed || got.Info.Method != "oauth" || !got.Info.AuthenticatedAt.Equal(began) || got.Session.OAuth != (pending{}) {
			t.Errorf("renewed %t, %+v, %+v", got.Renewed, got.Info, got.Session)
		}
		want(t, "the front page", c.get("/"), 200, "Grace Hopper")
		want(t, "the callback again", c.get(back), 403, "not begun here")
		again := f.visitor()
		again.get(authorize(t, again, grace))
		if again.get("/").Session.UserID != got.Session.UserID {
			t.Error("the second sign-in is another user")
		}
	})
	bubble(t, "stores no sessions without end for one address", func(t *testing.T, f *fixture) {
		for range 60 {
			want(t, "a start", f.visitor().post("/oauth/start"), 303, "/provider")
		}
		got := f.visitor().post("/oauth/start")
		if want(t, "the next one", got, 429, "Too many attempts"); got.Saved {
			t.Error("it stores a session")
		}
	})
	bubble(t, "steps up, by a new proof of the same user", func(t *testing.T, f *fixture) {
		c := f.visitor()
		c.get(authorize(t, c, grace))
		time.Sleep(6 * time.Minute)
		want(t, "the settings", c.get("/account"), 303, "/confirm")
		want(t, "the form", c.get("/confirm"), 200, "Confirm with Demo ID")
		want(t, "a password", c.post("/confirm", "password", ""), 422, "not your password")
		got := c.get(authorize(t, c, alan, "step-up", "yes"))
		want(t, "another user", got, 403, "somebody else")
		want(t, "the settings", c.get("/account"), 303, "/confirm")
		got = c.get(authorize(t, c, grace, "step-up", "yes"))
		want(t, "the same user", got, 303, "/account")
		if !got.Renewed {
			t.Error("the token is the old one")
		}
		want(t, "the settings", c.get("/account"), 200, "Delete your account")
	})

	f := newFixture(t)
	t.Run("needs the state of this browser", func(t *testing.T) {
		mine, victim := f.visitor(), f.visitor()
		back := authorize(t, mine, grace)
		want(t, "a browser without a state", victim.get(back), 403, "not begun here")
		authorize(t, victim, alan)
		want(t, "a browser with another state", victim.get(back), 403, "not begun here")
		own := authorize(t, victim, alan)
		want(t, "a wrong state", victim.get(back), 403, "not begun here")
		want(t, "its own state after that", victim.get(own), 403, "not begun here")
		f.provider.grants["c"] = grant{people[0], clientID, redirectURI, challenge(""), time.Now().Add(time.Minute)}
		want(t, "an empty state", victim.get("/oauth/callback?code=c&state="), 403, "not begun here")
		if victim.get("/").Session.UserID != "" {
			t.Error("the victim is signed in as somebody else")
		}
	})
	t.Run("can be refused by the user", func(t *testing.T) {
		c := f.visitor()
		got := c.get(authorize(t, c, ""))
		want(t, "the callback", got, 303, "/signin")
	})
	t.Run("takes no code that the provider does not know", func(t *testing.T) {
		c := f.visitor()
		back, err := url.Parse(authorize(t, c, grace))
		if err != nil {
			t.Fatal(err)
		}
		q := back.Query()
		q.Set("code", "x")
		want(t, "the callback", c.get("/oauth/callback?"+q.Encode()), 403, "Not signed in")
	})
	t.Run("takes no code for another verifier", func(t *testing.T) {
		c, other := f.visitor(), f.visitor()
		mine, err := url.Parse(authorize(t, c, grace))
		if err != nil {
			t.Fatal(err)
		}
		stolen, err := url.Parse(authorize(t, other, alan))
		if err != nil {
			t.Fatal(err)
		}
		q := mine.Query()
		q.Set("code", stolen.Query().Get("code"))
		want(t, "the callback", c.get("/oauth/callback?"+q.Encode()), 403, "Not signed in")
	})
	t.Run("gives nobody the account of an address", func(t *testing.T) {
		_, err := f.users.add(user{email: "grace@demo-id.example", name: "Another Grace"})
		if err != nil {
			t.Fatal(err)
		}
		c := f.visitor()
		c.get(authorize(t, c, grace))
		want(t, "the front page", c.get("/"), 200, "Hello, Grace Hopper")

		c.get(authorize(t, c, alan))
		c.post("/signup", "email", "alan@demo-id.example")
		if len(f.mails) != 1 || !strings.Contains(f.mails[0], "finish your account") {
			t.Errorf("mails: %q", f.mails)
		}
	})
}

func TestProvider(t *testing.T) {
	for _, test := range []struct {
		name, verifier, client, redirect string
		later                            time.Duration
		ok                               bool
	}{
		{"all is right", "v", clientID, redirectURI, 0, true},
		{"another verifier", "w", clientID, redirectURI, 0, false},
		{"another client", "v", "x", redirectURI, 0, false},
		{"another address", "v", clientID, "/x", 0, false},
		{"too late", "v", clientID, redirectURI, time.Minute + 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider()
				p.grants["c"] = grant{people[0], clientID, redirectURI, challenge("v"), time.Now().Add(time.Minute)}
				time.Sleep(test.later)
				if _, err := p.exchange("c", test.verifier, test.client, test.redirect); (err == nil) != test.ok {
					t.Errorf("%v", err)
				}
				if _, err := p.exchange("c", "v", clientID, redirectURI); err == nil {
					t.Error("the code is good twice")
				}
			})
		})
	}
	f := newFixture(t)
	for _, q := range []string{"", "?client_id=x&redirect_uri=/oauth/callback&code_challenge_method=S256", "?client_id=login-example&redirect_uri=https://evil.example&code_challenge_method=S256"} {
		if got := f.visitor().get("/provider/authorize" + q); got.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", q, got.Code)
		}
	}
}
