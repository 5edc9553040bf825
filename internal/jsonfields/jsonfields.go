// Package jsonfields finds the members of one JSON object without decoding them.
package jsonfields

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxDepth is how many arrays and objects may lie inside one another, the outermost one included.
const MaxDepth = 100

// Object checks that data is one JSON object at most [MaxDepth] deep with nothing but white space around
// it, and calls field, if not nil, for each member in order. Value is a view into data; so is name,
// unless it has an escape. Names come as encoding/json reads them, duplicates included.
//
// It looks at quotes and brackets only: whether data is valid JSON in between is for [json.Valid] to
// say. On what is not valid it never panics, but what it hands to field means nothing. Errors tell what
// is wrong and where, never what data says.
func Object(data []byte, field func(name, value []byte)) error {
	i := 0
	for i < len(data) && space(data[i]) {
		i++
	}
	if i == len(data) {
		return errors.New("empty")
	}
	if data[i] != '{' {
		return errors.New("not an object")
	}
	var (
		depth int
		name  []byte
		value = -1 // where the value began whose end is still to come
	)
	for ; i < len(data); i++ {
		switch c := data[i]; c {
		case '"':
			end := closing(data, i+1)
			if end < 0 {
				return fmt.Errorf("truncated string at byte %d", i)
			}
			if depth == 1 && value < 0 {
				name = data[i+1 : end]
			}
			i = end
		case '{', '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("deeper than %d at byte %d", MaxDepth, i)
			}
		case ':':
			if depth == 1 && value < 0 {
				value = i + 1
			}
		case ',', '}', ']':
			if depth == 1 && value >= 0 {
				if field != nil {
					field(unescape(name), trim(data[value:i:i]))
				}
				value = -1
			}
			if c == ',' {
				continue
			}
			if depth--; depth > 0 {
				continue
			}
			if rest := trim(data[i+1:]); len(rest) > 0 {
				return fmt.Errorf("trailing data at byte %d", i+1)
			}
			return nil
		}
	}
	return errors.New("truncated object")
}

// closing returns the index of the quote that ends the string whose content begins at i, or -1.
func closing(data []byte, i int) int {
	end := -1 // the first quote from i on: looked for once, however many escapes stand before it
	for i < len(data) {
		if end < i {
			next := bytes.IndexByte(data[i:], '"')
			if next < 0 {
				return -1
			}
			end = i + next
		}
		escape := bytes.IndexByte(data[i:end], '\\')
		if escape < 0 {
			return end
		}
		i += escape + 2
	}
	return -1
}

func unescape(name []byte) []byte {
	if bytes.IndexByte(name, '\\') < 0 {
		return name
	}
	var s string
	if json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &s) != nil {
		return name
	}
	return []byte(s)
}

func trim(b []byte) []byte {
	for len(b) > 0 && space(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && space(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b[:len(b):len(b)]
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// AppendName appends name as a JSON string. Bytes that are not UTF-8 stay what they are, so that the
// program that wrote them can read them again.
func AppendName(data []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(name) // a string always encodes
			return append(data, quoted...)
		}
	}
	return append(append(append(data, '"'), name...), '"')
}

// Reason says why encoding/json failed, without the values that its own messages quote.
func Reason(err error) string {
	switch err := err.(type) {
	case *json.UnmarshalTypeError:
		kind, _, _ := strings.Cut(err.Value, " ") // "number 1e400"
		article := "a"
		if kind == "object" || kind == "array" {
			article = "an"
		}
		return fmt.Sprintf("%s %s does not fit %s", article, kind, err.Type)
	case *json.SyntaxError:
		return fmt.Sprintf("not valid at byte %d", err.Offset)
	case *time.ParseError:
		return "not a time by RFC 3339"
	case *json.MarshalerError:
		return fmt.Sprintf("marshaler of %s: %T", err.Type, err.Err)
	case *json.UnsupportedTypeError, *json.UnsupportedValueError: // a type, NaN, an infinity or a cycle
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	return fmt.Sprintf("%T", err)
}
