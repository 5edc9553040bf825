package sessions_test

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, storetest.Options{
		New:       func(*testing.T) sessions.Store { return new(sessions.MemoryStore) },
		Neighbour: func(*testing.T) sessions.Store { return new(sessions.MemoryStore) },
		Wrap:      synctest.Test,
	})
}

// A million keys that live for a second each, a thousand at a time, beside a
// thousand that stay: the store gives the memory of the former back by itself
// and none of the latter is lost.
func TestMemoryStoreStaysBounded(t *testing.T) {
	const lasting, waves, wave, size = 1000, 1000, 1000, 100
	var store sessions.MemoryStore
	before := heap()
	synctest.Test(t, func(t *testing.T) {
		ctx, data := t.Context(), make([]byte, size)
		for i := range lasting {
			if err := store.Create(ctx, "lasting"+strconv.Itoa(i), data, 24*time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		for i := range waves {
			for j := range wave {
				if err := store.Create(ctx, "brief"+strconv.Itoa(i*wave+j), data, time.Second); err != nil {
					t.Fatal(err)
				}
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
	// under a megabyte. A million would be over two hundred.
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the store holds %d MB after a million brief sessions", grown>>20)
	}
	runtime.KeepAlive(&store)
}

// The one allocation is the copy that is handed out.
func TestMemoryStoreLoadAllocates(t *testing.T) {
	var store sessions.MemoryStore
	if err := store.Create(t.Context(), "k", make([]byte, 300), time.Hour); err != nil {
		t.Fatal(err)
	}
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
