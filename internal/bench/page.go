package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// publish writes the page, its plots, its data and the table of README below and beside the folder docs.
func publish(d *Data, docs string) error {
	folder := filepath.Join(docs, "benchmarks")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var data bytes.Buffer
	readme, err := os.ReadFile(filepath.Join(docs, "..", "README.md"))
	if err == nil {
		readme, err = between(readme, d.summary())
	}
	return errors.Join(err,
		d.write(&data),
		os.WriteFile(filepath.Join(folder, "data.json"), data.Bytes(), 0o644),
		d.plots(folder),
		os.WriteFile(filepath.Join(docs, "benchmarks.md"), []byte(d.page()), 0o644),
		os.WriteFile(filepath.Join(docs, "..", "README.md"), readme, 0o644),
	)
}

// load reads the data that publish has written.
func load(docs string) (*Data, error) {
	text, err := os.ReadFile(filepath.Join(docs, "benchmarks", "data.json"))
	if err != nil {
		return nil, err
	}
	d := &Data{}
	return d, json.Unmarshal(text, d)
}

const (
	begins = "<!-- of docs/benchmarks.md -->\n"
	ends   = "<!-- end -->\n"
)

// between replaces what stands between the two marks.
func between(page []byte, text string) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(begins))
	_, after, closed := bytes.Cut(rest, []byte(ends))
	if !ok || !closed {
		return page, errors.New("README.md has no place for the figures")
	}
	return slices.Concat(before, []byte(begins+text+ends), after), nil
}

// summary is README's table.
func (d *Data) summary() string {
	var b strings.Builder
	b.WriteString("| requests in one process, 64 in flight | read | changed |\n|---|---|---|\n")
	reads, changes := d.times(byOp, read, 0, centreInFlight), d.times(byOp, changed, 0, centreInFlight)
	for _, name := range []string{hands, here, scsName, gorillaName, ginName, fiberName} {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", called(name), ratio(reads, name, hands), ratio(changes, name, hands))
	}
	return b.String()
}

// called is a subject's name where it needs more words.
func called(name string) string {
	switch name {
	case hands:
		return "by hand: go-redis and msgpack, the later write stands"
	case here:
		return "this library"
	case gorillaName:
		return "gorilla with redistore"
	case fiberName:
		return "fiber's own"
	case ginName:
		return "gin-contrib with redis"
	}
	return name
}

// ratio is how many times as long as base a request of a subject takes.
func ratio(times []Time, name, base string) string {
	t, ok := find(times, name)
	other, also := find(times, base)
	if !ok || !also {
		return "–"
	}
	return fmt.Sprintf("%.2f", t.beside(other))
}

func micros(ns float64) string { return strconv.FormatFloat(ns/1000, 'f', 1, 64) }

// page is docs/benchmarks.md.
func (d *Data) page() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p(`# Benchmarks

What a session costs here, beside the same done by hand and beside other libraries, measured in one run, side by side. The
numbers to look at are the **ratios**: how many times as long a request takes as another one in the same rounds. Nanoseconds are
those of one machine.

Measured on %s: %s; %s; %s. In each of %d rounds every subject ran for %s in turn, and the figure is the median of the rounds.
Client and server share the cores, so what a library saves is also given to the server. **In flight** says how many requests
there are at a time: with one, the figure is the latency; with 64, it is the throughput.

The session has six fields and about 300 bytes: a person, two roles, three lines of a cart. A **read** loads it, looks at it and
restarts its idle timeout. A **changed** request also counts a view and saves. Each library is set up as its documentation says, with
an idle timeout of an hour as far as it has one, and with a connection for each request in flight. Requests are made in the
process, without a network, unless the table says so.

It is one command, on a machine that does nothing else, and everything on this page is made by it of
[its data](benchmarks/data.json):

`+"```sh\n(cd internal/bench/node && npm ci)\ngo -C internal/bench test -run TestMeasure -timeout 30m -v . -measure\n```\n\n", d.Date, d.Machine, d.Go, strings.Join(d.Servers, ", "), d.Rounds, d.Segment)
	for _, m := range d.Missing {
		p("Not measured: %s.\n\n", m)
	}

	p("## In short\n\n%s\nThe figures are ratios, of the row *by hand*, whose compare-and-swap is none: it overwrites what others have saved meanwhile.\n", d.summary())

	p("\n## Targets\n\nWhat this library wants to reach, and what it has reached in this run.\n\n| | target | measured | |\n|---|---|---|---|\n")
	for _, t := range d.targets() {
		verdict := "met"
		if !t.met {
			verdict = "**not met**"
		}
		p("| %s | %s | %s | %s |\n", t.what, t.wanted, t.got, verdict)
	}

	p("\n## A request\n")
	for _, o := range ops {
		many, one := d.times(byOp, o, 0, centreInFlight), d.times(byOp, o, 0, 1)
		if len(many) == 0 {
			continue
		}
		p("\n### %s\n\n| | 64 in flight, µs | × by hand | × bare | one at a time, µs | × by hand | allocations | bytes |\n|---|---|---|---|---|---|---|---|\n", heading(o))
		for _, t := range many {
			single, _ := find(one, t.Subject)
			byHand, toBare, alone := ratio(many, t.Subject, hands), ratio(many, t.Subject, bare), ratio(one, t.Subject, hands)
			if o == none { // by hand that is nothing
				byHand, toBare, alone = "–", "–", "–"
			}
			p("| %s | %s | %s | %s | %s | %s | %.0f | %.0f |\n", t.Subject, micros(t.median()), byHand, toBare, micros(single.median()), alone, t.Allocs, t.Bytes)
		}
	}
	p(`
*Bare commands* are GETEX alone, or GETEX and SET, of go-redis, with nobody who looks at what they bring. *By hand* decodes it, and
encodes it again to see whether it has changed. *EVALSHA* is by hand with a script that only writes if nobody else has, as this
library does. scs writes each session that has an idle timeout, also after a read. gorilla and gin-contrib restart the expiry only by
a save; the rows *reads do not save* leave that out, and their sessions end however active the user is. fiber's requests do not pass
net/http, so its row has less to do.
`)

	p("\n## Over HTTP\n\nServers in a process of their own, asked on 64 connections that stay open, by a client on the same two cores.\n\n| | read, requests a second | × by hand | changed, requests a second | × by hand |\n|---|---|---|---|---|\n")
	reads, changes := d.times(overTheWeb, read, 0, centreInFlight), d.times(overTheWeb, changed, 0, centreInFlight)
	for _, t := range reads {
		c, _ := find(changes, t.Subject)
		p("| %s | %.0f | %s | %.0f | %s |\n", t.Subject, 1e9/t.median(), inverse(reads, t.Subject), 1e9/max(c.median(), 1), inverse(changes, t.Subject))
	}
	if d.Node != "" {
		p("\nExpress is %s.\n", d.Node)
	}

	p("\n## Payload\n\n![time by payload](benchmarks/payload.svg)\n")
	d.axis(&b, byPayload, []op{read, changed}, centreInFlight, "bytes")
	p("\n## In flight\n\n![time by requests in flight](benchmarks/inflight.svg)\n")
	d.axis(&b, byInFlight, []op{read}, 0, "in flight")
	p("\n## A network\n\nA proxy makes each round trip so much longer. One request at a time: what counts there is the number of round trips.\n")
	d.axis(&b, byNetwork, []op{read, changed}, 1, "µs")

	for _, server := range d.Servers {
		times := d.times(onNewer+server, changed, 0, centreInFlight)
		if len(times) == 0 {
			continue
		}
		p("\n## IFEQ\n\nA changed request on %s, which has SET with IFEQ, 64 in flight.\n\n| | µs | × by hand |\n|---|---|---|\n", server)
		for _, t := range times {
			p("| %s | %s | %s |\n", t.Subject, micros(t.median()), ratio(times, t.Subject, hands))
		}
	}

	p("\n## Growth\n\nThe same among more and more sessions that the server keeps, 64 in flight: it stays flat.\n\n![time by stored sessions](benchmarks/stored.svg)\n")
	d.axis(&b, byStored, []op{read, changed}, centreInFlight, "stored")
	p("\nA user's sessions, one request at a time, in µs. What is linear in their number is the list, and their end.\n\n| sessions of the user |")
	columns := []string{"read", "sign in and out", "list", "end all"}
	for _, c := range columns {
		p(" %s |", c)
	}
	p("\n|---|---|---|---|---|\n")
	for _, n := range ownedBy {
		p("| %d |", n)
		for _, c := range columns {
			t, _ := find(d.times(byOwned, op(c), float64(n), 1), here)
			p(" %s |", micros(t.median()))
		}
		p("\n")
	}

	d.server(&b)
	return b.String()
}

func heading(o op) string { return strings.ToUpper(string(o[:1])) + string(o[1:]) }

func inverse(times []Time, name string) string {
	t, ok := find(times, name)
	base, also := find(times, hands)
	if !ok || !also {
		return "–"
	}
	return fmt.Sprintf("%.2f", 1/t.beside(base))
}

// axis is a table of µs by what varies in a group. inFlight is 0 where that varies.
func (d *Data) axis(b *strings.Builder, group string, of []op, inFlight int, unit string) {
	for _, o := range of {
		var at []float64
		var names []string
		for _, t := range d.Times {
			if t.Group == group && t.Op == string(o) {
				if !slices.Contains(at, t.At) {
					at = append(at, t.At)
				}
				if !slices.Contains(names, t.Subject) {
					names = append(names, t.Subject)
				}
			}
		}
		fmt.Fprintf(b, "\n| %s, µs |", o)
		for _, v := range at {
			fmt.Fprintf(b, " %.0f %s |", v, unit)
		}
		fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(at)))
		for _, name := range names {
			fmt.Fprintf(b, "| %s |", name)
			for _, v := range at {
				n := inFlight
				if n == 0 {
					n = int(v)
				}
				t, _ := find(d.times(group, o, v, n), name)
				fmt.Fprintf(b, " %s |", micros(t.median()))
			}
			b.WriteString("\n")
		}
	}
}

// server is what requests cost the server.
func (d *Data) server(b *strings.Builder) {
	b.WriteString("\n## The server\n\nWhat a request asks of it, and how long that takes there (`INFO commandstats`).\n\n| server | | bytes | | commands | µs |\n|---|---|---|---|---|---|\n")
	for _, c := range d.Costs {
		var commands []string
		for _, name := range slices.Sorted(maps.Keys(c.Commands)) {
			if n := c.Commands[name]; n >= 0.1 {
				commands = append(commands, "`"+strings.ToUpper(name)+"`"+map[bool]string{true: "", false: fmt.Sprintf(" × %.1f", n)}[n < 1.05])
			}
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %.1f |\n", c.Server, c.Op, c.Size, c.Subject, strings.Join(commands, ", "), c.Micros)
	}
	b.WriteString("\nMemory of the server by session, key and expiry included.\n\n| bytes of JSON, about | | bytes of memory | bytes of the value |\n|---|---|---|---|\n")
	for _, m := range d.Memories {
		fmt.Fprintf(b, "| %d | %s | %.0f | %d |\n", m.Size, m.Subject, m.Used, m.Value)
	}
}

// A target is a figure that this library wants to reach.
type target struct {
	what, wanted, got string
	met               bool
}

func (d *Data) targets() []target {
	var list []target
	reads, changes, none := d.times(byOp, read, 0, centreInFlight), d.times(byOp, changed, 0, centreInFlight), d.times(byOp, none, 0, centreInFlight)
	compare := func(what string, times []Time, name, base string, most float64) {
		t, ok := find(times, name)
		other, also := find(times, base)
		if ok && also {
			got := t.beside(other)
			list = append(list, target{what, fmt.Sprintf("at most %.2f ×", most), fmt.Sprintf("%.2f ×", got), got <= most})
		}
	}
	faster := func(what string, times []Time, name, base string, least float64) {
		t, ok := find(times, name)
		other, also := find(times, base)
		if ok && also {
			got := other.beside(t)
			list = append(list, target{what, fmt.Sprintf("at least %.2f ×", least), fmt.Sprintf("%.2f ×", got), got >= least})
		}
	}
	budget := func(what string, times []Time, name string, above float64, most float64) {
		if t, ok := find(times, name); ok {
			got := t.Allocs - above
			list = append(list, target{what, fmt.Sprintf("at most %.0f", most), fmt.Sprintf("%.0f", got), got <= most})
		}
	}
	compare("a read, beside by hand", reads, here, hands, 1.2)
	budget("allocations of a read", reads, here, 0, 30)
	compare("a changed request, beside the same script by hand", changes, here, handsScript, 1.25)
	budget("allocations of a changed request", changes, here, 0, 46)
	compare("a read by JSON, beside one by msgpack", reads, hereJSON, here, 1.2)
	faster("a read, beside scs", reads, here, scsName, 3.3)
	faster("a read, beside gorilla", reads, here, gorillaName, 3.5)
	web := d.times(overTheWeb, read, 0, centreInFlight)
	faster("requests a second over HTTP, a read, beside by hand", web, here, hands, 0.9)
	if t, ok := find(none, hands); ok {
		budget("allocations without a cookie, above a bare handler", none, here, t.Allocs, 2)
	}
	compare("a read by AutoPipeline, beside a bare GETEX", reads, herePipelined, bare, 0.9)
	compare("a read by AutoPipeline, beside by hand by AutoPipeline", reads, herePipelined, handsPipelined, 1.2)
	return list
}
