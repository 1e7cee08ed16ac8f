package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// Go's collector lets the heap grow to twice what is live before it collects, and keeps what the start, or a burst, has taken. A program
// that rests gives that back: what it holds for hours is what a node's memory is planned by.
const (
	// restInterval is how often to look whether the program rests.
	restInterval = 15 * time.Second
	// restBytes is how much it allocates at most in that time while it rests: heartbeats, and a few events.
	restBytes = 16 << 20
	// spareBytes is how much it may hold beside what is live.
	spareBytes = 24 << 20
)

// giveBack gives memory back to the system whenever the program rests, until ctx ends.
func giveBack(ctx context.Context) {
	ticker := time.NewTicker(restInterval)
	defer ticker.Stop()
	var last, now runtime.MemStats
	isGiven := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		runtime.ReadMemStats(&now)
		if now.TotalAlloc-last.TotalAlloc > restBytes {
			isGiven = false // it works: what it holds it may need
		} else if !isGiven && holds(&now) > spareBytes {
			debug.FreeOSMemory()
			isGiven = true // once for each rest: collecting costs time
		}
		last = now
	}
}

// holds returns how many bytes the heap has of the system beside those that were live at the last collection.
func holds(stats *runtime.MemStats) uint64 {
	resident := stats.HeapSys - stats.HeapReleased
	live := stats.NextGC / 2 // as GOGC is by default
	return resident - min(resident, live)
}
