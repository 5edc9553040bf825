package redistest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
)

// vias are the ways from a client to a server of its own, by their names in SESSIONS_REDIS_VIA.
var vias = map[string]func(t testing.TB) *redis.Client{
	"": func(t testing.TB) *redis.Client { return Start(t).Client(t) },
	"tls": func(t testing.TB) *redis.Client {
		addr, roots := OverTLS(t, Start(t).Addr)
		c := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}})
		t.Cleanup(func() { c.Close() })
		return c
	},
	"sentinel": func(t testing.TB) *redis.Client { return StartSentinel(t).Client(t) },
}

// Via returns a client that gets to a server of its own in the way that SESSIONS_REDIS_VIA names: "tls", "sentinel", or by
// default directly. So one suite runs on each of them.
func Via(t testing.TB) *redis.Client {
	t.Helper()
	via, ok := vias[os.Getenv("SESSIONS_REDIS_VIA")]
	if !ok {
		t.Fatalf("redistest: SESSIONS_REDIS_VIA is %q, want tls, sentinel or nothing", os.Getenv("SESSIONS_REDIS_VIA"))
	}
	return via(t)
}

// OverTLS returns an address by which a server can be reached by TLS, and what to trust there.
func OverTLS(t testing.TB, to string) (addr string, roots *x509.CertPool) {
	t.Helper()
	srv := httptest.NewTLSServer(nil) // for its certificate
	defer srv.Close()
	roots = x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	l := tls.NewListener(listen(t), &tls.Config{Certificates: srv.TLS.Certificates})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					_, _ = io.Copy(out, in)
					out.Close()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().String(), roots
}
