package main

import (
	"errors"
	"fmt"
	"math"
)

// chart is one picture with two axes.
type chart struct {
	Title  string   `json:"title"`
	X      axis     `json:"x"`
	Y      axis     `json:"y"`
	Series []series `json:"series"`
}

// axis is one of the two.
type axis struct {
	Label string `json:"label"`
	// Log has it logarithmic: all values are above 0 then.
	Log bool `json:"log"`
	// Min and Max are its ends; nil leaves them to the values.
	Min *float64 `json:"min"`
	Max *float64 `json:"max"`
	// Categories are what bars stand at, on the x axis alone.
	Categories []string `json:"categories"`
}

// The ways to draw a series.
const (
	asLine = "line"
	asBars = "bars"
)

// series is what is drawn in one colour, with one entry in the legend.
type series struct {
	Name string `json:"name"`
	// As is line or bars.
	As string `json:"as"`
	// Points are those of a line.
	Points [][2]float64 `json:"points"`
	// Values has one of each category for bars, nil where there is none.
	Values []*float64 `json:"values"`
}

// validate says what is wrong with a chart.
func (c chart) validate() error {
	if len(c.Series) == 0 {
		return errors.New("series is empty, expected at least one")
	}
	if len(c.Y.Categories) > 0 {
		return errors.New("y.categories is set, expected them on the x axis alone")
	}
	var errs []error
	for i, s := range c.Series {
		if err := c.validateSeries(s); err != nil {
			errs = append(errs, fmt.Errorf("series[%d] (%q): %w", i, s.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c chart) validateSeries(s series) error {
	switch s.As {
	case asBars:
		if len(s.Values) != len(c.X.Categories) {
			return fmt.Errorf("values has %d entries, expected one of each of the %d x.categories", len(s.Values), len(c.X.Categories))
		}
		for _, value := range s.Values {
			if value != nil {
				if err := c.Y.validate(*value); err != nil {
					return fmt.Errorf("values: %w", err)
				}
			}
		}
	case asLine:
		if len(s.Points) == 0 {
			return errors.New("points is empty, expected at least one")
		}
		for _, point := range s.Points {
			if err := errors.Join(c.X.validate(point[0]), c.Y.validate(point[1])); err != nil {
				return fmt.Errorf("points: %w", err)
			}
		}
	default:
		return fmt.Errorf("as is %q, expected %q or %q", s.As, asLine, asBars)
	}
	return nil
}

// validate says whether an axis can show a value.
func (a axis) validate(value float64) error {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("%g, expected a number", value)
	}
	if a.Log && value <= 0 {
		return fmt.Errorf("%g on a logarithmic axis, expected more than 0", value)
	}
	return nil
}

// hasBars reports whether a chart has any bars.
func (c chart) hasBars() bool {
	for _, s := range c.Series {
		if s.As == asBars {
			return true
		}
	}
	return false
}
