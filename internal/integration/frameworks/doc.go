// Package frameworks has the routes that docs/frameworks.md shows, on the real routers, and runs Handler beside the middleware
// that stands around it there: compressors, timeouts, recovery and tracing, outside and inside of it.
package frameworks

// Session is what the pages know about a visitor.
type Session struct {
	UserID string `json:"user_id"`
	Views  int    `json:"views"`
}

// SessionOwner makes a save that changes UserID a sign-in.
func (s *Session) SessionOwner() string { return s.UserID }
