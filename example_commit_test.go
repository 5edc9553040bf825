package sessions_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedsessions/sessions"
)

// Load and Commit serve what is not HTTP. Here, as a gRPC interceptor would,
// the token comes from the call's metadata and goes back in it.
func ExampleManager_Load() {
	m := manager(sessions.Config{})

	intercept := func(ctx context.Context, metadata map[string]string, call func(context.Context)) error {
		ctx, err := m.Load(ctx, metadata["session"])
		if err != nil {
			return err
		}
		call(ctx)
		outcome, err := m.Commit(ctx) // the outcome counts with an error too
		switch outcome.Kind {
		case sessions.OutcomeCreated, sessions.OutcomeRenewed:
			metadata["session"] = outcome.Token.Reveal()
		case sessions.OutcomeDestroyed:
			delete(metadata, "session")
		case sessions.OutcomeChanged, sessions.OutcomeUnchanged: // it keeps its token
		}
		fmt.Println(outcome.Kind, outcome.Token)
		return err
	}

	metadata := map[string]string{}
	count := func(ctx context.Context) { sessions.FromContext[Visitor](ctx).Views++ }
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, func(ctx context.Context) {
		fmt.Println("views:", sessions.FromContext[Visitor](ctx).Views)
		m.Destroy(ctx)
	})
	// Output:
	// created [session token]
	// changed [session token]
	// views: 2
	// destroyed [session token]
}

// Without the Handler there is no session, and the error says so.
func ExampleManager_Commit() {
	m := manager(sessions.Config{})
	_, err := m.Commit(context.Background())
	fmt.Println(errors.Is(err, sessions.ErrNoSession), err)
	// Output: true sessions: no session in this context: wrap the handler with Manager.Handler, and do not Skip the request
}
