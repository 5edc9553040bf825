package main

import (
	"bytes"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestMain(m *testing.M) {
	if !child() {
		os.Exit(m.Run())
	}
}

// All of it runs, and what a request asks of the server is what the page says. How long it takes is nobody's business here.
func TestQuickRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts every server and every library")
	}
	o := quickOptions()
	if err := hasExpress(); err != nil && os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
		t.Fatal(err)
	}
	data := measure(t, o)
	t.Run("commands of a request", func(t *testing.T) { wantCommands(t, data) })
	t.Run("the page", func(t *testing.T) {
		dir := t.TempDir()
		must(t, data.publish(dir))
		page, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
		must(t, err)
		if bad := regexp.MustCompile(`NaN|Inf|<no value>|not measured \| not`).Find(page); bad != nil {
			t.Errorf("the page has %q", bad)
		}
		for _, m := range regexp.MustCompile(`\]\((benchmarks/[^)]+)\)`).FindAllSubmatch(page, -1) {
			if info, err := os.Stat(filepath.Join(dir, string(m[1]))); err != nil || info.Size() < 1000 {
				t.Errorf("%s: %v", m[1], err)
			}
		}
		for _, s := range append(subjects, subject{name: here}) {
			if s.name == handsIFEQ && strings.Contains(strings.Join(data.Missing, ""), "IFEQ") {
				continue // no server knows it
			}
			if !bytes.Contains(page, []byte(s.name)) {
				t.Errorf("nothing is said about %s", s.name)
			}
		}
		again, err := readData(filepath.Join(dir, "benchmarks", "data.json"))
		must(t, err)
		if text, err := again.page(); err != nil || !bytes.Equal(text, page) {
			t.Errorf("the data that was kept makes another page: %v", err)
		}
	})
}

// wantCommands compares what was counted on the way to the server: a change here is one of the figures that
// users pay for on every request.
func wantCommands(t *testing.T, data *Data) {
	want := map[string]string{
		"read " + bare:  "GETEX",
		"read " + hands: "GETEX",
		"read " + here:  "GETEX", "read " + hereJSON: "GETEX", "read " + herePipelined: "GETEX",
		"changed " + hands: "GETEX, SET",
		"changed " + here:  "EVALSHA, GETEX", "changed " + hereJSON: "EVALSHA, GETEX", "changed " + herePipelined: "EVALSHA, GETEX",
		"new " + hands: "SET",
		"new " + here:  "SET", "new " + hereJSON: "SET",
		"no cookie " + here: "none", "no cookie " + hereJSON: "none",

		"read " + scsName: "GET, SET", "changed " + scsName: "GET, SET", "read " + scsNoIdle: "GET",
		"read " + gorillaName: "GET, SETEX", "read " + gorillaReads: "GET", "changed " + gorillaName: "GET, SETEX",
		"read " + ginName: "GET, SETEX", "read " + ginReads: "GET",
		"read " + fiberName: "GET, SET", "no cookie " + fiberName: "SET",
	}
	if data.Node != "" {
		want["read "+expressSession], want["changed "+expressSession] = "EXPIRE, GET", "GET, SET"
	}
	for _, c := range data.Costs {
		if c.Server != data.Servers[0] {
			continue
		}
		name := c.Op + " " + c.Subject
		if w, ok := want[name]; ok && c.names() != w {
			t.Errorf("%s, %d bytes: %s, want %s", name, c.Size, c.names(), w)
		}
		if c.Size == usualSize {
			delete(want, name)
		}
		if len(c.Commands) > 0 && c.Micros <= 0 {
			t.Errorf("%s takes no time of the server", name)
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is known about %q", slices.Sorted(maps.Keys(want)))
	}
}

func TestAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates too")
	}
	addr := redistest.Start(t).Addr
	budgets := map[op]map[string]float64{
		read:    {here: 30, hereJSON: 36},
		changed: {here: 70, hereJSON: 80},
		begun:   {here: 60, hereJSON: 62},
		none:    {here: 2, hereJSON: 2},
	}
	for _, o := range ops {
		for name, most := range budgets[o] {
			t.Run(string(o)+", "+name, func(t *testing.T) {
				s, err := named(name)[0].open(setting{Redis: addr, Size: usualSize, Conns: 1})
				must(t, err)
				t.Cleanup(s.close)
				call, err := s.caller(o)
				must(t, err)
				got := testing.AllocsPerRun(200, func() { must(t, call()) })
				if got > most {
					t.Errorf("%v allocations, want at most %v", got, most)
				}
				t.Logf("%v allocations", got)
			})
		}
	}
}

// What is in docs is what the data there makes: nobody writes figures by hand.
func TestPublishedPage(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	data, err := readData(filepath.Join(docs, "benchmarks", "data.json"))
	must(t, err)
	dir := t.TempDir()
	must(t, data.publish(dir))
	files, err := filepath.Glob(filepath.Join(dir, "benchmarks", "*"))
	must(t, err)
	for _, file := range append(files, filepath.Join(dir, "benchmarks.md")) {
		name, err := filepath.Rel(dir, file)
		must(t, err)
		want, err := os.ReadFile(file)
		must(t, err)
		if got, err := os.ReadFile(filepath.Join(docs, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what its data makes: go run . -render (%v)", name, err)
		}
	}
	if len(files) < 5 {
		t.Errorf("%d files", len(files))
	}
}

func TestBesideComparesRounds(t *testing.T) {
	// The machine was ten times slower in the second and the third round.
	base, own := Time{NS: []int64{100, 1000, 1000}}, Time{NS: []int64{150, 1500, 1500}}
	if got := own.beside(base); math.Abs(got-1.5) > 1e-9 {
		t.Errorf("%v, want 1.5", got)
	}
}

func TestTargets(t *testing.T) {
	data := &Data{Times: []Time{
		{Group: "requests", Op: "read", InFlight: 64, Subject: hands, NS: []int64{100}},
		{Group: "requests", Op: "read", InFlight: 64, Subject: here, NS: []int64{119}},
		{Group: "requests", Op: "read", InFlight: 64, Subject: scsName, NS: []int64{300}},
		{Group: "requests", Op: "read", InFlight: 1, Subject: here, NS: []int64{1}, Allocs: 30.2},
		{Group: "requests", Op: "no cookie", InFlight: 1, Subject: bare, NS: []int64{1}, Allocs: 0},
		{Group: "http", Op: "read", InFlight: 64, Subject: hands, NS: []int64{100}},
		{Group: "http", Op: "read", InFlight: 64, Subject: here, NS: []int64{125}},
	}}
	want := map[string]string{
		"a read, beside the same by hand":               "1.19 met",
		"a read: allocations above a bare handler":      "30 met",
		"scs, beside this library, a read":              "2.52 **not met**",
		"gorilla, beside this library, a read":          "– not measured",
		"over HTTP: the share of the requests a second": "0.80 **not met**",
	}
	for _, got := range data.targets() {
		for what, w := range want {
			if strings.HasPrefix(got.What, what) {
				delete(want, what)
				if m := got.Measured + " " + got.Met; m != w {
					t.Errorf("%s: %s, want %s", what, m, w)
				}
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("no target is %q", slices.Sorted(maps.Keys(want)))
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{thousands(999), "999"},
		{thousands(1000), "1,000"},
		{thousands(1234567), "1,234,567"},
		{micros(1234), "1.23"},
		{micros(12345), "12.3"},
		{micros(1234567), "1,235"},
		{axis(0.3), "0.3"},
		{axis(65536), "65,536"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// A delayed line is late in both directions and loses nothing. Redis is beside it as fast as ever.
func TestDelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close(); echo.Close() })
	go func() {
		c, err := echo.Accept()
		if err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	const rtt = 20 * time.Millisecond
	go delayed(l, echo.Addr().String(), rtt/2)
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789"), 20_000)
	began := time.Now()
	go c.Write(sent)
	got := make([]byte, len(sent))
	_, err = io.ReadFull(c, got)
	must(t, err)
	if took := time.Since(began); took < rtt {
		t.Errorf("a round trip takes %v, want %v or more", took, rtt)
	}
	if !bytes.Equal(got, sent) {
		t.Error("other bytes come back")
	}
}
