package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// modelT is T in the model: of each field its value.
type modelT [3]string

func modelOf(s *Session) modelT { return modelT{s.UserID, s.Flash, fmt.Sprint(s.Views)} }

var modelFresh = modelT{"", "", "0"}

// A modelRequest is one request that runs verbs, changes and Updates in some
// order while another process writes the same session, beside a model of what
// must come of it: records, what the request has loaded, *T.
type modelRequest struct {
	desk
	other *sessions.Manager[Session]
	rnd   *rand.Rand
	w     http.ResponseWriter
	ctx   context.Context
	log   []string
	wrong []string

	token      string // of the session, as the client will have it
	stored     bool   // in the request's eyes
	record     *modelT
	base, live modelT
	gone, sent bool
	id         string // once it is known
	before     string // the token that came
}

func newModelRequest(t *testing.T, seed uint64) *modelRequest {
	q := &modelRequest{rnd: rand.New(rand.NewPCG(seed, 2)), base: modelFresh, live: modelFresh}
	cfg := sessions.Config{Codec: []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}[q.rnd.IntN(2)]}
	store := &sessions.MemoryStore{}
	q.desk = newDesk(t, store, cfg)
	q.other = mustNew(t, store, cfg)
	return q
}

func (q *modelRequest) note(format string, args ...any) {
	q.log = append(q.log, fmt.Sprintf(format, args...))
}

func (q *modelRequest) say(format string, args ...any) {
	q.wrong = append(q.wrong, fmt.Sprintf(format, args...))
}

// wantErr compares an error with the model's.
func (q *modelRequest) wantErr(verb string, got, want error) {
	q.note("%s = %v, by the model %v; *T %v", verb, got, want, q.live)
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		q.say("%s = %v, by the model %v", verb, got, want)
	}
}

// merged is what a save makes of what is stored: a field changed here wins.
func (q *modelRequest) merged() modelT {
	m := *q.record
	for i := range m {
		if q.live[i] != q.base[i] {
			m[i] = q.live[i]
		}
	}
	return m
}

// write is a save: of *T as it is, or as update leaves it. It says what the
// verb returns.
func (q *modelRequest) write(always bool, update func(m *modelT)) error {
	switch {
	case q.gone:
		return sessions.ErrGone
	case !q.stored && q.sent && (update != nil || always || q.live != modelFresh):
		return sessions.ErrCommitted
	case !q.stored:
		next := q.live
		if update != nil {
			update(&next)
		}
		if next == modelFresh && !always {
			q.live = next
			return nil
		}
		q.put(next)
		q.stored, q.token, q.id = true, "", ""
		return nil
	case !always && update == nil && q.live == q.base:
		return nil
	case q.record == nil:
		q.gone = true
		return sessions.ErrGone
	}
	next := q.merged()
	if update != nil {
		update(&next)
	}
	q.put(next)
	return nil
}

func (q *modelRequest) put(v modelT) {
	q.live, q.base, q.record = v, v, &v
}

// step runs one step at random, in the library and in the model.
func (q *modelRequest) step() {
	ctx := q.ctx
	s := q.FromContext(ctx)
	switch q.rnd.IntN(14) {
	case 0, 1:
		v := fmt.Sprint(q.rnd.IntN(100))
		switch i := q.rnd.IntN(3); i {
		case 0:
			s.UserID, q.live[i] = v, v
		case 1:
			s.Flash, q.live[i] = v, v
		case 2:
			s.Views, q.live[i] = modelInt(v), v
		}
		q.note("a change: %v", q.live)
	case 2, 3, 4:
		by := q.rnd.IntN(3)
		word := fmt.Sprint("u", q.rnd.IntN(100))
		change := q.rnd.IntN(2) == 0
		got := q.Update(ctx, func(s *Session) error {
			s.Views += by
			if change {
				s.Flash = word
			}
			return nil
		})
		q.wantErr(fmt.Sprint("Update by ", by), got, q.write(false, func(m *modelT) {
			m[2] = fmt.Sprint(modelInt(m[2]) + by)
			if change {
				m[1] = word
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
			return q.Update(ctx, func(s *Session) error {
				*s = Session{UserID: "ruin", Flash: "ruin", Views: 9999}
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
		q.wantErr(fmt.Sprint("Update that fails, panicking ", panics), err, want)
	case 6:
		q.wantErr("Save", q.Save(ctx), q.write(false, nil))
	case 7:
		if q.sent && q.stored && !q.gone {
			return // a renewal is ErrCommitted then, and bars the saves: other tests
		}
		got := q.Renew(ctx)
		was := q.stored
		q.wantErr("Renew", got, q.write(was, nil))
		if got == nil && was {
			q.token = ""
		}
	case 8:
		if q.sent {
			return
		}
		got := q.SignIn(ctx)
		q.wantErr("SignIn", got, q.write(true, nil))
		if got == nil {
			q.token = ""
		}
	case 9:
		q.wantErr("Destroy", q.Destroy(ctx), nil)
		q.stored, q.gone, q.record, q.token, q.id = false, false, nil, "", ""
		q.base, q.live = modelFresh, modelFresh
	case 10:
		var want error
		switch {
		case q.gone:
			want = sessions.ErrGone
		case !q.stored:
			q.base, q.live = modelFresh, modelFresh
		case q.record == nil:
			q.gone, want = true, sessions.ErrGone
		default:
			q.base, q.live = *q.record, *q.record
		}
		q.wantErr("Reload", q.Reload(ctx), want)
	case 11:
		if q.sent || q.rnd.IntN(4) > 0 {
			return
		}
		// What a commit fails of is the answer, and the request is over.
		if q.gone || q.stored && q.record == nil {
			return
		}
		want := q.write(false, nil)
		err := http.NewResponseController(q.w).Flush()
		q.wantErr("Flush", err, want)
		q.sent = true
	default:
		q.elsewhere()
	}
}

// elsewhere is a request of the other process.
func (q *modelRequest) elsewhere() {
	if !q.stored || q.record == nil || q.token == "" {
		return
	}
	v := fmt.Sprint(100 + q.rnd.IntN(100))
	n := q.rnd.IntN(7)
	_, err := request(context.Background(), q.other, q.token, func(ctx context.Context) error {
		s := q.other.FromContext(ctx)
		if got := modelOf(s); got != *q.record {
			q.say("the other process finds %v, by the model %v", got, *q.record)
		}
		switch n {
		case 0:
			s.UserID, q.record[0] = v, v
		case 1:
			s.Flash, q.record[1] = v, v
		case 2:
			s.Views, q.record[2] = modelInt(v), v
		case 3, 4, 5:
			q.record[2] = fmt.Sprint(modelInt(q.record[2]) + 1000)
			return q.other.Update(ctx, func(s *Session) error { s.Views += 1000; return nil })
		case 6:
			q.record = nil
			return q.other.Destroy(ctx)
		}
		return nil
	})
	q.note("elsewhere %d: %v", n, q.record)
	if err != nil {
		q.say("the other process: %v", err)
	}
}

func modelInt(v string) (n int) {
	_, _ = fmt.Sscan(v, &n)
	return n
}

// handle is the handler.
func (q *modelRequest) handle(w http.ResponseWriter, r *http.Request) {
	q.w, q.ctx = w, r.Context()
	for range 2 + q.rnd.IntN(12) {
		q.step()
		if !q.sent {
			if t := tokenOf(w.Header()); t != "" {
				q.token = t
			}
		}
		if n := len(w.Header()["Set-Cookie"]); n > 1 {
			q.say("%d cookies", n)
		}
		if got := modelOf(q.FromContext(q.ctx)); got != q.live {
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
func (q *modelRequest) run() {
	if q.rnd.IntN(3) > 0 {
		q.before = q.seed(1)
		q.token, q.stored = q.before, true
		q.put(modelT{"", "", "1"})
	}
	w := httptest.NewRecorder()
	q.Handler(http.HandlerFunc(q.handle)).ServeHTTP(w, with(q.before, "/"))
	if len(q.wrong) > 0 {
		return
	}
	told := q.gone
	var want error
	if !told {
		want = q.write(false, nil)
	}
	res := w.Result()
	cookies := res.Cookies()
	q.note("answer %d with cookies %v; by the model %v, stored %v", w.Code, len(cookies), want, q.record)
	if status := map[bool]int{true: 409, false: 200}[want == sessions.ErrGone && !q.sent]; w.Code != status {
		q.say("status %d, by the model %d", w.Code, status)
	}
	after := q.before
	switch {
	case len(cookies) > 1:
		q.say("%d cookies", len(cookies))
	case len(cookies) == 1 && cookies[0].MaxAge < 0:
		after = ""
	case len(cookies) == 1:
		after = cookies[0].Value
	}
	if len(cookies) == 1 && after != "" && after == q.before {
		q.say("a cookie with the token that came")
	}
	found := modelFresh
	if after != "" {
		ctx, err := q.other.Load(context.Background(), after)
		if err != nil {
			q.t.Fatal(err)
		}
		found = modelOf(q.other.FromContext(ctx))
	}
	expected := modelFresh
	if q.record != nil {
		expected = *q.record
	}
	if found != expected {
		q.say("the client's next request finds %v, by the model %v", found, expected)
	}
	if q.before != "" && after != q.before && alive(q.t, q.other, q.before) {
		q.say("the old token lives beside the new one")
	}
}

func TestUpdateAmongVerbsAtRandom(t *testing.T) {
	t.Run("L13 C9 Updates, verbs and changes of one request, in any order and beside those of another process, do what a model of them does", func(t *testing.T) {
		first := rand.Uint64() // to be set to the seed of a failure
		for n := range uint64(5000) {
			seed := first + n
			q := newModelRequest(t, seed)
			if q.run(); len(q.wrong) > 0 {
				t.Fatalf("seed %d: %s\n%s", seed, strings.Join(q.wrong, "; "), strings.Join(q.log, "\n"))
			}
		}
	})
}
