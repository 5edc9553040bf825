package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
	answers := map[string]error{
		"+": protocol.ErrNotFound, "#": context.Canceled, "~": context.DeadlineExceeded, "!": errBroken,
		"-": fmt.Errorf("%w: connection refused", protocol.ErrUnavailable),
	}
	for _, cause := range []string{"OOM", "WRONGTYPE"} {
		answers["-"+cause] = fmt.Errorf("%w: %s the server's reason", protocol.ErrUnavailable, cause)
	}
	for _, row := range []struct{ name, calls, told string }{
		{"F12 it answers", "read+ write+ create+ delete+ 10s read+", ""},
		{"F12 it is silent, and answers", "read- 10s read+", "Unavailable first, Recovered from no answer"},
		{"F12 it is silent, and answers a write", "read- 10s write+", "Unavailable first, Recovered from no answer"},
		{"F12 it is silent, and answers a deletion", "read- 10s delete+", "Unavailable first, Recovered from no answer"},
		{"F12 it is silent for a while", "read- 1s write- 1s read- 1s delete- 10s read+ read+", "Unavailable first, Unavailable, Unavailable, Unavailable, Recovered from no answer, 3 more in 3s"},
		{"F5 F12 it refuses writes, and reads go on", "write- 10s read+ write- 10s read+ write- 10s read+", "Unavailable first, Unavailable, Unavailable"},
		{"F5 F12 it refuses writes, and deletions go on", "write- 10s delete+ create- 10s delete+", "Unavailable first, Unavailable"},
		{"F5 F12 it refuses writes, and takes them again", "write- 10s read+ create+ write+", "Unavailable first, Recovered from no answer"},
		{"F5 F12 it refuses deletions, and takes writes", "delete- 10s write+", "Unavailable first, Recovered from no answer"},
		{"F12 it refuses writes, and is silent then: that is one outage, and a read ends it", "write- read- 10s read+", "Unavailable first, Unavailable, Recovered from no answer, 1 more in 0s"},
		{"F12 it is silent, and refuses writes then", "read- write- 10s read+ write-", "Unavailable first, Unavailable, Recovered from no answer, 1 more in 0s, Unavailable first"},
		{"F12 two outages", "read- 10s read+ read- 10s read+", "Unavailable first, Recovered from no answer, Unavailable first, Recovered from no answer"},
		{"F1 a cancelled request neither begins nor ends one", "read# write# read- 10s read# write# read- 10s read+", "Unavailable first, Unavailable, Recovered from no answer, 1 more in 10s"},
		{"F1 a deadline is one", "read~ 10s read+ write~ 10s write+", "Unavailable first, Recovered from no answer, Unavailable first, Recovered from no answer"},
		{"F12 an error of no type is an answer", "read- 10s read!", "Unavailable first, Recovered from no answer"},

		{"F12 a deadline and a refused connection are one cause", "read~ read- write~", "Unavailable first, Unavailable, Unavailable"},
		{"F12 one key fails among good ones", "read-WRONGTYPE read+ read-WRONGTYPE read+ 9s read-WRONGTYPE 9s read+ 1s read+", "Unavailable first, Unavailable, Unavailable, Recovered from WRONGTYPE, 2 more in 9s"},
		{"F12 answers end an outage when its cause has not come for ten seconds, however long ago they began", "read- read+ 9s read+ 9s read+", "Unavailable first, Recovered from no answer"},
		{"F12 an outage of nobody's is told when the next one calls", "read- 1000s read- 10s read+", "Unavailable first, Unavailable, Recovered from no answer, 1 more in 16m40s"},
		{"F5 F12 each cause has a beginning and an end", "write-OOM 5s read- 5s write-OOM 5s read+ 5s read+ write+", "Unavailable first, Unavailable first, Unavailable, Recovered from no answer, Recovered from OOM, 1 more in 10s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newMonitored()
				for call := range strings.FieldsSeq(row.calls) {
					if d, err := time.ParseDuration(call); err == nil {
						time.Sleep(d)
						continue
					}
					at := strings.IndexAny(call, "+-#~!")
					kind, answer := call[:at], answers[call[at:]]
					err := p.call(kind, answer)
					if answer != protocol.ErrNotFound && !errors.Is(err, answer) || errors.Is(err, protocol.ErrUnavailable) != strings.ContainsAny(call, "-~") {
						t.Errorf("%s: %v", call, err)
					}
				}
				if got := p.told(); got != row.told {
					t.Errorf("told %q, want %q", got, row.told)
				}
			})
		})
	}

	t.Run("F12 of every five calls, with and without ten seconds of quiet, each outage begins once and ends once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := []string{"read", "write", "delete"}
			for n := range 7 * 7 * 7 * 7 * 7 {
				p := newMonitored()
				var trace []string
				outage, quiet := "", false
				for ; len(trace) < 5; n /= 7 {
					if n%7 == 6 {
						time.Sleep(10 * time.Second)
						trace, quiet = append(trace, "quiet"), true
						continue
					}
					kind, fails := calls[n%7%3], n%7 >= 3
					trace = append(trace, fmt.Sprint(kind, " ", !fails))
					want := ""
					switch {
					case fails:
						p.call(kind, answers["-"])
						if want = "Unavailable"; outage == "" {
							want, outage = "Unavailable first", "of writes"
						}
						if kind == "read" {
							outage = "of all"
						}
						quiet = false
					default:
						p.call(kind, answers["+"])
						if quiet && (outage == "of all" || outage != "" && kind == "write") {
							want, outage = "Recovered", ""
						}
					}
					if got, _, _ := strings.Cut(p.told(), " from"); got != want {
						t.Fatalf("after %q: %q, want %q", trace, got, want)
					}
				}
			}
		})
	})

	t.Run("F12 of many calls at once one begins the outage and one ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for range 20 {
				p := newMonitored()
				for _, want := range []string{"Unavailable first", "Recovered"} {
					p.err = answers["+"]
					if want == "Unavailable first" {
						p.err = answers["-"]
					}
					var all sync.WaitGroup
					for range 20 {
						s := &protocol.Session{}
						s.Init(p.engine, &p.app)
						all.Go(func() { _ = s.Load(context.Background(), []string{"old"}, protocol.AtOnce) })
					}
					all.Wait()
					if got := strings.Count(p.app.take(), want); got != 1 {
						t.Fatalf("%s is told %d times", want, got)
					}
					time.Sleep(10 * time.Second)
				}
			}
		})
	})

	t.Run("F12 a thousand causes are sixteen outages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newMonitored()
			for i := range 1000 {
				letters := strings.Map(func(r rune) rune { return r - '0' + 'A' }, fmt.Sprintf("%03d", i))
				p.call("read", fmt.Errorf("%w: %s", protocol.ErrUnavailable, letters))
			}
			if got := strings.Count(p.told(), "first"); got != 16 {
				t.Errorf("%d begin", got)
			}
			time.Sleep(10 * time.Second)
			p.call("read", answers["+"])
			told := p.told()
			if got := strings.Count(told, "Recovered"); got != 16 || !strings.Contains(told, "Recovered from other, 984 more in 0s") {
				t.Errorf("%d end: %s", got, told)
			}
		})
	})
}

func TestUnknownTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, tokens, told string }{
		{"F15 ninety-nine unknown tokens within a minute are no burst", "99 60s 99", ""},
		{"F15 the hundredth within a minute is told", "50 59s 50", "ManyUnknown 100"},
		{"F15 tokens before a minute that is a burst are not counted, unless that minute was one too", "99 60s 100", "ManyUnknown 100"},
		{"F15 a burst that goes on is told once a minute, with all since the last time", "1000 60s 1000 60s 150", "ManyUnknown 100, ManyUnknown 1000, ManyUnknown 1000"},
		{"F15 what was left of a burst is forgotten after a quiet minute", "1000 60s 10 60s 100", "ManyUnknown 100, ManyUnknown 100"},
		{"F15 what was left of a burst is forgotten after a minute without any", "1000 120s 100", "ManyUnknown 100, ManyUnknown 100"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newMonitored()
				p.err = protocol.ErrNotFound
				for step := range strings.FieldsSeq(row.tokens) {
					if d, err := time.ParseDuration(step); err == nil {
						time.Sleep(d)
						continue
					}
					n, _ := strconv.Atoi(step)
					for range n {
						s := &protocol.Session{}
						s.Init(p.engine, &p.app)
						if err := s.Load(context.Background(), []string{"old"}, protocol.AtOnce); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := p.app.take(); got != row.told {
					t.Errorf("told %q, want %q", got, row.told)
				}
			})
		})
	}
}
