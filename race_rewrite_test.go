package sessions_test

import (
	"net/http"
	"testing"

	"github.com/typedsessions/sessions"
)

// Rewrite writes what nobody has changed. It must not win against who has.
func TestRewriteMeanwhile(t *testing.T) {
	for name, looks := range map[string]bool{"reads T": true, "does not look": false} {
		t.Run("C7 the rewrite of a request that "+name+" does not undo another one's change", func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				b := newBench(t, sessions.Config{Rewrite: true, Codec: c})
				token := b.seeded(1)
				res := serve(b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if looks {
						_ = b.FromContext(r.Context()).Views
					}
					ctx, err := b.Load(t.Context(), token)
					must(t, err)
					b.FromContext(ctx).Views = 100
					_, err = b.Commit(ctx)
					must(t, err)
				})), with(token, "/"))
				if got := b.views(token); res.StatusCode != 200 || got != 100 {
					t.Errorf("%d and %d views, want 200 and 100", res.StatusCode, got)
				}
				b.wantEvents(t, sessions.EventSaved) // the other one's: no conflict where nobody loses
			})
		})
	}
}
