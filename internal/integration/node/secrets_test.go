package node_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// signer is which of the secrets has signed a cookie's value.
func signer(t *testing.T, value string, secrets ...string) string {
	t.Helper()
	signed, err := url.PathUnescape(value)
	if err != nil {
		t.Fatal(err)
	}
	sid := sidOf(t, value)
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(sid))
		if strings.HasSuffix(signed, "."+base64.RawStdEncoding.EncodeToString(mac.Sum(nil))) {
			return secret
		}
	}
	t.Errorf("%s is signed by none of %q", value, secrets)
	return ""
}

// TestSecretRotation deploys a new secret as R16 says, service by service, while
// one browser keeps its session.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deployments := []struct{ node, gopher string }{
		{"old", "old"},
		{"old", "old new"},
		{"old new", "old new"},
		{"old new", "new old"},
		{"new old", "new old"},
		{"new old", "old new"}, // and back
		{"new old", "new old"},
		{"new", "new old"},
		{"new", "new"},
	}
	options := []struct {
		name    string
		rolling bool
		maxAge  time.Duration
	}{
		{"rolling: each response re-signs", true, quarter},
		{"not rolling: a change re-signs", false, quarter},
		{"not rolling, without maxAge: nothing re-signs, and with its secret the session goes", false, 0},
	}
	browsers := make([]*browser, len(options))
	values, counts := make([]string, len(options)), make([]int, len(options))
	for i := range options {
		browsers[i] = w.browser(t)
	}
	for d, deployment := range deployments {
		t.Run(fmt.Sprintf("R3 R16 %d: node %s, go %s", d, deployment.node, deployment.gopher), func(t *testing.T) {
			for i, option := range options {
				o := express.Options{
					Name: fmt.Sprintf("sid%d", i), Rolling: option.rolling, Cookie: express.Cookie{MaxAge: option.maxAge},
				}
				o.Secrets = strings.Fields(deployment.node)
				node := w.startNode(t, inNode("10", o))
				o.Secrets = strings.Fields(deployment.gopher)
				gopher := w.startGo(t, o)
				first := map[*site]string{node: strings.Fields(deployment.node)[0], gopher: o.Secrets[0]}
				b := browsers[i]
				b.t = t
				if option.maxAge == 0 && deployment.node == "new" {
					if deployment.gopher == "new" {
						forgotten(t, b, node, gopher)
					}
					continue
				}
				for _, step := range []struct {
					at    *site
					route string
				}{
					{node, "GET /read"},
					{gopher, "GET /read"},
					{gopher, "GET /count"},
					{node, "GET /read"},
					{node, "GET /count"},
					{gopher, "GET /read"},
					{gopher, "GET /count"},
					{node, "GET /count"},
				} {
					a := b.ask(step.at, step.route)
					if step.route == "GET /count" {
						counts[i]++
					}
					if got := a.views(t); got != counts[i] {
						t.Errorf("%s: %s: %s finds %d views, want %d", option.name, step.at.name, step.route, got, counts[i])
					}
					resent := option.rolling && counts[i] > 0 || step.route == "GET /count" && (option.maxAge > 0 || counts[i] == 1)
					if sent := len(a.setCookie) > 0; sent != resent {
						t.Errorf("%s: %s: %s sends %q", option.name, step.at.name, step.route, a.setCookie)
					}
					if counts[i] == 0 {
						continue
					}
					value := b.values(step.at)[0]
					if by := signer(t, value, "old", "new"); resent && by != first[step.at] {
						t.Errorf("%s: %s: %s signs by the %s secret", option.name, step.at.name, step.route, by)
					}
					if !resent && value != values[i] {
						t.Errorf("%s: %s: %s changed the cookie", option.name, step.at.name, step.route)
					}
					values[i] = value
				}
			}
		})
	}
}

// forgotten is a session whose cookie is signed by a secret that is none any
// more: it is stored, and nobody finds it.
func forgotten(t *testing.T, b *browser, node, gopher *site) {
	t.Helper()
	value, sid := b.values(node)[0], b.sid(node)
	if by := signer(t, value, "old", "new"); by != "old" {
		t.Errorf("the cookie is signed by the %s secret", by)
	}
	for _, at := range []*site{node, gopher} {
		a, err := b.send(at, "GET /read", "", nil)
		if err != nil || len(a.Session) > 0 || a.ID == sid {
			t.Errorf("%s finds %s under the sid %q, %v", at.name, a.Session, a.ID, err)
		}
	}
	if a := b.ask(gopher, "GET /count"); a.views(t) != 1 || b.sid(gopher) == sid {
		t.Errorf("the new session has %s under the sid %q", a.Session, b.sid(gopher))
	}
	if a := b.ask(node, "GET /count"); a.views(t) != 2 {
		t.Errorf("the new session has %s", a.Session)
	}
}
