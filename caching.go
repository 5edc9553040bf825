package sessions

import (
	"net/http"
	"slices"
	"strings"

	"github.com/typedsessions/sessions/internal/response"
)

// addVary adds the names to Vary that are not there yet. If there is no Vary line, the new one lies in space, which
// saves an allocation.
func addVary(h http.Header, names string, space []string) {
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); !varies(h["Vary"], name) {
			lines := h["Vary"]
			if len(lines) == 0 {
				h["Vary"] = append(space, names)
				return
			}
			h["Vary"] = append(slices.Clip(lines), name)
		}
	}
}

func varies(lines []string, name string) bool {
	for _, line := range lines {
		for field := range strings.SplitSeq(line, ",") {
			if field = strings.TrimSpace(field); field == "*" || strings.EqualFold(field, name) {
				return true
			}
		}
	}
	return false
}

const private = "private"

// cacheControl keeps shared caches away: from a response that may show the session
// unless the handler said otherwise, from one that carries a token in any case
// (RFC 9111 section 5.2.2, ASVS 5.0 14.3.2).
func cacheControl(h http.Header, sent bool, space []string) {
	if len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = append(space, private)
	}
	if !sent {
		return
	}
	for name, lines := range h {
		switch {
		case !response.IsCacheField(name):
		case strings.EqualFold(name, "X-Accel-Expires"):
			h[name] = []string{"0"}
		default:
			h[name] = []string{noStore(lines, !strings.EqualFold(name, "Cache-Control"))}
		}
	}
}

// errorCaching keeps shared caches away from an error response, unless the ErrorHandler then says otherwise: what the
// header said to them was about the page that is not sent.
func errorCaching(h http.Header) {
	for name := range h {
		if response.IsCacheField(name) {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", private)
}

// noStore adds no-store and takes out what lets a shared cache keep the response. A targeted field is one that some
// caches obey in place of Cache-Control. Not all of them know no-store, so its lifetimes go too: nothing stays but
// the content of Surrogate-Control, which asks for the processing of ESI.
func noStore(lines []string, targeted bool) string {
	var kept []string
	addNoStore := true
	for _, line := range lines {
		for _, d := range directives(line) {
			name, _, _ := strings.Cut(d, "=")
			switch name = strings.ToLower(strings.TrimSpace(name)); {
			case name == "", name == "public", name == "s-maxage":
				continue
			case name == "no-store":
				addNoStore = false
			case targeted && name != "content":
				continue
			}
			kept = append(kept, d)
		}
	}
	if addNoStore {
		kept = append(kept, "no-store")
	}
	return strings.Join(kept, ", ")
}

// directives splits at the commas outside quotes.
func directives(line string) []string {
	quoted := false
	parts := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
