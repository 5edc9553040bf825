package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A picture is a line for each subject of a group, as the value varies.
type picture struct {
	file, title, x string
	group          string
	op             op
	atOnce         bool // as many in flight as the value says
	perSecond      bool // requests a second instead of µs
}

var pictures = []picture{
	{file: "payload-read", title: "A read, 64 in flight", x: "bytes of a session", group: "payload", op: read},
	{file: "payload-changed", title: "A changed request, 64 in flight", x: "bytes of a session", group: "payload", op: changed},
	{file: "in-flight", title: "Reads a second", x: "requests in flight", group: "in flight", op: read, atOnce: true, perSecond: true},
	{file: "stored", title: "A read, 64 in flight", x: "sessions in Redis", group: "stored", op: read},
}

// colors tell a subject from the others in every picture.
var colors = map[string]color.Color{
	bare: color.Gray{0xa0}, hands: color.Gray{0x50}, handsJSON: color.RGBA{0xb0, 0x90, 0x60, 0xff},
	here: color.RGBA{0x00, 0x72, 0xb2, 0xff}, hereJSON: color.RGBA{0x56, 0xb4, 0xe9, 0xff}, herePipelined: color.RGBA{0x00, 0x9e, 0x73, 0xff},
	scsName: color.RGBA{0xd5, 0x5e, 0x00, 0xff}, gorillaName: color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

func (d *Data) draw(dir string) error {
	for _, p := range pictures {
		if err := d.drawOne(p, dir); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
	}
	return d.drawOwner(dir)
}

func (d *Data) drawOne(p picture, dir string) error {
	drawing := newPlot(p.title, p.x, "µs a request")
	if p.perSecond {
		drawing.Y.Label.Text = "requests a second"
	}
	lines := map[string]plotter.XYs{}
	var names []string
	for _, t := range d.Times {
		if t.Group != p.group || t.Op != string(p.op) || !p.atOnce && t.InFlight != usualInFlight {
			continue
		}
		if lines[t.Subject] == nil {
			names = append(names, t.Subject)
		}
		y := t.median() / 1000
		if p.perSecond {
			y = 1e9 / t.median()
		}
		lines[t.Subject] = append(lines[t.Subject], plotter.XY{X: t.At, Y: y})
	}
	for _, name := range names {
		if err := addLine(drawing, name, lines[name], colors[name]); err != nil {
			return err
		}
	}
	return save(drawing, dir, p.file)
}

func (d *Data) drawOwner(dir string) error {
	drawing := newPlot("One user's sessions, one call at a time", "sessions of the user", "µs")
	for i, name := range ownerOps {
		var line plotter.XYs
		for _, t := range d.Times {
			if t.Group == "owner" && t.Op == name {
				line = append(line, plotter.XY{X: t.At, Y: t.median() / 1000})
			}
		}
		shade := []string{hands, here, scsName, herePipelined}[i]
		if err := addLine(drawing, name, line, colors[shade]); err != nil {
			return err
		}
	}
	return save(drawing, dir, "owner")
}

// newPlot has both axes logarithmic: a straight line upwards with the grid's slope is linear, a flat one does not grow.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	p.BackgroundColor = color.White // dark pages show it too
	p.Add(plotter.NewGrid())
	return p
}

func addLine(p *plot.Plot, name string, points plotter.XYs, shade color.Color) error {
	if len(points) == 0 {
		return nil
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, dots.Color = shade, shade
	line.Width, dots.Shape, dots.Radius = vg.Points(1.5), draw.CircleGlyph{}, vg.Points(2.5)
	p.Add(line, dots)
	p.Legend.Add(name, line, dots)
	return nil
}

func save(p *plot.Plot, dir, name string) error {
	if p.X.Min > p.X.Max { // nothing was measured
		return nil
	}
	// From one power of ten to the next but one, so that there are ticks to read off, and room for the legend.
	p.Y.Min, p.Y.Max = powerBelow(p.Y.Min), powerAbove(p.Y.Max)*10
	if p.X.Min == p.X.Max {
		p.X.Min, p.X.Max = p.X.Min/10, p.X.Max*10
	}
	p.X.Max *= 1.1 // the last label is a wide one
	w, err := p.WriterTo(7*vg.Inch, 4*vg.Inch, "svg")
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name+".svg"))
	if err != nil {
		return err
	}
	if _, err := w.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func powerBelow(v float64) float64 {
	p := 1.0
	for p > v {
		p /= 10
	}
	for p*10 <= v {
		p *= 10
	}
	return p
}

func powerAbove(v float64) float64 {
	if p := powerBelow(v); p == v {
		return p
	}
	return powerBelow(v) * 10
}
