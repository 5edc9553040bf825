package node_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/typedsessions/sessions/internal/redistest"
)

// TestRecording records the tables that package express is tested by anew: they
// are what the real express-session and connect-redis do.
func TestRecording(t *testing.T) {
	t.Parallel()
	node, dir := findNode(t), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "record.mjs", "redis://"+redistest.Start(t).Addr, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("record.mjs: %v\n%s", err, out)
	}
	for _, name := range []string{"decisions.json", "documents.json", "vectors.json"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("../../../express/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got, want) {
			continue
		}
		now, then := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
		n := 0
		for n < min(len(now), len(then)) && bytes.Equal(now[n], then[n]) {
			n++
		}
		t.Errorf("%s is not what is recorded now: %d lines, want %d; line %d is\n%.1000s\nwant\n%.1000s",
			name, len(now), len(then), n+1, line(now, n), line(then, n))
	}
}

func line(lines [][]byte, n int) []byte {
	if n < len(lines) {
		return lines[n]
	}
	return nil
}
