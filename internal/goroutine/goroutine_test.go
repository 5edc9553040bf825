package goroutine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// begin starts a goroutine that waits for the channel.
func begin(until <-chan struct{}) (id ID, ended <-chan struct{}) {
	begun, done := make(chan ID), make(chan struct{})
	go func() {
		defer close(done)
		begun <- Current()
		<-until
	}()
	return <-begun, done
}

func TestRunning(t *testing.T) {
	var c Census
	for range 10 {
		until := make(chan struct{})
		first, firstDone := begin(until)
		other := make(chan struct{})
		second, secondDone := begin(other)
		if len(c.Running([]ID{first})) != 1 || len(c.Running([]ID{second, first})) != 2 {
			t.Fatal("a goroutine that waits is said to have ended")
		}
		close(until)
		<-firstDone
		if len(c.Running([]ID{first})) > 0 {
			t.Fatal("a goroutine that has ended is said to run")
		}
		if !slices.Equal(c.Running([]ID{first, second}), []ID{second}) {
			t.Fatal("of two goroutines the one that waits is said to have ended")
		}
		close(other)
		<-secondDone
		if len(c.Running([]ID{first, second})) > 0 {
			t.Fatal("one of two goroutines that have ended is said to run")
		}
	}
	looks := c.begun.Load()
	if len(c.Running([]ID{Current()})) == 0 {
		t.Error("the goroutine that asks is said to have ended")
	}
	if got := c.begun.Load() - looks; got != attempts {
		t.Errorf("%d looks at one that is found, want %d, because it may be about to end", got, attempts)
	}
}

func TestRunningAtWork(t *testing.T) {
	var c Census
	var stop atomic.Bool
	begun, ended := make(chan ID), make(chan struct{})
	go func() {
		defer close(ended)
		begun <- Current()
		for !stop.Load() {
			runtime.Gosched()
		}
	}()
	id := <-begun
	if len(c.Running([]ID{id})) == 0 {
		t.Error("a goroutine that is at work is said to have ended")
	}
	stop.Store(true)
	<-ended
}

// The looks of a program with many goroutines take a tenth of its time, whoever asks.
func TestLooksAreRare(t *testing.T) {
	c := Census{next: time.Now().Add(time.Minute)}
	until := make(chan struct{})
	id, ended := begin(until)
	close(until)
	<-ended
	if left := c.Running([]ID{id}); len(left) != 1 || c.begun.Load() > 0 {
		t.Errorf("%v run after %d looks, want no look", left, c.begun.Load())
	}
	c.look(false)
	began := time.Now()
	c.begun.Store(0)
	c.next = began.Add(maxWait / 10)
	if c.look(false); time.Since(began) < maxWait/10 || c.begun.Load() != 1 {
		t.Errorf("the look comes after %v", time.Since(began))
	}
}

// Those who ask at the same time share a look.
func TestLooksAreShared(t *testing.T) {
	var c Census
	until := make(chan struct{})
	running, ended := begin(until)
	c.look(false)
	var askers sync.WaitGroup
	c.mu.Lock() // nobody gets on
	var asking sync.WaitGroup
	for range 50 {
		asking.Add(1)
		askers.Go(func() {
			asking.Done()
			if len(c.Running([]ID{running})) == 0 {
				t.Error("it is said to have ended")
			}
		})
	}
	asking.Wait()
	c.mu.Unlock()
	askers.Wait()
	if n := c.begun.Load(); n > 10 {
		t.Errorf("%d looks for 50 who ask at once", n)
	}
	close(until)
	<-ended
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Census
		var askers sync.WaitGroup
		until := make(chan struct{})
		id, ended := begin(until)
		for range 10 {
			askers.Go(func() {
				if len(c.Running([]ID{id})) == 0 {
					t.Error("it is said to have ended")
				}
			})
		}
		askers.Wait()
		close(until)
		<-ended
		if len(c.Running([]ID{id})) > 0 {
			t.Error("it is said to run")
		}
	})
}

// GOTRACEBACK adds to the first line of a stack.
func TestTraceback(t *testing.T) {
	if os.Getenv("GOTRACEBACK") == "crash" {
		TestRunning(t)
		id := Current()
		for range 100 {
			runtime.Gosched()
			if got := Current(); got != id {
				t.Errorf("%d, want %d", got, id)
			}
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestTraceback")
	cmd.Env = append(os.Environ(), "GOTRACEBACK=crash")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"goroutine 18 [chan receive]:\nmain.f()":                               "18 true",
		"goroutine 7 gp=0xc000002380 m=0 mp=0x6b7c00 [running]:":               "7 true",
		"created by main.main in goroutine 1":                                  "0 false",
		"goroutine x [running]:":                                               "0 false",
		"goroutine 18446744073709551615 [select (no cases), 10 minutes]:\nx()": "18446744073709551615 true",
	} {
		id, ok := parse([]byte(line))
		if got := fmt.Sprint(id, " ", ok); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func BenchmarkCurrent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Current()
	}
}

// BenchmarkLook is what a look costs the program, without what the Census waits after it.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			until := make(chan struct{})
			var ready, all sync.WaitGroup
			for range n {
				ready.Add(1)
				all.Go(func() { deep(20, func() { ready.Done(); <-until }) })
			}
			ready.Wait()
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				var c Census
				if c.look(false) == nil {
					b.Fatal("too many")
				}
			}
			close(until)
			all.Wait()
		})
	}
}

func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}
