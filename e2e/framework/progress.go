package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells a person what a stack is doing. Steps may run at the same time.
type progress struct {
	mu sync.Mutex
	w  io.Writer
}

func newProgress(w io.Writer) *progress {
	if w == nil {
		w = io.Discard
	}
	return &progress{w: w}
}

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Nobody reading must not stop the work.
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// step runs one step and says that it begins and how it ended: "kcp: starting (about 30 s)", "kcp: ready
// after 27.1s".
func (p *progress) step(name, doing, done string, run func() error) error {
	p.printf("%s: %s", name, doing)
	start := time.Now()
	err := run()
	took := time.Since(start).Round(100 * time.Millisecond)
	switch {
	case errors.Is(err, context.Canceled):
		p.printf("%s: given up after %s", name, took)
	case err != nil:
		p.printf("%s: failed after %s", name, took)
	default:
		p.printf("%s: %s after %s", name, done, took)
	}
	return err
}
