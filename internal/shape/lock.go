package shape

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// A place is where a type stands within T.
type place struct {
	codec  string
	path   string
	stored bool           // it is written and read, so that another value takes its place when T is replaced
	shared bool           // it is behind a pointer, or in a slice or a map
	above  []reflect.Type // the structs around it
}

// locks finds what must not be replaced while it is in use: what go vet's copylocks tells of, a struct whose pointer
// has Lock and Unlock, and which does not have them itself. go vet looks at what is held by value. Where it is stored, what
// is behind a pointer, in a slice or in a map is replaced as well, unless its type encodes itself and so keeps the lock to
// its own methods. The paths are those of locks; what holds nothing that is exported counts as one.
func locks(t reflect.Type, at place, found map[string]error) {
	for crossed := false; ; t = t.Elem() {
		switch t.Kind() {
		case reflect.Array:
			if at.shared && t.Len() == 0 {
				return // it is there for go vet, as in protobuf's messages
			}
			at.path += "[]"
		case reflect.Slice, reflect.Map:
			at.path, at.shared, crossed = at.path+"[]", true, true
		case reflect.Pointer:
			at.shared, crossed = true, true
		case reflect.Struct:
			if !crossed || at.stored && !codesItself(t, at.codec) && !hidesAll(t) {
				locksIn(t, at, found)
			}
			return
		default:
			return
		}
	}
}

func locksIn(t reflect.Type, at place, found map[string]error) {
	if slices.Contains(at.above, t) {
		return
	}
	within := map[string]error{}
	for f := range t.Fields() {
		_, _, omitted := tagOf(f, at.codec)
		in := at
		in.path, in.above = at.path+"."+f.Name, append(slices.Clip(at.above), t)
		in.stored = at.stored && !omitted && (f.IsExported() || f.Anonymous)
		locks(f.Type, in, within)
	}
	locker := reflect.TypeFor[sync.Locker]()
	is := reflect.PointerTo(t).Implements(locker) && !t.Implements(locker)
	const why = "must not be copied, as a lock or an atomic must not, and a merge, Update and Reload replace T as a whole: keep it outside of T"
	switch {
	case at.path != "" && (is || len(within) > 0 && hidesAll(t)):
		found[at.path] = fmt.Errorf("%s is of type %v, which %s", at.path[1:], t, why)
	case len(within) == 0 && is:
		found[at.path] = fmt.Errorf("it has the methods of a lock and %s", why)
	default:
		maps.Copy(found, within)
	}
}
