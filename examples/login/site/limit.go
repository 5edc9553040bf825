package site

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A limiter allows max attempts with one key in a window of time, which is the same for all keys. It is as simple as it can
// be: it counts in this process alone.
type limiter struct {
	max    int
	window time.Duration

	mu    sync.Mutex
	until time.Time // the end of this window
	seen  map[string]int
}

const maxKeys = 100_000 // of a limiter in a window, so that its memory is bounded: after them nobody new is allowed

// allow counts an attempt, and tells whether it is within the limit.
func (l *limiter) allow(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.After(l.until) {
		l.until, l.seen = now.Add(l.window), map[string]int{}
	}
	if l.seen[key] == 0 && len(l.seen) >= maxKeys {
		return false
	}
	l.seen[key]++
	return l.seen[key] <= l.max
}

// forget forgets the attempts with a key, because one was right.
func (l *limiter) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, key)
}

// address is the client's. Behind a proxy it is the proxy's: then take the header that your proxy sets, and no other one,
// because every client can send an X-Forwarded-For.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// network is what a client is counted by. It is the address, and of an IPv6 address the first half: one customer has all
// addresses of the second.
func network(r *http.Request) string {
	client, err := netip.ParseAddr(address(r))
	if err != nil || client.Unmap().Is4() {
		return address(r)
	}
	prefix, _ := client.Prefix(64) // never fails: it has 128 bits
	return prefix.String()
}
