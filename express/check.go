package express

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// A Report is what [Check] has found.
type Report struct {
	Sessions  int      // that are stored
	Misfits   []Misfit // why some of them cannot be used, the most frequent reason first
	Largest   int      // the size of the largest in bytes
	LongestID int      // the length of the longest sid in bytes
	NoExpiry  int      // that never end by themselves
}

// A Misfit is a reason why sessions cannot be used. It names the field and the kind of its value, and nothing else
// of what is stored.
type Misfit struct {
	Reason   string
	Sessions int    // that cannot be used for this reason
	Example  string // the first four bytes of the sid of one of them
}

// Check counts the stored sessions that a Manager of [New]'s with T and o cannot use, and says why: a value that does
// not fit T, a record over MaxSize or without a cookie object. Such a Manager decodes them, so that it loads what passes
// here. Check writes nothing and restarts no expiry. It does not need o.Secrets.
//
// It reads each session in turn, two commands in one round trip, on every master of a cluster. Sessions that come or
// go meanwhile may be missing. Timeout bounds each step, ctx the whole; with an error the Report is of what was read
// until then. Mistakes in T are an error as in New.
func Check[T any](ctx context.Context, rdb redis.UniversalClient, o Options) (Report, error) {
	c := &checker{RedisStore: o.store(rdb)}
	cfg := o.config()
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.OnEvent = func(_ context.Context, e sessions.Event) {
		if e.Kind == sessions.EventUndecodable {
			c.unreadable = e.Err
		}
	}
	m, err := sessions.New[T](c, cfg)
	if err != nil {
		return Report{}, err
	}
	err = c.run(ctx, func(sid string) (found bool, err error) {
		loaded, err := m.Load(ctx, sid)
		return err == nil && !m.Info(loaded).New, err
	})
	slices.SortFunc(c.Misfits, func(a, b Misfit) int {
		return cmp.Or(b.Sessions-a.Sessions, strings.Compare(a.Reason, b.Reason))
	})
	return c.Report, err
}

// A checker is the store of a Manager that decodes one record after the other.
type checker struct {
	*sessions.RedisStore
	Report
	data       []byte // the record at hand
	left       time.Duration
	unreadable error // what the Manager has said of it
}

// Load implements [sessions.Store] with the record at hand: so the Manager restarts no expiry.
func (c *checker) Load(context.Context, string, time.Duration) ([]byte, time.Duration, error) {
	return c.data, c.left, nil
}

var errID = errors.New("the sid is empty")

// run reads all records. With load the Manager says whether a session is in the one at hand.
func (c *checker) run(ctx context.Context, load func(sid string) (found bool, err error)) error {
	for sid, err := range c.Keys(ctx) {
		if err == nil {
			c.data, c.left, err = c.RedisStore.Load(ctx, sid, 0)
		}
		if errors.Is(err, sessions.ErrNotFound) { // it has ended meanwhile
			continue
		}
		c.unreadable = nil
		found := true
		if _, _, ok := (layout{}).Parse(sid); redis.HasErrorPrefix(err, "WRONGTYPE") {
			c.unreadable, c.left = errors.New("what is stored is no string"), 0
		} else if err != nil {
			return err
		} else if !ok {
			c.unreadable = errID
		} else if found, err = load(sid); err != nil && c.unreadable == nil {
			return err
		}
		if found || c.unreadable != nil { // else it is what Node, too, takes for no session
			c.count(sid)
		}
	}
	return nil
}

func (c *checker) count(sid string) {
	c.Sessions++
	c.Largest = max(c.Largest, len(c.data))
	c.LongestID = max(c.LongestID, len(sid))
	if c.left == math.MaxInt64 {
		c.NoExpiry++
	}
	if c.unreadable == nil {
		return
	}
	why := reason(c.unreadable)
	i := slices.IndexFunc(c.Misfits, func(m Misfit) bool { return m.Reason == why })
	if i < 0 {
		i = len(c.Misfits)
		c.Misfits = append(c.Misfits, Misfit{Reason: why, Example: sid[:min(len(sid), 4)]})
	}
	c.Misfits[i].Sessions++
}

var where = regexp.MustCompile(` at byte \d+`)

// reason is what errors of one kind have in common.
func reason(err error) string {
	if errors.Is(err, sessions.ErrTooLarge) {
		return "the record is larger than MaxSize"
	}
	if broken, ok := errors.AsType[*sessions.DecodeError](err); ok {
		err = broken.Err // without the sid
	}
	return where.ReplaceAllString(strings.TrimPrefix(err.Error(), "sessions: "), "")
}

// String is a line that sums up, and one for each Misfit.
func (r Report) String() string {
	if r.Sessions == 0 {
		return "no sessions: are the database and Prefix those of Node?\n"
	}
	bad := 0
	for _, m := range r.Misfits {
		bad += m.Sessions
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d sessions, %d do not fit; the largest has %d bytes, the longest sid %d", r.Sessions, bad, r.Largest, r.LongestID)
	if r.NoExpiry > 0 {
		fmt.Fprintf(&b, "; %d never end", r.NoExpiry)
	}
	b.WriteByte('\n')
	for _, m := range r.Misfits {
		fmt.Fprintf(&b, "%7d (%q…): %s\n", m.Sessions, m.Example, m.Reason)
	}
	return b.String()
}
