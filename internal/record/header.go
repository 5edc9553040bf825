package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errNoHeader  = errors.New("no header line")
	errHeader    = errors.New("malformed header")
	errNoID      = errors.New("header without an id")
	errNoWrite   = errors.New("header without its writes")
	errNoCreated = errors.New("header without its creation time")
)

// Seal returns the header as one line of JSON, a newline, and the payload. The ID and the newest write come
// first: the bytes up to there differ for each write, so a swap compares only them, whatever the payload's
// size.
func Seal(r Record) []byte {
	b := make([]byte, 0, 256+len(r.Label)+len(r.Owner)+len(r.Extra)+len(r.Payload))
	b = append(b, `{"id":`...)
	b = quote(b, r.ID)
	b = append(b, `,"w":[`...)
	for i, w := range r.Writes {
		if len(w) == 0 {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = quote(b, w)
	}
	b = append(b, ']')
	text := func(name string, v []byte) {
		if len(v) > 0 {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = quote(b, v)
		}
	}
	number := func(name string, v int64) {
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = strconv.AppendInt(b, v, 10)
	}
	text("c", r.Codec)
	number("created", r.Created.UnixMilli())
	if !r.Authenticated.IsZero() {
		number("authenticated", r.Authenticated.UnixMilli())
	}
	text("method", r.Method)
	if r.Idle != 0 {
		number("idle", r.Idle.Milliseconds())
	}
	if r.Version != 0 {
		number("version", int64(r.Version))
	}
	if r.Remembered {
		b = append(b, `,"remembered":true`...)
	}
	text("owner", r.Owner)
	text("label", r.Label)
	text("successor", r.Successor)
	b = append(b, r.Extra...)
	b = append(b, '}', '\n')
	return append(b, r.Payload...)
}

// Open reads what Seal has written; the fields of the result are views into stored. On an error the ID is set
// if it could be read. The header is read by hand, because encoding/json would cost thirty allocations.
func Open(stored []byte) (Record, error) {
	var r Record
	line, payload, ok := bytes.Cut(stored, []byte{'\n'})
	if !ok {
		return r, errNoHeader
	}
	r.Payload = payload
	h := headerReader{b: line}
	if !h.accept('{') {
		return r, errNoHeader
	}
	var hasCreated bool
	for first := true; !h.accept('}'); first = false {
		start := h.i
		if !first && !h.accept(',') {
			return r, errHeader
		}
		name, ok := h.text()
		if !ok || !h.accept(':') {
			return r, errHeader
		}
		switch string(name) {
		case "id":
			r.ID, ok = h.text()
		case "w":
			ok = h.writes(&r)
		case "c":
			r.Codec, ok = h.text()
		case "created":
			r.Created, ok = h.time()
			hasCreated = ok
		case "authenticated":
			r.Authenticated, ok = h.time()
		case "method":
			r.Method, ok = h.text()
		case "idle":
			var n int64
			n, ok = h.number()
			ok = ok && 0 <= n && n <= math.MaxInt64/int64(time.Millisecond)
			r.Idle = time.Duration(n) * time.Millisecond
		case "version":
			var n int64
			n, ok = h.number()
			ok = ok && 0 <= n && n <= math.MaxInt32
			r.Version = int(n)
		case "remembered":
			var v []byte
			v, ok = h.value()
			r.Remembered = string(v) == "true"
		case "owner":
			r.Owner, ok = h.text()
		case "label":
			r.Label, ok = h.text()
		case "successor":
			r.Successor, ok = h.text()
			ok = ok && len(r.Successor) > 0
		default:
			if _, ok = h.value(); !ok {
				break
			}
			if first {
				r.Extra = append([]byte{','}, line[start:h.i]...)
			} else {
				r.Extra = appendExtra(r.Extra, line, start, h.i)
			}
		}
		if !ok {
			return r, errHeader
		}
	}
	switch {
	case h.i != len(line):
		return r, errHeader
	case len(r.ID) == 0:
		return r, errNoID
	case len(r.Writes[0]) == 0:
		return r, errNoWrite
	case !hasCreated:
		return r, errNoCreated
	}
	return r, nil
}

// appendExtra appends line[start:end] to extra. The result is a view into line if the two are adjacent, and
// they are unless a newer build writes in another order.
func appendExtra(extra, line []byte, start, end int) []byte {
	if extra == nil {
		return line[start:end:end]
	}
	if from := start - len(extra); from >= 0 && &line[from] == &extra[0] {
		return line[from:end:end]
	}
	return append(extra, line[start:end]...)
}

// A headerReader reads the header line.
type headerReader struct {
	b []byte
	i int // index of the next byte
}

// accept reads c, if that is the next byte.
func (h *headerReader) accept(c byte) bool {
	if h.i < len(h.b) && h.b[h.i] == c {
		h.i++
		return true
	}
	return false
}

// text reads a string: a view, unless it has escapes.
func (h *headerReader) text() ([]byte, bool) {
	raw, escaped, ok := h.quoted()
	if !escaped {
		return raw, ok
	}
	return unescape(raw)
}

// quoted returns what is between two quotes.
func (h *headerReader) quoted() (raw []byte, escaped, ok bool) {
	if !h.accept('"') {
		return nil, false, false
	}
	for start := h.i; h.i < len(h.b); h.i++ {
		switch h.b[h.i] {
		case '\\':
			escaped = true
			h.i++
		case '"':
			h.i++
			return h.b[start : h.i-1 : h.i-1], escaped, true
		}
	}
	return nil, false, false
}

// unescape undoes JSON's escapes and leaves every other byte as it is; encoding/json would replace bytes that
// are not UTF-8 by U+FFFD.
func unescape(raw []byte) ([]byte, bool) {
	s := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			s = append(s, c)
			continue
		}
		i++ // a quoted string does not end in a backslash
		if raw[i] == 'u' {
			r, ok := hex(raw[i+1:])
			if !ok {
				return nil, false
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if bytes.HasPrefix(raw[i+1:], []byte(`\u`)) {
					low, _ = hex(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			s = utf8.AppendRune(s, r)
			continue
		}
		n := strings.IndexByte(`"\/bfnrt`, raw[i])
		if n < 0 {
			return nil, false
		}
		s = append(s, "\"\\/\b\f\n\r\t"[n])
	}
	return s, true
}

// hex reads four digits.
func hex(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil
}

func (h *headerReader) number() (int64, bool) {
	start := h.i
	h.accept('-')
	var n int64
	for ; h.i < len(h.b) && '0' <= h.b[h.i] && h.b[h.i] <= '9'; h.i++ {
		if n > (1<<62)/10 {
			return 0, false
		}
		n = n*10 + int64(h.b[h.i]-'0')
	}
	if h.i == start || h.b[h.i-1] == '-' {
		return 0, false
	}
	if h.b[start] == '-' {
		n = -n
	}
	return n, true
}

// time reads milliseconds since 1970, in the years 1 to 9999.
func (h *headerReader) time() (time.Time, bool) {
	n, ok := h.number()
	if !ok || n < -62135596800000 || n > 253402300799999 {
		return time.Time{}, false
	}
	return time.UnixMilli(n), true
}

func (h *headerReader) writes(r *Record) bool {
	if !h.accept('[') {
		return false
	}
	for n := 0; !h.accept(']'); n++ {
		if n > 0 && !h.accept(',') {
			return false
		}
		w, ok := h.text()
		if !ok || len(w) == 0 {
			return false
		}
		if n == 0 {
			r.Prefix = h.i
		}
		if n < len(r.Writes) {
			r.Writes[n] = w
		}
	}
	return true
}

// value skips any JSON value and returns its bytes.
func (h *headerReader) value() ([]byte, bool) {
	start, depth := h.i, 0
	for h.i < len(h.b) {
		switch h.b[h.i] {
		case '"':
			if _, _, ok := h.quoted(); !ok {
				return nil, false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return h.b[start:h.i], h.i > start
			}
			depth--
		case ',':
			if depth == 0 {
				return h.b[start:h.i], h.i > start
			}
		}
		h.i++
	}
	return nil, false
}

// quote appends v as a JSON string.
func quote(b, v []byte) []byte {
	b = append(b, '"')
	for _, c := range v {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
