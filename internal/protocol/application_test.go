package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// An application is a test's Application.
type application struct {
	mu      sync.Mutex
	decoded string
	adopted string // what was decoded when it adopted
	notices []string
}

// Decode cannot read payloads with a question mark.
func (a *application) Decode(r record.Record) error {
	a.decoded = string(r.Payload)
	if strings.Contains(a.decoded, "?") {
		return errors.New("cannot decode")
	}
	return nil
}

func (a *application) Adopt() { a.adopted = a.decoded }

var kinds = map[protocol.NoticeKind]string{
	protocol.Unavailable: "Unavailable", protocol.Recovered: "Recovered", protocol.Expired: "Expired",
	protocol.Undecodable: "Undecodable", protocol.TwoSessions: "TwoSessions", protocol.TouchSkipped: "TouchSkipped",
	protocol.Gone: "Gone", protocol.OutOfTime: "OutOfTime", protocol.ManyUnknown: "ManyUnknown",
	protocol.Revoked: "Revoked", protocol.Evicted: "Evicted",
}

func (a *application) Notice(n protocol.Notice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := kinds[n.Kind]
	if o := n.Outage; o != nil && o.First {
		text += " first"
	} else if n.Kind == protocol.Recovered {
		text += " from " + o.Cause
		if o.Repeats > 0 {
			text += fmt.Sprint(", ", o.Repeats, " more in ", o.Lasted)
		}
	}
	if n.Count > 0 {
		text += fmt.Sprint(" ", n.Count)
	}
	if n.Record != nil {
		text += " " + string(n.Record.ID)
	}
	if n.Kind == protocol.Undecodable {
		text += ": " + name(n.Err)
	}
	a.notices = append(a.notices, text)
}

// take returns the notices since the last call.
func (a *application) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	notices := strings.Join(a.notices, ", ")
	a.notices = nil
	return notices
}

// A composer is a test's Composer: its steps are called one after another, the last one again and again.
type composer struct {
	steps []compose
	given []string // the payloads; one that is not known has an asterisk
	made  string   // the payload of the last proposal
}

type compose func(found protocol.Found) (protocol.Proposal, error)

func (c *composer) Compose(found protocol.Found) (protocol.Proposal, error) {
	step := c.steps[min(len(c.given), len(c.steps)-1)]
	given := string(found.Record.Payload)
	if !found.Own {
		given += "*"
	}
	c.given = append(c.given, given)
	p, err := step(found)
	c.made = string(p.Record.Payload)
	return p, err
}

// edit appends a letter.
func edit(letter string) compose {
	return func(found protocol.Found) (p protocol.Proposal, err error) {
		p.Record = found.Record
		p.Record.Payload = slices.Concat(found.Record.Payload, []byte(letter))
		return p, nil
	}
}

// renew appends a letter and asks for a new token.
func renew(letter string) compose {
	return func(found protocol.Found) (protocol.Proposal, error) {
		p, err := edit(letter)(found)
		p.NewToken = true
		return p, err
	}
}

func keep(protocol.Found) (protocol.Proposal, error) { return protocol.Proposal{Keep: true}, nil }

// fails gives the error.
func fails(err error) compose {
	return func(protocol.Found) (protocol.Proposal, error) { return protocol.Proposal{}, err }
}

var errCompose = errors.New("cannot compose")

// refuses is a function of the application's that does not want what it is given.
func refuses(protocol.Found) (protocol.Proposal, error) {
	return protocol.Proposal{}, &protocol.Refusal{Err: errors.New("refused")}
}

// lasting takes its time.
func lasting(d time.Duration, c compose) compose {
	return func(found protocol.Found) (protocol.Proposal, error) {
		time.Sleep(d)
		return c(found)
	}
}

type unreadable struct {
	part string
	err  error
}

func (u *unreadable) Error() string { return "unreadable " + u.part }
func (u *unreadable) Unwrap() error { return u.err }

// name is an error in a row.
func name(err error) string {
	if err == nil {
		return "ok"
	}
	var words []string
	if u, ok := errors.AsType[*unreadable](err); ok {
		words = append(words, u.Error())
	}
	for _, e := range []struct {
		err  error
		name string
	}{
		{protocol.ErrUnavailable, "ErrUnavailable"},
		{protocol.ErrRefused, "refused"},
		{protocol.ErrNewerVersion, "ErrNewerVersion"},
		{protocol.ErrConflict, "ErrConflict"},
		{protocol.ErrGone, "ErrGone"},
		{protocol.ErrTooLarge, "ErrTooLarge"},
		{protocol.ErrNotFound, "ErrNotFound"},
		{protocol.ErrExists, "ErrExists"},
		{protocol.ErrOwnerLimit, "ErrOwnerLimit"},
		{protocol.ErrIncomplete, "ErrIncomplete"},
		{context.Canceled, "Canceled"},
	} {
		if errors.Is(err, e.err) {
			words = append(words, e.name)
		}
	}
	for text, word := range map[string]string{"may or may not be stored": "unknown", "nothing was sent": "unsent"} {
		if strings.Contains(err.Error(), text) {
			words = append(words, word)
		}
	}
	if words == nil {
		return err.Error()
	}
	return strings.Join(words, " ")
}
