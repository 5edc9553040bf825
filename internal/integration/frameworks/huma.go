package frameworks

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/typedsessions/sessions"
)

type viewsOutput struct {
	Body struct {
		Views int `json:"views"`
	}
}

type loginInput struct {
	User string `path:"user"`
}

func newHuma(m *sessions.Manager[Session]) http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, huma.DefaultConfig("Views", "1.0.0"))
	huma.Get(api, "/", func(ctx context.Context, _ *struct{}) (*viewsOutput, error) {
		s := sessions.FromContext[Session](ctx)
		s.Views++
		out := &viewsOutput{}
		out.Body.Views = s.Views
		return out, nil
	})
	huma.Post(api, "/login/{user}", func(ctx context.Context, in *loginInput) (*struct{}, error) {
		s := sessions.FromContext[Session](ctx)
		s.UserID = in.User
		if err := m.SignIn(ctx); err != nil {
			return nil, huma.NewError(sessions.HTTPStatus(err), "please try again")
		}
		return nil, nil
	})
	return m.Handler(mux)
}
