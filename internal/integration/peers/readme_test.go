package peers_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// inReadme are the rows of the README's comparison, in users' words, each with what it sums up: numbers of promises in the
// table, or the beginning of one.
var inReadme = []struct {
	words    string
	promises []string
}{
	{"a user who has signed out comes back, because a slow request was on its way", []string{"C1", "C2", "C3"}},
	{"two tabs change different things, and one change is lost", []string{"C7"}},
	{"a hundred clicks at once count less than a hundred (ours with `Update`)", []string{"C9"}},
	{"the token from before the sign-in comes to life again", []string{"C4", "C5"}},
	{"the response to a slow request replaces the cookie of a sign-in", []string{"C14"}},
	{"a sign-out beside a renewal leaves a session alive", []string{"C15", "C16"}},
	{"a page says that all is well, and the session could not be saved", []string{"W7 a failed save sends an error and nothing of the page"}},
	{"a change is lost because the client has hung up", []string{"F3"}},
	{"a Redis that hangs keeps visitors waiting for more than 2.5 seconds", []string{"F1", "F10"}},
	{"every page view writes the whole session anew", []string{"L3"}},
	{"a page that was made for one visitor comes out of a shared cache for another", []string{"T9"}},
	{"a form on another site signs the visitor out", []string{"T14"}},
	{"a cookie that an attacker has planted becomes the visitor's session", []string{"T2"}},
	{"half of a change is stored, because the handler has panicked", []string{"W13"}},
	{"a sign-in in the request of a WebSocket gets lost, and nobody is told", []string{"W15 a sign-in in the request of a WebSocket:"}},
}

// The README's comparison is what the table asserts.
func TestReadme(t *testing.T) {
	const page = "../../../README.md"
	var want strings.Builder
	want.WriteString("| what happens |")
	for i := range peers[:len(peers)-1] {
		fmt.Fprintf(&want, " %s |", peers[i].name)
	}
	want.WriteString(" here |\n|---|" + strings.Repeat(":-:|", len(peers)) + "\n")
	for _, line := range inReadme {
		fmt.Fprintf(&want, "| %s |", line.words)
		for i := range peers[:len(peers)-1] {
			fmt.Fprintf(&want, " %s |", sumUp(t, line.promises, i))
		}
		want.WriteString(" no |\n")
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), want.String()) {
		t.Errorf("the README's comparison is not what the tests assert, which is\n%s", &want)
	}
}

// sumUp tells whether what the words say happens with a peer.
func sumUp(t *testing.T, promises []string, peer int) string {
	t.Helper()
	found, breaks := 0, 0
	for _, promise := range promises {
		before := found
		for _, r := range table {
			if !strings.HasPrefix(r.number+" "+r.promise+" ", promise+" ") {
				continue
			}
			if found++; r.cells[peer].verdict == failing {
				breaks++
			}
		}
		if found == before {
			t.Errorf("no row of the table is %q", promise)
		}
	}
	if breaks > 0 {
		return "**yes**"
	}
	return "no"
}
