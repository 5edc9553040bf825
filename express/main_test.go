package express_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The run fails if a goroutine of ours or of go-redis outlives the tests.
// Servers and connections close in their own time, so it looks again for a
// while before it complains.
func TestMain(m *testing.M) {
	code := m.Run()
	leaked := leaks()
	for range 200 {
		if code != 0 || len(leaked) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
		leaked = leaks()
	}
	if code == 0 && len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines outlive the tests:\n\n%s\n", len(leaked), strings.Join(leaked, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leaks returns the stacks of all goroutines but this one that run code of this
// module or of go-redis, or were started by it.
func leaks() (found []string) {
	buf := make([]byte, 1<<22)
	buf = buf[:runtime.Stack(buf, true)]
	for i, stack := range strings.Split(strings.TrimSpace(string(buf)), "\n\n") {
		if i > 0 && (strings.Contains(stack, "github.com/typedsessions/sessions") || strings.Contains(stack, "github.com/redis/go-redis")) {
			found = append(found, stack)
		}
	}
	return found
}
