// Package sessions keeps a user's session as one typed struct in Redis.
//
// A handler gets a live *T, and what it changes is saved:
//
//	type Session struct{ Views int }
//
//	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{})
//	m, err := sessions.New[Session](store, sessions.Config{})
//	…
//	http.ListenAndServe(":9090", m.Handler(mux))
//
//	func views(w http.ResponseWriter, r *http.Request) {
//		s := sessions.FromContext[Session](r.Context())
//		s.Views++
//	}
//
// The browser holds an opaque token of at least 128 random bits, and the store
// knows only its hash. T is saved before the first byte of the response leaves;
// if that fails, the client gets an error response and nothing of the page.
//
// Call [Manager.SignIn] when the user has just proved who they are,
// [Manager.Renew] after any other change of privilege, and [Manager.Destroy] to
// sign out.
//
// *T belongs to the request's goroutine. Requests that run at the same time
// have values of their own, and saves merge them by top-level field: fields
// that must agree belong in one nested struct. What depends on the value
// before, such as a counter, needs [Manager.Update].
//
// The pages in docs/ say more: options.md, frameworks.md, request.md, errors.md,
// cookies.md (other sites, CSRF, OAuth, apps), concurrency.md, users-sessions.md,
// live-connections.md, builds.md (rollouts), redis.md, beyond-http.md (jobs, parts of
// one's own), moving.md, from-scs.md, from-gorilla.md, from-express.md.
package sessions
