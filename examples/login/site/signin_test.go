package site

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestSignIn(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		name, email, password, remember string
		in                              bool
	}{
		{"a password", ada, f.password, "", true},
		{"a remembered one", ada, f.password, "yes", true},
		{"an address with spaces and capitals", " Ada@Example.com ", f.password, "", true},
		{"a wrong password", ada, f.password + "!", "", false},
		{"no password", ada, "", "", false},
		{"a password that is too long", ada, strings.Repeat("x", 4000), "", false},
		{"an unknown address", "eve@example.com", f.password, "", false},
		{"no address", "", f.password, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := f.visitor()
			got := f.signIn(c, test.email, test.password, "remember", test.remember)
			if !test.in {
				// One answer for every reason.
				want(t, "the answer", got, 422, "The e-mail address or the password is wrong.")
				if got.Saved || got.Header().Get("Set-Cookie") != "" {
					t.Error("there is a session")
				}
				return
			}
			want(t, "the answer", got, 303, "/")
			if got.Session.UserID != f.user(ada).id || got.Info.Method != "pwd" || got.Info.Remembered != (test.remember != "") {
				t.Errorf("the session is %+v, %+v", got.Session, got.Info)
			}
			if persistent := strings.Contains(got.Header().Get("Set-Cookie"), "Max-Age"); persistent != got.Info.Remembered {
				t.Errorf("the cookie persists: %t", persistent)
			}
			want(t, "the page after it", c.get("/"), 200, "Welcome back, Ada.")
			if page := c.get("/").Body.String(); strings.Contains(page, "Welcome back") {
				t.Error("the message is shown twice")
			}
		})
	}
}

func TestSignInEndsWhatWasBefore(t *testing.T) {
	f := newFixture(t)
	c := f.visitor()
	if got := c.post("/oauth/start"); got.Session.OAuth.State == "" {
		t.Fatal("the visitor has no session")
	}
	got := f.signIn(c, ada, f.password)
	if !got.Renewed || got.Session.OAuth != (pending{}) {
		t.Errorf("renewed %t, and the visitor's data is the user's: %+v", got.Renewed, got.Session)
	}
	if got := f.signIn(c, bob, f.password); !got.Renewed || got.Session.UserID != f.user(bob).id {
		t.Errorf("another user: renewed %t, %+v", got.Renewed, got.Session)
	}
}

func TestSignOut(t *testing.T) {
	f := newFixture(t)
	c := f.as(ada)
	got := c.post("/signout")
	want(t, "the answer", got, 303, "/signin?after=signout")
	if !got.Destroyed {
		t.Error("the session lives")
	}
	next := c.get("/signin?after=signout")
	want(t, "the page after it", next, 200, "You are signed out.")
	if next.Saved {
		t.Error("the page has begun a session")
	}
	want(t, "a second sign-out", c.post("/signout"), 303, "/signin?after=signout")
}

func TestGuessing(t *testing.T) {
	bubble(t, "of one account ends after ten attempts, for a quarter of an hour", func(t *testing.T, f *fixture) {
		for _, email := range []string{ada, "eve@example.com"} { // an unknown one is no exception
			for range 10 {
				want(t, "a guess", f.signIn(f.visitor(), email, "wrong"), 422, "is wrong")
			}
			got := f.signIn(f.visitor(), email, f.password)
			want(t, "the eleventh", got, 429, "Too many attempts")
			if got.Header().Get("Retry-After") != "900" {
				t.Error("it does not say when")
			}
		}
		time.Sleep(15*time.Minute + 1)
		want(t, "later", f.signIn(f.visitor(), ada, f.password), 303, "/")
	})
	bubble(t, "begins anew with a right password", func(t *testing.T, f *fixture) {
		for range 5 {
			for range 9 {
				f.signIn(f.visitor(), ada, "wrong")
			}
			want(t, "the tenth", f.signIn(f.visitor(), ada, f.password), 303, "/")
		}
	})
	bubble(t, "of many accounts ends by the address", func(t *testing.T, f *fixture) {
		for i := range 60 {
			f.signIn(f.visitor(), strings.Repeat("x", i)+"@example.com", "wrong")
		}
		want(t, "the next one", f.signIn(f.visitor(), ada, f.password), 429, "Too many attempts")
	})
	bubble(t, "by strangers keeps no user from the settings", func(t *testing.T, f *fixture) {
		c := f.as(ada)
		for range 11 {
			f.signIn(f.visitor(), ada, "wrong")
		}
		want(t, "a step-up", c.post("/confirm", "password", f.password), 303, "/account")
		want(t, "a change", c.post("/account/password", "old", f.password, "new", "a new password of mine"), 303, "/devices")
	})
	bubble(t, "of a signed-in user's password ends, too", func(t *testing.T, f *fixture) {
		c := f.as(ada)
		for range 5 {
			want(t, "a step-up", c.post("/confirm", "password", "wrong"), 422, "not your password")
			want(t, "a change", c.post("/account/password", "old", "wrong", "new", "a new password of mine"), 422, "not your password")
		}
		want(t, "a step-up", c.post("/confirm", "password", f.password), 429, "Too many attempts")
		want(t, "a change", c.post("/account/password", "old", f.password, "new", "a new password of mine"), 429, "Too many attempts")
	})
}

func TestSignUp(t *testing.T) {
	f := newFixture(t)
	page := func(email string) string {
		got := f.visitor().post("/signup", "email", email)
		if got.Code != 200 || got.Saved {
			t.Errorf("%s: %d, saved %t", email, got.Code, got.Saved)
		}
		return strings.ReplaceAll(got.Body.String(), email, "…")
	}
	if page(ada) != page("eve@example.com") {
		t.Error("the page tells who has an account")
	}
	if len(f.mails) != 2 || !strings.HasPrefix(f.mails[0], ada+": you have an account already") || !strings.HasPrefix(f.mails[1], "eve@example.com: finish") {
		t.Fatalf("mails: %q", f.mails)
	}
	for _, bad := range []string{"", "eve", "Eve <eve@example.com>", "eve@example.com, ada@example.com", "eve@example.com\r\nBcc: ada@example.com"} {
		want(t, bad, f.visitor().post("/signup", "email", bad), 422, "Please enter an e-mail address.")
	}
	for range 4 {
		page("mallory@example.com")
	}
	if len(f.mails) != 5 {
		t.Errorf("%d mails, want 3 more: nobody's mailbox is filled", len(f.mails))
	}
}

// link signs up and returns the token of the mail.
func (f *fixture) link(email string) (token string) {
	f.t.Helper()
	f.visitor().post("/signup", "email", email)
	_, token, ok := strings.Cut(f.mails[len(f.mails)-1], "?token=")
	if !ok {
		f.t.Fatalf("mails: %q", f.mails)
	}
	return token
}

func TestSignUpLink(t *testing.T) {
	const eve, password = "eve@example.com", "several words that do not fit"
	bubble(t, "makes the account and signs in, once", func(t *testing.T, f *fixture) {
		token := f.link(eve)
		for range 2 { // scanners of mails look at links, too
			want(t, "the form", f.visitor().get("/signup/finish?token="+token), 200, eve)
		}
		for name, fields := range map[string][]string{
			"a short password":             {"name", "Eve", "password", "fourteen chars"},
			"a long password":              {"name", "Eve", "password", strings.Repeat("x", 129)},
			"few characters of many bytes": {"name", "Eve", "password", strings.Repeat("界", 14)},
			"no name":                      {"name", "", "password", password},
		} {
			want(t, name, f.visitor().post("/signup/finish", append(fields, "token", token)...), 422, "15 to 128")
		}
		c := f.visitor()
		got := c.post("/signup/finish", "token", token, "name", "<b>Eve</b>", "password", password)
		want(t, "the form", got, 303, "/")
		if got.Session.UserID != f.user(eve).id {
			t.Error("not signed in")
		}
		want(t, "the front page", c.get("/"), 200, "Welcome, &lt;b&gt;Eve&lt;/b&gt;.")
		want(t, "the link again", f.visitor().post("/signup/finish", "token", token, "name", "Eve", "password", password), 404, "not valid")
		want(t, "a sign-in", f.signIn(f.visitor(), eve, password), 303, "/")
	})
	bubble(t, "is good for an hour", func(t *testing.T, f *fixture) {
		token := f.link(eve)
		time.Sleep(time.Hour)
		want(t, "the form", f.visitor().get("/signup/finish?token="+token), 404, "not valid")
		want(t, "the account", f.visitor().post("/signup/finish", "token", token, "name", "Eve", "password", password), 404, "not valid")
	})
	bubble(t, "is no help where the address has got an account by another one", func(t *testing.T, f *fixture) {
		first, second := f.link(eve), f.link(eve)
		want(t, "the first", f.visitor().post("/signup/finish", "token", first, "name", "Eve", "password", password), 303, "/")
		want(t, "the second", f.visitor().post("/signup/finish", "token", second, "name", "Mallory", "password", password), 404, "not valid")
	})
}

// A sign-in whose password was changed after it was checked is not there when the other sessions are ended.
func TestPasswordThatWasChangedMeanwhile(t *testing.T) {
	f := newFixture(t)
	checked := f.user(ada)
	if err := f.users.setPassword(t.Context(), checked, f.password, "another password of mine"); err != nil {
		t.Fatal(err)
	}
	if err := f.users.setPassword(t.Context(), checked, f.password, "a third password of mine"); err == nil {
		t.Error("the password that was is good for another change")
	}
	var session result
	c := f.visitor()
	h := f.handler
	f.handler = f.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.enter(w, r, checked, "Welcome.") }))
	session = c.post("/signin")
	f.handler = h
	want(t, "the answer", session, 422, "is wrong")
	want(t, "afterwards", c.get("/devices"), 303, "/signin")
}

// A browser that sends a form twice gives the first request up. It must not be answered by a new token.
func TestGivenUp(t *testing.T) {
	f := newFixture(t)
	for path, fields := range map[string][]string{
		"/signin":           {"email", ada, "password", f.password},
		"/confirm":          {"password", f.password},
		"/account/password": {"old", f.password, "new", "another password of mine"},
	} {
		c := f.as(ada)
		r := newForm(path, fields...)
		ctx, cancel := context.WithCancel(t.Context())
		r.Body = &cancelBody{r.Body, cancel}
		before := c.get("/").Info.ID
		got := c.Do(r.WithContext(ctx))
		if got.Renewed || got.Saved || got.Info.ID != before {
			t.Errorf("%s: renewed %t, saved %t", path, got.Renewed, got.Saved)
		}
	}
	if !f.users.matches(f.user(ada), f.password) {
		t.Error("the password is changed")
	}
	token := f.link("eve@example.com")
	r := newForm("/signup/finish", "token", token, "name", "Eve", "password", f.password)
	ctx, cancel := context.WithCancel(t.Context())
	r.Body = &cancelBody{r.Body, cancel}
	f.visitor().Do(r.WithContext(ctx))
	want(t, "the second click", f.visitor().post("/signup/finish", "token", token, "name", "Eve", "password", f.password), 303, "/")
}

// changedContext ends when a user's password has been changed.
type changedContext struct {
	context.Context
	users *users
	id    string
}

func (c changedContext) Err() error {
	if !c.users.mu.TryLock() { // it is being changed
		return nil
	}
	defer c.users.mu.Unlock()
	if c.users.all[c.id].version > 0 {
		return context.Canceled
	}
	return nil
}

func TestGivenUpAfterAChangeOfPassword(t *testing.T) {
	f := newFixture(t)
	c, other := f.as(ada), f.as(ada)
	r := newForm("/account/password", "old", f.password, "new", "another password of mine")
	c.Do(r.WithContext(changedContext{t.Context(), f.users, f.user(ada).id}))
	if f.users.matches(f.user(ada), f.password) {
		t.Fatal("the password is not changed: the test shows nothing")
	}
	want(t, "the other session", other.get("/devices"), 303, "/signin")
}

// A cancelBody is read when the session is loaded already.
type cancelBody struct {
	body   interface{ Read([]byte) (int, error) }
	cancel context.CancelFunc
}

func (b *cancelBody) Read(p []byte) (int, error) {
	b.cancel()
	return b.body.Read(p)
}

func (*cancelBody) Close() error { return nil }

// A password is as long as its characters are many, and a field cuts nothing off.
func TestPasswordOfAnotherAlphabet(t *testing.T) {
	f := newFixture(t)
	password, eve := strings.Repeat("пароль", 21), "eve@example.com" // 126 characters, 252 bytes
	token := f.link(eve)
	if form := f.visitor().get("/signup/finish?token=" + token); strings.Contains(form.Body.String(), `maxlength="128"`) {
		t.Error("the browser cuts off what is too long")
	}
	name := strings.Repeat("Ж", 80)
	want(t, "the form", f.visitor().post("/signup/finish", "token", token, "name", name, "password", password), 303, "/")
	want(t, "a sign-in", f.signIn(f.visitor(), eve, password), 303, "/")
}

func TestPasswords(t *testing.T) {
	if u := newUsers(); u.iterations != 600_000 {
		t.Errorf("%d iterations, want OWASP's 600,000", u.iterations)
	}
	f := newFixture(t)
	a, b := f.user(ada), f.user(bob)
	if string(a.hash) == string(b.hash) {
		t.Error("two users with one password have one hash: there is no salt")
	}
	u, err := f.users.fromProvider(people[0])
	if err != nil || len(u.salt) != saltLength || f.users.matches(u, "") {
		t.Errorf("a user without a password: salt of %d bytes, %v", len(u.salt), err) // FIPS 140 mode would refuse it
	}
}

func TestSessionErrors(t *testing.T) {
	f := newFixture(t)
	for _, test := range errorPages {
		w := httptest.NewRecorder()
		f.sessionFailed(w, httptest.NewRequest("GET", "/", nil), test.err)
		if w.Code != test.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %d %s", test.err, w.Code, w.Body)
		}
	}
}
