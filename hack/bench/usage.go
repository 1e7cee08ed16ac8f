package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/hack/measure"
)

// kcpProgram is what kcp is called among the programs.
const kcpProgram = "kcp"

// usage asks what kcp and tmc's programs have taken so far, by name. One that does not run has taken nothing.
func (b *bench) usage() map[string]measure.Usage {
	all := map[string]measure.Usage{}
	if used, err := measure.UsageOf(b.stack.KCP.Process().PID()); err == nil {
		all[kcpProgram] = used
	}
	for _, p := range b.programs {
		if p.process == nil {
			continue
		}
		if used, err := measure.UsageOf(p.process.PID()); err == nil {
			all[p.name] = used
		}
	}
	return all
}

// cpuSince returns the CPU time between two looks.
func cpuSince(before, after map[string]measure.Usage) map[string]time.Duration {
	cpu := map[string]time.Duration{}
	for name, used := range after {
		cpu[name] = used.CPU - before[name].CPU
		if cpu[name] < 0 { // it was started anew
			cpu[name] = used.CPU
		}
	}
	return cpu
}

// memoryOf returns what memory each program takes.
func memoryOf(used map[string]measure.Usage) []string {
	var cells []string
	for _, name := range sortedKeys(used) {
		cells = append(cells, fmt.Sprintf("%s %d MiB", name, used[name].Resident/measure.MiB))
	}
	return cells
}

// cpuOf returns what share of a core each program took in a time.
func cpuOf(cpu map[string]time.Duration, in time.Duration) string {
	var cells []string
	for _, name := range sortedKeys(cpu) {
		cells = append(cells, fmt.Sprintf("%s %.1f %%", name, 100*cpu[name].Seconds()/in.Seconds()))
	}
	return strings.Join(cells, ", ")
}

func sortedKeys[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

// ratio returns a duration as a multiple of another one, - if there is none.
func ratio(took, raw time.Duration) string {
	if raw <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ×", took.Seconds()/raw.Seconds())
}
