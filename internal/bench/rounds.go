package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// options say how much is measured.
type options struct {
	rounds  int
	segment time.Duration  // how long each subject runs in a round
	largest int            // the most sessions that are stored
	quick   bool           // few values of what varies
	cells   *regexp.Regexp // run those alone whose group/op/value/in flight/subject match; nil: all
	profile string         // a CPU profile of these goes here
}

// A bench measures into data.
type bench struct {
	testing.TB
	options
	data Data
}

// progress is for who waits.
func (b *bench) progress(format string, args ...any) {
	b.Helper()
	b.Logf(format, args...)
}

// missing notes what the page has to do without.
func (b *bench) missing(what string, err error) {
	b.Helper()
	if os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
		b.Fatalf("%s: %v", what, err)
	}
	b.progress("%s is left out: %v", what, err)
	b.data.Missing = append(b.data.Missing, what+": "+err.Error()+".")
}

// A cell is a subject that takes its turn in each round.
type cell struct {
	subject string
	callers []caller // one for each request in flight
}

// A star is one setting of all that is compared in the same rounds.
type star struct {
	group    string
	op       op
	at       float64
	inFlight int
}

// wants tells whether the subject is to be measured here.
func (b *bench) wants(s star, subject string) bool {
	return b.cells == nil || b.cells.MatchString(fmt.Sprintf("%s/%s/%v/%d/%s", s.group, s.op, s.at, s.inFlight, subject))
}

// compare measures the subjects side by side: each of them runs for a segment, one after the other, in every round. Those
// that do not have the op are left out.
func (b *bench) compare(s star, c setting, subjects ...subject) {
	b.Helper()
	var cells []cell
	for _, one := range subjects {
		if !b.wants(s, one.name) {
			continue
		}
		opened, err := one.open(c)
		must(b, err)
		defer opened.close()
		callers, err := callersOf(opened, s.op, s.inFlight)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil:
			b.Fatalf("%s: %v", one.name, err)
		default:
			cells = append(cells, cell{one.name, callers})
		}
	}
	b.rounds(s, cells)
}

func callersOf(s site, o op, n int, cookies ...string) ([]caller, error) {
	var callers []caller
	for i := range n {
		own := cookies[i*len(cookies)/n : (i+1)*len(cookies)/n]
		call, err := s.caller(o, own...)
		if err != nil {
			return nil, err
		}
		callers = append(callers, call)
	}
	return callers, nil
}

func (b *bench) rounds(s star, cells []cell) {
	b.Helper()
	if len(cells) == 0 {
		return
	}
	began := time.Now()
	times := make([]Time, len(cells))
	for i, c := range cells {
		times[i] = Time{Group: s.group, Op: string(s.op), At: s.at, InFlight: s.inFlight, Subject: c.subject}
		b.sample(c, nil) // connections, pools, caches
	}
	stop := b.startProfile()
	for round := range b.options.rounds {
		for i := range cells {
			i = (i + round) % len(cells) // nobody comes always after the same one
			b.sample(cells[i], &times[i])
		}
	}
	stop()
	for i := range times {
		times[i].Allocs /= float64(b.options.rounds)
		times[i].Bytes /= float64(b.options.rounds)
	}
	b.data.Times = append(b.data.Times, times...)
	b.progress("%-9s %-9s %9v, %3d in flight: %2d subjects in %v", s.group, s.op, s.at, s.inFlight, len(cells), time.Since(began).Round(10*time.Millisecond))
}

// sample lets c run for a segment and adds what it measures to t.
func (b *bench) sample(c cell, t *Time) {
	b.Helper()
	runtime.GC() // each subject pays for its own garbage
	var over atomic.Bool
	var done atomic.Int64
	errs := make([]error, len(c.callers))
	var running sync.WaitGroup
	before := usage()
	timer := time.AfterFunc(b.segment, func() { over.Store(true) })
	for i, call := range c.callers {
		running.Go(func() {
			n := int64(0)
			for errs[i] == nil && (n == 0 || !over.Load()) {
				errs[i] = call()
				n++
			}
			done.Add(n)
		})
	}
	running.Wait()
	after := usage()
	timer.Stop()
	if err := errors.Join(errs...); err != nil {
		b.Fatalf("%s: %v", c.subject, err)
	}
	if t == nil {
		return
	}
	n := done.Load()
	t.NS = append(t.NS, int64(after.wall.Sub(before.wall))/n)
	t.CPU = append(t.CPU, int64(after.cpu-before.cpu)/n)
	t.Allocs += float64(after.allocs-before.allocs) / float64(n)
	t.Bytes += float64(after.bytes-before.bytes) / float64(n)
}

// used is what this process has used until now.
type used struct {
	wall          time.Time
	cpu           time.Duration
	allocs, bytes uint64
}

func usage() used {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it cannot fail
	return used{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs, m.TotalAlloc}
}

func (b *bench) startProfile() (stop func()) {
	if b.profile == "" {
		return func() {}
	}
	f, err := os.Create(b.profile)
	must(b, err)
	must(b, pprof.StartCPUProfile(f))
	return func() {
		pprof.StopCPUProfile()
		must(b, f.Close())
	}
}
