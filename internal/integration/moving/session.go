package moving

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"
)

// Session is what the program knows about a visitor: yours.
type Session struct {
	UserID string   `json:"user_id"`
	Cart   []string `json:"cart,omitempty"`
	Moved  Moved    `json:"moved,omitzero"` // goes when the move is over
}

func (s *Session) SessionOwner() string { return s.UserID }

// Moved says what a session has to do with one of the old library.
type Moved struct {
	From  string    `json:"from,omitempty"` // names the old session that this one ends with; "" if there is none
	Until time.Time `json:"until,omitzero"` // when the old session ends, however active it is
}

// Old is the session library from before.
type Old interface {
	// Read returns the live session of r's cookie whose user is signed in; otherwise the zero Login. It may prolong it.
	Read(w http.ResponseWriter, r *http.Request) (Login, error)
	SignIn(w http.ResponseWriter, r *http.Request, user string, remember bool) error
	SignOut(w http.ResponseWriter, r *http.Request) error // without a cookie it does nothing
}

// Login is a session of the old library.
type Login struct {
	Session    Session   // what becomes T
	ID         string    // names it, and opens nothing
	Remembered bool      // its cookie persists
	SignedInAt time.Time // 1970 if the old library does not know it: then Fresh asks for a new proof
	IssuedAt   time.Time // when the old library has issued it, or saved it last: for RevokedAt
	Until      time.Time // when it ends, however active it is; zero if it has no such end
}

// idOf names the old session without its secret.
func idOf(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return "moved " + base64.RawURLEncoding.EncodeToString(sum[:16])
}
