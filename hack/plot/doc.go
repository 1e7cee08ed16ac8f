// Command plot draws charts as one SVG that is readable on light and on dark pages. It reads a JSON list of charts and
// writes the picture; the same charts give the same bytes.
//
//	[{
//	  "title": "Create to copy",
//	  "x": {"label": "percentile", "categories": ["p50", "p90", "p99"]},
//	  "y": {"label": "ms", "log": true},
//	  "series": [
//	    {"name": "tmc", "as": "bars", "values": [52, 80, 130]},
//	    {"name": "kcp alone", "as": "bars", "values": [18, 22, 40]}
//	  ]
//	}, {
//	  "title": "Memory",
//	  "x": {"label": "minutes"},
//	  "y": {"label": "MiB", "min": 0},
//	  "series": [{"name": "tmc-controller", "as": "line", "points": [[0, 31], [1, 32.5]]}]
//	}]
//
// Bars belong to the categories of the x axis; a value may be null, and has no bar then. Lines are drawn through their
// points in the order given. An axis may be logarithmic ("log"), and may have its ends given ("min", "max").
//
// It is a module of its own, so that tmc itself does not require what draws.
package main
