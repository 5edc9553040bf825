package peers_test

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What the response says about a session that is saved with it, or is not.

func lateChange(w *world) error {
	b := w.visitor()
	b.must("/late?k=Theme&v=dark")
	return has(b, "User", "ann", "Theme", "dark")
}

// failedDownload is the answer to a change that Redis refuses.
func failedDownload(w *world) answer {
	b := w.visitor()
	w.refuse()
	defer w.mend()
	a := b.get("/download?k=Theme&v=dark")
	if a.err != nil {
		w.t.Fatal(a.err)
	}
	return a
}

func failedSaveBody(w *world) error {
	if a := failedDownload(w); a.status < 500 || strings.Contains(a.body, "the page") {
		return fmt.Errorf("answers %s", a)
	}
	return nil
}

func failedSaveHeader(w *world) error {
	if h := failedDownload(w).header; h.Get("ETag") != "" || h.Get("Content-Disposition") != "" {
		return errors.New("the error has the ETag and Content-Disposition of the page")
	}
	return nil
}

func failedCreate(w *world) error {
	w.refuse()
	a := w.browser().get("/set?k=User&v=ann")
	if a.err != nil {
		w.t.Fatal(a.err)
	}
	if len(a.header["Set-Cookie"]) > 0 {
		return fmt.Errorf("%d with a cookie", a.status)
	}
	return nil
}

func readWrites(w *world) error {
	b := w.visitor()
	writes := w.onWrites()
	b.must("/read?k=User")
	if n := writes.Load(); n != 0 {
		return fmt.Errorf("%d write(s)", n)
	}
	return nil
}

// readTouches leaves a session a minute and reads it.
func readTouches(w *world) error {
	b := w.visitor()
	for _, key := range w.keys() {
		w.rdb.Expire(w.t.Context(), key, time.Minute)
	}
	b.must("/read?k=User")
	for _, key := range w.keys() {
		if left := w.rdb.PTTL(w.t.Context(), key).Val(); left <= time.Minute {
			return fmt.Errorf("the session ends in %v all the same", left)
		}
	}
	return nil
}
