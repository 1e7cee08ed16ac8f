package main

import (
	"bytes"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The sizes of letters, and of what stands around a chart, in pixels.
const (
	titleSize, labelSize, tickSize = 15, 12, 11
	margin, legendHeight           = 14, 24
)

// letters is what measures and draws text. The SVG names fonts that readers have; Liberation Sans is as wide as Arial.
var letters = text.Plain{Fonts: font.NewCache(liberation.Collection())}

// style returns that of text of a size.
func style(size vg.Length) text.Style {
	return text.Style{
		Color:   ink,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		Handler: letters,
	}
}

// render draws the charts row by row.
func render(charts []chart, o options) ([]byte, error) {
	rows := (len(charts) + o.columns - 1) / o.columns
	width, height := vg.Length(o.width), vg.Length(o.height)
	canvas := vgsvg.NewWith(vgsvg.UseWH(width*vg.Length(o.columns), height*vg.Length(rows)))
	page := draw.New(canvas)
	var titles []string
	for i, c := range charts {
		left, top := width*vg.Length(i%o.columns), page.Max.Y-height*vg.Length(i/o.columns)
		room := draw.Canvas{Canvas: page.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: left + margin, Y: top - height + margin},
			Max: vg.Point{X: left + width - margin, Y: top - margin},
		}}
		if err := c.draw(room); err != nil {
			return nil, err
		}
		titles = append(titles, c.Title)
	}
	var buffer bytes.Buffer
	if _, err := canvas.WriteTo(&buffer); err != nil {
		return nil, err
	}
	return themed(buffer.Bytes(), titles), nil
}

// draw draws a chart, its legend below it.
func (c chart) draw(room draw.Canvas) error {
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text, p.Title.TextStyle, p.Title.Padding = c.Title, style(titleSize), 8
	p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	c.X.set(&p.X)
	c.Y.set(&p.Y)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color, grid.Horizontal.Width = nil, faint, 0.8
	p.Add(grid)
	if err := c.addSeries(p); err != nil {
		return err
	}
	c.setEnds(p)
	if len(c.X.Categories) > 0 {
		p.NominalX(c.X.Categories...)
		p.X.Tick.Length, p.X.Tick.Width, p.X.Tick.Label.YAlign = 4, 0, draw.YTop
	}
	if len(c.Series) == 1 { // the title says what it is
		p.Draw(room)
		return nil
	}
	p.Draw(draw.Crop(room, 0, 0, legendHeight, 0))
	c.drawLegend(draw.Crop(room, 0, 0, 0, legendHeight-(room.Max.Y-room.Min.Y)))
	return nil
}

// set gives an axis of a plot its looks.
func (a axis) set(to *plot.Axis) {
	to.Label.Text, to.Label.TextStyle = a.Label, merged(to.Label.TextStyle, style(labelSize))
	to.Tick.Label = merged(to.Tick.Label, style(tickSize))
	to.Color, to.Tick.Color = muted, muted
	to.Padding = 0
	to.Tick.Marker = ticks{log: a.Log}
	if a.Log {
		to.Scale = plot.LogScale{}
	}
}

// merged returns a style with the alignment of another one, which the axis has set.
func merged(aligned, s text.Style) text.Style {
	s.XAlign, s.YAlign, s.Rotation = aligned.XAlign, aligned.YAlign, aligned.Rotation
	return s
}

// addSeries adds the lines and the bars.
func (c chart) addSeries(p *plot.Plot) error {
	groups, group := 0, 0
	for _, s := range c.Series {
		if s.As == asBars {
			groups++
		}
	}
	for i, s := range c.Series {
		if s.As == asBars {
			p.Add(&bars{values: s.Values, color: colorOf(i), index: group, of: groups})
			group++
			continue
		}
		points := make(plotter.XYs, len(s.Points))
		for j, point := range s.Points {
			points[j].X, points[j].Y = point[0], point[1]
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.LineStyle = lineOf(i)
		p.Add(line)
	}
	return nil
}

// setEnds gives the axes their ends. Bars begin at 0, or at a power of ten on a logarithmic axis, and have room above
// for their value.
func (c chart) setEnds(p *plot.Plot) {
	if c.hasBars() {
		if c.Y.Log {
			p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
			p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max*1.3)))
		} else {
			p.Y.Min, p.Y.Max = math.Min(0, p.Y.Min), p.Y.Max*1.08
		}
	}
	c.X.setEnds(&p.X)
	c.Y.setEnds(&p.Y)
}

func (a axis) setEnds(to *plot.Axis) {
	if a.Min != nil {
		to.Min = *a.Min
	}
	if a.Max != nil {
		to.Max = *a.Max
	}
	if to.Min == to.Max { // of one value alone
		to.Min, to.Max = to.Min-math.Abs(to.Min)/2, to.Max+math.Abs(to.Max)/2
		if to.Min == 0 && to.Max == 0 {
			to.Max = 1
		}
	}
}

// drawLegend names the series in one row.
func (c chart) drawLegend(room draw.Canvas) {
	const swatch, gap, between = 18, 6, 20
	words := style(labelSize)
	words.YAlign = draw.YCenter
	width := vg.Length(0)
	for _, s := range c.Series {
		width += swatch + gap + words.Width(s.Name) + between
	}
	x, y := room.Center().X-(width-between)/2, room.Min.Y+legendHeight/2-4
	for i, s := range c.Series {
		if s.As == asBars {
			room.FillPolygon(colorOf(i), []vg.Point{{X: x, Y: y - 5}, {X: x + swatch, Y: y - 5}, {X: x + swatch, Y: y + 5}, {X: x, Y: y + 5}})
		} else {
			room.StrokeLine2(lineOf(i), x, y, x+swatch, y)
		}
		room.FillText(words, vg.Point{X: x + swatch + gap, Y: y}, s.Name)
		x += swatch + gap + words.Width(s.Name) + between
	}
}

// ticks writes the marks of an axis as people do: 1000 and 0.5, and of a logarithmic axis the powers of ten alone.
type ticks struct{ log bool }

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	var marks []plot.Tick
	if t.log {
		marks = plot.LogTicks{}.Ticks(low, high)
	} else {
		marks = plot.DefaultTicks{}.Ticks(low, high)
	}
	for i := range marks {
		if marks[i].Label != "" {
			marks[i].Label = number(marks[i].Value)
		}
	}
	return marks
}

// number writes a value with at most three digits that count, and those before the point.
func number(value float64) string {
	if math.Abs(value) >= 100 {
		return strconv.FormatFloat(math.Round(value), 'f', -1, 64)
	}
	return strconv.FormatFloat(rounded(value, 3), 'f', -1, 64)
}

// rounded rounds to so many digits that count.
func rounded(value float64, digits int) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(value, 'g', digits, 64), 64)
	if err != nil {
		return value // what FormatFloat has written can be read
	}
	return short
}
