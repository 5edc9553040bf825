// Package docs_test runs the code of these pages: each page that has code of its own has a file here.
package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every block of Go in a page stands, but for spaces, in a Go file of this repository, which is compiled, and which a test
// runs. A line of "…" in a block leaves something out.
func TestSnippets(t *testing.T) {
	var sources []string
	pages := files(t, ".md")
	for _, name := range files(t, ".go") {
		sources = append(sources, string(squeeze(read(t, name))))
	}
	block := regexp.MustCompile("(?ms)^[ \t]*```go\n(.*?)^[ \t]*```")
	leftOut := regexp.MustCompile(`(?m)^\s*…$`)
	found := 0
	for _, page := range pages {
		for _, match := range block.FindAllSubmatch(read(t, page), -1) {
			for _, part := range leftOut.Split(string(match[1]), -1) {
				code := string(squeeze([]byte(part)))
				if found++; !slices.ContainsFunc(sources, func(s string) bool { return strings.Contains(s, code) }) {
					t.Errorf("%s has code that no Go file has:\n%s", page, part)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("%d blocks in %d pages", found, len(pages))
	}
}

// Every link to a file of this repository, and to a heading in it, leads there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	blocks := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	found := 0
	for _, page := range append(files(t, ".md"), "../llms.txt") {
		for _, match := range link.FindAllStringSubmatch(blocks.ReplaceAllString(string(read(t, page)), ""), -1) {
			to, heading := filepath.Join(filepath.Dir(page), match[1]), match[2]
			if strings.Contains(match[1], ":") {
				continue
			}
			if match[1] == "" {
				to = page
			}
			found++
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			} else if heading != "" && !slices.Contains(headings(t, to), heading) {
				t.Errorf("%s links to %s%s, which has no such heading", page, match[1], heading)
			}
		}
	}
	if found < 100 {
		t.Errorf("%d links", found)
	}
}

// headings are the anchors of a page's headings, as GitHub makes them.
func headings(t *testing.T, page string) (anchors []string) {
	t.Helper()
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
	for line := range strings.Lines(string(read(t, page))) {
		if hashes, text, ok := strings.Cut(line, " "); ok && strings.Trim(hashes, "#") == "" && hashes != "" {
			anchors = append(anchors, "#"+strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), ""), " ", "-"))
		}
	}
	return anchors
}

// files are those of this repository whose names end so.
func files(t *testing.T, ext string) (names []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ext):
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// squeeze takes the indentation, the alignment of comments and empty lines away.
func squeeze(code []byte) []byte {
	var lines [][]byte
	for line := range bytes.Lines(code) {
		if line = bytes.Join(bytes.Fields(line), []byte(" ")); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
