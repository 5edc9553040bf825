package frameworks

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/typedsessions/sessions"
)

func newEcho4(m *sessions.Manager[Session]) http.Handler {
	e := echo.New()
	e.Use(middleware.Recover())
	e.Use(echo.WrapMiddleware(m.Handler))
	e.GET("/", func(c echo.Context) error {
		s := sessions.FromContext[Session](c.Request().Context())
		s.Views++
		return c.String(http.StatusOK, fmt.Sprintf("%q, view %d\n", s.UserID, s.Views))
	})
	e.POST("/login/:user", func(c echo.Context) error {
		s := sessions.FromContext[Session](c.Request().Context())
		s.UserID = c.Param("user")
		if err := m.SignIn(c.Request().Context()); err != nil {
			return echo.NewHTTPError(sessions.HTTPStatus(err), "please try again")
		}
		return c.Redirect(http.StatusSeeOther, "/")
	})
	return e
}
