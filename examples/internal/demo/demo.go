// Package demo is what the examples need to run without a Redis at hand, and
// nobody needs to copy.
package demo

import (
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Embed runs a Redis inside this process. miniredis does not expire keys by
// itself, so its clock is moved along with the real one.
func Embed() (addr string, stop func(), err error) {
	mini, err := miniredis.Run()
	if err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	var clock sync.WaitGroup
	clock.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case now := <-tick.C:
				mini.FastForward(now.Sub(last))
				last = now
			case <-done:
				return
			}
		}
	})
	return mini.Addr(), func() {
		close(done)
		clock.Wait()
		mini.Close()
	}, nil
}

// Display makes ":9090" something that a browser takes.
func Display(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err != nil || ip != nil && !ip.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", port)
}
