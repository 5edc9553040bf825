package sessions_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/typedsessions/sessions"
)

// A route below the Handler reads and writes its session through a pointer.
func ExampleFromContext() {
	m := manager(sessions.Config{})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Cart = append(s.Cart, r.URL.Path[1:])
		fmt.Fprint(w, s.Cart)
	})))
	fmt.Println(visit("/apples"))
	fmt.Println(visit("/pears"))
	// Output:
	// [apples]
	// [apples pears]
}

// Copying the struct out of its pointer is the classic mistake: what happens to
// the copy is not saved.
func ExampleFromContext_incorrect() {
	m := manager(sessions.Config{})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := *sessions.FromContext[Visitor](r.Context()) // a copy
		s.Views++
		fmt.Fprint(w, s.Views)
	})))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// 1
	// 1
}

// Code that also runs without a session asks with Lookup.
func ExampleLookup() {
	greet := func(ctx context.Context) string {
		if s, ok := sessions.Lookup[Visitor](ctx); ok && s.UserID != "" {
			return "hello " + s.UserID
		}
		return "hello stranger"
	}
	fmt.Println(greet(context.Background()))
	// Output: hello stranger
}

// A flash message is shown once.
func ExampleTake() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Notice = "Your changes are saved."
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		fmt.Fprintf(w, "notice: %q", sessions.Take(&s.Notice))
	})
	visit := visitor(m.Handler(mux))
	visit("/save")
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// notice: "Your changes are saved."
	// notice: ""
}

// Two managers may share a T; each finds its own sessions.
func ExampleManager_FromContext() {
	shop := manager(sessions.Config{Transport: sessions.Cookie{Name: "__Host-shop"}, Realm: "shop"})
	admin := manager(sessions.Config{Transport: sessions.Cookie{Name: "__Host-admin"}, Realm: "admin"})
	visit := visitor(shop.Handler(admin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shop.FromContext(r.Context()).Views++
		fmt.Fprint(w, "shop ", shop.FromContext(r.Context()).Views, ", admin ", admin.FromContext(r.Context()).Views)
	}))))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// shop 1, admin 0
	// shop 2, admin 0
}
