package frameworks

import (
	"fmt"
	"net/http"

	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"

	"github.com/typedsessions/sessions"
)

func newGorilla(m *sessions.Manager[Session]) http.Handler {
	r := mux.NewRouter()
	r.Use(handlers.RecoveryHandler())
	r.Use(m.Handler)
	r.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "%q, view %d\n", s.UserID, s.Views)
	}).Methods("GET")
	r.HandleFunc("/login/{user}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.UserID = mux.Vars(r)["user"]
		if err := m.SignIn(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}).Methods("POST")
	return r
}
