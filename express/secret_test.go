package express_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// Neither the sid, which is the token, nor a secret is anywhere to be read but
// where express.New says so: Info.ID.
func TestNothingTells(t *testing.T) {
	const key = "a very secret secret"
	// tells finds what text gives away.
	tells := func(t *testing.T, what, text string, sids ...string) {
		t.Helper()
		for _, s := range append(sids, key, signed("", sids[0], key)[1:]) {
			if s == "" || strings.Contains(text, s) {
				t.Errorf("%s tells %q: %s", what, s, text)
			}
		}
	}

	t.Run("X2 the log of a life with every mishap", func(t *testing.T) {
		p := newPlace(t, express.Options{Secrets: []string{key}, Cookie: express.Cookie{Secure: express.True}, OnUndecodable: sessions.UndecodableReadOnly})
		down := false
		rdb := redis.NewClient(&redis.Options{Addr: p.node.Options().Addr, MaxRetries: -1})
		defer rdb.Close()
		rdb.AddHook(failing(func() bool { return down }))
		p = placeOn(t, rdb, p.node, p.o)
		var errs []string
		note := func(err error) {
			if err != nil {
				errs = append(errs, fmt.Sprintf("%v %+v %#v", err, err, err))
			}
		}
		cookie, one := p.cookieOf(p.ask(view))
		cookie, two := p.cookieOf(p.ask(p.do(func(ctx context.Context) error { return p.SignIn(ctx) }), cookie))
		p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) { // an outage
			down = true
			c.Views++
			note(p.Save(r.Context()))
			note(p.Renew(r.Context()))
			note(p.Destroy(r.Context()))
			note(p.Update(r.Context(), func(c *cart) error { c.Views++; return nil }))
			down = false
		}, cookie)
		p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) { // destroyed elsewhere
			p.node.Del(r.Context(), "sess:"+two)
			c.Views++
			note(p.Save(r.Context()))
		}, cookie)
		for _, doc := range []string{"TOMBSTONE", `{"views":1}`, `{"cookie":{"originalMaxAge":"x"}}`, nodeDoc("900000", `,"views":"seven"`)} {
			p.put(two, doc, 900)
			p.ask(nothing, cookie)
			p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
				note(p.Reload(r.Context()))
				note(p.Touch(r.Context()))
			}, cookie)
		}
		p.put(two, nodeDoc("900000", ""), 900)
		p.put(one, nodeDoc("900000", ""), 900)
		p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) { // unreadable since
			p.put(two, "{}", 900)
			note(p.Reload(r.Context()))
			note(p.Save(r.Context()))
		}, cookie)
		p.put(two, nodeDoc("900000", ""), 900)
		p.ask(nothing, cookie+"; "+signed("connect.sid", one, key))
		p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) { // too large, and too late
			c.Note = strings.Repeat("x", 2<<20)
			note(p.Save(r.Context()))
			w.WriteHeader(200)
			c.Note = strings.Repeat("y", 2<<20)
		}, cookie)

		log := p.logged()
		if n := strings.Count(log, "\n"); n < 7 || len(errs) < 7 {
			t.Fatalf("only %d lines and %d errors: %s %q", n, len(errs), log, errs)
		}
		tells(t, "the log", log, one, two)
		tells(t, "an error", strings.Join(errs, "\n"), one, two)
		_, events := p.told()
		for _, e := range events {
			e.Session.ID = ""
			tells(t, "an event, but for Session.ID,", fmt.Sprintf("%v %+v %#v", e, e, e), one, two)
		}
	})

	t.Run("X2 whatever the verb, of the Manager and the Outcome", func(t *testing.T) {
		p := newPlace(t, express.Options{Secrets: []string{key}})
		ctx, err := p.Load(t.Context())
		p.ok(err)
		p.FromContext(ctx).Views = 1
		o, err := p.Commit(ctx)
		p.ok(err)
		token := o.Token.Reveal()
		o.Info.ID = ""
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			tells(t, verb, fmt.Sprintf(verb+verb+verb, p.Manager, *p.Manager, o), token)
			tells(t, verb+" of a context", fmt.Sprintf(verb, ctx), token)
		}
	})

	t.Run("X2 an error of New", func(t *testing.T) {
		_, err := express.New[cart](nil, express.Options{Secrets: []string{key, ""}, NewID: always(sid, nil)})
		tells(t, "it", fmt.Sprintf("%v %+v %#v", err, err, err), sid)
	})

	t.Run("X3 the body of the error response", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", ""), 900)
		p.server.SetError("ERR " + sid)
		res := p.ask(view, mine(""))
		p.server.SetError("")
		body := make([]byte, 1000)
		n, _ := res.Body.Read(body)
		if res.StatusCode != 503 || strings.Contains(string(body[:n]), sid) || len(p.lines(res)) > 0 {
			t.Errorf("%d %q, Set-Cookie %q", res.StatusCode, body[:n], p.lines(res))
		}
	})
}

// failing is a hook that lets nothing through while it is down.
type failing func() bool

func (f failing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f failing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f() {
			return fmt.Errorf("connection refused")
		}
		return next(ctx, cmd)
	}
}

func (f failing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if f() {
			return fmt.Errorf("connection refused")
		}
		return next(ctx, cmds)
	}
}
