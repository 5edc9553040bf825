package model_test

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// A history is what was done to one session, under all its tokens.
type history struct {
	ops     []op
	tokens  map[string]int
	lossy   bool // replies may have got lost
	revoked bool // somebody has called RevokeAll
}

// split sorts the operations by session: a token that was got by a renewal is of
// the session of the one before, one that was got otherwise of a new session.
func split(ops []op, lossy bool) []history {
	before := map[string]string{}
	for _, o := range ops {
		if o.New != "" && o.Kind == opRenew {
			before[o.New] = o.Token
		}
	}
	var histories []history
	index := map[string]int{}
	for _, o := range ops {
		first := o.Token
		if o.New != "" {
			first = o.New
		}
		for before[first] != "" {
			first = before[first]
		}
		if first == "" {
			continue // a session that nobody has heard of, or a RevokeAll
		}
		i, ok := index[first]
		if !ok {
			i = len(histories)
			index[first] = i
			histories = append(histories, history{tokens: map[string]int{}, lossy: lossy})
		}
		h := &histories[i]
		h.ops = append(h.ops, o)
		for _, token := range []string{o.Token, o.New} {
			if _, ok := h.tokens[token]; !ok && token != "" {
				h.tokens[token] = len(h.tokens)
			}
		}
	}
	for i := range histories {
		for _, o := range ops {
			if o.Kind == opRevoke {
				histories[i].ops, histories[i].revoked = append(histories[i].ops, o), true
			}
		}
	}
	return histories
}

// unexpected are the errors that no fault explains.
func unexpected(ops []op) (problems []string) {
	for _, o := range ops {
		switch o.Err {
		case "", conflict, unavailable:
			continue
		case gone:
			if o.Kind != opDestroy && o.Kind != opFollow && o.Kind != opLoad {
				continue
			}
		}
		problems = append(problems, fmt.Sprintf("p%d c%d r%d %s: %s", o.Process, o.Client, o.Request, o.Verb, o.Err))
	}
	return problems
}

// revocation is what a RevokeAll is to this session: its certain end, if that was the user's when it was called; a possible
// one, if somebody has signed in on it at any time; or else nothing.
func (h history) revocation(o op) (certain, possible bool) {
	for _, own := range h.ops {
		certain = certain || o.Err == "" && own.Owned && own.Err == "" && own.Return < o.Call
		possible = possible || own.Owned || own.Kind == opRenew && own.signsIn()
	}
	return certain, possible
}

// events are the operations for the model: those of which it is certain that
// they took place, and those that may have ended the session.
func (h history) events() (certain, maybe []porcupine.Operation) {
	known := h.applied()
	for i := range h.ops {
		o := &h.ops[i]
		e := event{token: h.tokens[o.Token], new: h.tokens[o.New], op: o}
		if o.Saw != nil {
			e.saw = contentOf(o.Saw)
		}
		if o.Kind == opRevoke {
			end := porcupine.Operation{ClientId: max(0, o.Client), Input: event{kind: ends, op: o}, Call: o.Call, Return: o.Return}
			if o.Err != "" {
				end.Return = never
			}
			switch is, possible := h.revocation(*o); {
			case is:
				certain = append(certain, end)
			case possible:
				maybe = append(maybe, end)
			}
			continue
		}
		add := func(list *[]porcupine.Operation, kind eventKind, until int64) {
			e.kind = kind
			if kind == loses {
				e.new = -1
			}
			*list = append(*list, porcupine.Operation{ClientId: max(0, o.Client), Input: e, Call: o.Call, Return: until})
		}
		switch {
		case o.Kind == opLoad && o.Err == "" && !o.Found:
			add(&certain, misses, o.Return)
		case (o.Kind == opLoad || o.Kind == opReload) && o.Err == "":
			add(&certain, reads, o.Return)
		case o.Kind == opTouch && o.Err == "":
			add(&certain, isValid, o.Return)
		case o.Kind == opCreate && o.Err == "":
			add(&certain, creates, o.Return)
		case o.Kind == opRenew && o.Err == "":
			add(&certain, renews, o.Return)
		case o.Kind == opDestroy && o.Err == "":
			add(&certain, ends, o.Return)
		case o.Kind == opFollow && o.Err == "" && o.Instead == aMark:
			add(&certain, ends, o.Return)
		case o.Kind == opFollow && o.Err == "" && o.Instead == "":
			add(&maybe, ends, o.Return)
		case o.Kind == opFollow && o.Err == unavailable && o.Instead != nothing:
			add(&maybe, ends, never)
		case o.Kind == opRenew && o.Err == unavailable:
			add(&maybe, loses, never)
		case o.Kind == opDestroy && o.Err == unavailable:
			add(&maybe, ends, never)
		case o.Kind == opRenew && o.Err == gone && (h.lossy || o.signsIn()):
			add(&maybe, loses, o.Return)
		case o.Kind == opSave && known[i] != 0:
			add(&certain, writes, known[i])
		case o.Kind == opUpdate && known[i] != 0:
			add(&certain, updates, known[i])
		}
		switch {
		case o.Err == gone && known[i] != 0:
			add(&certain, isDead, o.Return)
		case o.Err == gone:
			add(&certain, isInvalid, o.Return)
		}
	}
	return certain, maybe
}

// applied finds the saves and updates that took place, and until when at the
// latest: those that returned nil, and those of which somebody has read what
// they wrote. The latter may prove others, so it goes on until nothing is new.
func (h history) applied() []int64 {
	until := make([]int64, len(h.ops))
	for i, o := range h.ops {
		if o.Err == "" {
			until[i] = o.Return
		}
	}
	for again := true; again; {
		again = false
		for i, o := range h.ops {
			if o.Err == "" || !h.mayBe(o) {
				continue
			}
			at := int64(0)
			for j, reader := range h.ops {
				if j == i || until[j] == 0 || reader.Saw == nil || !o.seenIn(reader.Saw) {
					continue
				}
				if at == 0 || until[j] < at {
					at = until[j]
				}
			}
			if at == 0 {
				continue
			}
			if o.Err == gone {
				at = min(at, o.Return)
			}
			if at = max(at, o.Call); at != until[i] {
				until[i], again = at, true
			}
		}
	}
	return until
}

// mayBe says that a change may have been made although the verb failed.
func (h history) mayBe(o op) bool {
	if o.Kind != opSave && o.Kind != opUpdate {
		return false
	}
	slow := o.Return-o.Call >= int64(timeout)*9/10 // the client may have asked twice
	return o.Err == unavailable || o.Err == gone && (h.lossy || slow || h.revoked)
}

// seenIn says that s holds what o wrote. An Update is in the log for ever, an
// edit until the next one.
func (o op) seenIn(s *Session) bool {
	if o.Kind == opUpdate {
		return o.ID != 0 && slices.Contains(s.Log, o.ID)
	}
	fields := contentOf(s).fields
	return slices.ContainsFunc(o.Set, func(e edit) bool { return fields[e.Field] == e.Value })
}
