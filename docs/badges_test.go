package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the badges anew")

// The README's badges are files of this repository, so that they are there without a network, and say what it says.
func TestBadges(t *testing.T) {
	find := func(name, pattern string) string {
		found := regexp.MustCompile(pattern).FindSubmatch(read(t, name))
		if found == nil {
			t.Fatalf("%s has nothing like %s", name, pattern)
		}
		return string(found[1])
	}
	promised, planned := 0, 0
	for line := range strings.Lines(string(read(t, "requirements.md"))) {
		if regexp.MustCompile(`^- [A-Z]\d+ `).MatchString(line) {
			promised++
			if strings.Contains(line, "(planned)") {
				planned++
			}
		}
	}
	for name, badge := range map[string][2]string{
		"go":       {"Go", find("../go.mod", `(?m)^go (\d+\.\d+)`) + " | " + find("../.ci/run", `GOTOOLCHAIN=go(\d+\.\d+)`)},
		"license":  {"license", find("../LICENSE", `^(MIT) License`)},
		"redis":    {"Redis", find("redis.md", `in Redis (\d+\.\d+) or later, or in Valkey`) + "+ | Valkey"},
		"promises": {"promises with tests", fmt.Sprint(promised - planned)},
	} {
		file := "badges/" + name + ".svg"
		if *update {
			if err := os.WriteFile(file, []byte(drawBadge(badge[0], badge[1])), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if string(read(t, file)) != drawBadge(badge[0], badge[1]) {
			t.Errorf("%s does not say %q: go test ./docs -run TestBadges -update", file, badge)
		}
	}
}

func drawBadge(label, value string) string {
	left, right := 7*len(label)+14, 7*len(value)+14
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="%[4]s: %[5]s">
<rect width="%[1]d" height="20" rx="3" fill="#444"/><rect x="%[2]d" width="%[3]d" height="20" rx="3" fill="#0a7ea4"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,sans-serif" font-size="11">
<text x="%[6]d" y="14">%[4]s</text><text x="%[7]d" y="14">%[5]s</text></g></svg>
`, left+right, left, right, label, value, left/2, left+right/2)
}
