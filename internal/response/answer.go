package response

import (
	"bytes"
	"net/http"
)

// An answer buffers what Fail writes.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && (code < 100 || code > 199) {
		a.code = code
	}
}
