package site

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/typedsessions/sessions"
)

// deviceLabel says what a session's device is, in words that a user knows. Of what the client sends it keeps nothing but
// the words it knows itself.
func deviceLabel(r *http.Request) string {
	agent := r.UserAgent()
	first := func(words [][2]string, otherwise string) string {
		for _, w := range words {
			if strings.Contains(agent, w[0]) {
				return w[1]
			}
		}
		return otherwise
	}
	// In this order, because browsers name their forefathers, too: Edge says Chrome, and Chrome says Safari.
	browser := first([][2]string{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"Chrome/", "Chrome"},
		{"CriOS/", "Chrome"},
		{"Safari/", "Safari"},
		{"curl/", "curl"},
	}, "A browser")
	system := first([][2]string{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"CrOS", "ChromeOS"},
		{"Windows", "Windows"},
		{"Macintosh", "Mac"},
		{"Linux", "Linux"},
	}, "")
	if system != "" {
		browser += " on " + system
	}
	return browser + ", " + address(r)
}

// phone tells by a label whether the device is one.
func phone(label string) bool {
	return strings.Contains(label, "iPhone") || strings.Contains(label, "Android")
}

// A deviceList is what the page of the devices shows.
type deviceList struct {
	Devices    []sessions.Info
	Incomplete bool
}

func (l deviceList) Others() bool { return len(l.Devices) > 1 || l.Incomplete }

func (s *Site) devices(w http.ResponseWriter, r *http.Request, u user) {
	list, err := s.Manager.Sessions(r.Context()) // the last active one first, which is this one
	// ErrIncomplete comes with what is known: the list was lost in Redis, and is complete again within a minute.
	incomplete := errors.Is(err, sessions.ErrIncomplete)
	if err != nil && !incomplete {
		s.verbFailed(w, r, "list of sessions", err)
		return
	}
	s.render(w, r, http.StatusOK, "devices", deviceList{list, incomplete})
}

// endDevice ends one session. It and endOthers are within Fresh (ASVS 5.0 7.5.2): whoever finds an open browser must not
// lock its user out elsewhere. The owner is the caller, whatever the form says: another user's ID is not found.
func (s *Site) endDevice(w http.ResponseWriter, r *http.Request, u user) {
	ctx := r.Context()
	id := r.PostFormValue("id")
	own := id == s.Manager.Info(ctx).ID
	err := s.Manager.Revoke(ctx, u.id, id)
	switch {
	case errors.Is(err, sessions.ErrNotFound):
		sessions.FromContext[Session](ctx).Flash = "That device was signed out already."
	case err != nil:
		s.verbFailed(w, r, "end of a session", err)
		return
	case own:
		http.Redirect(w, r, "/signin?after=signout", http.StatusSeeOther)
		return
	default:
		sessions.FromContext[Session](ctx).Flash = "That device is signed out."
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

func (s *Site) endOthers(w http.ResponseWriter, r *http.Request, u user) {
	ctx := r.Context()
	n, err := s.Manager.RevokeOthers(ctx)
	if err != nil {
		s.verbFailed(w, r, "end of the other sessions", err)
		return
	}
	flash := fmt.Sprintf("%d other devices are signed out.", n)
	switch n {
	case 0:
		flash = "No other device was signed in."
	case 1:
		flash = "One other device is signed out."
	}
	sessions.FromContext[Session](ctx).Flash = flash
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}
