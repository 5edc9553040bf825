package update_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// values are T in the model.
type values struct {
	user, flash string
	views       int
}

func valuesOf(s *kit.Session) values { return values{s.UserID, s.Flash, s.Views} }

// A modelled request runs verbs, changes and Updates in some order while another
// process writes the same session, beside a model of what must come of it:
// records, what the request has loaded, *T.
type modelled struct {
	*sessions.Manager[kit.Session]
	other *sessions.Manager[kit.Session]
	t     *testing.T
	rnd   *rand.Rand
	w     http.ResponseWriter
	ctx   context.Context
	log   []string
	wrong []string

	token      string // of the session, as the client will have it
	stored     bool   // in the request's eyes
	record     *values
	base, live values
	gone, sent bool
	id         string // once it is known
	before     string // the token that came
}

func newModelled(t *testing.T, seed uint64) *modelled {
	q := &modelled{t: t, rnd: rand.New(rand.NewPCG(seed, 2))}
	cfg := sessions.Config{Codec: []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}[q.rnd.IntN(2)]}
	store := kit.Memory()
	q.Manager, q.other = kit.New[kit.Session](t, store, cfg), kit.New[kit.Session](t, store, cfg)
	return q
}

func (q *modelled) note(format string, args ...any) {
	q.log = append(q.log, fmt.Sprintf(format, args...))
}

func (q *modelled) say(format string, args ...any) {
	q.wrong = append(q.wrong, fmt.Sprintf(format, args...))
}

// want compares an error with the model's.
func (q *modelled) want(verb string, got, want error) {
	q.note("%s = %v, by the model %v; *T %v", verb, got, want, q.live)
	if !errors.Is(got, want) {
		q.say("%s = %v, by the model %v", verb, got, want)
	}
}

// merged is what a save makes of what is stored: a field changed here wins.
func (q *modelled) merged() values {
	v := *q.record
	if q.live.user != q.base.user {
		v.user = q.live.user
	}
	if q.live.flash != q.base.flash {
		v.flash = q.live.flash
	}
	if q.live.views != q.base.views {
		v.views = q.live.views
	}
	return v
}

// write is a save: of *T as it is, or as update leaves it. It says what the
// verb returns.
func (q *modelled) write(always bool, update func(v *values)) error {
	next := q.live
	switch {
	case q.gone:
		return sessions.ErrGone
	case !q.stored && q.sent && (update != nil || always || q.live != values{}):
		return sessions.ErrCommitted
	case !q.stored:
		if update != nil {
			update(&next)
		}
		if next == (values{}) && !always {
			q.live = next
			return nil
		}
		q.stored, q.token, q.id = true, "", ""
		q.put(next)
		return nil
	case !always && update == nil && q.live == q.base:
		return nil
	case q.record == nil:
		q.gone = true
		return sessions.ErrGone
	}
	next = q.merged()
	if update != nil {
		update(&next)
	}
	q.put(next)
	return nil
}

func (q *modelled) put(v values) {
	q.live, q.base, q.record = v, v, &v
}

// step runs one step at random, in the library and in the model.
func (q *modelled) step() {
	ctx := q.ctx
	s := q.FromContext(ctx)
	switch q.rnd.IntN(14) {
	case 0, 1:
		v := q.rnd.IntN(100)
		switch q.rnd.IntN(3) {
		case 0:
			s.UserID, q.live.user = fmt.Sprint(v), fmt.Sprint(v)
		case 1:
			s.Flash, q.live.flash = fmt.Sprint(v), fmt.Sprint(v)
		case 2:
			s.Views, q.live.views = v, v
		}
		q.note("a change: %v", q.live)
	case 2, 3, 4:
		by, flash := q.rnd.IntN(3), fmt.Sprint("u", q.rnd.IntN(100))
		change := q.rnd.IntN(2) == 0
		got := q.Update(ctx, func(s *kit.Session) error {
			s.Views += by
			if change {
				s.Flash = flash
			}
			return nil
		})
		q.want(fmt.Sprint("Update by ", by), got, q.write(false, func(v *values) {
			v.views += by
			if change {
				v.flash = flash
			}
		}))
	case 5:
		if q.stored && q.record == nil {
			return // a refusal and ErrGone are both true
		}
		panics := q.rnd.IntN(2) == 0
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = p.(error)
				}
			}()
			return q.Update(ctx, func(s *kit.Session) error {
				*s = kit.Session{UserID: "ruin", Flash: "ruin", Views: 9999}
				if panics {
					panic(io.EOF)
				}
				return io.EOF
			})
		}()
		want := io.EOF
		switch {
		case q.gone:
			want = sessions.ErrGone
		case !q.stored && q.sent:
			want = sessions.ErrCommitted
		}
		q.want(fmt.Sprint("Update that fails, panicking ", panics), err, want)
	case 6:
		q.want("Save", q.Save(ctx), q.write(false, nil))
	case 7:
		if q.sent && q.stored && !q.gone {
			return // a renewal is ErrCommitted then, and stops the saves: other tests
		}
		got := q.Renew(ctx)
		was := q.stored
		q.want("Renew", got, q.write(was, nil))
		if got == nil && was {
			q.token = ""
		}
	case 8:
		if q.sent {
			return
		}
		got := q.SignIn(ctx)
		if q.gone || q.stored && q.record == nil { // it begins a session of its own
			q.gone, q.stored, q.base = false, false, values{}
		}
		q.want("SignIn", got, q.write(true, nil))
		if got == nil {
			q.token = ""
		}
	case 9:
		q.want("Destroy", q.Destroy(ctx), nil)
		q.stored, q.gone, q.record, q.token, q.id = false, false, nil, "", ""
		q.base, q.live = values{}, values{}
	case 10:
		var want error
		switch {
		case q.gone:
			want = sessions.ErrGone
		case !q.stored:
			q.base, q.live = values{}, values{}
		case q.record == nil:
			q.gone, want = true, sessions.ErrGone
		default:
			q.base, q.live = *q.record, *q.record
		}
		q.want("Reload", q.Reload(ctx), want)
	case 11:
		if q.sent || q.rnd.IntN(4) > 0 {
			return
		}
		// What a commit fails of is the answer, and the request is over.
		if q.gone || q.stored && q.record == nil {
			return
		}
		want := q.write(false, nil)
		q.want("Flush", http.NewResponseController(q.w).Flush(), want)
		q.sent = true
	default:
		q.elsewhere()
	}
}

// elsewhere is a request of the other process.
func (q *modelled) elsewhere() {
	if !q.stored || q.record == nil || q.token == "" {
		return
	}
	v, n := 100+q.rnd.IntN(100), q.rnd.IntN(7)
	_, err := kit.Request(context.Background(), q.other, q.token, func(ctx context.Context) error {
		s := q.other.FromContext(ctx)
		if got := valuesOf(s); got != *q.record {
			q.say("the other process finds %v, by the model %v", got, *q.record)
		}
		switch n {
		case 0:
			s.UserID = fmt.Sprint(v)
		case 1:
			s.Flash = fmt.Sprint(v)
		case 2:
			s.Views = v
		case 3, 4, 5:
			q.record.views += 1000
			return q.other.Update(ctx, func(s *kit.Session) error { s.Views += 1000; return nil })
		case 6:
			q.record = nil
			return q.other.Destroy(ctx)
		}
		*q.record = valuesOf(s)
		return nil
	})
	q.note("elsewhere %d: %v", n, q.record)
	if err != nil {
		q.say("the other process: %v", err)
	}
}

// handle is the handler.
func (q *modelled) handle(w http.ResponseWriter, r *http.Request) {
	q.w, q.ctx = w, r.Context()
	for range 2 + q.rnd.IntN(12) {
		q.step()
		if !q.sent {
			if t := kit.TokenOf(w.Header()); t != "" {
				q.token = t
			}
		}
		if n := len(w.Header()["Set-Cookie"]); n > 1 {
			q.say("%d cookies", n)
		}
		if got := valuesOf(q.FromContext(q.ctx)); got != q.live {
			q.say("*T is %v, by the model %v", got, q.live)
		}
		info := q.Info(q.ctx)
		if q.stored && info.New && !q.gone {
			q.say("Info says that it is new")
		}
		if q.id != "" && info.ID != q.id {
			q.say("the ID has become %s, was %s", info.ID, q.id)
		}
		if q.id = ""; q.stored {
			q.id = info.ID
		}
		if len(q.wrong) > 0 {
			return
		}
	}
}

// run sends the request and judges the answer.
func (q *modelled) run() {
	if q.rnd.IntN(3) > 0 {
		q.before = kit.Edit(q.t, q.Manager, "", func(s *kit.Session) { s.Views = 1 })
		q.token, q.stored = q.before, true
		q.put(values{views: 1})
	}
	res := kit.Serve(q.Handler(http.HandlerFunc(q.handle)), kit.With(q.before, "/"))
	if len(q.wrong) > 0 {
		return
	}
	var want error
	if !q.gone {
		want = q.write(false, nil)
	}
	cookies := res.Cookies()
	q.note("answer %d with cookies %v; by the model %v, stored %v", res.StatusCode, len(cookies), want, q.record)
	if status := map[bool]int{true: 409, false: 200}[want == sessions.ErrGone && !q.sent]; res.StatusCode != status {
		q.say("status %d, by the model %d", res.StatusCode, status)
	}
	after := q.before
	switch {
	case len(cookies) > 1:
		q.say("%d cookies", len(cookies))
	case len(cookies) == 1 && cookies[0].MaxAge < 0:
		after = ""
	case len(cookies) == 1:
		if after = cookies[0].Value; after == q.before {
			q.say("a cookie with the token that came")
		}
	}
	var found, expected values
	if after != "" {
		_, s := kit.Load(q.t, q.other, after)
		found = valuesOf(s)
	}
	if q.record != nil {
		expected = *q.record
	}
	if found != expected {
		q.say("the client's next request finds %v, by the model %v", found, expected)
	}
	if q.before != "" && after != q.before && kit.Alive(q.t, q.other, q.before) {
		q.say("the old token lives beside the new one")
	}
}

func TestAmongVerbsAtRandom(t *testing.T) {
	t.Parallel()
	t.Run("L13 C9 Updates, verbs and changes of one request, in any order and beside those of another process, do what a model of them does", func(t *testing.T) {
		rounds := uint64(2500)
		if testing.Short() || kit.RaceEnabled {
			rounds /= 5
		}
		first := rand.Uint64() // to be set to the seed of a failure
		for n := range rounds {
			q := newModelled(t, first+n)
			if q.run(); len(q.wrong) > 0 {
				t.Fatalf("seed %d: %s\n%s", first+n, strings.Join(q.wrong, "; "), strings.Join(q.log, "\n"))
			}
		}
	})
}
