package sessions

import (
	"net/http"
	"slices"
	"strings"
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

// cacheControl keeps shared caches away: from a response that used the session
// unless the handler said otherwise, from one that carries a token in any case
// (RFC 9111 section 5.2.2, ASVS 5.0 14.3.2).
func cacheControl(h http.Header, sent bool, space []string) {
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		lines = append(space, "private")
		h["Cache-Control"] = lines
	}
	if !sent {
		return
	}
	var kept []string
	addNoStore := true
	for _, line := range lines {
		for _, d := range directives(line) {
			name, _, _ := strings.Cut(d, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "public", "s-maxage":
				continue
			case "no-store":
				addNoStore = false
			}
			kept = append(kept, d)
		}
	}
	if addNoStore {
		kept = append(kept, "no-store")
	}
	h["Cache-Control"] = []string{strings.Join(kept, ", ")}
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
