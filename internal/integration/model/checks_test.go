package model_test

import (
	"strings"
	"testing"
	"time"
)

// A told history is a hand-written one: each operation begins at a time and
// ends at another, in milliseconds.
type told struct {
	ops     []op
	lossy   bool
	records []record
	problem string // part of what is to be found; "" for a history that is fine
}

func at(begin, end int, o op) op {
	o.Verb, o.Call, o.Return = o.Kind, int64(begin)*int64(time.Millisecond), int64(end)*int64(time.Millisecond)
	return o
}

func created(token string) op {
	return at(0, 1, op{Kind: opCreate, New: token, Session: "id", Set: []edit{{sharedField, 1}}})
}

func found(begin, end int, token string, s Session) op {
	return at(begin, end, op{Kind: opLoad, Token: token, Found: true, Saw: &s})
}

func missed(begin, end int, token, instead string) op {
	return at(begin, end, op{Kind: opLoad, Token: token, Instead: instead})
}

func saved(begin, end int, err string, edits ...edit) op {
	return at(begin, end, op{Kind: opSave, Token: "t", Set: edits, Err: err})
}

func counted(begin, end, id int, err string, saw Session, edits ...edit) op {
	return at(begin, end, op{Kind: opUpdate, Token: "t", ID: id, Set: edits, Err: err, Saw: &saw})
}

func renewed(begin, end int, token, next, err string) op {
	return at(begin, end, op{Kind: opRenew, Token: token, New: next, Err: err})
}

// own makes the session the user's.
func own(o op) op {
	o.Owned = true
	return o
}

// signedIn is a renewal by a sign-in.
func signedIn(begin, end int, token, next, err string) op {
	o := renewed(begin, end, token, next, err)
	o.Verb, o.Owned = string(signIn), err == ""
	return o
}

func revoked(begin, end int, err string) op { return at(begin, end, op{Kind: opRevoke, Err: err}) }

func destroyed(begin, end int, token, err string) op {
	return at(begin, end, op{Kind: opDestroy, Token: token, Err: err})
}

// last is what the parent loads when all is over.
func last(token string, s *Session) op {
	o := at(1000, 1001, op{Kind: opLoad, Token: token, Found: s != nil, Saw: s, Session: map[bool]string{true: "id"}[s != nil]})
	o.Verb = "last load"
	return o
}

// begun is the other half of a sign-in that came too late: a session of its own.
func begun(begin, end int, token string, from Session) op {
	o := at(begin, end, op{Kind: opCreate, New: token, Session: "own", From: &from})
	o.Verb = string(signIn)
	return o
}

// lastOf is last of another session than the first.
func lastOf(id, token string, s *Session) op {
	o := last(token, s)
	if s != nil {
		o.Session = id
	}
	return o
}

// log is a session with these Updates.
func log(ids ...int) Session { return Session{Count: len(ids), Log: ids, Shared: 1} }

var (
	start = Session{Shared: 1}
	live  = record{key: "k", ID: "id", ttl: time.Hour}
	mark  = record{key: "m", ID: "id", Successor: "k", ttl: time.Second}
)

const noOrder = "no order of the operations"

// The checker must be able to fail.
func TestChecker(t *testing.T) {
	one, both := log(1), log(1, 2)
	tests := map[string]told{
		"C9 two Updates one after the other": {ops: []op{
			created("t"), counted(2, 5, 1, "", start), counted(3, 6, 2, "", one), last("t", &both),
		}, records: []record{live}},
		"C9 an Update is lost: two saw the same": {ops: []op{
			created("t"), counted(2, 5, 1, "", start), counted(3, 6, 2, "", start), last("t", &one),
		}, records: []record{live}, problem: noOrder},
		"C9 an Update is lost: a later save has overwritten it": {ops: []op{
			created("t"), counted(2, 5, 1, "", start), saved(3, 6, "", edit{0, 7}), last("t", &Session{A: 7, Shared: 1}),
		}, records: []record{live}, problem: noOrder},
		"C10 an Update is applied twice": {ops: []op{
			created("t"), counted(2, 5, 1, "", start), last("t", &Session{Count: 2, Log: []int{1, 1}, Shared: 1}),
		}, records: []record{live}, problem: noOrder},
		"C10 an Update without an answer was applied": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), last("t", &one),
		}, records: []record{live}},
		"C10 an Update without an answer is applied after its return": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), found(6, 7, "t", start), last("t", &one),
		}, records: []record{live}},
		"C10 an Update without an answer was not applied": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), last("t", &start),
		}, records: []record{live}},
		"C10 an Update without an answer is applied twice": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), last("t", &Session{Count: 2, Log: []int{1, 1}, Shared: 1}),
		}, records: []record{live}, problem: noOrder},
		"C10 an Update without an answer is read and gone again": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), found(6, 7, "t", one), last("t", &start),
		}, records: []record{live}, problem: noOrder},
		"C10 one Update without an answer proves another": {ops: []op{
			created("t"), counted(2, 5, 1, unavailable, start), counted(6, 7, 2, unavailable, one), last("t", &both),
		}, records: []record{live}},
		"C10 what proves an edit without an answer is an Update that was read": {ops: []op{
			created("t"), saved(2, 5, unavailable, edit{0, 7}), counted(6, 9, 2, unavailable, Session{A: 7, Shared: 1}),
			saved(10, 11, "", edit{0, 8}), last("t", &Session{Count: 1, Log: []int{2}, A: 8, Shared: 1}),
		}, records: []record{live}},
		"C9 a read after a write that has returned is stale": {ops: []op{
			created("t"), counted(2, 5, 1, "", start), found(6, 7, "t", start), last("t", &one),
		}, records: []record{live}, problem: noOrder},
		"C9 a read beside a write may be old or new": {ops: []op{
			created("t"), counted(2, 9, 1, "", start), found(3, 4, "t", start), found(5, 6, "t", one), last("t", &one),
		}, records: []record{live}},
		"C9 two reads beside a write go back": {ops: []op{
			created("t"), counted(2, 9, 1, "", start), found(3, 4, "t", one), found(5, 6, "t", start), last("t", &one),
		}, records: []record{live}, problem: noOrder},
		"C7 edits of two fields both survive": {ops: []op{
			created("t"), saved(2, 5, "", edit{0, 7}), saved(3, 6, "", edit{1, 8}), last("t", &Session{A: 7, B: 8, Shared: 1}),
		}, records: []record{live}},
		"C7 one of two edits is lost": {ops: []op{
			created("t"), saved(2, 5, "", edit{0, 7}), saved(3, 6, "", edit{1, 8}), last("t", &Session{B: 8, Shared: 1}),
		}, records: []record{live}, problem: noOrder},
		"C8 two edits of one field leave either": {ops: []op{
			created("t"), saved(2, 5, "", edit{sharedField, 7}), saved(3, 6, "", edit{sharedField, 8}), last("t", &Session{Shared: 7}),
		}, records: []record{live}},
		"C8 two edits of one field leave half of each": {ops: []op{
			created("t"), saved(2, 5, "", edit{pairField, 7}), saved(3, 6, "", edit{pairField, 8}), last("t", &Session{Shared: 1, Pair: Pair{7, 8}}),
		}, records: []record{live}, problem: noOrder},
		"C7 an Update does not see what its request has edited": {ops: []op{
			created("t"), counted(2, 5, 1, "", start, edit{0, 7}), last("t", &Session{Count: 1, Log: []int{1}, A: 7, Shared: 1}),
		}, records: []record{live}, problem: noOrder},
		"C11 ErrConflict and the change was made": {ops: []op{
			created("t"), counted(2, 5, 1, conflict, start), last("t", &one),
		}, records: []record{live}, problem: noOrder},
		"C1 ErrGone and the session lives": {ops: []op{
			created("t"), saved(2, 5, gone, edit{0, 7}), last("t", &start),
		}, records: []record{live}, problem: noOrder},
		"C1 ErrGone beside a destroy": {ops: []op{
			created("t"), destroyed(2, 9, "t", ""), saved(3, 6, gone, edit{0, 7}), last("t", nil),
		}},
		"C1 ErrGone before the destroy is called": {ops: []op{
			created("t"), saved(3, 6, gone, edit{0, 7}), destroyed(7, 9, "t", ""), last("t", nil),
		}, problem: noOrder},
		"C1 ErrGone, and somebody has read the change": {ops: []op{
			created("t"), counted(2, 6, 1, gone, start), found(3, 4, "t", one), destroyed(5, 6, "t", ""), last("t", nil),
		}, problem: noOrder},
		"C1 the same where a reply was lost": {ops: []op{
			created("t"), counted(2, 6, 1, gone, start), found(3, 4, "t", one), destroyed(5, 6, "t", ""), last("t", nil),
		}, lossy: true},
		"C10 the same where the session was renewed": {ops: []op{
			created("t"), counted(2, 6, 1, gone, start), found(3, 4, "t", one), renewed(5, 6, "t", "u", ""), last("t", nil), last("u", &one),
		}, records: []record{live, mark}, lossy: true, problem: noOrder},
		"C1 a save after the destroy returns nil": {ops: []op{
			created("t"), destroyed(2, 5, "t", ""), saved(6, 7, "", edit{0, 7}), last("t", nil),
		}, problem: noOrder},
		"C1 a destroyed session is read again": {ops: []op{
			created("t"), destroyed(2, 5, "t", ""), found(6, 7, "t", start), last("t", nil),
		}, problem: noOrder},
		"C1 a destroyed session is in the store": {ops: []op{
			created("t"), destroyed(2, 5, "t", ""), last("t", nil),
		}, records: []record{live}, problem: "1 live records; 0 of its tokens load"},
		"C1 a destroy without an answer was one": {ops: []op{
			created("t"), destroyed(2, 5, "t", unavailable), found(6, 7, "t", start), missed(8, 9, "t", nothing), last("t", nil),
		}},
		"C1 a destroy without an answer was none": {ops: []op{
			created("t"), destroyed(2, 5, "t", unavailable), saved(6, 7, "", edit{0, 7}), last("t", &Session{A: 7, Shared: 1}),
		}, records: []record{live}},
		"C1 a session comes back from a destroy without an answer": {ops: []op{
			created("t"), destroyed(2, 5, "t", unavailable), missed(6, 7, "t", ""), found(8, 9, "t", start), last("t", &start),
		}, records: []record{live}, problem: noOrder},
		"F6 a session ends though nobody has ended it": {ops: []op{
			created("t"), last("t", nil),
		}, problem: noOrder},
		"C5 of two renewals one wins": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), renewed(3, 6, "t", "", gone), missed(7, 8, "t", aMark), last("t", nil), last("u", &start),
		}, records: []record{live, mark}},
		"C5 two renewals win": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), renewed(3, 6, "t", "v", ""), last("t", nil), last("u", &start), last("v", &start),
		}, records: []record{live, live, mark}, problem: "2 live tokens"},
		"C5 no renewal wins": {ops: []op{
			created("t"), renewed(2, 5, "t", "", gone), renewed(3, 6, "t", "", gone), last("t", nil),
		}, records: []record{mark}, problem: noOrder},
		"C5 a loser leaves its copy": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), renewed(3, 6, "t", "", gone), last("t", nil), last("u", &start),
		}, records: []record{live, live, mark}, problem: "2 live records"},
		"C5 a loser whose replies got lost leaves its copy": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), renewed(3, 6, "t", "", gone), last("t", nil), last("u", &start),
		}, records: []record{live, live, mark}, lossy: true},
		"L12 a renewal without an answer leaves the session to nobody": {ops: []op{
			created("t"), renewed(2, 5, "t", "", unavailable), missed(6, 7, "t", aMark), last("t", nil),
		}, records: []record{live, mark}},
		"L12 a renewal without an answer has left no mark and no session": {ops: []op{
			created("t"), renewed(2, 5, "t", "", unavailable), missed(6, 7, "t", nothing), last("t", nil),
		}, records: []record{live}, problem: noOrder},
		"L12 the old token is accepted after the renewal": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), found(6, 7, "t", start), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"C4 a save under the old token goes into the renewed session": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), saved(6, 7, "", edit{0, 7}), last("t", nil), last("u", &Session{A: 7, Shared: 1}),
		}, records: []record{live, mark}, problem: noOrder},
		"C4 a save that returned before the renewal is missing in it": {ops: []op{
			created("t"), saved(2, 5, "", edit{0, 7}), renewed(3, 6, "t", "u", ""), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"C14 a token that was renewed creates another session": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), missed(6, 7, "t", nothing), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"C16 a destroy with the old token ends the renewed session": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), destroyed(3, 8, "t", ""), last("t", nil), last("u", nil),
		}, records: []record{mark}},
		"C16 a destroy with the old token returns nil and the renewed session lives": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), destroyed(3, 8, "t", ""), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"C16 a destroy that only knows a mark ends the renewed session": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), missed(6, 7, "t", aMark),
			at(8, 9, op{Kind: opFollow, Token: "t", Instead: aMark}), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"L20 C18 of two sign-ins each has a session": {ops: []op{
			created("t"), renewed(2, 5, "t", "u", ""), renewed(3, 6, "t", "", gone), begun(3, 6, "v", start), last("t", nil), last("u", &start), lastOf("own", "v", &start),
		}, records: []record{live, mark, {key: "v", ID: "own", ttl: time.Hour}}},
		"L20 a sign-in begins a session of its own though the one from before is there": {ops: []op{
			created("t"), renewed(3, 6, "t", "", gone), begun(3, 6, "v", start), last("t", &start), lastOf("own", "v", &start),
		}, records: []record{live, {key: "v", ID: "own", ttl: time.Hour}}, problem: noOrder},
		"L20 a sign-in begins with another T than its request has": {ops: []op{
			created("t"), destroyed(2, 5, "t", ""), renewed(3, 6, "t", "", gone), begun(3, 6, "v", start), last("t", nil), lastOf("own", "v", &one),
		}, records: []record{{key: "v", ID: "own", ttl: time.Hour}}, problem: noOrder},
		"L20 a sign-in brings back the session that has ended": {ops: []op{
			created("t"), destroyed(2, 5, "t", ""), renewed(6, 7, "t", "u", ""), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"O8 a RevokeAll ends the user's session": {ops: []op{
			own(created("t")), revoked(2, 5, ""), last("t", nil),
		}},
		"O8 the user's session lives after a RevokeAll": {ops: []op{
			own(created("t")), revoked(2, 5, ""), last("t", &start),
		}, records: []record{live}, problem: noOrder},
		"O8 so it does under a token that a renewal beside it gave": {ops: []op{
			own(created("t")), revoked(2, 5, ""), renewed(3, 6, "t", "u", ""), last("t", nil), last("u", &start),
		}, records: []record{live, mark}, problem: noOrder},
		"O8 a renewal beside a RevokeAll comes first, and its session has ended": {ops: []op{
			own(created("t")), revoked(2, 5, ""), renewed(3, 6, "t", "u", ""), last("t", nil), last("u", nil),
		}, records: []record{mark}},
		"O8 a sign-in beside a RevokeAll comes after it": {ops: []op{
			created("t"), revoked(2, 5, ""), signedIn(3, 6, "t", "u", ""), last("t", nil), last("u", &start),
		}, records: []record{live, mark}},
		"O8 a sign-in beside a RevokeAll comes before it": {ops: []op{
			created("t"), revoked(2, 5, ""), signedIn(3, 6, "t", "u", ""), last("t", nil), last("u", nil),
		}, records: []record{mark}},
		"O8 a sign-in that begins a session of its own has left a mark": {ops: []op{
			created("t"), signedIn(3, 6, "t", "", gone), begun(3, 6, "v", start), missed(7, 8, "t", aMark), last("t", nil), lastOf("own", "v", &start),
		}, records: []record{mark, {key: "v", ID: "own", ttl: time.Hour}}},
		"O8 a RevokeAll ends nobody's session": {ops: []op{
			created("t"), revoked(2, 5, ""), last("t", nil),
		}, problem: noOrder},
		"O8 a RevokeAll without an answer was one": {ops: []op{
			own(created("t")), revoked(2, 5, unavailable), last("t", nil),
		}},
		"O8 a RevokeAll without an answer was none": {ops: []op{
			own(created("t")), revoked(2, 5, unavailable), last("t", &start),
		}, records: []record{live}},
		"L7 a key that never ends": {ops: []op{
			created("t"), last("t", &start),
		}, records: []record{{key: "k", ID: "id", ttl: -1}}, problem: "L7"},
		"an error that nobody expects": {ops: []op{
			created("t"), saved(2, 3, "*errors.errorString: oops", edit{0, 7}), last("t", &start),
		}, records: []record{live}, problem: "oops"},
		"a record of a session that nobody has heard of": {ops: []op{
			created("t"), last("t", &start),
		}, records: []record{live, {key: "x", ID: "other", ttl: time.Hour}}, problem: "nobody has heard of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			problems, _ := check(tt.ops, tt.records, tt.lossy)
			got := strings.Join(problems, "\n")
			if (got == "") != (tt.problem == "") || !strings.Contains(got, tt.problem) {
				t.Errorf("found %q, want %q in\n%s", got, tt.problem, printHistory(tt.ops))
			}
		})
	}
}
