package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/typedsessions/sessions"
)

// Account is a session that knows whose it is.
type Account struct {
	UserID string   `json:"user_id"`
	Basket []string `json:"basket"`
}

// SessionOwner implements [sessions.Owned].
func (a *Account) SessionOwner() string { return a.UserID }

// A handler that signs a user in by setting a field has done all there is to
// do: the session gets a new token, and the one from before is refused.
func ExampleOwned() {
	m, err := sessions.New[Account](&sessions.MemoryStore{}, sessions.Config{
		OnEvent: func(_ context.Context, e sessions.Event) {
			if e.Kind != sessions.EventSaved {
				fmt.Printf("event: %v, owner %q\n", e.Kind, e.Session.Owner)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/add", func(_ http.ResponseWriter, r *http.Request) {
		a := sessions.FromContext[Account](r.Context())
		a.Basket = append(a.Basket, "apples")
	})
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Account](r.Context()).UserID = "alice" // her password was right
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		info := m.Info(r.Context())
		fmt.Fprintf(w, "%s has %v, signed in %t", info.Owner, sessions.FromContext[Account](r.Context()).Basket, !info.AuthenticatedAt.IsZero())
	})
	visit := visitor(m.Handler(mux))
	visit("/add")
	visit("/add")
	visit("/login")
	fmt.Println(visit("/"))
	// Output:
	// event: created, owner ""
	// event: signed in, owner "alice"
	// alice has [apples apples], signed in true
}

// Profile has been split into two names since sessions were stored that have
// one.
type Profile struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

// SessionVersion implements [sessions.Versioned].
func (p *Profile) SessionVersion() int { return 1 }

// UpgradeSession implements [sessions.Versioned].
func (p *Profile) UpgradeSession(_ int, decode func(any) error) error {
	var old struct {
		Name string `json:"name"`
	}
	if err := decode(&old); err != nil {
		return err
	}
	p.First, p.Last, _ = strings.Cut(old.Name, " ")
	return nil
}

// Sessions of an older build are upgraded as they are loaded.
func ExampleVersioned() {
	store := &sessions.MemoryStore{}
	old, err := sessions.New[struct {
		Name string `json:"name"`
	}](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := old.Load(context.Background())
	old.FromContext(ctx).Name = "Ada Lovelace"
	outcome, _ := old.Commit(ctx)
	token := outcome.Token.Reveal()

	m, err := sessions.New[Profile](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ = m.Load(context.Background(), token)
	p := sessions.FromContext[Profile](ctx)
	fmt.Printf("%q %q\n", p.First, p.Last)
	p.First = "Augusta Ada"
	m.Commit(ctx)

	_, err = old.Load(context.Background(), token) // the fleet is still changing over
	fmt.Println("the old build:", errors.Is(err, sessions.ErrNewerVersion))
	// Output:
	// "Ada" "Lovelace"
	// the old build: true
}

// Tally is a session whose numbers add up and whose set unites.
type Tally struct {
	Points int      `json:"points"`
	Badges []string `json:"badges"`
}

// MergeSession implements [sessions.Merging].
func (t *Tally) MergeSession(base, theirs *Tally) error {
	t.Points += theirs.Points - base.Points
	for _, b := range theirs.Badges {
		if !slices.Contains(t.Badges, b) {
			t.Badges = append(t.Badges, b)
		}
	}
	return nil
}

// Two requests have changed the same fields at the same time.
func ExampleMerging() {
	m, err := sessions.New[Tally](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).Points = 10
	outcome, _ := m.Commit(ctx)

	first, _ := m.Load(context.Background(), outcome.Token.Reveal())
	second, _ := m.Load(context.Background(), outcome.Token.Reveal())
	one, two := m.FromContext(first), m.FromContext(second)
	one.Points, one.Badges = one.Points+5, append(one.Badges, "early")
	two.Points, two.Badges = two.Points+1, append(two.Badges, "late")
	m.Commit(first)
	m.Commit(second)
	fmt.Println(*two)
	// Output: {16 [late early]}
}

// Where two changes at once must not both stand, the later one is refused: the
// user is shown what has become of it and tries again.
func ExampleConflictPolicy() {
	m := manager(sessions.Config{OnConflict: sessions.ConflictReject, Logger: slog.New(slog.DiscardHandler)})
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).UserID = "alice"
	outcome, _ := m.Commit(ctx)

	first, _ := m.Load(context.Background(), outcome.Token.Reveal())
	second, _ := m.Load(context.Background(), outcome.Token.Reveal())
	m.FromContext(first).Notice = "paid by card"
	m.FromContext(second).Notice = "paid by invoice"
	fmt.Println(m.Save(first))
	if err := m.Save(second); errors.Is(err, sessions.ErrConflict) {
		m.Reload(second)
	}
	fmt.Println(m.FromContext(second).Notice)
	// Output:
	// <nil>
	// paid by card
}
