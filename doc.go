// Package sessions keeps a user's session as one typed struct in Redis.
//
// A handler gets a live *T, and what it changes is saved:
//
//	type Session struct {
//		UserID string `json:"user_id"`
//		Views  int    `json:"views"`
//	}
//
//	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
//	m, err := sessions.New[Session](store, sessions.Config{})
//	…
//	http.ListenAndServe(":9090", m.Handler(mux))
//
//	func views(w http.ResponseWriter, r *http.Request) {
//		s := sessions.FromContext[Session](r.Context())
//		s.Views++
//		fmt.Fprintf(w, "views: %d", s.Views)
//	}
//
// The browser holds an opaque token of at least 128 random bits, and the store
// knows only its hash. T is saved before the first byte of the response leaves;
// if that fails, the client gets an error response and nothing of the page.
//
// Call [Manager.SignIn] when the user has just proved who they are, because a
// new token makes one that was planted before worthless; [Manager.Renew] after
// any other change of privilege; and [Manager.Destroy] to sign out.
//
// *T belongs to the request's goroutine. Requests that run at the same time
// have values of their own, and saves merge them by top-level field: fields
// that must agree belong in one nested struct. What is computed from what was
// there, such as a counter, needs [Manager.Update].
//
// In the repository, docs/request.md describes the life of a request,
// docs/errors.md what each error means, docs/concurrency.md what holds when
// requests meet, docs/builds.md rollouts, docs/beyond-http.md gRPC, jobs and
// parts of your own, docs/from-express.md sharing sessions with Express, and
// docs/requirements.md every promise by its number.
package sessions
