package peers_test

import (
	"io"
	"log"
	"os"
	"testing"
	"time"

	fiberlog "github.com/gofiber/fiber/v3/log"

	"github.com/typedsessions/sessions/internal/redistest"
)

// TestMain keeps quiet what peers log about the errors they are given.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	fiberlog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

func TestPeers(t *testing.T) {
	var servers [len(peers)]*redistest.Server
	for i := range servers {
		servers[i] = redistest.Start(t)
	}
	for _, r := range table {
		t.Run(r.number+" "+r.promise, func(t *testing.T) {
			timeout := 20 * time.Second // a busy machine is no fault here
			if r.defaults {
				timeout = 0
			}
			for i, p := range peers {
				c := kept
				if i < len(r.cells) {
					c = r.cells[i]
				}
				if c.verdict == notApplicable {
					continue
				}
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					err := r.play(newWorld(t, p, servers[i], timeout))
					switch {
					case err != nil && c.verdict == keeps:
						t.Errorf("the table says that it is kept: %v", err)
					case err == nil && c.verdict == failing:
						t.Errorf("the table says that it fails (%s); it is kept now: update the table", c.why)
					case err != nil:
						t.Logf("fails as the table says: %v", err)
					}
				})
			}
		})
	}
}
