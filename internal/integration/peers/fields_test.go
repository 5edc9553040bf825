package peers_test

import (
	"fmt"
	"strconv"
)

// Several requests change the same session at once: every one has loaded it
// before the first one saves.

func twoFields(w *world) error {
	b := w.visitor()
	slow := w.park(b.clone(), "/set?k=Theme&v=dark")
	b.must("/set?k=Lang&v=de")
	if a := w.finish(slow); a.status != 200 {
		return fmt.Errorf("the slow request answers %s", a)
	}
	return has(b, "User", "ann", "Theme", "dark", "Lang", "de")
}

func sameField(w *world) error {
	b := w.visitor()
	slow := w.park(b.clone(), "/set?k=Theme&v=dark")
	b.must("/set?k=Theme&v=light")
	if a := w.finish(slow); a.status != 200 {
		return fmt.Errorf("the slow request answers %s", a)
	}
	if got := b.read("Theme"); got != "dark" && got != "light" {
		return fmt.Errorf("the field is %q, which nobody wrote", got)
	}
	return has(b, "User", "ann")
}

// manyFields plays C7 with 64 tabs spread over so many servers.
func manyFields(servers int) func(w *world) error {
	return func(w *world) error {
		const tabs = 64
		b := w.visitor()
		if err := w.together(b, tabs, servers, func(i int) string { return fmt.Sprintf("/set?k=F%d&v=tab%[1]d", i) }); err != nil {
			return err
		}
		kept := 0
		for i := range tabs {
			if b.read(fmt.Sprint("F", i)) == fmt.Sprint("tab", i) {
				kept++
			}
		}
		if kept != tabs {
			return fmt.Errorf("%d of %d fields survive", kept, tabs)
		}
		return nil
	}
}

// manyIncrements plays C9 with 100 clicks spread over so many servers.
func manyIncrements(servers int) func(w *world) error {
	return func(w *world) error {
		const clicks = 100
		b := w.visitor()
		if err := w.together(b, clicks, servers, func(int) string { return "/increment" }); err != nil {
			return err
		}
		return has(b, "User", "ann", "Count", strconv.Itoa(clicks))
	}
}

// together sends n requests, each of its own tab, and lets none of them go on
// before all have loaded the session. They take turns with the servers.
func (w *world) together(b *browser, n, servers int, path func(i int) string) error {
	w.t.Helper()
	urls := []string{w.url}
	for len(urls) < servers {
		urls = append(urls, w.second())
	}
	visits := make([]*visit, n)
	for i := range visits {
		visits[i] = w.launch(b.clone().at(urls[i%servers]), path(i))
	}
	for _, v := range visits {
		w.loaded(v)
	}
	w.hall.openAll()
	for _, v := range visits {
		if a := w.finish(v); a.status != 200 {
			return fmt.Errorf("one of %d requests answers %s", n, a)
		}
	}
	return nil
}

// has compares fields, given by name and value, with what a new request reads.
func has(b *browser, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if got := b.read(pairs[i]); got != pairs[i+1] {
			return fmt.Errorf("%s is %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
	return nil
}
