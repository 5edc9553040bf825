package sessions

import "reflect"

// Defaulted is implemented by a *T with default values: SessionDefaults fills them in for a new session and
// after Destroy. Of a stored session it decides only the fields that were added to T since: those that the record
// lacks although T always writes them. So a map that it makes is there for visitors from before the field, too:
//
//	func (s *Session) SessionDefaults() { s.Recent = map[string]time.Time{} }
//
// A field with omitempty or omitzero may be missing because it was cleared, so it stays zero, but for such an empty
// map: the codec cannot write it, so it is there again. See docs/builds.md.
type Defaulted interface{ SessionDefaults() }

// Owned is implemented by a *T that knows whose session it is: SessionOwner returns the user's ID, "" for
// nobody. A save that changes the owner renews the token, against session fixation (OWASP Session
// Management): to another owner it is [Manager.SignIn], to nobody [Manager.Renew], and AuthenticatedAt is
// reset. After the header was sent that is [ErrCommitted]. If the stored session has another owner than the
// loaded one, a save is [ErrGone], unless it signs somebody in where nobody was. SessionOwner is called often,
// also on a zero T, and depends on stored fields alone: an owner that the T that is stored would not have, such as one
// that is no UTF-8 in JSON, is refused when it signs in.
type Owned interface{ SessionOwner() string }

// Versioned is implemented by a *T whose meaning has changed otherwise than by added and removed fields.
// SessionVersion returns a constant, 1 or more. UpgradeSession is called on a zero T for the data of an
// older version, 0 if it had none; decode decodes that into any value. Its error, or a panic, is a
// [*DecodeError]. Data of a newer version is [ErrNewerVersion]. See docs/builds.md.
type Versioned interface {
	SessionVersion() int
	UpgradeSession(from int, decode func(v any) error) error
}

// Merging is implemented by a *T that merges two requests' changes itself. MergeSession brings theirs, the
// stored T, into its receiver, which this request has made of base. It may be called again, on values
// decoded afresh, so it changes nothing else. Its error fails the save, unchanged.
type Merging[T any] interface {
	MergeSession(base, theirs *T) error
}

// typeInfo is T for code that works on values as any.
type typeInfo struct {
	reflected  reflect.Type
	contextKey any                // under which a context has the session of this type
	new        func() any         // a zero *T
	assign     func(dst, src any) // *dst = *src

	// T's own methods; each is nil if T does not have it.
	defaults func(v any)
	owner    func(v any) string
	version  func(v any) int
	upgrade  func(v any, from int, decode func(into any) error) error
	merge    func(mine, base, theirs any) error
}

// typeKey finds the session of a type in a context.
type typeKey[T any] struct{}

// typeInfoOf finds out what *T implements.
func typeInfoOf[T any]() typeInfo {
	info := typeInfo{
		reflected:  reflect.TypeFor[T](),
		contextKey: typeKey[T]{},
		new:        func() any { return new(T) },
		assign:     func(dst, src any) { *dst.(*T) = *src.(*T) },
	}
	zero := any((*T)(nil))
	if _, ok := zero.(Defaulted); ok {
		info.defaults = func(v any) { v.(Defaulted).SessionDefaults() }
	}
	if _, ok := zero.(Owned); ok {
		info.owner = func(v any) string { return v.(Owned).SessionOwner() }
	}
	if _, ok := zero.(Versioned); ok {
		info.version = func(v any) int { return v.(Versioned).SessionVersion() }
		info.upgrade = func(v any, from int, decode func(any) error) error { return v.(Versioned).UpgradeSession(from, decode) }
	}
	if _, ok := zero.(Merging[T]); ok {
		info.merge = func(mine, base, theirs any) error {
			return mine.(Merging[T]).MergeSession(base.(*T), theirs.(*T))
		}
	}
	return info
}

// fresh makes a new T as a visitor without a session gets it.
func (t *typeInfo) fresh() any {
	v := t.new()
	if t.defaults != nil {
		t.defaults(v)
	}
	return v
}
