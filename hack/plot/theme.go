package main

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"regexp"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// What is drawn has no colour of its own, but one that stands for a part of the picture: the number of an entry of
// parts. In the SVG a class takes its place, which has one colour on light pages and another one on dark ones.
var (
	ink   = standIn(0)
	muted = standIn(1)
	faint = standIn(2)
)

// firstSeries is the entry of parts that is the first series'.
const firstSeries = 3

// parts are the colours of each part on light and on dark pages.
var parts = [][2]string{
	{"#1f2328", "#f0f6fc"}, // text
	{"#57606a", "#8b949e"}, // axes
	{"#d8dee4", "#30363d"}, // the grid
	{"#0969da", "#58a6ff"},
	{"#bc4c00", "#f0883e"},
	{"#1a7f37", "#3fb950"},
	{"#8250df", "#bc8cff"},
	{"#bf3989", "#f778ba"},
	{"#9a6700", "#e3b341"},
	{"#57606a", "#9ea7b0"},
	{"#cf222e", "#ff7b72"},
}

func standIn(part int) color.Color { return color.RGBA{R: 1, G: 2, B: uint8(part), A: 255} }

// colorOf returns the colour of a series by its number.
func colorOf(series int) color.Color {
	return standIn(firstSeries + series%(len(parts)-firstSeries))
}

// lineOf returns the line of a series. Dashes tell apart what colours do not for everybody.
func lineOf(series int) draw.LineStyle {
	dashes := [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}}
	return draw.LineStyle{Color: colorOf(series), Width: 1.8, Dashes: dashes[series%len(dashes)]}
}

var (
	styles   = regexp.MustCompile(`style="([^"]*)"`)
	standIns = regexp.MustCompile(`^(fill|stroke):#0102([0-9A-Fa-f]{2})$`)
	head     = regexp.MustCompile(`(?s)^.*?<svg width="([0-9.]+)pt" height="([0-9.]+)pt" viewBox="[^"]*"\s+xmlns="[^"]*"\s+xmlns:xlink="[^"]*">\n`)
)

// themed has the SVG that was drawn follow the colours of the page that shows it, and say what it shows.
func themed(drawn []byte, titles []string) []byte {
	size := head.FindSubmatch(drawn)
	body := head.ReplaceAll(drawn, nil)
	body = styles.ReplaceAllFunc(body, func(attribute []byte) []byte {
		return []byte(classed(string(styles.FindSubmatch(attribute)[1])))
	})
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="t"`+
		` font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif">`+"\n", size[1], size[2])
	fmt.Fprintf(&out, "<title id=\"t\">%s</title>\n<style>\n.page { fill: #ffffff }\n", html.EscapeString(strings.Join(titles, "; ")))
	for i, part := range parts {
		fmt.Fprintf(&out, ".f%d { fill: %s } .s%d { stroke: %s }\n", i, part[0], i, part[0])
	}
	fmt.Fprintf(&out, "@media (prefers-color-scheme: dark) {\n.page { fill: #0d1117 }\n")
	for i, part := range parts {
		fmt.Fprintf(&out, ".f%d { fill: %s } .s%d { stroke: %s }\n", i, part[1], i, part[1])
	}
	fmt.Fprintf(&out, "}\n</style>\n<rect class=\"page\" width=\"%s\" height=\"%s\" rx=\"10\"/>\n", size[1], size[2])
	out.Write(body)
	return out.Bytes()
}

// classed returns the attributes for a list of properties: those whose colour stands for a part become a class, and
// the font is that of the whole picture.
func classed(properties string) string {
	var kept, classes []string
	for property := range strings.SplitSeq(properties, ";") {
		if found := standIns.FindStringSubmatch(property); found != nil {
			var part int
			_, _ = fmt.Sscanf(found[2], "%x", &part) // two hexadecimal digits: the pattern says so
			classes = append(classes, fmt.Sprintf("%c%d", found[1][0], part))
			continue
		}
		if property != "" && !strings.HasPrefix(property, "font-") || strings.HasPrefix(property, "font-size:") {
			kept = append(kept, property)
		}
	}
	text := ""
	if len(classes) > 0 {
		text = `class="` + strings.Join(classes, " ") + `"`
	}
	if len(kept) > 0 {
		text = strings.TrimSpace(text + ` style="` + strings.Join(kept, ";") + `"`)
	}
	return text
}
