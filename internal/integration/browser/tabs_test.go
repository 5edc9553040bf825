package browser

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/typedsessions/sessions/examples/tabs/site"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// newTabs opens examples/tabs on a host of its own.
func newTabs(t *testing.T) *tab {
	t.Helper()
	b := newTab(t)
	h, err := site.New(redistest.Start(t).Client(t), slog.New(slog.NewTextHandler(t.Output(), nil)))
	kit.Must(t, err)
	b.emulate(960, 1010, "light")
	b.visit(b.serve("tabs", h))
	t.Cleanup(func() { eval[bool](b, "events.close(), true") }) // the server would wait for the end of the log
	return b
}

// play clicks on a button, and waits until what it plays is over.
func (b *tab) play(css string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(css)), chromedp.WaitEnabled(chromedp.CSS(css)))
}

func TestTabs(t *testing.T) {
	t.Parallel()
	b := newTabs(t)
	for _, test := range []struct{ name, race, here, scs, event, command string }{
		{"C9 fifty clicks in each tab", "clicks", "yes 100 of 100 clicks", "no 50 of 100 clicks", "A saved", "A SET clicks:50"},
		{"C7 two changes", "cart", "yes both are kept", "no the pear is lost", "A merged cart", "A SET language:de"},
		{"C1 C3 a sign-out during a slow request", "signout", "yes signed out", "no signed in again", "A gone", "A SET cart:[pear] language:en user:ada"},
		{"C4 C14 a sign-in during a slow request", "signin", "yes signed in", "no not signed in", "A gone", "A SET language:de"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &tab{t, b.ctx, b.sites}
			b.play("#" + test.race + " button")
			for lane, want := range map[string]string{"here": test.here, "scs": test.scs} {
				got := eval[string](b, `(() => {
					const lane = document.querySelector("#`+test.race+` [data-lane=`+lane+`]");
					return lane.dataset.verdict + " " + lane.querySelector(".value").textContent;
				})()`)
				if got != want {
					t.Errorf("%s: %q, want %q: %s", lane, got, want, b.text())
				}
			}
			for log, want := range map[string]string{"#log-here": test.event, "#log-scs": test.command} {
				// The log is a response of its own, so its lines may come later.
				eval[bool](b, `new Promise((seen) => {
					const look = () => [...document.querySelectorAll("`+log+` li")].some((li) => li.textContent.startsWith("`+want+`")) ? seen(true) : setTimeout(look, 20);
					look();
				})`)
			}
		})
	}
	if said := eval[string](b, `document.querySelector("#clicks [data-lane=here] .why").textContent`); !strings.Contains(said, "s.Clicks++ counts 50") {
		t.Errorf("of plain clicks the page says %q", said)
	}
}

func TestTabsOnAPhone(t *testing.T) {
	t.Parallel()
	b := newTabs(t)
	b.emulate(320, 640, "dark") // WCAG 2.2, 1.4.10
	b.play("#all")
	if width := eval[int](b, "document.documentElement.scrollWidth"); width > 320 {
		t.Errorf("the page is %d pixels wide, want 320", width)
	}
}

// TestTabsPictures makes the picture for the README: SESSIONS_SCREENSHOTS=1 writes it into docs/tabs.
func TestTabsPictures(t *testing.T) {
	if os.Getenv("SESSIONS_SCREENSHOTS") != "1" {
		t.Skip("SESSIONS_SCREENSHOTS=1 writes the picture")
	}
	b := newTabs(t)
	b.play("#all")
	eval[bool](b, "document.activeElement.blur(), true")
	ctx, cancel := b.limit()
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	kit.Must(t, err)
	picture = paletted(t, picture)
	if len(picture) >= 200_000 {
		t.Errorf("tabs.png has %d bytes, want less than 200,000", len(picture))
	}
	kit.Must(t, os.WriteFile(filepath.Join("..", "..", "..", "docs", "tabs", "tabs.png"), picture, 0o644))
}

// paletted keeps the 256 commonest colours of a picture, which is a third of its bytes and looks the same.
func paletted(t *testing.T, picture []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	kit.Must(t, err)
	times := map[color.Color]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			times[img.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(times), func(a, b color.Color) int { return times[b] - times[a] })
	small := image.NewPaletted(img.Bounds(), colours[:min(256, len(colours))])
	draw.Draw(small, small.Bounds(), img, image.Point{}, draw.Src)
	var out bytes.Buffer
	kit.Must(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small))
	return out.Bytes()
}
