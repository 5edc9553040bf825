// Package msgpackcheck bounds what the msgpack package does with hostile input and with values that refer to
// themselves.
//
// That package allocates what a header claims (11 bytes asked for 192 MB), ignores trailing bytes, follows
// any depth of nesting, reads the body of an extension as a map where it wants a map, and encodes a value
// that refers to itself until the stack overflows, which no recover stops. [Map] walks a
// document before it is decoded, [Reader] watches the decoder, [Writer] the encoder.
package msgpackcheck

import (
	"errors"
	"io"
	"math"
	"strconv"
)

// MaxDepth is how many arrays and maps may lie inside one another, the outermost one included.
const MaxDepth = 100

// Map checks that data is exactly one map with string keys: well-formed down to the last byte, at most
// [MaxDepth] deep, every declared length within the bytes left, nothing behind it. It calls field, if
// not nil, for each entry in order with views into data; value holds one whole msgpack value. It does
// not allocate unless it fails, with an [*Error].
func Map(data []byte, field func(name, value []byte)) error {
	t, err := next(data, 0)
	if err != nil {
		return err
	}
	if t.kind != mapping {
		return &Error{"not a map", 0}
	}
	i := t.head
	for range t.values / 2 {
		key, err := next(data, i)
		if err != nil {
			return err
		}
		if key.kind != text {
			return &Error{noName, i}
		}
		name := data[i+key.head : i+key.head+key.body]
		i += key.head + key.body
		end, err := skip(data, i, 2)
		if err != nil {
			return err
		}
		if field != nil {
			field(name, data[i:end:end])
		}
		i = end
	}
	if i != len(data) {
		return &Error{trailing, i}
	}
	return nil
}

// An Error tells what is wrong with the structure of a document and where, never what it says.
type Error struct {
	What string
	At   int
}

const (
	truncated = "value that is truncated"
	tooDeep   = "nesting deeper than 100"
	noName    = "name that is not a string"
	noMeaning = "code without a meaning"
	trailing  = "trailing data"
)

func (e *Error) Error() string { return e.What + " at byte " + strconv.Itoa(e.At) }

// skip returns the end of the value at data[i:]; depth is that of a container that begins there.
func skip(data []byte, i, depth int) (int, error) {
	t, err := next(data, i)
	if err != nil {
		return 0, err
	}
	if t.kind >= array && depth > MaxDepth {
		return 0, &Error{tooDeep, i}
	}
	i += t.head + t.body
	for range t.values {
		if i, err = skip(data, i, depth+1); err != nil {
			return 0, err
		}
	}
	return i, nil
}

// next reads the token at data[i:] and refuses one that declares more than there is.
func next(data []byte, i int) (token, error) {
	t, ok := read(data[i:])
	if !ok || t.body+t.values > len(data)-i-t.head {
		return t, &Error{truncated, i}
	}
	if t.kind == invalid {
		return t, &Error{noMeaning, i}
	}
	return t, nil
}

// A token is what one code announces: head bytes with the code, its length and the type of an
// extension, then body bytes, then so many values, two for an entry of a map.
type token struct {
	kind               kind
	head, body, values int
}

type kind uint8

const (
	scalar kind = iota
	invalid
	binary
	text
	extension
	array
	mapping
)

// codes holds, for each code, its kind, how many bytes of a length follow, and what the code itself
// says of the length.
var codes = func() (t [256]struct {
	kind      kind
	size, fix uint8
},
) {
	for c := range 16 {
		t[0x80+c].kind, t[0x80+c].fix = mapping, uint8(c)
		t[0x90+c].kind, t[0x90+c].fix = array, uint8(c)
	}
	for c := range 32 {
		t[0xa0+c].kind, t[0xa0+c].fix = text, uint8(c)
	}
	t[0xc1].kind = invalid
	for c := range 3 {
		t[0xc4+c].kind, t[0xc4+c].size = binary, 1<<c
		t[0xc7+c].kind, t[0xc7+c].size = extension, 1<<c
		t[0xd9+c].kind, t[0xd9+c].size = text, 1<<c
	}
	for c := range 4 {
		t[0xcc+c].fix = 1 << c // uint
		t[0xd0+c].fix = 1 << c // int
	}
	for c := range 5 {
		t[0xd4+c].kind, t[0xd4+c].fix = extension, 1<<c
	}
	t[0xca].fix, t[0xcb].fix = 4, 8 // float
	for c := range 2 {
		t[0xdc+c].kind, t[0xdc+c].size = array, 2<<c
		t[0xde+c].kind, t[0xde+c].size = mapping, 2<<c
	}
	return t
}()

// read describes the token that b begins with, if b holds its head. A length that no slice can have on
// this platform stays one that none has and two of which can be added.
func read(b []byte) (t token, ok bool) {
	if len(b) == 0 {
		return t, false
	}
	c := &codes[b[0]]
	t.kind, t.head = c.kind, 1+int(c.size)
	if c.kind == extension {
		t.head++
	}
	if len(b) < t.head {
		return t, false
	}
	n := uint64(c.fix)
	for _, d := range b[1 : 1+c.size] {
		n = n<<8 | uint64(d)
	}
	if c.kind == mapping {
		n *= 2
	}
	if n = min(n, math.MaxInt/2); c.kind >= array {
		t.values = int(n)
	} else {
		t.body = int(n)
	}
	return t, true
}

// A Reader hands a document that [Map] accepted to a msgpack.Decoder. It is an [io.ByteScanner], so the
// decoder buffers nothing.
//
// The decoder reads codes byte by byte and bodies in one piece, with one exception: wanting a map, it
// steps over the header of an extension and takes the body, which Map has not looked into, for the map.
// A body read so is walked first.
type Reader struct {
	data  []byte
	pos   int
	start int // the token read last
	next  int // the token after it
	body  int // where the body of an extension begins that ends at next; else next
}

// Reset makes r read data from its beginning. Reset(nil) lets go of what it read.
func (r *Reader) Reset(data []byte) { *r = Reader{data: data} }

// Len returns how many bytes have not been read.
func (r *Reader) Len() int { return len(r.data) - r.pos }

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	if r.pos >= len(r.data) && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[r.pos:])
	r.pos += n
	return n, nil
}

// ReadByte implements [io.ByteReader].
func (r *Reader) ReadByte() (byte, error) {
	if r.pos >= len(r.data) {
		return 0, io.EOF
	}
	switch {
	case r.pos >= r.next:
		t, err := next(r.data, r.pos)
		if err != nil {
			return 0, err
		}
		r.start, r.body = r.pos, r.pos+t.head
		r.next = r.body + t.body
		if t.kind != extension {
			r.body = r.next
		}
	case r.pos >= r.body:
		for i := r.pos; i < r.next; {
			end, err := skip(r.data[:r.next], i, 2)
			if err != nil {
				return 0, err
			}
			i = end
		}
		r.body = r.next
	}
	c := r.data[r.pos]
	r.pos++
	return c, nil
}

// UnreadByte implements [io.ByteScanner].
func (r *Reader) UnreadByte() error {
	if r.pos == 0 {
		return errors.New("nothing to unread")
	}
	r.pos--
	if r.pos == r.start {
		r.next = r.start
	}
	return nil
}

// A Writer collects what a msgpack.Encoder writes and holds it to what [Map] accepts, nesting above all:
// a value that refers to itself is one without an end.
type Writer struct {
	buf   []byte
	next  int // the first token not looked at
	depth int
	left  [MaxDepth]int // values still to come, by depth
}

// Reset empties w and keeps its memory.
func (w *Writer) Reset() { w.buf, w.next, w.depth = w.buf[:0], 0, 0 }

// Bytes returns what was written, valid until the next Reset, if that is one whole map.
func (w *Writer) Bytes() ([]byte, error) {
	if w.depth > 0 || w.next != len(w.buf) || len(w.buf) == 0 {
		return nil, &Error{truncated, len(w.buf)}
	}
	return w.buf, nil
}

// Write implements [io.Writer].
func (w *Writer) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), w.follow()
}

// WriteByte implements [io.ByteWriter].
func (w *Writer) WriteByte(c byte) error {
	w.buf = append(w.buf, c)
	return w.follow()
}

func (w *Writer) follow() error {
	for w.next < len(w.buf) {
		t, ok := read(w.buf[w.next:])
		switch {
		case !ok:
			return nil // the rest of the head is still to come
		case t.kind == invalid:
			return &Error{noMeaning, w.next}
		case w.depth == 0 && w.next > 0:
			return &Error{trailing, w.next}
		case w.depth == 0 && t.kind != mapping:
			return &Error{"not a map", w.next}
		case w.depth == 1 && w.left[0]%2 == 0 && t.kind != text:
			return &Error{noName, w.next}
		case w.depth == MaxDepth && t.kind >= array:
			return &Error{tooDeep + ", or a value that refers to itself,", w.next}
		}
		w.next += t.head + t.body
		if t.values > 0 {
			w.left[w.depth] = t.values
			w.depth++
			continue
		}
		for w.depth > 0 {
			if w.left[w.depth-1]--; w.left[w.depth-1] > 0 {
				break
			}
			w.depth--
		}
	}
	return nil
}
