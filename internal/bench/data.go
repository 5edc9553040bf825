package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Data is all that a run has measured. The page is made of it and of nothing else.
type Data struct {
	Date     string
	Machine  string
	Load     float64 // the load average of the machine before the run
	Go       string
	Servers  []string          // versions, the one that everything runs on first
	Modules  map[string]string // versions of the libraries
	Node     string            // and Express' packages; empty if they are not there
	Rounds   int
	Segment  string // how long each subject runs in a round
	Missing  []string
	Times    []Time
	Costs    []Cost
	Memories []Memory
}

// A Time is how long requests take.
type Time struct {
	Group    string  // what varies in it
	Op       string  // what the requests do
	At       float64 // the value of what varies
	InFlight int     // requests at a time
	Subject  string
	NS       []int64 // wall time by request, in each round
	CPU      []int64 // user and system time of the measuring process by request, in each round
	Allocs   float64 // by request
	Bytes    float64
}

// A Cost is what one request asks of the server.
type Cost struct {
	Server   string
	Op       string
	Size     int
	Subject  string
	Commands map[string]float64 // how many, by their names
	Micros   float64            // of the server's time
}

// A Memory is what a stored session takes.
type Memory struct {
	Subject string
	Size    int
	Used    float64 // bytes more of used_memory by session
	Key     int64   // MEMORY USAGE of one
	Value   int64   // STRLEN of one
}

// write is JSON with a line for each thing measured, so that two runs can be compared line by line.
func (d *Data) write(w io.Writer) error {
	var out bytes.Buffer
	head := *d
	head.Times, head.Costs, head.Memories = nil, nil, nil
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	out.Write(bytes.Replace(text, []byte(`"Times":null,"Costs":null,"Memories":null}`), nil, 1))
	lines(&out, "Times", d.Times)
	out.WriteString("],\n")
	lines(&out, "Costs", d.Costs)
	out.WriteString("],\n")
	lines(&out, "Memories", d.Memories)
	out.WriteString("]}\n")
	if !json.Valid(out.Bytes()) {
		return fmt.Errorf("this is no JSON: %s", out.Bytes())
	}
	_, err = w.Write(out.Bytes())
	return err
}

func lines[E any](out *bytes.Buffer, name string, list []E) {
	fmt.Fprintf(out, "\n%q:[", name)
	for i, e := range list {
		text, err := json.Marshal(e)
		if err != nil {
			panic(err) // there are numbers and strings alone
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(text)
	}
}

// times returns those of a group and op, at a value, with so many in flight.
func (d *Data) times(group string, o op, at float64, inFlight int) []Time {
	return slices.Collect(func(yield func(Time) bool) {
		for _, t := range d.Times {
			if t.Group == group && t.Op == string(o) && t.At == at && t.InFlight == inFlight && !yield(t) {
				return
			}
		}
	})
}

// find returns the one of a subject.
func find(times []Time, subject string) (Time, bool) {
	i := slices.IndexFunc(times, func(t Time) bool { return t.Subject == subject })
	if i < 0 {
		return Time{}, false
	}
	return times[i], true
}

func (t Time) median() float64 { return median(t.NS) }

// beside is how many times as long as base a request takes: the median of the rounds, each compared with base in the same
// round, so that what slows the machine for a while slows both.
func (t Time) beside(base Time) float64 {
	ratios := make([]float64, min(len(t.NS), len(base.NS)))
	for i := range ratios {
		ratios[i] = float64(t.NS[i]) / float64(base.NS[i])
	}
	return median(ratios)
}

func median[N int64 | float64](list []N) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (float64(sorted[n/2]) + float64(sorted[(n-1)/2])) / 2
}
