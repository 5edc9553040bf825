package model_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Session is the T of the model. Whatever is written into it is a number that
// is written once in a round, so that who reads it knows where it is from.
type Session struct {
	Count  int    `json:"count"` // Updates
	Log    []int  `json:"log"`   // and which, in their order
	A      int    `json:"a"`
	B      int    `json:"b"`
	C      int    `json:"c"`
	D      int    `json:"d"`
	E      int    `json:"e"`
	F      int    `json:"f"`
	G      int    `json:"g"`
	H      int    `json:"h"`
	Shared int    `json:"shared"`
	Pair   Pair   `json:"pair"`
	User   string `json:"user"`
}

// SessionOwner implements sessions.Owned.
func (s *Session) SessionOwner() string { return s.User }

// Pair has two halves that agree.
type Pair struct{ X, Y int }

// The fields of a Session that an edit sets: one for each client, and two.
const (
	sharedField = ownFields + iota
	pairField
	editFields
)

// An edit sets a field.
type edit struct{ Field, Value int }

func (e edit) apply(s *Session) {
	switch e.Field {
	case sharedField:
		s.Shared = e.Value
	case pairField:
		s.Pair = Pair{e.Value, e.Value}
	default:
		*[ownFields]*int{&s.A, &s.B, &s.C, &s.D, &s.E, &s.F, &s.G, &s.H}[e.Field] = e.Value
	}
}

// content is a Session in a form that == compares. torn says that the halves of
// its pair do not agree.
type content struct {
	count  int
	log    string
	fields [editFields]int
	torn   bool
}

func contentOf(s *Session) content {
	return content{
		count:  s.Count,
		log:    logOf(s.Log...),
		fields: [editFields]int{s.A, s.B, s.C, s.D, s.E, s.F, s.G, s.H, s.Shared, s.Pair.X},
		torn:   s.Pair.X != s.Pair.Y,
	}
}

func logOf(ids ...int) string {
	var b []byte
	for _, id := range ids {
		b = binary.BigEndian.AppendUint32(b, uint32(id))
	}
	return string(b)
}

func (c content) edited(edits []edit) content {
	for _, e := range edits {
		c.fields[e.Field] = e.Value
	}
	return c
}

// updated is what the function of an Update makes of c.
func (c content) updated(o *op) content {
	c.count++
	c.log += logOf(o.ID)
	return c.edited(o.Then)
}

// What an operation did, in an op.
const (
	opLoad    = "load"
	opReload  = "reload"
	opTouch   = "touch"
	opSave    = "save"
	opUpdate  = "update"
	opRenew   = "renew"
	opDestroy = "destroy"
	opFollow  = "follow" // a destroy that ends what the token was renewed to, if it was
	opCreate  = "create" // any verb that stored a new session
	opRevoke  = "revoke" // all sessions of the round's user
)

// How it ended, where it did not end in nil.
const (
	gone        = "gone"
	conflict    = "conflict"
	unavailable = "unavailable"
)

// What a load that found no session found in its place, as far as is known
// from what the request could do afterwards.
const (
	aMark   = "mark"
	nothing = "nothing"
)

// An op is one operation of the history, from before its call until after its
// return by the one clock that all processes have.
type op struct {
	Process, Client, Request int
	Verb                     string // as the script says
	Kind                     string
	Token                    string // that the request had; "" if none
	Call, Return             int64
	Err                      string `json:",omitempty"` // "" for nil, or one of the words above, or an error that nobody expects
	Found                    bool   `json:",omitempty"` // a load: there is a session
	Instead                  string `json:",omitempty"` // of a session: aMark, nothing, or unknown
	ID                       int    `json:",omitempty"` // of an Update
	Set                      []edit `json:",omitempty"` // edits that were waiting
	Then                     []edit `json:",omitempty"` // edits of an Update's function
	Saw                      *Session
	SawBefore                *Session `json:",omitempty"` // an Update that ended in ErrGone: what the call of its function before the last one saw
	From                     *Session `json:",omitempty"` // what a sign-in began its own session with
	New                      string   `json:",omitempty"` // the token that the client got
	Session                  string   `json:",omitempty"` // its public ID
	Owned                    bool     `json:",omitempty"` // it is the user's from then on
}

// signsIn says that it is a proof of who the user is, and depends on no session from before (L20).
func (o *op) signsIn() bool { return o.Verb == string(signIn) || o.Verb == string(remember) }

// printHistory is the history for people, one line an operation, in the order of the
// calls. Tokens are printed as numbers.
func printHistory(ops []op) string {
	if len(ops) == 0 {
		return "no operation\n"
	}
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	names := map[string]string{"": "-"}
	name := func(token string) string {
		if names[token] == "" {
			names[token] = fmt.Sprintf("t%d", len(names)-1)
		}
		return names[token]
	}
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "%8d..%8dµs  p%d c%d r%d  %-4s %-11s", (o.Call-ops[0].Call)/1000, (o.Return-ops[0].Call)/1000,
			o.Process, o.Client, o.Request, name(o.Token), o.Verb)
		if o.Verb != o.Kind {
			fmt.Fprintf(&b, " (%s)", o.Kind)
		}
		if o.ID != 0 {
			fmt.Fprintf(&b, " #%d", o.ID)
		}
		printEdits(&b, " with", o.Set)
		printEdits(&b, " then", o.Then)
		b.WriteString(" ->")
		switch {
		case o.Err != "":
			b.WriteString(" " + o.Err)
		case o.Kind == opLoad && !o.Found:
			b.WriteString(" none")
			if o.Instead != "" {
				b.WriteString(" but " + o.Instead)
			}
		default:
			b.WriteString(" ok")
		}
		if o.New != "" {
			b.WriteString(" " + name(o.New))
		}
		if o.From != nil {
			fmt.Fprintf(&b, " from %s", o.From)
		}
		if o.Saw != nil {
			fmt.Fprintf(&b, " saw %s", o.Saw)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func printEdits(b *strings.Builder, word string, edits []edit) {
	for i, e := range edits {
		if i == 0 {
			b.WriteString(word)
		}
		fmt.Fprintf(b, " %s=%d", fieldName(e.Field), e.Value)
	}
}

func fieldName(field int) string {
	switch field {
	case sharedField:
		return "shared"
	case pairField:
		return "pair"
	}
	return string(rune('a' + field))
}

// String prints what is not zero.
func (s *Session) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{count=%d log=%v", s.Count, s.Log)
	for field, v := range contentOf(s).fields {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%d", fieldName(field), v)
		}
	}
	if s.Pair.X != s.Pair.Y {
		fmt.Fprintf(&b, " torn: %v", s.Pair)
	}
	return b.String() + "}"
}
