package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"runtime"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

const hereOwned = "sessions, with an owner"

// ownerOps are what is done with the sessions of one user.
var ownerOps = []string{"read", "sign in", "revoke", "list"}

// owned is this library with a T that says whose it is, each session of another user.
func owned(codec sessions.Codec) subject {
	return subject{hereOwned, func(c setting) (site, error) {
		rdb := c.client()
		m, err := sessions.New[OwnedShop](redisStore(rdb), ourConfig(codec))
		if err != nil {
			return nil, err
		}
		return &netSite{map[op]http.Handler{
			begun: m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := m.FromContext(r.Context())
				s.Shop = newShop(c.Size)
				s.UserID = "user-" + rand.Text()[:4]
				answer(w, nil)
			})),
		}, func() { rdb.Close() }}, nil
	}}
}

// owners varies how many sessions a user has, and takes the time of what is done with them, one at a time.
func (b *bench) owners() {
	rdb := usual(redistest.Start(b).Addr).client()
	defer rdb.Close()
	cfg := ourConfig(sessions.MsgPack{})
	m, err := sessions.New[OwnedShop](redisStore(rdb), cfg)
	must(b, err)
	ctx := context.Background()
	signIn := func() (sessions.Outcome, string) {
		one, err := m.Load(ctx)
		must(b, err)
		*m.FromContext(one) = OwnedShop{newShop(usualSize)}
		must(b, m.SignIn(one))
		o, err := m.Commit(one)
		must(b, err)
		return o, o.Token.Reveal()
	}
	_, token := signIn()
	for have, n := 1, 1; have <= min(b.largest, 10_000); have *= 100 {
		if !b.wants(star{"owner", "", float64(have), 1}, here) {
			continue
		}
		for ; n < have; n++ {
			signIn()
		}
		times := map[string]*Time{}
		take := func(name string, do func()) {
			t := times[name]
			if t == nil {
				t = &Time{Group: "owner", Op: name, At: float64(have), InFlight: 1, Subject: here}
				times[name] = t
			}
			before := usage()
			do()
			after := usage()
			t.NS = append(t.NS, int64(after.wall.Sub(before.wall)))
			t.CPU = append(t.CPU, int64(after.cpu-before.cpu))
			t.Allocs = float64(after.allocs - before.allocs)
			t.Bytes = float64(after.bytes - before.bytes)
		}
		began := time.Now()
		for range 2 * b.options.rounds {
			runtime.GC() // of what the last list has left
			var o sessions.Outcome
			take("sign in", func() { o, _ = signIn() })
			take("revoke", func() { must(b, m.Revoke(ctx, userID, o.Info.ID)) })
			take("read", func() {
				one, err := m.Load(ctx, token)
				must(b, err)
				must(b, check(&m.FromContext(one).Shop))
				_, err = m.Commit(one)
				must(b, err)
			})
			take("list", func() {
				list, err := m.SessionsOf(ctx, userID)
				must(b, err)
				if len(list) != have {
					b.Fatalf("%d sessions are listed instead of %d", len(list), have)
				}
			})
		}
		for _, name := range ownerOps {
			b.data.Times = append(b.data.Times, *times[name])
		}
		b.progress("a user with %d sessions, in %v", have, time.Since(began).Round(10*time.Millisecond))
	}
}
