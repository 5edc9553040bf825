package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/typedsessions/sessions"
)

// A counter that has to be exact, however many requests of the visitor run at
// the same time: each is counted once.
func ExampleManager_Update() {
	m := manager(sessions.Config{})
	errSoldOut := errors.New("sold out")
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := m.Update(r.Context(), func(s *Visitor) error {
			if len(s.Cart) == 2 {
				return errSoldOut // nothing is stored, and *T is what it was
			}
			s.Views++
			s.Cart = append(s.Cart, "ticket")
			return nil
		})
		switch {
		case errors.Is(err, errSoldOut): // it comes back as it was
			fmt.Fprint(w, "sold out")
		case err != nil:
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		default:
			fmt.Fprintf(w, "%d in the cart", len(sessions.FromContext[Visitor](r.Context()).Cart))
		}
	})))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// 1 in the cart
	// 2 in the cart
	// sold out
}

// What not to do in the function of an Update: work through what was taken out
// of T before, and count outside of T.
//
// The function is called on a T decoded afresh, so the cart from before is a
// slice that nobody stores any more. And it is called again when another
// process has saved in between, so a variable outside counts attempts, not
// Updates. Use the argument alone, and set at the start of the function what is
// computed for the time after it.
func ExampleManager_Update_incorrect() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	other, err := sessions.New[Visitor](store, sessions.Config{}) // another process
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	sessions.FromContext[Visitor](ctx).Cart = []string{"apples"}
	outcome, _ := m.Commit(ctx)
	token := outcome.Token.Reveal()

	quicker := func() { // saves the same session, the first time
		ctx, _ := other.Load(context.Background(), token)
		other.FromContext(ctx).Notice = "hello"
		other.Commit(ctx)
	}

	cart := sessions.FromContext[Visitor](ctx).Cart
	counted := 0
	m.Update(ctx, func(s *Visitor) error {
		cart[0] = "pears" // wrong: s.Cart[0]
		counted++         // wrong: it is never set back
		s.Views++         // right
		if counted == 1 {
			quicker()
		}
		return nil
	})

	s := sessions.FromContext[Visitor](ctx)
	fmt.Println("cart:", s.Cart, "and not", cart)
	fmt.Println("views:", s.Views, "and not", counted)
	// Output:
	// cart: [apples] and not [pears]
	// views: 1 and not 2
}
