package sessions

import "reflect"

// Defaulted is implemented by a *T whose fresh value is not the zero value:
// SessionDefaults fills it in for a new session, and for one that was
// destroyed. A stored record is decoded into a zero T. What it draws at random
// is drawn again for each visitor until T has changed and is stored.
type Defaulted interface{ SessionDefaults() }

// Owned is implemented by a *T that knows whose session it is: SessionOwner
// returns the user's ID, "" for nobody. It is kept beside T, see [Info].Owner.
//
// A save that changes the owner renews the token by itself: to another owner it
// is [Manager.SignIn] without options, to none it is [Manager.Renew], and
// AuthenticatedAt is reset. So session fixation (OWASP Session Management) is
// not a matter of remembering a call. After the response has begun there is no
// new token: the change is [ErrCommitted]. Where the stored session has another
// owner than the one that a request loaded, the request's change is not merged
// into it: [ErrGone].
//
// SessionOwner is asked often, of a zero T too, and answers from T alone.
type Owned interface{ SessionOwner() string }

// Versioned is implemented by a *T whose meaning has changed in a way that
// adding and removing fields does not cover.
//
// SessionVersion returns T's version, the same number always: 1 or more, for a
// T that was never Versioned was 0. A record of an older version is given to
// UpgradeSession on a zero T: decode decodes the old data into whatever has the
// old shape, and may be called more than once; fields that T does not know are
// not kept. The upgrade alone is no change: it is stored with the next one. Its
// error, or a panic, is a [*DecodeError]: the visitor starts fresh, and the
// record stays.
//
// A record of a newer version is never overwritten, though Destroy ends it:
// loading it is [ErrNewerVersion]. While a fleet changes over, old builds answer so for the sessions that
// new ones have written, and for builds from before T was Versioned every
// version is newer.
type Versioned interface {
	SessionVersion() int
	UpgradeSession(from int, decode func(v any) error) error
}

// Merging is implemented by a *T that knows better than [ConflictMerge] how two
// requests' changes go together: counters that add up, sets that unite.
//
// MergeSession is called on what this request has made of T, with what the
// request had loaded and with what is stored now. It brings theirs into its
// receiver, and the result is saved and becomes *T. All three are values
// decoded afresh. It is called again when yet another save comes in between, so it changes
// nothing else. Its error fails the save, unchanged.
type Merging[T any] interface {
	MergeSession(base, theirs *T) error
}

// typeInfo is T for code that works on values as any.
type typeInfo struct {
	typ    reflect.Type
	key    any                // of the session of this type in a context
	new    func() any         // a zero *T
	assign func(dst, src any) // *dst = *src

	// T's own methods; each is nil if T does not have it.
	defaults func(v any)
	owner    func(v any) string
	version  func(v any) int
	upgrade  func(v any, from int, decode func(into any) error) error
	merge    func(mine, base, theirs any) error
}

// typeKey finds the session of a type in a context.
type typeKey[T any] struct{}

// describe finds out what *T implements.
func describe[T any]() typeInfo {
	info := typeInfo{
		typ:    reflect.TypeFor[T](),
		key:    typeKey[T]{},
		new:    func() any { return new(T) },
		assign: func(dst, src any) { *dst.(*T) = *src.(*T) },
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
