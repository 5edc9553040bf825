package site

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

// A line of the log: an event of this library's Manager, or a write of scs.
type line struct {
	Lane string `json:"lane"`
	Tab  string `json:"tab"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// A feed hands lines to the pages that are open.
type feed struct {
	mu    sync.Mutex
	pages map[chan line]bool
}

// tell hands a line to every page. A page that does not keep up misses it, because OnEvent must not wait.
func (f *feed) tell(ctx context.Context, l line) {
	l.Tab, _ = ctx.Value(tabKey{}).(string)
	f.mu.Lock()
	defer f.mu.Unlock()
	for page := range f.pages {
		select {
		case page <- l:
		default:
		}
	}
}

// ServeHTTP sends the log, as server-sent events, until the page is closed.
func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := make(chan line, 1000)
	f.mu.Lock()
	f.pages[page] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.pages, page)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for http.NewResponseController(w).Flush() == nil {
		select {
		case l := <-page:
			data, _ := json.Marshal(l) // four strings can always be encoded
			fmt.Fprintf(w, "data: %s\n\n", data)
		case <-r.Context().Done():
			return
		}
	}
}
