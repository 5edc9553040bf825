package sessions_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// ours returns the stacks of all goroutines but this one that run code of this
// module or of go-redis, or were started by it.
func ours() []string {
	buf := make([]byte, 1<<22)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
	for i, stack := range strings.Split(strings.TrimSpace(string(buf)), "\n\n") {
		if i > 0 && (strings.Contains(stack, "github.com/typedsessions/sessions") || strings.Contains(stack, "github.com/redis/go-redis")) {
			found = append(found, stack)
		}
	}
	return found
}
