package response

import (
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
)

// A body is the body of a request whose handler has a Writer. It notes whether http.MaxBytesReader may have stopped at
// its limit. Then net/http closes the connection behind the response, because the client goes on sending; but for that
// it asks the writer for an unexported method, which no writer but its own can have.
//
// A read that goes over the limit is the last one, and gets as many bytes as it has asked for. So the connection
// is also closed where a handler, of its own accord, leaves the rest of a limited body alone after such a read.
type body struct {
	io.ReadCloser
	limited atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.limited.Store(n > 0 && n == len(p) && limiting())
	return n, err
}

// limiting tells whether the caller's caller is http.MaxBytesReader's Read.
func limiting() bool {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	return runtime.FuncForPC(pc[0]-1).Name() == "net/http.(*maxBytesReader).Read"
}

// isServers tells whether a body is the one that net/http's server made, whose type nobody can ask for, and is not limited
// already: net/http knows that type.
func isServers(b io.ReadCloser) bool {
	t := reflect.TypeOf(b)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "net/http" && t != maxBytesReader
}

var maxBytesReader = reflect.TypeOf(http.MaxBytesReader(nil, nil, 0))

// passLimit passes a limit on the server's writer, so that the server closes the connection behind the response.
func passLimit(rw http.ResponseWriter) {
	_, _ = http.MaxBytesReader(rw, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}
