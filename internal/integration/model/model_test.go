package model_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
)

var (
	opsFlag       = flag.Int("model.ops", 4000, "how many `operations` the model does, at least")
	seedFlag      = flag.Uint64("model.seed", 0, "the `seed` of the run; 0 draws one")
	roundFlag     = flag.Uint64("model.round", 0, "repeat the round of this `seed` and no other")
	processesFlag = flag.Int("model.processes", 4, "how many worker `processes` there are")
	clientsFlag   = flag.Int("model.clients", 2, "how many `clients` a round has in each process")
	lanesFlag     = flag.Int("model.lanes", 16, "how many `rounds` run at once")
	pictureFlag   = flag.String("model.picture", "", "a `file` for porcupine's picture (HTML) of the first violation")
)

// TestMain is also the main function of the worker processes.
func TestMain(m *testing.M) {
	if config := os.Getenv(workerEnv); config != "" {
		if err := work(config, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "model: worker:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	redis.SetLogger(silent{})
	os.Exit(m.Run())
}

// silent is for go-redis, which prints every connection that it loses.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// A run is what all lanes do together.
type run struct {
	*fleet
	seed     uint64
	next     atomic.Int64 // round
	ops      atomic.Int64
	lossy    atomic.Int64 // rounds
	slow     atomic.Int64 // rounds
	failures atomic.Int64
	mu       sync.Mutex
	results  map[string]int
}

// maxFailures ends a run: the first violation is what there is to know.
const maxFailures = 3

// A storm hits all the rounds that are under way: a run has few, and a short one
// has one.
const firstStorm, stormEvery = 20, 400

// maxRound is how long a round may take. A mark ends ten seconds after the
// renewal, and then what it promised: a host that has no time for a round tells
// nothing of that.
const maxRound = 9 * time.Second

func TestModel(t *testing.T) {
	clients := *processesFlag * *clientsFlag
	if *processesFlag < 1 || *clientsFlag < 1 || clients > ownFields {
		t.Fatalf("%d clients in %d processes are not between one and %d", clients, *processesFlag, ownFields)
	}
	t.Run("C1 C4 C5 C7 C9 C10 C14 C15 C16 C18 L7 L12 L20 O6 O8 every history of racing requests has an order that explains it", func(t *testing.T) {
		r := &run{fleet: startFleet(t, *processesFlag), seed: *seedFlag, results: map[string]int{}}
		for r.seed == 0 {
			r.seed = rand.Uint64()
		}
		t.Logf("seed: -model.seed=%d -model.processes=%d -model.clients=%d", r.seed, *processesFlag, *clientsFlag)
		began := time.Now()
		var lanes sync.WaitGroup
		for range *lanesFlag {
			lanes.Go(func() {
				for r.ops.Load() < int64(*opsFlag) && r.failures.Load() < maxFailures && t.Context().Err() == nil {
					r.round(t, int(r.next.Add(1)))
				}
			})
		}
		lanes.Wait()
		took := time.Since(began)
		t.Logf("%d operations in %d rounds, %.0f/s; %d faults and %d storms; replies could get lost in %d rounds; %d were too slow to count",
			r.ops.Load(), r.next.Load(), float64(r.ops.Load())/took.Seconds(), r.struck(), r.storms.Load(), r.lossy.Load(), r.slow.Load())
		t.Logf("how they ended: %v", r.results)
		if r.slow.Load()*10 > r.next.Load() {
			t.Errorf("%d of %d rounds took longer than %v", r.slow.Load(), r.next.Load(), maxRound)
		}
	})
}

// roundSeed draws the seed of the nth round.
func (r *run) roundSeed(n int) uint64 {
	if *roundFlag != 0 {
		return *roundFlag
	}
	return rand.NewPCG(r.seed, uint64(n)).Uint64() | 1
}

// round plays one and checks it.
func (r *run) round(t *testing.T, n int) {
	rd := newRound(r.roundSeed(n), *processesFlag, *clientsFlag)
	fail := func(format string, args ...any) {
		r.failures.Add(1)
		t.Errorf("seed %d, round %d: repeat it with -model.round=%#x -model.processes=%d -model.clients=%d; it has %+v, and %d Managers in each process\n%s",
			r.seed, n, rd.seed, *processesFlag, *clientsFlag, rd.faults, rd.tasks[0].Managers, fmt.Sprintf(format, args...))
	}
	ctx, began := t.Context(), time.Now()
	prefix := fmt.Sprintf("%d.%x:", n, rd.seed)
	m := newManager(r.direct, prefix, 4*time.Second)
	first := op{Process: -1, Client: -1, Verb: "create", Kind: opCreate, Set: []edit{{sharedField, 1}}, Call: clock()}
	ctx, err := m.Load(ctx)
	if err != nil {
		fail("loading nothing: %v", err)
		return
	}
	m.FromContext(ctx).Shared = 1
	if rd.owned {
		m.FromContext(ctx).User, first.Owned = rd.user, true
	}
	out, err := m.Commit(ctx)
	if err != nil {
		fail("creating the session: %v", err)
		return
	}
	first.Return, first.New, first.Session = clock(), out.Token.Reveal(), m.Info(ctx).ID

	var storm sync.WaitGroup
	if n%stormEvery == firstStorm {
		storm.Go(func() { r.storm(t, n/stormEvery%2 == 0) })
	}
	ops, err := r.play(rd, n, prefix, first.New)
	storm.Wait()
	if err != nil {
		fail("%v", err)
		return
	}
	ops = append([]op{first}, ops...)
	unlisted, err := r.unlisted(t.Context(), prefix, rd.user)
	if err != nil {
		fail("the index at the end of the round: %v", err)
		return
	}
	last, records, err := r.lookAround(t.Context(), m, prefix, ops)
	if err != nil {
		fail("at the end of the round: %v", err)
		return
	}
	if time.Since(began) > maxRound {
		r.slow.Add(1)
		return
	}
	ops = append(ops, last...)
	lossy := rd.faults.loses() || rd.crashes || !r.calm(first.Call)
	r.count(ops, lossy)
	problems, picture := check(ops, records, lossy)
	if problems = append(problems, unlisted...); problems != nil {
		fail("%s\n\nthe history:\n%s", strings.Join(problems, "\n"), printHistory(ops))
		r.draw(t, picture)
	}
}

// check is all that is asked of a round.
func check(ops []op, records []record, lossy bool) (problems []string, picture *porcupine.LinearizationInfo) {
	problems = unexpected(ops)
	histories := split(ops, lossy)
	for _, h := range histories {
		if problem, info := checkSession(h); problem != "" {
			problems, picture = append(problems, problem), &info
		}
	}
	return append(problems, checkRecords(histories, ops, records, lossy)...), picture
}

func (r *run) count(ops []op, lossy bool) {
	if lossy {
		r.lossy.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range ops {
		if o.Process >= 0 { // else it is the parent's
			r.ops.Add(1)
			result := o.Err
			switch {
			case o.Kind == opLoad && o.Err == "" && !o.Found:
				result = "none"
			case result == "":
				result = "ok"
			}
			r.results[o.Kind+" "+result]++
		}
	}
}

// draw writes the picture of the first violation.
func (r *run) draw(t *testing.T, picture *porcupine.LinearizationInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *pictureFlag == "" || picture == nil || r.failures.Load() > 1 {
		return
	}
	if err := porcupine.VisualizePath(sessionModel, *picture, *pictureFlag); err != nil {
		t.Errorf("-model.picture: %v", err)
	}
}
