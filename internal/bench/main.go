// This program measures this library and its peers side by side, and writes docs/benchmarks.md:
//
//	cd internal/bench && (cd node && npm ci) && go run . -out ../../docs
//
// It needs redis-server, and takes about ten minutes on two cores that have nothing else to do. Node is for Express, and
// SESSIONS_REDIS_SERVERS names further servers, of which one may know SET … IFEQ; what is not there is left out, and the
// page says so. A single cell with a profile of it:
//
//	go run . -cells '^requests/read/0/64/sessions$' -rounds 50 -cpuprofile cpu.out
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"testing"
	"time"
)

func main() {
	if child() {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	out := flags.String("out", "../../docs", "the directory that gets benchmarks.md and benchmarks/")
	quick := flags.Bool("quick", false, "try everything once, within a minute; the figures mean nothing")
	render := flags.Bool("render", false, "measure nothing: make the page of the data that is there")
	rounds := flags.Int("rounds", 15, "how often each subject takes its turn")
	segment := flags.Duration("segment", 40*time.Millisecond, "how long a turn is")
	largest := flags.Int("stored", 1_000_000, "the most sessions that are stored")
	cells := flags.String("cells", "", "measure only the cells like group/op/value/in flight/subject that match this, print them, and write no page")
	profile := flags.String("cpuprofile", "", "write a CPU profile of the cells here; it holds the last group of several")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dataFile := filepath.Join(*out, "benchmarks", "data.json")
	if *render {
		data, err := readData(dataFile)
		if err != nil {
			return err
		}
		return data.publish(*out)
	}
	o := options{rounds: *rounds, segment: *segment, largest: *largest, profile: *profile}
	if *quick {
		o = quickOptions()
	}
	if *cells != "" {
		if o.cells, err = regexp.Compile(*cells); err != nil {
			return err
		}
	}
	data, err := withServices(func(tb testing.TB) *Data { return measure(tb, o) })
	if err != nil {
		return err
	}
	if o.cells != nil {
		data.print(os.Stdout)
		return nil
	}
	return data.publish(*out)
}

func quickOptions() options {
	return options{rounds: 1, segment: time.Millisecond, largest: 100, quick: true}
}

// measure does all of it.
func measure(tb testing.TB, o options) *Data {
	b := &bench{TB: tb, options: o}
	began := time.Now()
	b.data = Data{
		Date: began.UTC().Format(time.DateOnly), Machine: machine(), Load: load(), Go: goVersion(),
		Rounds: o.rounds, Segment: o.segment.String(), Modules: modules(),
	}
	if b.data.Load > 0.5 {
		b.progress("the machine is busy, with a load of %.1f: what is measured now is worth little", b.data.Load)
	}
	b.servers()
	for _, part := range []func(){
		b.requests, b.payloads, b.inFlights, b.stored, b.networks, b.compareAndSwap, b.overHTTP, b.costs, b.memories, b.owners,
	} {
		part()
	}
	b.progress("all of it took %v", time.Since(began).Round(time.Second))
	return &b.data
}

// withServices calls f with a testing.TB, which is what internal/redistest starts servers for, and ends them after it.
func withServices(f func(tb testing.TB) *Data) (data *Data, err error) {
	tb := &outside{}
	defer func() {
		for i := len(tb.cleanups) - 1; i >= 0; i-- {
			tb.cleanups[i]()
		}
		switch failed := recover().(type) {
		case nil:
			err = errors.Join(err, tb.err)
		case failure:
			err = failed.error
		default:
			debug.PrintStack()
			panic(failed)
		}
	}()
	return f(tb), nil
}

// outside is a testing.TB without a test.
type outside struct {
	testing.TB // for what nobody calls
	cleanups   []func()
	err        error
}

// failure is what Fatal panics with.
type failure struct{ error }

func (t *outside) Helper()                   {}
func (t *outside) Name() string              { return "bench" }
func (t *outside) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *outside) Logf(f string, a ...any)   { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (t *outside) Fatal(a ...any)            { panic(failure{errors.New(fmt.Sprint(a...))}) }
func (t *outside) Fatalf(f string, a ...any) { panic(failure{fmt.Errorf(f, a...)}) }
func (t *outside) Skipf(f string, a ...any)  { t.Fatalf(f, a...) }
func (t *outside) Errorf(f string, a ...any) { t.err = errors.Join(t.err, fmt.Errorf(f, a...)) }

func (t *outside) TempDir() string {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
