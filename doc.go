// Package sessions keeps a user's session as one typed struct in Redis.
//
// A handler gets a live *T; what it changes is saved:
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
// The session lives in the store. The browser holds an opaque token of at
// least 128 random bits, and the store knows only its hash: what is in Redis,
// in its log or its backup lets nobody in.
//
// # The life of a request
//
//   - A visitor without a cookie gets a fresh T. As long as nobody changes it
//     there is no store call, no cookie and no header.
//   - A visitor with a cookie costs one command, GETEX, which loads the session
//     and restarts its idle timeout. A token that is not known is ignored: it
//     is neither adopted nor cleared.
//   - Before the first byte of the response leaves, T is compared with what was
//     loaded, and written if it differs, by a compare-and-swap. Whoever has seen
//     a byte of the response finds the session saved.
//   - If another request has saved the session in between, the two are merged.
//   - When the handler returns it is compared once more. A change that came too
//     late to be kept, because a new cookie could no longer be sent, is an
//     [EventLateChange] and a log line.
//   - A failed save replaces the response by an error response: nothing of the
//     handler's body is sent for a session that was not saved. Where a verb has
//     returned an error before, the response is the handler's.
//   - A panic saves nothing more and goes on. What a verb had completed stays,
//     and so does its cookie in the header.
//
// # Signing in and out
//
// Write the user into T and call [Manager.SignIn]; it gives the session a new
// token, so that one planted before (session fixation) is worth nothing. A T
// that is [Owned] does so by itself when its owner changes. Call
// [Manager.Renew] after any other change of privilege, and [Manager.Destroy]
// to sign out. If one of the first two fails, nothing is stored: nobody is
// signed in under an old token. What is destroyed stays destroyed: a slower request of the same
// user cannot bring it back, for only a new session is ever created, and
// everything else replaces a record that must still be there.
//
// # Timeouts
//
// IdleTimeout ends a session that nobody uses, Lifetime one that is used all
// the time. Both are enforced by the server; the cookie's age decides nothing.
// A session signed in with [Remembered] has timeouts of its own.
//
// # Errors
//
// Every error answers [errors.Is] or [errors.As]. An error at loading or at the
// save before the first byte goes to Config.ErrorHandler, whose default answers
//
//	ErrUnavailable, ErrNewerVersion   503 and Retry-After
//	a request cancelled while loading 503
//	ErrConflict, ErrGone              409
//	anything else                     500
//
// with the status text and nothing of the error. A record that cannot be read
// ([*DecodeError]) is no error for the visitor: they start fresh, the record
// stays as it is, and an [EventUndecodable] names the session. After a timeout
// a write may or may not have been stored.
//
// # Concurrency
//
// A [Manager] is safe for concurrent use, and so are its verbs within one
// request. *T itself belongs to the request's goroutine. Two requests of one
// user run at the same time on values of their own. If both save, the two are
// merged by top-level field: what a request has changed wins, every other field
// keeps what is stored, those that T does not know among them. Fields that must
// agree belong in one nested struct, which is one field. Config.OnConflict
// chooses another rule.
//
// What is computed from what was there, a counter say, belongs into
// [Manager.Update]: an atomic step, exact in any number of processes.
//
// Promises hold on one Redis master: a failover may undo the last writes that
// were not replicated, a sign-out among them. docs/concurrency.md in the
// repository draws who meets whom, and says what is not promised.
//
// [http.TimeoutHandler] answers in the stead of a handler that goes on running.
// Where it sits inside Handler, T is then not saved by itself, for the handler
// may be writing to it: an [EventLateChange] says so. The verbs work as always.
//
// # Other builds of the program
//
// Adding and removing fields of T needs nothing: a record that lacks a field
// reads as its zero value, and fields that this build does not know survive its
// saves; so does what it does not know within a field that it leaves alone. So
// old and new builds share sessions during a rollout, also when the new one has
// another codec. What needs more than that makes T [Versioned].
//
// # Beyond HTTP
//
// [Manager.Load] and [Manager.Commit] are what Handler is built on: they serve
// gRPC, WebSockets and jobs. Another [Store], [Codec], [Transport] or [Layout]
// replaces ours without the rest noticing; package storetest checks a Store.
// Package express is such a Transport and Layout: they share sessions with
// Node's express-session.
package sessions
