package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// A oneAnswer is a store that answers everything with one error.
type oneAnswer struct{ err error }

func (e *oneAnswer) Load(context.Context, string, time.Duration) ([]byte, time.Duration, error) {
	return nil, 0, e.err
}
func (e *oneAnswer) Create(context.Context, string, []byte, time.Duration) error { return e.err }
func (e *oneAnswer) Delete(context.Context, string) error                        { return e.err }
func (e *oneAnswer) CompareAndSwap(context.Context, string, []byte, []byte, time.Duration) ([]byte, error) {
	return nil, e.err
}

// A monitored store is one whose health is watched.
type monitored struct {
	oneAnswer
	engine *protocol.Engine
	app    application
}

func newMonitored() *monitored {
	p := &monitored{}
	fx := &fixture{script: &script{memory: &memory{}}}
	p.engine = protocol.New(fx.config("me", p, func() (string, error) { return "new", nil }))
	return p
}

// call sends a command and returns its error. There is a session, as far as it knows.
func (p *monitored) call(kind string, answer error) (err error) {
	s := &protocol.Session{}
	s.Init(p.engine, &p.app)
	s.Key, s.Raw, s.Record, s.InStoreAt = "old", []byte("a"), record.Record{ID: []byte("id"), Created: time.Now()}, time.Now()
	p.err = answer
	switch kind {
	case "read":
		err = s.Touch(context.Background())
	case "write":
		_, err = s.Write(context.Background(), protocol.Change{Composer: &composer{steps: []compose{edit("b")}}})
	case "create":
		err = s.Create(context.Background(), record.Record{ID: []byte("id"), Created: time.Now(), Payload: []byte("a")})
	case "delete":
		_, err = s.Destroy(context.Background())
	default:
		panic(kind)
	}
	return err
}

// told are the notices of outages since the last call.
func (p *monitored) told() string {
	return strings.Trim(strings.ReplaceAll(strings.ReplaceAll(p.app.take(), ", Gone", ""), "Gone", ""), ", ")
}

func TestHealth(t *testing.T) {
	unavailable := fmt.Errorf("%w: OOM", protocol.ErrUnavailable)
	for _, row := range []struct{ name, calls, told string }{
		{"F12 it answers", "read+ write+ create+ delete+", ""},
		{"F12 it is silent, and answers", "read- read+", "Unavailable first, Recovered"},
		{"F12 it is silent, and answers a write", "read- write+", "Unavailable first, Recovered"},
		{"F12 it is silent, and answers a deletion", "read- delete+", "Unavailable first, Recovered"},
		{"F12 it is silent for a while", "read- write- read- delete- read+ read+", "Unavailable first, Unavailable, Unavailable, Unavailable, Recovered"},
		{"F5 F12 it refuses writes, and reads go on", "write- read+ write- read+ write- read+", "Unavailable first, Unavailable, Unavailable"},
		{"F5 F12 it refuses writes, and deletions go on", "write- delete+ create- delete+", "Unavailable first, Unavailable"},
		{"F5 F12 it refuses writes, and takes them again", "write- read+ create+ write+", "Unavailable first, Recovered"},
		{"F5 F12 it refuses deletions, and takes writes", "delete- write+", "Unavailable first, Recovered"},
		{"F12 it refuses writes, and is silent then: that is one outage, and a read ends it", "write- read- read+", "Unavailable first, Unavailable, Recovered"},
		{"F12 it is silent, and refuses writes then", "read- write- read+ write-", "Unavailable first, Unavailable, Recovered, Unavailable first"},
		{"F12 two outages", "read- read+ read- read+", "Unavailable first, Recovered, Unavailable first, Recovered"},
		{"F1 a cancelled request neither begins nor ends one", "read# write# read- read# write# read- read+", "Unavailable first, Unavailable, Recovered"},
		{"F1 a deadline is one", "read~ read+ write~ write+", "Unavailable first, Recovered, Unavailable first, Recovered"},
		{"F12 an error of no type is an answer", "read- read!", "Unavailable first, Recovered"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newMonitored()
			answers := map[byte]error{'+': protocol.ErrNotFound, '-': unavailable, '#': context.Canceled, '~': context.DeadlineExceeded, '!': errBroken}
			for call := range strings.FieldsSeq(row.calls) {
				kind, answer := call[:len(call)-1], answers[call[len(call)-1]]
				err := p.call(kind, answer)
				if answer != protocol.ErrNotFound && !errors.Is(err, answer) || errors.Is(err, protocol.ErrUnavailable) != strings.ContainsAny(call, "-~") {
					t.Errorf("%s: %v", call, err)
				}
			}
			if got := p.told(); got != row.told {
				t.Errorf("told %q, want %q", got, row.told)
			}
		})
	}

	t.Run("F12 of every five calls, each outage begins once and ends once", func(t *testing.T) {
		calls := []string{"read", "write", "delete"}
		answers := []error{protocol.ErrNotFound, unavailable}
		for n := range 6 * 6 * 6 * 6 * 6 {
			p := newMonitored()
			var trace []string
			outage := ""
			for ; len(trace) < 5; n /= 6 {
				kind, answer := calls[n%3], answers[n/3%2]
				trace = append(trace, fmt.Sprint(kind, " ", answer != unavailable))
				p.call(kind, answer)
				want := ""
				switch {
				case answer == unavailable:
					if want = "Unavailable"; outage == "" {
						want, outage = "Unavailable first", "of writes"
					}
					if kind == "read" {
						outage = "of all"
					}
				case outage == "of all", outage != "" && kind == "write":
					want, outage = "Recovered", ""
				}
				if got := p.told(); got != want {
					t.Fatalf("after %q: %q, want %q", trace, got, want)
				}
			}
		}
	})

	t.Run("F12 of many calls at once one begins the outage and one ends it", func(t *testing.T) {
		for range 20 {
			p := newMonitored()
			for _, want := range []string{"Unavailable first", "Recovered"} {
				p.err = protocol.ErrNotFound
				if want == "Unavailable first" {
					p.err = unavailable
				}
				var all sync.WaitGroup
				for range 20 {
					s := &protocol.Session{}
					s.Init(p.engine, &p.app)
					all.Go(func() { _ = s.Load(context.Background(), []string{"old"}, false) })
				}
				all.Wait()
				if got := strings.Count(p.app.take(), want); got != 1 {
					t.Fatalf("%s is told %d times", want, got)
				}
			}
		}
	})
}
