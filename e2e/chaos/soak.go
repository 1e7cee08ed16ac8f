package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// sampler reads what the programs take, once in a while.
type sampler struct {
	ground *Ground
	every  time.Duration

	mu      sync.Mutex
	samples []sample
}

// sample is what all programs take at a time.
type sample struct {
	at       time.Duration
	readings []Reading
	// writes is how many there have been since the start, on both sides.
	writes int64
}

// run samples until the context ends.
func (s *sampler) run(ctx context.Context) {
	began := time.Now()
	for sleep(ctx, s.every) {
		now := sample{at: time.Since(began)}
		for _, program := range s.ground.Programs {
			if reading, err := program.Read(ctx); err == nil { // one that a fault has ended takes nothing
				now.readings = append(now.readings, reading)
			}
		}
		for _, n := range s.ground.Writes() {
			now.writes += n
		}
		s.mu.Lock()
		s.samples = append(s.samples, now)
		s.mu.Unlock()
	}
}

// picture is one chart as hack/plot reads it.
type picture struct {
	Title  string `json:"title"`
	X      label  `json:"x"`
	Y      label  `json:"y"`
	Series []line `json:"series"`
}

type label struct {
	Label string `json:"label"`
	Min   *int   `json:"min,omitempty"`
}

type line struct {
	Name   string       `json:"name"`
	As     string       `json:"as"`
	Points [][2]float64 `json:"points"`
}

// pictures are the charts of a soak: for each role what its replicas take together, and the writes of all.
func (s *sampler) pictures(title string) []picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	charts := []struct {
		title, unit string
		value       func(Reading) float64
	}{
		{"memory of both replicas", "MiB", func(r Reading) float64 { return float64(r.Memory) / (1 << 20) }},
		{"goroutines of both replicas", "goroutines", func(r Reading) float64 { return float64(max(r.Goroutines, 0)) }},
		{"open connections of both replicas", "connections", func(r Reading) float64 { return float64(r.Connections) }},
	}
	var all []picture
	for _, chart := range charts {
		p := picture{Title: title + chart.title, X: label{Label: "minutes"}, Y: label{Label: chart.unit, Min: new(0)}}
		for _, role := range s.roles() {
			p.Series = append(p.Series, line{Name: role, As: "line", Points: s.points(role, chart.value)})
		}
		all = append(all, p)
		title = ""
	}
	writes := picture{
		Title: "writes of all programs, without heartbeats", X: label{Label: "minutes"}, Y: label{Label: "writes a minute", Min: new(0)},
	}
	l := line{Name: "all", As: "line"}
	for i := 1; i < len(s.samples); i++ {
		minutes := (s.samples[i].at - s.samples[i-1].at).Minutes()
		l.Points = append(l.Points, [2]float64{s.samples[i].at.Minutes(), float64(s.samples[i].writes-s.samples[i-1].writes) / minutes})
	}
	writes.Series = []line{l}
	return append(all, writes)
}

// role is what the replicas of a program have in common: hub, syncer-east.
func roleOf(program string) string {
	if at := strings.LastIndexByte(program, '-'); at > 0 {
		return program[:at]
	}
	return program
}

func (s *sampler) roles() []string {
	var roles []string
	for _, program := range s.ground.Programs {
		roles = append(roles, roleOf(program.Name))
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// points are a role's values over time, of the times when both replicas ran.
func (s *sampler) points(role string, value func(Reading) float64) [][2]float64 {
	var points [][2]float64
	for _, sample := range s.samples {
		sum, n := 0.0, 0
		for _, reading := range sample.readings {
			if roleOf(reading.Program) == role && reading.Goroutines >= 0 {
				sum += value(reading)
				n++
			}
		}
		if n == replicas {
			points = append(points, [2]float64{sample.at.Minutes(), sum})
		}
	}
	return points
}

// write writes the charts as hack/plot reads them.
func (s *sampler) write(path, title string) error {
	data, err := json.MarshalIndent(s.pictures(title), "", " ")
	if err != nil {
		return fmt.Errorf("writing the charts: %w", err)
	}
	return os.WriteFile(path, data, 0o600)
}
