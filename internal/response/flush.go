package response

import "net/http"

// flush flushes what was written, if the innermost writer can: echo's writer panics where it cannot, as within an
// http.TimeoutHandler.
func flush(rw http.ResponseWriter) {
	innermost := rw
	for {
		outer, ok := innermost.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		innermost = outer.Unwrap()
	}
	switch innermost.(type) {
	case http.Flusher, interface{ FlushError() error }:
		_ = http.NewResponseController(rw).Flush()
	}
}
