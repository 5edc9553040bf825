package bench

import (
	"fmt"
	"time"
)

// Shop is the session of a typical application: a person, a few roles, a cart.
type Shop struct {
	UserID string    `json:"user_id"`
	Email  string    `json:"email"`
	Roles  []string  `json:"roles"`
	Views  int       `json:"views"`
	Seen   time.Time `json:"seen"`
	Cart   []Item    `json:"cart"`
}

// An Item is a line of the cart.
type Item struct {
	SKU string `json:"sku"`
	Qty int    `json:"qty"`
}

// OwnedShop is a Shop that says whose it is.
type OwnedShop struct{ Shop }

// SessionOwner implements sessions.Owned.
func (s *OwnedShop) SessionOwner() string { return s.UserID }

const (
	userID = "user-4711"
	idle   = time.Hour
)

// newShop returns a session of about size bytes, as JSON. What is larger than usual has more lines in its cart.
func newShop(size int) Shop {
	s := Shop{UserID: userID, Views: 1, Seen: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Roles: []string{}, Cart: []Item{}}
	if size < 200 {
		return s
	}
	s.Email, s.Roles = "someone@example.com", []string{"customer", "reviewer"}
	const rest, line = 219, 27
	for i := range max(3, (size-rest)/line) {
		s.Cart = append(s.Cart, Item{SKU: fmt.Sprintf("SKU-%04d", i), Qty: 1 + i%3})
	}
	return s
}

// An op is what a request does with its session.
type op string

const (
	read    op = "read"      // look at it, change nothing
	changed op = "changed"   // count a view
	begun   op = "new"       // a visitor without a cookie gets a session
	none    op = "no cookie" // a visitor without a cookie, and nobody looks at the session
)

var ops = []op{read, changed, begun, none}

// path is where the op is on a server.
func (o op) path() string {
	if o == none {
		return "/none"
	}
	return "/" + string(o)
}
