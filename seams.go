package sessions

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/record"
)

// optionalInterfaces are the interfaces that a part may implement beside its own, by part.
var optionalInterfaces = []struct {
	part       string
	interfaces []reflect.Type
}{
	{"store", []reflect.Type{reflect.TypeFor[Validator](), reflect.TypeFor[Timed](), reflect.TypeFor[OwnerStore]()}},
	{"Config.Codec", []reflect.Type{reflect.TypeFor[Validator](), reflect.TypeFor[FieldCodec](), reflect.TypeFor[AppendCodec](), reflect.TypeFor[FieldWalker]()}},
	{"Config.Transport", []reflect.Type{reflect.TypeFor[Validator](), reflect.TypeFor[OutcomeValidator](), reflect.TypeFor[SecureTransport](), reflect.TypeFor[CookieTransport](), reflect.TypeFor[Attributor]()}},
	{"Config.Layout", []reflect.Type{reflect.TypeFor[Validator](), reflect.TypeFor[FieldsValidator](), reflect.TypeFor[Identifier](), reflect.TypeFor[OwnerLayout]()}},
}

const transportPart = 2 // the index of Config.Transport there

// checkSeams asks each part what is wrong with it, and refuses a method that looks like an optional one but
// is not: it would silently never be called.
func checkSeams(store Store, cfg *Config) error {
	var errs []error
	if isNil(store) {
		errs = append(errs, errors.New("sessions: the store is nil: use NewRedisStore, or &MemoryStore{} in a test"))
	}
	for i, part := range []any{store, cfg.Codec, cfg.Transport, cfg.Layout} {
		errs = append(errs, checkPart(i, part))
	}
	if f, ok := cfg.Transport.(*firstOf); ok {
		for _, t := range f.transports {
			errs = append(errs, checkPart(transportPart, t))
		}
	}
	return errors.Join(errs...)
}

// checkPart is checkSeams for the part with this index in optionalInterfaces.
func checkPart(i int, part any) error {
	if isNil(part) {
		return nil
	}
	var errs []error
	for _, optional := range optionalInterfaces[i].interfaces {
		errs = append(errs, checkOptional(optionalInterfaces[i].part, part, optional))
	}
	if v, ok := part.(Validator); ok {
		errs = append(errs, v.Validate())
	}
	return errors.Join(errs...)
}

// checkOptional refuses a part that has a method of the interface's, but does not implement it.
func checkOptional(name string, part any, optional reflect.Type) error {
	t := reflect.TypeOf(part)
	if t.Implements(optional) {
		return nil
	}
	if p := reflect.PointerTo(t); p.Implements(optional) {
		return fmt.Errorf("sessions: %s: a *%v is a sessions.%s, and a %v is not: give a pointer", name, t, optional.Name(), t)
	}
	for want := range optional.Methods() {
		if isRequired(want.Name) {
			continue // every part of its kind has it, not only the optional one
		}
		if has, ok := t.MethodByName(want.Name); ok {
			return fmt.Errorf("sessions: %s: %v has a method %s, but it is no sessions.%s, so the method (a %v) is never called: declare all the methods of that interface, or give it another name",
				name, t, want.Name, optional.Name(), has.Type)
		}
	}
	return nil
}

// isRequired tells whether a method is one of those that each part of some kind has.
func isRequired(method string) bool {
	for _, part := range []reflect.Type{reflect.TypeFor[Store](), reflect.TypeFor[Codec](), reflect.TypeFor[Transport](), reflect.TypeFor[Layout]()} {
		if _, ok := part.MethodByName(method); ok {
			return true
		}
	}
	return false
}

// checkTokens draws two tokens, compares them, and shows the first one, as a token of each class, to the Layout and
// the Transport: what would fail at the first visitor fails in New.
func checkTokens(cfg *Config, plain, remember record.Timeouts) error {
	var drawn [2]string
	for i := range drawn {
		var err error
		if drawn[i], err = cfg.NewToken(); err != nil {
			return fmt.Errorf("sessions: Config.NewToken: %w", err)
		}
	}
	if drawn[0] == drawn[1] {
		return errors.New("sessions: Config.NewToken: it draws the same token twice: every one must be unguessable (ASVS 5.0 7.2.3)")
	}
	var errs []error
	for class, timeouts := range []record.Timeouts{plain, remember} {
		remembered := class == 1
		token := cfg.Layout.Mint(drawn[0], remembered)
		if _, _, ok := cfg.Layout.Parse(token); !ok {
			return errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn: draw 20 to 128 letters, digits, - and _")
		}
		if l, ok := cfg.Layout.(OwnerLayout); ok && !places(l, cfg.Realm, drawn[0], remembered) {
			return fmt.Errorf("sessions: Config.Layout: %T.Place makes a token that Parse does not take, or whose key is not the tag in braces and 43 characters: make it as OwnerLayout says, or embed DefaultLayout", l)
		}
		if t, ok := cfg.Transport.(OutcomeValidator); ok {
			now := time.Now()
			info := Info{Remembered: remembered, CreatedAt: now, ExpiresAt: timeouts.End(now)}
			err := t.ValidateOutcome(Outcome{Kind: OutcomeCreated, Token: Token(token), Info: info})
			if err != nil && (len(errs) == 0 || errs[0].Error() != err.Error()) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// places tells whether a token and its key are as an [OwnerLayout] promises.
func places(l OwnerLayout, realm, drawn string, remembered bool) bool {
	const tag = "aZ-_"
	token := l.Place(drawn, tag, remembered)
	class, known, ok := l.Parse(token)
	key := l.Key(realm, token)
	return ok && known && class == remembered && record.Tag(key) == tag && record.Member([]byte(uuid.Nil.String()), key) != ""
}
