package sessions

import (
	"fmt"
	"io"
)

// A Token is the secret that stands for a session. It prints as
// [session token] whatever the verb; Reveal gives the text. Do not keep one in
// an unexported field of a struct that is printed: there fmt does not ask it.
type Token string

// Reveal returns the token itself: for a [Transport], never for a log.
func (t Token) Reveal() string { return string(t) }

// Format implements [fmt.Formatter].
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, "[session token]") }

// MarshalText keeps the token out of JSON and of slog.
func (t Token) MarshalText() ([]byte, error) { return []byte("[session token]"), nil }
