package model_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The rules. A session is an object that does one thing at a time: it is stored
// once, under a first token; then it has content and one valid token, until it
// ends for ever. porcupine looks for an order in which the operations of a
// history, each at one moment between its call and its return, obey this:
//
//	load, reload  finds the session if its token is the valid one, and then the
//	              whole content of that moment; else none. In place of a session
//	              there is a mark if the token was renewed, nothing if not (C14).
//	touch         nil if the token is the valid one.
//	save          nil if the token is the valid one. It sets the fields that the
//	              request has edited, and no other (C7).
//	update        the same, with the function's changes on top; the function saw
//	              the content of that very moment with the request's edits (C9).
//	renew         the same as save, and from then on another token is valid and
//	              this one never again (L12, C4, C5).
//	destroy       ends the session, whoever has a token that was its (C15, C16),
//	              also one that the request's token was renewed to (follow).
//	revoke        ends every session that was the user's when it was called (O8), and
//	              perhaps one that became so meanwhile.
//	create        begins another session. A sign-in whose session has ended, or was
//	              renewed, does so with T as the request has it (L20, C18): to the
//	              session from before it is a renewal that ended in ErrGone, which
//	              the sign-in itself never returns. It may have left a mark there: a
//	              change of owner is three steps, and if the session ends before the
//	              last one, nobody gets it.
//
// What did not return nil:
//
//	ErrGone         at some moment before the return the token was not valid any
//	                more. The change was not made (C1), unless a reply got lost: a
//	                change that was made, and whose client asks again when the
//	                session has been destroyed meanwhile, is ErrGone as well. Not
//	                so when it has been renewed: the mark tells.
//	ErrConflict     the change was not made (C11).
//	ErrUnavailable  the change was made or not, perhaps after the return. Every
//	                value is written once, so whoever reads it tells that it was,
//	                and when at the latest; if nobody reads it, it does not matter.
//	                A renewal that was made leaves the session to nobody, who then
//	                can only be seen by its absence: so does a destroy. One of
//	                them can have ended it, after another one has marked it, and
//	                each is tried, and each two.
//
// A deleted session can come back by none of these steps: dead stays dead.

// What an event asks of the state, and makes of it.
type eventKind int

const (
	isValid   eventKind = iota // the token
	isInvalid                  // the token
	isDead                     // the session, and the token was not renewed before
	reads
	misses
	writes
	updates
	renews
	loses // renews, and nobody gets the new token
	ends
	creates
)

// An event is an operation as the model takes it, with its tokens as numbers.
type event struct {
	kind       eventKind
	token, new int
	saw        content
	op         *op
}

// state is what a session is at one moment.
type state struct {
	stored, dead bool
	token        int       // the valid one, -1 if nobody has it
	marks        [4]uint64 // a bit for each token that was renewed
	content      content
}

// String is for people.
func (s state) String() string {
	switch {
	case !s.stored:
		return "nothing"
	case s.dead:
		return "a session that has ended"
	}
	var log []uint32
	for b := []byte(s.content.log); len(b) > 0; b = b[4:] {
		log = append(log, binary.BigEndian.Uint32(b))
	}
	return fmt.Sprintf("count=%d log=%v fields=%v, valid is the token numbered %d", s.content.count, log, s.content.fields, s.token)
}

// maxTokens is what marks has room for.
const maxTokens = 256

func (s state) marked(token int) bool { return s.marks[token/64]>>(token%64)&1 == 1 }

func step(s state, e event) (bool, state) {
	valid := s.stored && !s.dead && s.token == e.token
	switch e.kind {
	case isValid:
		return valid, s
	case isInvalid:
		return !valid, s
	case isDead:
		return s.dead && !s.marked(e.token), s
	case reads:
		return valid && s.content == e.saw, s
	case misses:
		known := e.op.Instead == "" || (e.op.Instead == aMark) == s.marked(e.token)
		return !valid && known, s
	case writes:
		s.content = s.content.edited(e.op.Set)
		return valid, s
	case updates:
		s.content = s.content.edited(e.op.Set)
		saw := s.content == e.saw || e.op.SawBefore != nil && s.content == contentOf(e.op.SawBefore)
		s.content = s.content.updated(e.op)
		return valid && saw, s
	case renews, loses:
		s.marks[e.token/64] |= 1 << (e.token % 64)
		s.token, s.content = e.new, s.content.edited(e.op.Set)
		return valid, s
	case ends:
		return s.stored, state{stored: true, dead: true, marks: s.marks}
	case creates:
		s.token, s.content = e.new, content{}
		if e.op.From != nil {
			s.content = contentOf(e.op.From)
		}
		s.content = s.content.edited(e.op.Set)
		if e.op.Saw != nil {
			valid = s.content == e.saw
			s.content = s.content.updated(e.op)
		} else {
			valid = true
		}
		valid = valid && !s.stored
		s.stored = true
		return valid, s
	}
	panic("unreachable")
}

var sessionModel = porcupine.Model{
	Init:  func() any { return state{} },
	Step:  func(s, in, _ any) (bool, any) { return step(s.(state), in.(event)) },
	Equal: func(a, b any) bool { return a.(state) == b.(state) },
	DescribeOperation: func(in, _ any) string {
		e := in.(event)
		return fmt.Sprintf("%s %s t%d %s", e.op.Verb, e.op.Kind, e.token, e.op.Err)
	},
	DescribeState: func(s any) string { return s.(state).String() },
}

// checkTimeout is how long one history may take; it takes milliseconds.
const checkTimeout = 20 * time.Second

// checkSession looks for such an order of the operations on one session.
// Whether none was found, or there was no time to look, it is a violation to
// report; info is for a picture of it.
func checkSession(h history) (problem string, info porcupine.LinearizationInfo) {
	if len(h.tokens) > maxTokens {
		return fmt.Sprintf("%d tokens are more than the model can count", len(h.tokens)), info
	}
	certain, maybe := h.events()
	result := porcupine.CheckOperationsTimeout(sessionModel, certain, checkTimeout)
	for i, end := range maybe {
		for _, other := range append([][]porcupine.Operation{nil}, slices.Collect(slices.Chunk(maybe[i+1:], 1))...) {
			if result != porcupine.Illegal {
				break
			}
			result = porcupine.CheckOperationsTimeout(sessionModel, slices.Concat(certain, []porcupine.Operation{end}, other), checkTimeout)
		}
	}
	switch result {
	case porcupine.Ok:
		return "", info
	case porcupine.Unknown:
		return fmt.Sprintf("no answer within %v", checkTimeout), info
	}
	result, info = porcupine.CheckOperationsVerbose(sessionModel, certain, checkTimeout)
	return fmt.Sprintf("no order of the operations explains what they returned (%v)\n%s", result, stuck(certain, info)), info
}

// stuck prints what the longest explanation leaves out: the culprit is among
// the first of them.
func stuck(all []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, partial := range info.PartialLinearizations() {
		for _, ids := range partial {
			if len(ids) > len(longest) {
				longest = ids
			}
		}
	}
	explained := map[int]bool{}
	s := any(state{})
	for _, id := range longest {
		explained[id] = true
		_, s = sessionModel.Step(s, all[id].Input, nil)
	}
	var left []op
	for id, o := range all {
		if !explained[id] {
			left = append(left, *o.Input.(event).op)
		}
	}
	return fmt.Sprintf("%d of %d can be explained and leave\n%v\nthen there is left\n%s", len(longest), len(all), s, printHistory(left))
}

// never is when an operation returns of which nobody knows when it is over.
const never = math.MaxInt64
