package site

import (
	"fmt"
	"net/http"
	"time"
)

func (s *Site) live(w http.ResponseWriter, r *http.Request, u user) {
	s.render(w, r, http.StatusOK, "live", nil)
}

// liveEvents counts the seconds of a connection, as server-sent events, until the session ends, however it does.
func (s *Site) liveEvents(w http.ResponseWriter, r *http.Request, u user) {
	watched, stop := s.Manager.Watch(r.Context())
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	response := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		// The server's WriteTimeout is for pages. A recorder of tests has no deadline to set.
		_ = response.SetWriteDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(w, "data: %d\n\n", n)
		if response.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.closed.Done():
			return // the browser connects again by itself
		case <-watched.Done():
			if r.Context().Err() == nil { // it is the session that has ended, and the client is still there
				fmt.Fprint(w, "event: ended\ndata:\n\n")
			}
			return
		}
	}
}
