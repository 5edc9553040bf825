package frameworks

import (
	"fmt"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/typedsessions/sessions"
)

func newHTTPRouter(m *sessions.Manager[Session]) http.Handler {
	r := httprouter.New()
	r.GET("/", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "%q, view %d\n", s.UserID, s.Views)
	})
	r.POST("/login/:user", func(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
		s := sessions.FromContext[Session](r.Context())
		s.UserID = p.ByName("user")
		if err := m.SignIn(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	r.PanicHandler = func(w http.ResponseWriter, r *http.Request, _ any) {
		_ = m.Reload(r.Context()) // drops what the handler has changed: this is within Handler, so a return would save it
		http.Error(w, "internal server error", http.StatusInternalServerError)
	}
	return m.Handler(r)
}
