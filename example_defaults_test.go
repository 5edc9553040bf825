package sessions_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/typedsessions/sessions"
)

// A visitor begins with values of the program's choice.
func ExampleDefaulted() {
	m, err := sessions.New[Preferences](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.FromContext[Preferences](r.Context()).Theme)
	})))
	fmt.Println(visit("/"))
	// Output: dark
}

// Preferences is a session with defaults.
type Preferences struct {
	Theme string `json:"theme"`
}

// SessionDefaults implements [sessions.Defaulted].
func (p *Preferences) SessionDefaults() { p.Theme = "dark" }
