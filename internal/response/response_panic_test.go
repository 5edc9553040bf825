package response_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
)

func TestPanic(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		fmt.Fprint(w, "page")
	}
	recovering := func(next http.HandlerFunc, want any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if v := recover(); v != want {
					panic(fmt.Sprintf("recovered %v, want %v", v, want))
				}
				http.Error(w, "recovered", 500)
			}()
			next(w, r)
		}
	}

	t.Run("W8 a handler's panic commits nothing, what is in the header goes out with an outer recovery", func(t *testing.T) {
		for _, tr := range transports {
			c := &committer{}
			got := tr.do(t, recovering(wrap(c, func(http.ResponseWriter, *http.Request) {
				c.rw.Header().Set("Set-Cookie", "session=renewed")
				panic("handler")
			}), "handler"), "GET")
			if got.status != 500 || got.body != "recovered\n" || got.header.Get("Set-Cookie") != "session=renewed" {
				t.Errorf("%s: got %+v", tr.name, got)
			}
			if n := c.commits.Load(); n != 0 {
				t.Errorf("%s: %d commits", tr.name, n)
			}
		}
	})
	panics := []struct {
		desc  string
		make  func() *committer
		fails int32
	}{
		{"Commit", func() *committer { return &committer{commit: func() error { panic("hook") }} }, 0},
		{"Fail", func() *committer {
			return &committer{err: errSave, fail: func(w http.ResponseWriter) { fmt.Fprint(w, "half"); panic("hook") }}
		}, 1},
	}
	for _, p := range panics {
		t.Run("W7 "+p.desc+" panics, recovered outside", func(t *testing.T) {
			for _, tr := range transports {
				c := p.make()
				got := tr.do(t, recovering(wrap(c, page), "hook"), "GET")
				if got.status != 500 || got.body != "recovered\n" || c.commits.Load() != 1 || c.fails.Load() != p.fails {
					t.Errorf("%s: got %+v after %d commits, %d answers", tr.name, got, c.commits.Load(), c.fails.Load())
				}
			}
		})
		t.Run("W7 "+p.desc+" panics, recovered inside", func(t *testing.T) {
			for _, tr := range transports {
				c := p.make()
				got := tr.do(t, wrap(c, recovering(page, "hook")), "GET")
				want := http.Header{"Content-Length": {"0"}, "X-Content-Type-Options": {"nosniff"}}
				if p.fails > 0 {
					delete(want, "X-Content-Type-Options") // set after the failure
				}
				if got.status != 500 || got.body != "" || !maps.EqualFunc(got.header, want, slices.Equal) {
					t.Errorf("%s: got %+v, want %v", tr.name, got, want)
				}
				if c.commits.Load() != 1 || c.fails.Load() != p.fails || c.w.Err() == nil {
					t.Errorf("%s: %d commits, %d answers, Err is %v", tr.name, c.commits.Load(), c.fails.Load(), c.w.Err())
				}
			}
		})
	}
}
