package sessions_test

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, storetest.Options{
		New:       func(*testing.T) sessions.Store { return new(sessions.MemoryStore) },
		Neighbour: func(*testing.T) sessions.Store { return new(sessions.MemoryStore) },
		Wrap:      synctest.Test,
	})
}

// A million keys (with -short: a fifth) that live for a second each, a thousand at a time, beside a
// thousand that stay: the store gives the memory of the former back by itself
// and none of the latter is lost.
func TestMemoryStoreStaysBounded(t *testing.T) {
	const lasting, wave, size = 1000, 1000, 100
	waves := 1000
	if testing.Short() {
		waves = 200
	}
	var store sessions.MemoryStore
	before := heap()
	synctest.Test(t, func(t *testing.T) {
		ctx, data := t.Context(), make([]byte, size)
		for i := range lasting {
			kit.Must(t, store.Create(ctx, "lasting"+strconv.Itoa(i), data, 24*time.Hour))
		}
		for i := range waves {
			for j := range wave {
				kit.Must(t, store.Create(ctx, "brief"+strconv.Itoa(i*wave+j), data, time.Second))
			}
			time.Sleep(time.Second)
		}
		for i := range lasting {
			if _, _, err := store.Load(ctx, "lasting"+strconv.Itoa(i), 0); err != nil {
				t.Fatalf("lasting%d: %v", i, err)
			}
		}
	})
	// Two thousand keys are live at most, so four thousand are held at most:
	// under a megabyte. All of them would be over forty.
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the store holds %d MB after %d brief sessions", grown>>20, waves*wave)
	}
	runtime.KeepAlive(&store)
}

// The one allocation is the copy that is handed out.
func TestMemoryStoreLoadAllocates(t *testing.T) {
	var store sessions.MemoryStore
	kit.Must(t, store.Create(t.Context(), "k", make([]byte, 300), time.Hour))
	for _, touch := range []time.Duration{0, time.Hour} {
		got := testing.AllocsPerRun(100, func() {
			if _, _, err := store.Load(t.Context(), "k", touch); err != nil {
				t.Error(err)
			}
		})
		if got != 1 {
			t.Errorf("Load with touch %v: %v allocations, want 1", touch, got)
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
