package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // requests by host and code
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // queue depth, latency, retries
	"k8s.io/klog/v2"
)

// grace is how long requests under way may take once the program ends.
const grace = 2 * time.Second

// Config says what to serve.
type Config struct {
	// Address is host:port; port 0 takes a free one, which the log names.
	Address string
	// Ready tells whether the program does its work; false answers 503.
	Ready func() bool
}

// Run serves /healthz, /readyz and /metrics until ctx ends. It fails when the
// address cannot be listened on.
func Run(ctx context.Context, config Config) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Address)
	if err != nil {
		return fmt.Errorf("serving health and metrics on %s: %w", config.Address, err)
	}
	klog.FromContext(ctx).Info("Serving /healthz, /readyz and /metrics", "address", listener.Addr())
	server := &http.Server{Handler: handler(config.Ready), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving health and metrics on %s: %w", config.Address, err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = server.Shutdown(shutdown)
	served := <-ended
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // somebody held on to a connection: no reason to fail
	}
	if !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func handler(ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, true) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready()) })
	mux.Handle("/metrics", legacyregistry.Handler())
	return mux
}

func answer(w http.ResponseWriter, good bool) {
	if !good {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // the client has gone: nobody to tell
}
