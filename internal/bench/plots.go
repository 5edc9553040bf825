package bench

import (
	"errors"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plots draws what varies along an axis.
func (d *Data) plots(folder string) error {
	return errors.Join(
		d.plot(filepath.Join(folder, "payload.svg"), byPayload, read, "A read, 64 in flight", "bytes of the session", "µs"),
		d.plot(filepath.Join(folder, "inflight.svg"), byInFlight, read, "A read", "requests in flight", "µs"),
		d.plot(filepath.Join(folder, "stored.svg"), byStored, read, "A read, 64 in flight", "stored sessions", "µs"),
	)
}

func (d *Data) plot(file, group string, o op, title, x, y string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	lines := map[string]plotter.XYs{}
	var names []string
	for _, t := range d.Times {
		if t.Group != group || t.Op != string(o) {
			continue
		}
		if !slices.Contains(names, t.Subject) {
			names = append(names, t.Subject)
		}
		lines[t.Subject] = append(lines[t.Subject], plotter.XY{X: t.At, Y: t.median() / 1000})
	}
	if len(names) == 0 {
		return nil
	}
	var list []any
	for _, name := range names {
		list = append(list, name, lines[name])
	}
	if err := plotutil.AddLinePoints(p, list...); err != nil {
		return err
	}
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}
