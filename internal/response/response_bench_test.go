package response_test

import (
	"net/http"
	"testing"

	"github.com/typedsessions/sessions/internal/response"
)

// discard is the cheapest inner writer there is.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

type nothing struct{}

func (nothing) Commit(int) error                { return nil }
func (nothing) Fail(http.ResponseWriter, error) {}
func (nothing) Reopen()                         {}
func (nothing) Interim(http.Header) func()      { return nil }

func BenchmarkWriter(b *testing.B) {
	var inner http.ResponseWriter = discard{http.Header{}}
	p := []byte("hello")
	b.Run("response", func(b *testing.B) { // New, the first Write, Finish
		b.ReportAllocs()
		for b.Loop() {
			w := new(response.Writer).Init(inner, nothing{})
			w.Write(p)
			w.Finish()
		}
	})
	b.Run("write", func(b *testing.B) { // every further Write
		b.ReportAllocs()
		w := new(response.Writer).Init(inner, nothing{})
		for b.Loop() {
			w.Write(p)
		}
	})
	b.Run("write/bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			inner.Write(p)
		}
	})
}
