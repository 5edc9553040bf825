package moving_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// inBubble runs the test with the time of a bubble, for each old library that needs no Redis.
func inBubble(t *testing.T, test func(t *testing.T, s *site)) {
	for _, l := range libraries {
		if l.offline {
			t.Run(l.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { test(t, l.site(t, "", new(sessions.MemoryStore))) })
			})
		}
	}
}

func (b *browser) info(t *testing.T) sessions.Info {
	t.Helper()
	ctx, err := b.m.Load(t.Context(), b.cookies[cookie])
	if err != nil {
		t.Fatal(err)
	}
	return b.m.Info(ctx)
}

func TestRememberMeComesAlong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann after=ann")
		if b.persist[cookie] != 0 || b.info(t).Remembered {
			t.Error("a session that was not remembered is now")
		}
		b = s.browser()
		b.do(t, "old++ann after=ann")
		if b.persist[cookie] == 0 || !b.info(t).Remembered {
			t.Error("a remembered session is none any more")
		}
		b = s.browser()
		b.do(t, "beside++ann old=ann")
		if b.persist[cookie] == 0 || b.persist[s.cookie] == 0 {
			t.Errorf("Max-Age of the new cookie %d, of the old one %d", b.persist[cookie], b.persist[s.cookie])
		}
	})
}

func TestDeadlineComesAlong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old++ann")
		time.Sleep(20 * day)
		for range 10 {
			b.do(t, "after=ann")
			time.Sleep(day)
		}
		time.Sleep(time.Second)
		b.do(t, "after= after++ann")
		time.Sleep(20 * day)
		b.do(t, "after=ann")
	})
}

// What the old library does not know is no recent proof.
func TestTimeOfAuthentication(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		begun := time.Now()
		b.do(t, "old+ann")
		time.Sleep(20 * time.Minute)
		b.do(t, "beside=ann")
		info := b.info(t)
		if info.AuthenticatedWithin(20 * time.Minute) {
			t.Error("adopting counts as a proof")
		}
		if known := info.AuthenticatedWithin(21 * time.Minute); known != (s.name == "scs in memory") {
			t.Errorf("begun %v, authenticated at %v", begun, info.AuthenticatedAt)
		}
	})
}

func TestOldSessionEndsAMinuteLater(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann beside=ann after=ann after=ann old=ann")
		time.Sleep(time.Minute)
		b.do(t, "beside=ann old=ann after=ann old= after=ann beside=ann")
		if b.cookies[s.cookie] != "" {
			t.Error("the old cookie is still there")
		}
	})
}

// Two requests with the old cookie alone, as of two tabs that are opened at once, both adopt. Whichever cookie the
// browser keeps, the other session ends a minute later, and no other device's does.
func TestTwoAdoptAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		phone, b := s.browser(), s.browser()
		phone.do(t, "after+ann")
		b.do(t, "old+ann")
		both := new(sync.WaitGroup)
		both.Add(2)
		s.old.read = func() { both.Done(); both.Wait() }
		var tabs sync.WaitGroup
		one, two := b.clone(), b.clone()
		for _, tab := range []*browser{one, two} {
			tabs.Go(func() { tab.do(t, "after=ann") })
		}
		tabs.Wait()
		s.old.read = nil
		if n := len(s.listed(t, "ann")); n != 3 {
			t.Errorf("%d sessions are listed", n)
		}
		one.do(t, "after=ann")
		two.do(t, "after=ann")
		time.Sleep(time.Minute)
		two.do(t, "after=ann after=ann")
		delete(one.cookies, s.cookie)
		one.do(t, "after=")
		phone.do(t, "after=ann")
		if n := len(s.listed(t, "ann")); n != 2 {
			t.Errorf("%d sessions are listed", n)
		}
	})
}

func TestLostResponse(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann")
		b.clone().do(t, "after=ann") // the answer is lost
		time.Sleep(10 * time.Minute)
		b.do(t, "after=ann")
		time.Sleep(time.Minute)
		b.do(t, "after=ann")
		if n := len(s.listed(t, "ann")); n != 1 {
			t.Errorf("%d sessions are listed", n)
		}
	})
}

// An old build has saved gorilla's session again, so that it ends later than was known when it was adopted.
func TestOldSessionIsProlonged(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		if s.name == "scs in memory" {
			return // its deadline does not move
		}
		b := s.browser()
		b.do(t, "old++ann beside=ann")
		time.Sleep(20 * day)
		b.do(t, "old.pear beside=ann")
		time.Sleep(11 * day)
		b.do(t, "after=ann after~pear")
		time.Sleep(time.Minute)
		b.do(t, "after=ann after=ann old=")
		time.Sleep(18 * day)
		b.do(t, "after=ann")
		time.Sleep(day)
		b.do(t, "after=")
	})
}

// Cookies of gorilla tell whole seconds.
func TestSignInJustAfterRevoking(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		time.Sleep(time.Second / 2)
		s.revoked["ann"] = time.Now()
		s.browser().do(t, "old+ann beside=ann")
		s.browser().do(t, "beside+ann beside=ann")
	})
}
