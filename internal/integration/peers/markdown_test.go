package peers_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite TABLE.md")

const tableFile = "TABLE.md"

func TestMarkdown(t *testing.T) {
	for _, r := range table {
		for i, c := range r.cells {
			if c.verdict != keeps && c.why == "" {
				t.Errorf("%s %s: %s does not say why not", r.number, r.promise, peers[i].name)
			}
		}
	}
	want := markdown(versions(t))
	if *update {
		if err := os.WriteFile(tableFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(tableFile); err != nil || string(got) != want {
		t.Errorf("%s is not what the tests assert (%v); run go test ./peers -run TestMarkdown -update", tableFile, err)
	}
}

// versions are those of go.mod: a test binary has no list of its modules.
func versions(t *testing.T) map[string]string {
	t.Helper()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(strings.TrimPrefix(line, "require ")); len(f) >= 2 {
			found[f[0]] = f[1]
		}
	}
	for _, p := range peers {
		for _, m := range p.modules {
			if !strings.HasPrefix(found[m], "v") {
				t.Fatalf("no version of %s in go.mod", m)
			}
		}
	}
	return found
}

func markdown(version map[string]string) string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("| | promise |")
	for _, p := range peers {
		fmt.Fprintf(&b, " %s |", p.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(peers)) + "\n| | |")
	for _, p := range peers {
		var lines []string
		for _, m := range p.modules {
			lines = append(lines, fmt.Sprintf("%s %s", strings.TrimPrefix(m, "github.com/"), version[m]))
		}
		if lines == nil {
			lines = []string{"this repository"}
		}
		fmt.Fprintf(&b, " %s |", strings.Join(lines, "<br>"))
	}
	b.WriteString("\n")
	for _, r := range table {
		fmt.Fprintf(&b, "| %s | %s |", r.number, r.promise)
		for _, c := range r.cells {
			fmt.Fprintf(&b, " %s |", c)
		}
		fmt.Fprintf(&b, " %s |\n", kept)
	}
	return b.String()
}

const intro = `# What this library keeps, and what its peers keep

Written by the tests of this directory, which assert every cell: a peer that is said to fail has to fail,
and the run breaks when it is mended. Races are parked at the named step, so that none is a matter of luck;
numbers are those of the requirements. Every peer stands on a real Redis and is used as its documentation
shows, with its defaults but for Secure cookies and, in scs and fiber as in sessions, an idle timeout of an
hour. Gorilla has no call for a renewal: here it is the record deleted and the ID emptied by hand. A sign-in
is a renewal and a field with the user, ours is SignIn. A counter of sessions is kept with Update; a plain
s.Count++ is a change of one field by two requests, as in C8. The WebSocket is gorilla/websocket's, and
fasthttp's for fiber. The framework's writer is negroni's. "Somebody is told" is EventUndelivered; no peer
has the like.

`

func (c cell) String() string {
	switch c.verdict {
	case failing:
		return "**fails**: " + c.why
	case notApplicable:
		return "n/a: " + c.why
	}
	return "kept"
}
