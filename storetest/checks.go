package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

func checkPassiveLoad(s *subject) {
	s.create("k", "v", time.Hour)
	s.advance(10 * time.Minute)
	s.holdsFor("k", "v", 50*time.Minute)
	s.holdsFor("k", "v", 50*time.Minute)
	s.advance(49 * time.Minute)
	s.holdsFor("k", "v", time.Minute)
	s.advance(2 * time.Minute)
	s.missing("k")

	// A negative touch is outside the contract: an error or 0, but never a
	// way to end a session or to make it immortal.
	s.create("negative", "v", time.Hour)
	s.Load(s.Context(), "negative", -1)
	s.holdsFor("negative", "v", time.Hour)
}

func checkLoadMissing(s *subject) {
	s.missing("k")
	_, _, err := s.Load(s.Context(), "k", time.Hour)
	s.wantErr("Load(k, 1h)", err, sessions.ErrNotFound)
	s.missing("k") // the touch created nothing
	s.create("k", "v", time.Hour)
	s.missing("k2")
}

func checkCreateExisting(s *subject) {
	s.create("k", "v", time.Hour)
	for _, data := range []string{"other", "v", ""} {
		err := s.Create(s.Context(), "k", []byte(data), 2*time.Hour)
		s.wantErr(fmt.Sprintf("Create(k, %q) on v", data), err, sessions.ErrExists)
		s.holdsFor("k", "v", time.Hour)
	}
}

func checkSwapMissing(s *subject) {
	s.create("other", "v", time.Hour)
	for _, prefix := range []string{"v", ""} { // even the prefix that fits anything
		for _, data := range [][]byte{[]byte("new"), {}, nil} {
			_, err := s.CompareAndSwap(s.Context(), "k", []byte(prefix), data, time.Hour)
			s.wantErr(fmt.Sprintf("CompareAndSwap(k, %q, %q) on nothing", prefix, data), err, sessions.ErrNotFound)
			s.missing("k")
		}
	}
}

func checkSwapConflict(s *subject) {
	const value = "value"
	s.create("k", value, time.Hour)
	for _, prefix := range []string{
		"x", "Value", // another first byte
		"valux", "vaxue", // another later byte
		"value\x00", "value and more", // longer than the value
		"alue", "ue", "lu", // inside it, not before it
		".*", "v*", "val%a", // no patterns
	} {
		s.wantConflict("k", prefix, []byte("new"), value)
		s.wantConflict("k", prefix, []byte{}, value)
		s.wantConflict("k", prefix, nil, value)
	}
	s.holdsFor("k", value, time.Hour)

	s.create("empty", "", time.Hour)
	s.wantConflict("empty", "x", []byte("new"), "")
	s.holdsFor("empty", "", time.Hour)
}

func checkSwapMatch(s *subject) {
	for i, c := range []struct{ value, prefix, data string }{
		{"value", "v", "new"},
		{"value", "value", "new"}, // all of it
		{"value", "val", "v"},     // shorter
		{"value", "val", "value, and then some"},
		{"value", "val", "value"}, // the same again
		{"value", "", "new"},      // the prefix of anything
		{"", "", "new"},
		{"value", "v", ""}, // empty is a value, nil deletes
		{"", "", ""},
	} {
		key := fmt.Sprint("k", i)
		s.create(key, c.value, time.Hour)
		s.swap(key, c.prefix, c.data, time.Hour)
		s.holds(key, c.data)
	}
	s.create("nil", "value", time.Hour)
	if _, err := s.CompareAndSwap(s.Context(), "nil", nil, []byte("new"), time.Hour); err != nil {
		s.Errorf("CompareAndSwap with a nil prefix: %v; want it to fit any value", err)
	}
	s.holds("nil", "new")
}

func checkTTL(s *subject) {
	const long = 400 * 24 * time.Hour // the longest-lived cookie
	s.create("long", "v", long)
	s.holdsFor("long", "v", long)

	s.create("k", "v", time.Hour)
	s.holdsFor("k", "v", time.Hour)
	s.advance(time.Hour - 10*time.Second)
	s.holdsFor("k", "v", 10*time.Second)

	s.touch("k", 2*time.Hour) // longer
	s.holdsFor("k", "v", 2*time.Hour)
	s.advance(2*time.Hour - 10*time.Second)
	s.holdsFor("k", "v", 10*time.Second)

	s.swap("k", "v", "v2", 3*time.Hour)
	s.holdsFor("k", "v2", 3*time.Hour)
	s.touch("k", time.Hour) // shorter
	s.holdsFor("k", "v2", time.Hour)
	s.swap("k", "v", "v3", time.Minute) // shorter: a renewal's mark
	s.holdsFor("k", "v3", time.Minute)
	s.advance(2 * time.Minute)
	s.missing("k")
	s.holds("long", "v")
}

func checkNoTTL(s *subject) {
	s.create("k", "v", time.Hour)
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		err := s.Create(s.Context(), "new", []byte("v"), ttl)
		s.wantRefused(fmt.Sprintf("Create with a ttl of %v", ttl), err)
		s.missing("new")
		_, err = s.CompareAndSwap(s.Context(), "k", []byte("v"), []byte("new"), ttl)
		s.wantRefused(fmt.Sprintf("CompareAndSwap with data and a ttl of %v", ttl), err)
		s.holdsFor("k", "v", time.Hour)
	}
}

func checkShortTTL(s *subject) {
	const short = time.Nanosecond
	s.create("created", "v", short)
	s.create("swapped", "v", time.Hour)
	s.swap("swapped", "v", "v2", short)
	s.create("touched", "v", time.Hour)
	s.touch("touched", short)
	s.advance(2 * time.Second)
	s.missing("created")
	s.missing("swapped")
	s.missing("touched")
}

func checkExpired(s *subject) {
	ctx := s.Context()
	s.create("k", "v", time.Minute)
	s.create("deleted", "v", time.Minute)
	s.create("stays", "v", time.Hour)
	s.advance(2 * time.Minute)
	s.missing("k")
	_, _, err := s.Load(ctx, "k", time.Hour)
	s.wantErr("Load(k, 1h) of an expired key", err, sessions.ErrNotFound)
	_, err = s.CompareAndSwap(ctx, "k", []byte("v"), []byte("new"), time.Hour)
	s.wantErr("CompareAndSwap on an expired key", err, sessions.ErrNotFound)
	_, err = s.CompareAndSwap(ctx, "k", []byte("x"), []byte("new"), time.Hour)
	s.wantErr("CompareAndSwap with another prefix on an expired key", err, sessions.ErrNotFound)
	_, err = s.CompareAndSwap(ctx, "k", []byte("v"), nil, 0)
	s.wantErr("CompareAndSwap with nil data on an expired key", err, sessions.ErrNotFound)
	s.delete("deleted")
	s.missing("k")
	s.missing("deleted")
	s.holds("stays", "v")
	s.create("k", "again", time.Hour)
	s.holds("k", "again")
}

func checkDelete(s *subject) {
	s.delete("never there")
	s.create("k", "v", time.Hour)
	s.create("stays", "v", time.Hour)
	s.delete("k")
	s.missing("k")
	s.delete("k")
	s.missing("k")
	_, err := s.CompareAndSwap(s.Context(), "k", nil, []byte("new"), time.Hour)
	s.wantErr("CompareAndSwap on a deleted key", err, sessions.ErrNotFound)
	s.holds("stays", "v")
	s.create("k", "again", time.Hour)
	s.holds("k", "again")
}

func checkSharing(s *subject) {
	ctx := s.Context()

	handedIn := []byte("created")
	if err := s.Create(ctx, "k", handedIn, time.Hour); err != nil {
		s.Fatalf("Create: %v", err)
	}
	clobber(handedIn)
	s.holds("k", "created")

	for _, touch := range []time.Duration{0, time.Hour} {
		data, _, err := s.Load(ctx, "k", touch)
		if err != nil {
			s.Fatalf("Load(k, %v): %v", touch, err)
		}
		clobber(data)
		_ = append(data, "more"...)
		s.holds("k", "created")
	}

	current, err := s.CompareAndSwap(ctx, "k", []byte("x"), []byte("new"), time.Hour)
	s.wantErr("CompareAndSwap(k, x) on created", err, sessions.ErrConflict)
	clobber(current)
	s.holds("k", "created")

	handedIn, prefix := []byte("swapped"), []byte("created")
	if _, err := s.CompareAndSwap(ctx, "k", prefix, handedIn, time.Hour); err != nil {
		s.Fatalf("CompareAndSwap: %v", err)
	}
	if string(handedIn) != "swapped" || string(prefix) != "created" {
		s.Errorf("CompareAndSwap changed its arguments to %q and %q", prefix, handedIn)
	}
	clobber(handedIn)
	clobber(prefix)
	s.holds("k", "swapped")
}

func checkKeys(s *subject) {
	long := strings.Repeat("0123456789", 20)
	keys := []string{
		"a", "A", "aa", "a ", " a", "a\n", "a\r\n", "\ta", "a\x00", "\x00a", "a\x00b", "\x00",
		"*", "?", "[a]", "[^a]", "a*", "\\*", "\\", "%", "%s", "a%00", "_", "a_",
		"{a}", "{a}b", "{}a", "{", "}", "a{b", "a:b", "a/b", "../a", ".", "#", "a,b",
		`"`, `'`, "';--", "$1", "KEYS[1]", "0", "00", "-1", "nil", "null",
		"ä", "a\u0308", "Ä", "\u00a0a", "\u200ba", "世界",
		"\xff", "\xfe", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\ufffd",
		long, long + "a", long[:199], long[:199] + "A",
	}
	for _, key := range keys {
		s.create(key, "value of "+key, time.Hour)
	}
	for _, key := range keys {
		s.holds(key, "value of "+key)
		s.touch(key, time.Hour)
		s.swap(key, "value of "+key, "new value of "+key, time.Hour)
		s.wantConflict(key, "value", []byte("x"), "new value of "+key)
	}
	for _, key := range keys {
		s.holds(key, "new value of "+key)
	}
	for i, key := range keys {
		s.delete(key)
		s.missing(key)
		if i+1 < len(keys) {
			s.holds(keys[i+1], "new value of "+keys[i+1])
		}
	}
}

func checkValues(s *subject) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	values := []string{
		"", " ", "\x00", "\x00\x00", "a\x00b", "\n", "\r\n", "\r\n$-1\r\n", "+OK\r\n",
		"\xff\xfe", "\xc3\x28", "\xef\xbb\xbfa", "\x80\x04", "\xdf\x00\x0f\x42\x40", string(every),
		"0", "-1", "1e3", "0x10", "true", "nil", "null", "{}", "[]", `""`, `{"id":"1"}` + "\n" + `{}`,
		"%s", "%d%%", "$1", "KEYS[1]", "' OR 1=1", "ä", "a\u0308",
	}
	for i, v := range values {
		key := fmt.Sprint("k", i)
		s.create(key, v, time.Hour)
		s.holds(key, v)
		s.wantConflict(key, v+"\x00", []byte("x"), v)
		next := "\x00" + v + "\xff"
		s.swap(key, v, next, time.Hour)
		s.holds(key, next)
		s.wantConflict(key, "\x01", nil, next)
		s.swap(key, next[:1+len(v)/2], v, time.Hour)
		s.holds(key, v)
	}
	if err := s.Create(s.Context(), "nil", nil, time.Hour); err != nil {
		s.Errorf("Create with nil data: %v, want an empty value", err)
	}
	s.holds("nil", "")
}

func checkLarge(s *subject) {
	big := bytes.Repeat([]byte("0123456789abcde\x00"), 1<<16)
	next := append([]byte("next"), big...)
	s.create("k", string(big), time.Hour)
	s.holds("k", string(big))
	s.wantConflict("k", "x", []byte("new"), string(big))
	s.wantConflict("k", string(big)+"x", []byte("new"), string(big))
	s.swap("k", string(big), string(next), time.Hour)
	s.holds("k", string(next))
}

func checkContext(s *subject) {
	s.create("k", "v", time.Minute)
	late, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled(s.Context()), late} {
		_, _, loaded := s.Load(ctx, "k", time.Hour)
		_, swapped := s.CompareAndSwap(ctx, "k", []byte("v"), []byte("new"), time.Hour)
		_, ended := s.CompareAndSwap(ctx, "k", []byte("v"), nil, 0)
		for _, c := range []struct {
			what string
			err  error
		}{
			{"Load", loaded},
			{"Create", s.Create(ctx, "new", []byte("v"), time.Hour)},
			{"CompareAndSwap", swapped},
			{"CompareAndSwap with nil data", ended},
			{"Delete", s.Delete(ctx, "k")},
		} {
			what := c.what + " with a done context"
			if ctx != late {
				s.wantErr(what, c.err, context.Canceled)
			} else if !errors.Is(c.err, context.DeadlineExceeded) { // it may be ErrUnavailable as well
				s.Errorf("%s: got error %v, want %q", what, c.err, context.DeadlineExceeded)
			}
		}
		s.missing("new")
		s.holdsFor("k", "v", time.Minute)
	}
}

func checkNeighbour(s *subject) {
	if s.neighbour == nil {
		s.Skip("Options.Neighbour is nil")
	}
	n := *s
	n.Store = s.neighbour(s.T)

	s.create("k", "mine", time.Hour)
	n.missing("k")
	_, err := n.CompareAndSwap(s.Context(), "k", nil, []byte("taken"), time.Hour)
	n.wantErr("CompareAndSwap on the neighbour's key", err, sessions.ErrNotFound)
	n.delete("k")
	s.holds("k", "mine")

	n.create("k", "theirs", 2*time.Hour)
	n.touch("k", 2*time.Hour)
	s.holds("k", "mine")
	n.swap("k", "theirs", "theirs too", 2*time.Hour)
	s.holds("k", "mine")
	s.delete("k")
	n.holds("k", "theirs too")
}

func checkSwapDelete(s *subject) {
	s.create("k", "v", time.Hour)
	s.create("stays", "v", time.Hour)
	s.wantConflict("k", "x", nil, "v")
	s.holds("k", "v")
	for _, ttl := range []time.Duration{0, -1, time.Hour} { // ignored
		if _, err := s.CompareAndSwap(s.Context(), "k", []byte("v"), nil, ttl); err != nil {
			s.Errorf("CompareAndSwap(k, v, nil, %v): %v", ttl, err)
		}
		s.missing("k")
		_, err := s.CompareAndSwap(s.Context(), "k", []byte("v"), nil, ttl)
		s.wantErr("CompareAndSwap with nil data, again", err, sessions.ErrNotFound)
		s.create("k", "v2", time.Hour)
	}
	if _, err := s.CompareAndSwap(s.Context(), "k", nil, nil, 0); err != nil {
		s.Errorf("CompareAndSwap(k, nil, nil, 0): %v", err)
	}
	s.missing("k")
	s.holds("stays", "v")
}
