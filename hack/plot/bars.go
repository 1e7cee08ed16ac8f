package main

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// bars are those of one series, each with its value above it. Those of the library cannot stand on a logarithmic axis,
// for they begin at 0.
type bars struct {
	values []*float64
	color  color.Color
	// index is the place of the series among those of the chart that are bars.
	index, of int
}

// share is how much of the room of a category its bars take, shareOfOne that of a single one.
const share, shareOfOne = 0.8, 0.5

// Plot implements plot.Plotter.
func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	width := share * (toX(1) - toX(0)) / vg.Length(b.of)
	if b.of == 1 {
		width = shareOfOne * (toX(1) - toX(0))
	}
	words := style(tickSize)
	words.XAlign, words.YAlign = draw.XCenter, draw.YBottom
	for i, value := range b.values {
		if value == nil {
			continue
		}
		left := toX(float64(i)) + width*(vg.Length(b.index)-vg.Length(b.of)/2)
		bottom, top := toY(p.Y.Min), toY(*value)
		c.FillPolygon(b.color, []vg.Point{
			{X: left + 1, Y: bottom}, {X: left + 1, Y: top}, {X: left + width - 1, Y: top}, {X: left + width - 1, Y: bottom},
		})
		c.FillText(words, vg.Point{X: left + width/2, Y: top + 2}, number(*value))
	}
}

// DataRange implements plot.DataRanger.
func (b *bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	for _, value := range b.values {
		if value != nil {
			ymin, ymax = math.Min(ymin, *value), math.Max(ymax, *value)
		}
	}
	return -0.5, float64(len(b.values)) - 0.5, ymin, ymax
}
