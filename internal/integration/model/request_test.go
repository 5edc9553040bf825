package model_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/typedsessions/sessions"
)

// A visit is one request of a client: it does the steps and writes down what it
// saw. It goes by what an application can see, and by nothing else.
type visit struct {
	m *sessions.Manager[Session]
	*board
	request
	at    op // where it is
	next  int
	user  string
	crash *crash // with Crash alone
	tell  func(token string)

	ctx     context.Context
	ops     []op
	token   string // of its session; "" if it has none
	edits   []edit // not yet stored
	absent  int    // the load that found nothing, as an index of ops; -1 if none
	trail   bool   // what that load's token was renewed to, if it was, is still the request's to destroy
	lost    bool   // its session has ended: a later change is nobody's
	stopped bool
}

// errStop is what a function gives to Update.
var errStop = errors.New("the function's own")

func (v *visit) run() {
	v.absent = -1
	v.load()
	for _, s := range v.Steps {
		if v.stopped {
			return
		}
		v.step(s)
	}
	if !v.stopped {
		v.save("commit")
	}
}

// begin notes an operation that is about to be called.
func (v *visit) begin(name verb, kind string) op {
	o := v.at
	o.Verb, o.Kind, o.Token, o.Call = string(name), kind, v.token, clock()
	return o
}

// end notes how it returned, and says whether that was nil.
func (v *visit) end(o op, err error) bool {
	o.Return = clock()
	switch {
	case err == nil:
	case errors.Is(err, sessions.ErrGone):
		o.Err = gone
		if v.token != "" {
			v.lost, v.edits = true, nil
		}
	case errors.Is(err, sessions.ErrConflict):
		o.Err = conflict
		v.stopped = true
	case errors.Is(err, sessions.ErrUnavailable):
		o.Err = unavailable
		v.stopped = true
	default:
		o.Err = fmt.Sprintf("%T: %v", err, err)
		v.stopped = true
	}
	v.ops = append(v.ops, o)
	v.done()
	if v.stopped && v.Leave && o.Kind != opDestroy && o.Kind != opFollow && o.Kind != opLoad {
		v.destroy()
	}
	return err == nil
}

func (v *visit) load() {
	token := v.board.token(v.Age)
	o := v.begin("load", opLoad)
	o.Token = token
	ctx, err := v.m.Load(v.crashing(), token)
	if err == nil {
		v.ctx = ctx
		if info := v.m.Info(ctx); !info.New {
			o.Found, o.Session, v.token = true, info.ID, token
			o.Saw = v.look()
		} else {
			v.absent, v.trail = len(v.ops), true
		}
	}
	v.end(o, err)
}

// look copies *T.
func (v *visit) look() *Session {
	s := *v.m.FromContext(v.ctx)
	s.Log = slices.Clone(s.Log)
	return &s
}

// instead notes what the load found in place of a session.
func (v *visit) instead(what string) { v.ops[v.absent].Instead = what }

func (v *visit) value() int {
	v.next++
	return v.next
}

func (v *visit) step(s verb) {
	switch s {
	case editOwn:
		v.edit(v.at.Client)
	case editShared:
		v.edit(sharedField)
	case editPair:
		v.edit(pairField)
	case save:
		v.save(s)
	case update, updatePair:
		v.update(s)
	case updateFail:
		v.updateFail()
	case renew:
		v.renew(s, func() error { return v.m.Renew(v.ctx) })
	case signIn:
		v.renew(s, func() error { v.m.FromContext(v.ctx).User = v.user; return v.m.SignIn(v.ctx) })
	case remember:
		v.renew(s, func() error { v.m.FromContext(v.ctx).User = v.user; return v.m.SignIn(v.ctx, sessions.Remembered) })
	case destroy:
		v.destroy()
	case reload:
		v.reload()
	case touch:
		if v.token != "" {
			o := v.begin(s, opTouch)
			v.end(o, v.m.Touch(v.ctx))
		}
	case revokeAll:
		o := v.begin(s, opRevoke)
		o.Token = ""
		_, err := v.m.RevokeAll(v.crashing(), v.user)
		v.end(o, err)
	case hold:
		v.hold(2)
	}
}

// edit changes *T, which the store learns of later.
func (v *visit) edit(field int) {
	if v.lost {
		return
	}
	e := edit{field, v.value()}
	e.apply(v.m.FromContext(v.ctx))
	v.edits = append(slices.DeleteFunc(slices.Clone(v.edits), func(old edit) bool { return old.Field == field }), e)
}

// save calls Save or Commit where there is something to save.
func (v *visit) save(s verb) {
	if len(v.edits) == 0 {
		return
	}
	o := v.begin(s, opSave)
	o.Set = v.edits
	if s == "commit" && v.token != "" {
		_, err := v.m.Commit(v.ctx)
		v.stored(o, err)
		return
	}
	v.stored(o, v.m.Save(v.ctx))
}

func (v *visit) update(s verb) {
	o := v.begin(s, opUpdate)
	o.ID, o.Set = v.value(), v.edits
	if s == updatePair {
		o.Then = []edit{{pairField, v.value()}}
	}
	err := v.m.Update(v.ctx, func(s *Session) error {
		seen := *s
		seen.Log = slices.Clone(s.Log)
		o.SawBefore, o.Saw = o.Saw, &seen
		s.Count++
		s.Log = append(s.Log, o.ID)
		for _, e := range o.Then {
			e.apply(s)
		}
		return nil
	})
	if !errors.Is(err, sessions.ErrGone) {
		o.SawBefore = nil // otherwise the last call may have asked whether it is a sign-in, when the session had ended
	}
	v.stored(o, err)
}

// updateFail changes nothing, and is no operation unless it does.
func (v *visit) updateFail() {
	o := v.begin(updateFail, opUpdate)
	before := v.look()
	err := v.m.Update(v.ctx, func(s *Session) error {
		s.Count++
		s.Log = append(s.Log, v.value())
		s.Shared = v.value()
		return errStop
	})
	switch {
	case err == errStop:
		if after := v.look(); !reflect.DeepEqual(before, after) {
			v.end(o, fmt.Errorf("an Update whose function failed left T as %s; it was %s", after, before))
		}
	case err == nil:
		v.end(o, errors.New("Update returns nil and its function an error"))
	default:
		v.stored(o, err)
	}
}

func (v *visit) renew(s verb, call func() error) {
	if v.token == "" && s == renew && len(v.edits) == 0 {
		return // nothing to renew, nothing to save
	}
	o := v.begin(s, opRenew)
	o.Set = v.edits
	if !o.signsIn() {
		v.stored(o, call())
		return
	}
	o.From = v.look() // before the call: it may bring nothing back
	err := call()
	if errors.Is(err, sessions.ErrGone) {
		err = fmt.Errorf("a sign-in that depends on what became of the session: %v", err) // L20: nobody expects it
	}
	v.stored(o, err)
}

// stored notes an operation that stores T, as a new session or under a new
// token or neither, and tells the others of the token.
func (v *visit) stored(o op, err error) {
	fresh := o.Token == ""
	if fresh {
		o.Kind = opCreate
	}
	if err != nil {
		if fresh && v.trail && errors.Is(err, sessions.ErrGone) {
			v.instead(aMark)      // there alone nothing is created
			v.stopped = o.ID != 0 // what its function did to T may be there or not
		}
		v.end(o, err)
		return
	}
	v.edits = nil
	if !fresh && o.Kind != opRenew {
		v.end(o, nil)
		return
	}
	if fresh && v.trail && !o.signsIn() {
		v.instead(nothing)
	}
	out, err := v.learned(sessions.OutcomeCreated, sessions.OutcomeRenewed)
	if !fresh && err == nil && out.Kind == sessions.OutcomeCreated && o.signsIn() {
		before := o // to its session the sign-in is one that came too late
		before.Err, before.Return = gone, clock()
		v.ops = append(v.ops, before)
		o.Kind, o.Token, o.Set = opCreate, "", nil
		v.lost = false
	} else {
		o.From = nil
	}
	o.New = out.Token.Reveal()
	v.token = o.New
	o.Session, o.Owned = v.m.Info(v.ctx).ID, o.signsIn() && v.user != ""
	if v.end(o, err) {
		v.learn(o.New)
		v.tell(o.New)
	}
}

// learned asks Commit, which has nothing to save, what the client must learn.
func (v *visit) learned(kinds ...sessions.OutcomeKind) (out sessions.Outcome, err error) {
	out, err = v.m.Commit(v.ctx)
	if err == nil && !slices.Contains(kinds, out.Kind) {
		err = fmt.Errorf("the Outcome of a verb that returned nil is %v, want one of %v", out.Kind, kinds)
	}
	return out, err
}

// destroy ends the session, and what the loaded token was renewed to.
func (v *visit) destroy() {
	if v.token == "" && !v.trail {
		return
	}
	o := v.begin(destroy, opDestroy)
	err := v.m.Destroy(v.ctx)
	if err == nil {
		var out sessions.Outcome
		out, err = v.m.Commit(v.ctx)
		destroyed := out.Kind == sessions.OutcomeDestroyed
		switch {
		case err != nil:
		case o.Token == "" && destroyed:
			v.instead(aMark)
		case o.Token == "":
			v.instead(nothing)
		case !destroyed:
			err = fmt.Errorf("the Outcome of Destroy is %v", out.Kind)
		}
	}
	behind := v.trail
	v.token, v.trail, v.edits, v.lost = "", false, nil, false
	if behind {
		b := o
		b.Token, b.Kind, b.Instead = v.ops[v.absent].Token, opFollow, v.ops[v.absent].Instead
		v.end(b, err)
	}
	if o.Token != "" {
		v.end(o, err)
	}
}

func (v *visit) reload() {
	if v.token == "" {
		return
	}
	o := v.begin(reload, opReload)
	err := v.m.Reload(v.ctx)
	if err == nil {
		o.Saw, v.edits = v.look(), nil
	}
	v.end(o, err)
}
