package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // requests by host and code
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // queue depth, latency, retries
	"k8s.io/klog/v2"
)

// grace is how long requests under way may take after the program has been told to end.
const grace = 2 * time.Second

// Config says what to serve.
type Config struct {
	// Address is the host:port of /healthz and /readyz. Port 0 takes a free port, which the log
	// names.
	Address string
	// MetricsAddress is the host:port of /metrics, empty for none. It is another one than
	// Address because kubelets, and with them anybody, may ask for health: metrics name servers,
	// and say how often they were asked.
	MetricsAddress string
	// Ready reports whether the program does its work; false answers 503.
	Ready func() bool
}

// Run serves health and, if Config says so, metrics until ctx ends. It fails when it cannot
// listen on an address.
func Run(ctx context.Context, config Config) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, "health", config.Address, health(config.Ready)) })
	if config.MetricsAddress != "" {
		group.Go(func() error { return serve(ctx, "metrics", config.MetricsAddress, metrics()) })
	}
	return group.Wait()
}

// serve answers at an address until ctx ends. What names, in messages, what is served.
func serve(ctx context.Context, what, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serving %s on %s: %w", what, address, err)
	}
	klog.FromContext(ctx).Info("Serving", "what", what, "address", listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving %s on %s: %w", what, address, err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = server.Shutdown(shutdown)
	served := <-ended
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // a client kept a connection open: no reason to fail
	}
	if !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func health(ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, true) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready()) })
	return mux
}

func metrics() http.Handler {
	mux := http.NewServeMux()
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
