package shape

import (
	"fmt"
	"maps"
	"reflect"
	"sync"
)

// locks finds what must not be copied in a type within T at path, by the rule of go vet's copylocks: a struct whose
// pointer has Lock and Unlock, and which does not have them itself. Behind a pointer, in a slice, a map or an
// interface it is not copied. The paths are those of locks; what holds nothing that is exported counts as one.
func locks(t reflect.Type, path string, found map[string]error) {
	for t.Kind() == reflect.Array {
		t, path = t.Elem(), path+"[]"
	}
	if t.Kind() != reflect.Struct {
		return
	}
	within := map[string]error{}
	for f := range t.Fields() {
		locks(f.Type, path+"."+f.Name, within)
	}
	locker := reflect.TypeFor[sync.Locker]()
	is := reflect.PointerTo(t).Implements(locker) && !t.Implements(locker)
	const why = "must not be copied, as a lock or an atomic must not, and a merge, Update and Reload replace T as a whole: keep it outside of T"
	switch {
	case path != "" && (is || len(within) > 0 && hidesAll(t)):
		found[path] = fmt.Errorf("%s is of type %v, which %s", path[1:], t, why)
	case len(within) == 0 && is:
		found[path] = fmt.Errorf("it has the methods of a lock and %s", why)
	default:
		maps.Copy(found, within)
	}
}
