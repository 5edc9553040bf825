package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

// publish writes the page, its pictures and the data that they are made of.
func (d *Data) publish(out string) error {
	dir := filepath.Join(out, "benchmarks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := d.write(&text); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "data.json"), text.Bytes(), 0o644); err != nil {
		return err
	}
	page, err := d.page()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "benchmarks.md"), page, 0o644); err != nil {
		return err
	}
	return d.draw(dir)
}

func readData(file string) (*Data, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := new(Data)
	return d, json.Unmarshal(text, d)
}

func (d *Data) page() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"short": d.short, "targets": d.targets, "requests": d.requestTable, "bystanders": d.bystanders, "grid": d.grid, "network": d.network,
		"http": d.httpTable, "swaps": d.swaps, "commands": d.commandTable, "serverTime": d.serverTime, "memory": d.memoryTable,
		"owners": d.ownerTable, "modules": d.moduleList,
	}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = t.Execute(&page, d)
	return page.Bytes(), err
}

// print is for a look at some cells.
func (d *Data) print(w io.Writer) {
	for _, t := range d.Times {
		fmt.Fprintf(w, "%-10s %-9s %9v %4d  %-32s %9.0f ns %9.0f ns CPU %7.1f allocations %9.0f B\n",
			t.Group, t.Op, t.At, t.InFlight, t.Subject, t.median(), median(t.CPU), t.Allocs, t.Bytes)
	}
	for _, c := range d.Costs {
		fmt.Fprintf(w, "%-12s %-9s %7d  %-32s %8.2f µs of the server, %s\n", c.Server, c.Op, c.Size, c.Subject, c.Micros, c.names())
	}
	for _, m := range d.Memories {
		fmt.Fprintf(w, "memory of %6d bytes  %-32s %8.0f B used, %d of the key, %d of the value\n", m.Size, m.Subject, m.Used, m.Key, m.Value)
	}
}

// A table is one of Markdown: the first column is text, the others are numbers.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var out strings.Builder
	line := func(cells []string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	line(append([]string{"---"}, slices.Repeat([]string{"--:"}, len(t.head)-1)...))
	for _, row := range t.rows {
		line(row)
	}
	return strings.TrimSpace(out.String())
}

// short is the table that README has too.
func (d *Data) short() string {
	t := &table{head: []string{"", "read", "changed", "new", "allocations of a read", "reads a second over HTTP"}}
	http := d.times("http", read, 0, usualInFlight)
	for _, name := range []string{hands, here, hereJSON, scsName, gorillaName, ginName, fiberName, expressSession} {
		row := []string{called(name)}
		for _, o := range []op{read, changed, begun} {
			r := d.ratio("requests", o, 0, usualInFlight, name, hands)
			row = append(row, r.String())
		}
		allocs := "–"
		if one, ok := find(d.times("requests", read, 0, 1), name); ok {
			allocs = fmt.Sprintf("%.0f", one.Allocs)
		}
		perSecond := "–"
		if one, ok := find(http, name); ok {
			perSecond = thousands(1e9 / one.median())
		}
		t.add(append(row, allocs, perSecond)...)
	}
	return t.String()
}

// called is a subject as the tables write it: this library's own stand out.
func called(name string) string {
	if strings.HasPrefix(name, here) {
		return "**" + name + "**"
	}
	return name
}

// requestTable is one op of everybody, the fastest first.
func (d *Data) requestTable(o op) string {
	t := &table{head: []string{
		"", "64 in flight: × by hand", "× bare commands", "requests a second", "one at a time: × by hand", "µs", "allocations", "bytes",
	}}
	one := d.times("requests", o, 0, 1)
	for _, many := range sorted(d.times("requests", o, 0, usualInFlight)) {
		single, _ := find(one, many.Subject)
		t.add(
			called(many.Subject),
			d.ratio("requests", o, 0, usualInFlight, many.Subject, hands).String(),
			d.ratio("requests", o, 0, usualInFlight, many.Subject, bare).String(),
			thousands(1e9/many.median()),
			d.ratio("requests", o, 0, 1, many.Subject, hands).String(),
			micros(single.median()), fmt.Sprintf("%.0f", single.Allocs), thousands(single.Bytes),
		)
	}
	return t.String()
}

// bystanders are requests that ask nothing of the server.
func (d *Data) bystanders() string {
	t := &table{head: []string{"", "µs", "allocations", "bytes"}}
	for _, one := range sorted(d.times("requests", none, 0, 1)) {
		t.add(called(one.Subject), micros(one.median()), fmt.Sprintf("%.0f", one.Allocs), thousands(one.Bytes))
	}
	return t.String()
}

func sorted(times []Time) []Time {
	return slices.SortedFunc(slices.Values(times), func(a, b Time) int { return int(a.median() - b.median()) })
}

// httpTable is one op over HTTP, the fastest first.
func (d *Data) httpTable(o op) string {
	t := &table{head: []string{"", "requests a second, 64 in flight", "of those by hand", "µs, one at a time", "× by hand"}}
	one := d.times("http", o, 0, 1)
	for _, many := range sorted(d.times("http", o, 0, usualInFlight)) {
		single, _ := find(one, many.Subject)
		t.add(called(many.Subject), thousands(1e9/many.median()),
			d.ratio("http", o, 0, usualInFlight, hands, many.Subject).String(), micros(single.median()),
			d.ratio("http", o, 0, 1, many.Subject, hands).String())
	}
	return t.String()
}

// grid has a column for each value of what varies, and µs a request.
func (d *Data) grid(group string, o op, unit string) string {
	return d.gridOf(unit, func(t Time) bool { return t.Group == group && t.Op == string(o) })
}

func (d *Data) gridOf(unit string, wanted func(t Time) bool) string {
	t := &table{head: []string{unit}}
	var values []float64
	var names []string
	cells := map[string]map[float64]string{}
	for _, one := range d.Times {
		if !wanted(one) {
			continue
		}
		if !slices.Contains(values, one.At) {
			values = append(values, one.At)
			t.head = append(t.head, axis(one.At))
		}
		if cells[one.Subject] == nil {
			names = append(names, one.Subject)
			cells[one.Subject] = map[float64]string{}
		}
		cells[one.Subject][one.At] = micros(one.median())
	}
	for _, name := range names {
		row := []string{called(name)}
		for _, at := range values {
			row = append(row, cells[name][at])
		}
		t.add(row...)
	}
	return t.String()
}

func (d *Data) network(o op, inFlight int) string {
	return d.gridOf(string(o)+", by ms more of a round trip", func(t Time) bool {
		return t.Group == "network" && t.Op == string(o) && t.InFlight == inFlight
	})
}

func (d *Data) swaps() string { return d.grid("ifeq", changed, "changed, by bytes") }

func (d *Data) ownerTable() string {
	t := &table{head: []string{"µs of one call"}}
	rows := map[string][]string{}
	for _, one := range d.Times {
		if one.Group != "owner" {
			continue
		}
		if one.Op == ownerOps[0] {
			t.head = append(t.head, axis(one.At)+" sessions")
		}
		rows[one.Op] = append(rows[one.Op], micros(one.median()))
	}
	for _, name := range ownerOps {
		t.add(append([]string{name}, rows[name]...)...)
	}
	return t.String()
}

func (c Cost) names() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(c.Commands)) {
		one := strings.ToUpper(name)
		if n := c.Commands[name]; n != 1 {
			one = fmt.Sprintf("%.3g %s", n, one)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (d *Data) commandTable() string {
	t := &table{head: []string{"", "read", "changed", "new", "no cookie"}}
	var names []string
	cells := map[string]string{}
	for _, c := range d.Costs {
		if c.Server != d.Servers[0] || c.Size != usualSize {
			continue
		}
		if !slices.Contains(names, c.Subject) {
			names = append(names, c.Subject)
		}
		cells[c.Subject+c.Op] = c.names()
	}
	for _, name := range names {
		row := []string{called(name)}
		for _, o := range ops {
			cell := cells[name+string(o)]
			if cell == "" {
				cell = "–"
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	return t.String()
}

func (d *Data) serverTime(o op) string {
	t := &table{head: []string{string(o) + ": µs of the server's time"}}
	var columns, names []string
	cells := map[string]string{}
	for _, c := range d.Costs {
		if c.Op != string(o) {
			continue
		}
		column := fmt.Sprintf("%s, %s B", c.Server, thousands(float64(c.Size)))
		if !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
		if !slices.Contains(names, c.Subject) {
			names = append(names, c.Subject)
		}
		cells[c.Subject+column] = micros(c.Micros * 1000)
	}
	t.head = append(t.head, columns...)
	for _, name := range names {
		row := []string{called(name)}
		for _, column := range columns {
			cell := cells[name+column]
			if cell == "" {
				cell = "–"
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	return t.String()
}

func (d *Data) memoryTable(size int) string {
	t := &table{head: []string{"", "bytes of the server's memory by session", "MEMORY USAGE of its key", "bytes of its value"}}
	list := slices.DeleteFunc(slices.Clone(d.Memories), func(m Memory) bool { return m.Size != size })
	slices.SortFunc(list, func(a, b Memory) int { return int(a.Used - b.Used) })
	for _, m := range list {
		t.add(called(m.Subject), thousands(m.Used), thousands(float64(m.Key)), thousands(float64(m.Value)))
	}
	return t.String()
}

func (d *Data) moduleList() string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(d.Modules)) {
		list = append(list, path+" "+d.Modules[path])
	}
	return strings.Join(list, ", ")
}

// micros writes nanoseconds as µs, with three digits that count.
func micros(ns float64) string {
	switch us := ns / 1000; {
	case us < 10:
		return fmt.Sprintf("%.2f", us)
	case us < 100:
		return fmt.Sprintf("%.1f", us)
	default:
		return thousands(us)
	}
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// axis is a value of what varies.
func axis(v float64) string {
	if v < 1000 {
		return fmt.Sprint(v)
	}
	return thousands(v)
}
