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
// header said to them was about the page that is not sent. But a no-store, of a middleware outside, is about every page.
func errorCaching(h http.Header) {
	said := private
	for name, lines := range h {
		if !response.IsCacheField(name) {
			continue
		}
		for _, line := range lines {
			if strings.EqualFold(name, "Cache-Control") && slices.Contains(directives(strings.ToLower(line)), "no-store") {
				said = "no-store"
			}
		}
		delete(h, name)
	}
	h.Set("Cache-Control", said)
}

// noStore adds no-store and takes out what lets a shared cache keep the response. A targeted field is one that some
// caches obey in place of Cache-Control. Not all of them know no-store, so its lifetimes go too: nothing stays but
// the content of Surrogate-Control, which asks for the processing of ESI.
func noStore(lines []string, targeted bool) string {
	var kept []string
	addNoStore := true
	for _, line := range lines {
		for _, d := range directives(line) {
			name, _, argument := strings.Cut(d, "=")
			switch name = strings.ToLower(strings.TrimSpace(name)); {
			case name == "", name == "public", name == "s-maxage":
				continue
			case name == "no-store":
				addNoStore = addNoStore && argument // which no-store has none of
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

// directives splits at the commas outside quotes (RFC 9110 section 5.6.4). It leaves out one whose quotes do not end, because
// what is put behind that would be within them.
func directives(line string) []string {
	var parts []string
	begin, quoted := 0, false
	for i := 0; i <= len(line); i++ {
		switch {
		case i == len(line) || line[i] == ',' && !quoted:
			if !quoted {
				parts = append(parts, strings.TrimSpace(line[begin:i]))
			}
			begin = i + 1
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '\\' && quoted:
			i++ // what follows ends no quotes
		}
	}
	return parts
}
