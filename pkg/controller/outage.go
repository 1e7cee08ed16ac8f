package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Outage is something that fails for a while. It is logged when it begins and when it
// ends, and not at every attempt in between. Several goroutines may use one. It must not be
// copied after its first use.
type Outage struct {
	// Begins and Ends are what is logged, the one as an error, the other as information.
	Begins, Ends string

	mu    sync.Mutex
	since time.Time
}

// Begin logs why the outage begins, unless it has begun already.
func (o *Outage) Begin(ctx context.Context, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
		klog.FromContext(ctx).Error(err, o.Begins)
	}
}

// End logs how long the outage lasted, if it had begun.
func (o *Outage) End(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		klog.FromContext(ctx).Info(o.Ends, "after", time.Since(o.since).Round(time.Second))
		o.since = time.Time{}
	}
}
