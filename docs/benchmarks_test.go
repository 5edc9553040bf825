package docs_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// README has the figures of benchmarks.md, which internal/bench writes, and no other ones.
func TestReadmeFigures(t *testing.T) {
	figures := regexp.MustCompile(`(?s)<!-- figures -->\n(.*)<!-- /figures -->`)
	page := figures.FindSubmatch(read(t, "benchmarks.md"))
	readme := read(t, "../README.md")
	own := figures.FindSubmatchIndex(readme)
	if page == nil || own == nil {
		t.Fatal("a page has no figures between <!-- figures --> and <!-- /figures -->")
	}
	if *update {
		readme = append(append(bytes.Clone(readme[:own[2]]), page[1]...), readme[own[3]:]...)
		if err := os.WriteFile("../README.md", readme, 0o644); err != nil {
			t.Fatal(err)
		}
		own = figures.FindSubmatchIndex(readme)
	}
	if got := readme[own[2]:own[3]]; !bytes.Equal(got, page[1]) {
		t.Errorf("README's figures are others than those of benchmarks.md: go test ./docs -run TestReadmeFigures -update\n%s", got)
	}
	if rows := strings.Count(string(page[1]), "\n|"); rows < 6 {
		t.Errorf("%d rows of figures", rows)
	}

	// A time or a factor elsewhere in README would be compared with nothing.
	elsewhere := figures.ReplaceAll(readme, nil)
	measured := regexp.MustCompile(`(?i)\d[\d.,]*\s*(ns|µs|×|allocations?\b|times (as|faster|slower)|requests a second|% (faster|slower))`)
	if found := measured.FindAll(elsewhere, -1); len(found) > 0 {
		t.Errorf("README has figures that no run is the source of: %q", found)
	}
}
