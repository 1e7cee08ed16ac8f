package clock

import (
	"os"
	"strings"
	"sync/atomic"
	"time"
	_ "unsafe" // for go:linkname
)

// vdsoClockgettimeSym is where the runtime finds clock_gettime, 0 where the kernel has none.
//
//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym uintptr

var (
	// original is clock_gettime of the kernel, and offset is what is added to its seconds. clockGettime reads both.
	original uintptr //nolint:unused // by Go
	offset   int64   //nolint:modernize // assembly reads it
)

// clockGettime is called by the runtime as a function of C.
//
//nolint:unused // by Go
func clockGettime()

// addressOf returns the address of clockGettime itself, not of a wrapper for Go's own calls.
func addressOf() uintptr

//nolint:gochecknoinits // a program imports it for nothing else
func init() {
	file := os.Getenv("TMC_CHAOS_CLOCK")
	if file == "" || vdsoClockgettimeSym == 0 {
		return
	}
	original = vdsoClockgettimeSym
	read(file)
	vdsoClockgettimeSym = addressOf()
	go func() {
		for {
			time.Sleep(interval)
			read(file)
		}
	}()
}

// interval is how often the file is read.
const interval = 100 * time.Millisecond

// read takes over what the file says.
func read(file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if d, err := time.ParseDuration(strings.TrimSpace(string(data))); err == nil {
		atomic.StoreInt64(&offset, int64(d/time.Second))
	}
}
