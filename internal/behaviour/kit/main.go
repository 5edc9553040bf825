package kit

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Main is the body of a TestMain: the run fails if a goroutine of ours or of
// go-redis outlives the tests.
//
// Servers and connections close in their own time, so it looks again for a
// while before it complains.
func Main(m *testing.M) { end(m.Run()) }

// MainForEachOwner is Main of a package whose tests run twice: with sessions that are nobody's, and, unless the run is
// short, with those of an [Owner].
func MainForEachOwner(m *testing.M) {
	_, _ = net.LookupHost("localhost") // what it makes for all lookups must not be a bubble's
	code := m.Run()
	if code == 0 && !testing.Short() {
		Owner = "ann"
		if code = m.Run(); code != 0 {
			fmt.Fprintf(os.Stderr, "with sessions of %s's, kit.Owner\n", Owner)
		}
	}
	end(code)
}

func end(code int) {
	if code == 0 {
		if leaked := leaks(10 * time.Second); leaked != nil {
			fmt.Fprintf(os.Stderr, "%d goroutines outlive the tests:\n\n%s\n", len(leaked), strings.Join(leaked, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// Parallel lets up to n tests run at once, unless -parallel says otherwise. It is
// for the TestMain of a package whose tests mostly wait: by default there are no
// more than CPUs.
func Parallel(n int) { _ = flag.Set("test.parallel", strconv.Itoa(n)) }

// leaks returns the stacks of the goroutines that are still there after patience.
func leaks(patience time.Duration) []string {
	const pause = 50 * time.Millisecond
	for left := patience; ; left -= pause {
		leaked := ours()
		if len(leaked) == 0 || left <= 0 {
			return leaked
		}
		time.Sleep(pause)
	}
}

// ours returns the stacks of all goroutines but this one that run code of this
// module or of go-redis, or were started by it.
func ours() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var found []string
	for i, stack := range strings.Split(strings.TrimSpace(string(buf)), "\n\n") {
		if i > 0 && (strings.Contains(stack, "github.com/typedsessions/sessions") || strings.Contains(stack, "github.com/redis/go-redis")) {
			found = append(found, stack)
		}
	}
	return found
}
