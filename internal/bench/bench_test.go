package bench

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

var (
	measureFlag = flag.Bool("measure", false, "measure all, on a quiet machine, and write docs/benchmarks.md")
	roundsFlag  = flag.Int("rounds", 7, "how often each subject is measured")
	segmentFlag = flag.Duration("segment", 150*time.Millisecond, "how long each subject runs in a round")
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// docs is where the page is, and what belongs to it.
var docs = filepath.Join("..", "..", "docs")

// TestMeasure makes docs/benchmarks.md:
//
//	go test -run TestMeasure -timeout 30m -v . -measure
func TestMeasure(t *testing.T) {
	if !*measureFlag {
		t.Skip("it takes minutes and a machine that does nothing else: go test -run TestMeasure -timeout 30m -v . -measure")
	}
	data := measure(t, *roundsFlag, *segmentFlag)
	if t.Failed() {
		return
	}
	must(t, publish(data, docs))
}

// The page is what the data of its run makes, so nobody has improved a number by hand.
func TestPage(t *testing.T) {
	data, err := load(docs)
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "README.md"), readFile(t, filepath.Join(docs, "..", "README.md")), 0o600))
	out := filepath.Join(dir, "docs")
	must(t, publish(data, out))
	for _, name := range []string{"README.md", filepath.Join("docs", "benchmarks.md")} {
		if got, want := readFile(t, filepath.Join(docs, "..", name)), readFile(t, filepath.Join(dir, name)); string(got) != string(want) {
			t.Errorf("%s has other numbers than docs/benchmarks/data.json: measure again, or let TestPage write the page of the data that there is: go test -run TestPage . -measure", name)
			if *measureFlag {
				must(t, publish(data, docs))
			}
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	return data
}

// What a request of each subject asks of the server: never judged by time.
func TestCommands(t *testing.T) {
	b := &bench{tb: t, redis: redistest.Start(t).Addr, data: &Data{}}
	want := map[op]map[string]string{
		read:    {bare: "getex", hands: "getex", here: "getex", hereJSON: "getex", scsName: "get set", gorillaName: "get setex"},
		changed: {bare: "getex set", hands: "getex set", here: "evalsha getex", hereJSON: "evalsha getex", scsName: "get set", gorillaName: "get setex"},
		begun:   {hands: "set", here: "set", hereJSON: "set", scsName: "set", gorillaName: "setex"},
		none:    {hands: "", here: "", hereJSON: "", scsName: "", gorillaName: "", ginName: ""},
	}
	var list []subject
	for _, s := range subjects {
		if s.name != handsIFEQ && s.name != hereExpress {
			list = append(list, s)
		}
	}
	for _, o := range ops {
		b.data.Costs = nil
		b.costs("redis", b.redis, o, centreSize, list)
		for _, c := range b.data.Costs {
			if commands, ok := want[o][c.Subject]; ok {
				t.Run(string(o)+" "+c.Subject, func(t *testing.T) {
					if got := strings.Join(slices.Sorted(maps.Keys(c.Commands)), " "); got != commands {
						t.Errorf("%q, want %q", got, commands)
					}
					for name, n := range c.Commands {
						if n != 1 {
							t.Errorf("%v times %s", n, name)
						}
					}
				})
			}
		}
	}
}

// What a request allocates above a handler that does nothing.
func TestAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates too")
	}
	s := setting{Redis: redistest.Start(t).Addr, Size: centreSize, Conns: 1}
	site, err := named(here)[0].open(s)
	must(t, err)
	defer site.close()
	for o, most := range map[op]float64{read: 30, changed: 53, none: 2} {
		call, err := site.caller(o)
		must(t, err)
		must(t, call())
		if got, _, err := allocations(call); err != nil || got > most {
			t.Errorf("%s: %v allocations, want %v at most; %v", o, got, most, err)
		}
	}
}

// Each subject answers, over HTTP too.
func TestSubjects(t *testing.T) {
	b := &bench{tb: t, redis: redistest.Start(t).Addr, rounds: 1, segment: time.Millisecond, data: &Data{}}
	list := slices.DeleteFunc(slices.Clone(subjects), func(s subject) bool { return s.name == handsIFEQ })
	for _, o := range ops {
		b.times(byOp, o, 0, 2, setting{Redis: b.redis, Size: centreSize}, list)
	}
	if err := hasExpress(); err != nil && os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
		t.Error(err)
	}
	b.web(changed)
	if len(b.data.Times) < 4*15 {
		t.Errorf("%d measurements", len(b.data.Times))
	}
}
