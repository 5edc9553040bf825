package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A bench measures, and keeps what it finds.
type bench struct {
	tb      testing.TB
	data    *Data
	redis   string // the address of the server that everything runs on
	rounds  int
	segment time.Duration // how long each subject runs in a round
}

// A group is a set of measurements in which one thing varies.
const (
	byOp       = "op"
	byPayload  = "payload"  // bytes
	byInFlight = "inflight" // requests
	byStored   = "stored"   // sessions
	byNetwork  = "network"  // microseconds of a round trip
	overTheWeb = "http"
	onNewer    = "on "   // a server with IFEQ
	byOwned    = "owned" // sessions of one user
)

const (
	centreSize     = 300
	centreInFlight = 64
)

// runner is a subject that is open, with its callers.
type runner struct {
	name    string
	callers []caller
	time    Time
}

// times measures subjects side by side: in each round each of them runs for a segment, in turn.
func (b *bench) times(group string, o op, at float64, inFlight int, s setting, subjects []subject, cookies ...string) {
	s.Conns = inFlight
	var runners []*runner
	for _, sub := range subjects {
		site, err := sub.open(s)
		if err != nil {
			b.tb.Fatalf("%s: %v", sub.name, err)
		}
		defer site.close()
		r := &runner{name: sub.name, time: Time{Group: group, Op: string(o), At: at, InFlight: inFlight, Subject: sub.name}}
		for range inFlight {
			c, err := site.caller(o, cookies...)
			if errors.Is(err, errors.ErrUnsupported) {
				break
			} else if err != nil {
				b.tb.Fatalf("%s, %s: %v", sub.name, o, err)
			}
			r.callers = append(r.callers, c)
		}
		if len(r.callers) == inFlight {
			runners = append(runners, r)
		}
	}
	for round := range b.rounds + 1 {
		for _, r := range runners {
			wall, cpu, err := r.run(b.segment)
			if err != nil {
				b.tb.Fatalf("%s, %s: %v", r.name, o, err)
			}
			if round > 0 { // the first one warms up
				r.time.NS, r.time.CPU = append(r.time.NS, wall), append(r.time.CPU, cpu)
			}
		}
	}
	for _, r := range runners {
		var err error
		if r.time.Allocs, r.time.Bytes, err = allocations(r.callers[0]); err != nil {
			b.tb.Fatalf("%s, %s: %v", r.name, o, err)
		}
		b.data.Times = append(b.data.Times, r.time)
	}
	b.tb.Logf("%s %v, %s, %d in flight", group, at, o, inFlight)
}

// run makes requests for so long, and returns the wall time and the CPU time of this process by request.
func (r *runner) run(segment time.Duration) (wall, cpu int64, err error) {
	var all sync.WaitGroup
	counts, errs := make([]int, len(r.callers)), make([]error, len(r.callers))
	began, before := time.Now(), cpuTime()
	end := began.Add(segment)
	for i, call := range r.callers {
		all.Go(func() {
			for errs[i] == nil && time.Now().Before(end) {
				errs[i] = call()
				counts[i]++
			}
		})
	}
	all.Wait()
	n := 0
	for _, c := range counts {
		n += c
	}
	return int64(time.Since(began)) / int64(n), int64(cpuTime()-before) / int64(n), errors.Join(errs...)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// allocations is what one request allocates, and how many bytes.
func allocations(call caller) (allocs, bytes float64, err error) {
	const n = 200
	var before, after runtime.MemStats
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runtime.ReadMemStats(&before)
	for range n {
		if err := call(); err != nil {
			return 0, 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / n), float64(after.TotalAlloc-before.TotalAlloc) / n, nil
}

// costs asks the server what a request of each subject costs it.
func (b *bench) costs(server, addr string, o op, size int, subjects []subject) {
	const n = 500
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	for _, sub := range subjects {
		site, err := sub.open(setting{Redis: addr, Size: size, Conns: 1})
		if err != nil {
			b.tb.Fatalf("%s: %v", sub.name, err)
		}
		call, err := site.caller(o)
		if errors.Is(err, errors.ErrUnsupported) {
			site.close()
			continue
		}
		must(b.tb, err)
		for range 3 { // scripts, connections, what is found out once
			must(b.tb, call())
		}
		ctx := context.Background()
		must(b.tb, rdb.ConfigResetStat(ctx).Err())
		for range n {
			must(b.tb, call())
		}
		c := Cost{Server: server, Op: string(o), Size: size, Subject: sub.name, Commands: map[string]float64{}}
		text, err := rdb.Info(ctx, "commandstats").Result()
		must(b.tb, err)
		for line := range strings.Lines(text) {
			var calls, micros float64
			name, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":")
			if _, err := fmt.Sscanf(rest, "calls=%f,usec=%f", &calls, &micros); err != nil || strings.Contains(name, "|") || name == "info" {
				continue
			}
			if !isScripts(name, text) { // whose time is in that of the script
				c.Commands[name] = calls / n
				c.Micros += micros / n
			}
		}
		b.data.Costs = append(b.data.Costs, c)
		site.close()
	}
	b.tb.Logf("server time of %s, %d bytes, on %s", o, size, server)
}

// isScripts tells whether a command was only called by a script, as far as the statistics say so: where there is a
// script, nobody here sends GET and SET beside it.
func isScripts(name, stats string) bool {
	return strings.Contains(stats, "cmdstat_evalsha:") && (name == "get" || name == "set" || name == "getrange" || name == "pttl")
}

// memory is what a stored session takes in the server, by the difference that many make.
func (b *bench) memory(addr string, size int, subjects []subject) {
	const n = 1000
	ctx := context.Background()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	for _, sub := range subjects {
		site, err := sub.open(setting{Redis: addr, Size: size, Conns: 1})
		must(b.tb, err)
		call, err := site.caller(begun)
		must(b.tb, err)
		must(b.tb, rdb.FlushAll(ctx).Err())
		must(b.tb, call())
		before := used(b.tb, rdb)
		for range n {
			must(b.tb, call())
		}
		m := Memory{Subject: sub.name, Size: size, Used: float64(used(b.tb, rdb)-before) / n}
		key, err := rdb.RandomKey(ctx).Result()
		must(b.tb, err)
		m.Key, err = rdb.MemoryUsage(ctx, key).Result()
		must(b.tb, err)
		m.Value, _ = rdb.StrLen(ctx, key).Result()
		b.data.Memories = append(b.data.Memories, m)
		site.close()
	}
	must(b.tb, rdb.FlushAll(ctx).Err())
	b.tb.Logf("memory of a session of %d bytes", size)
}

func used(tb testing.TB, rdb *redis.Client) int64 {
	text, err := rdb.Info(context.Background(), "memory").Result()
	must(tb, err)
	var n int64
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "used_memory:%d", &n); err == nil {
			break
		}
	}
	return n
}

// cookiesOf are those of n sessions that begin now.
func (b *bench) cookiesOf(sub subject, s setting, n int) []string {
	const workers = 64
	s.Conns = workers
	opened, err := sub.open(s)
	must(b.tb, err)
	defer opened.close()
	site := opened.(*netSite)
	cookies := make([]string, n)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				var err error
				if cookies[i], err = site.visit(); err != nil {
					b.tb.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return cookies
}
