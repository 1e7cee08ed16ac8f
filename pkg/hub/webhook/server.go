package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

// Path is where AdmissionReviews are answered.
const Path = "/repair"

// patience bounds a request, from its first byte to the last of the answer. kcp does not wait longer.
const patience = 2 * time.Second

// errNoCertificate is the error of connections while there is no certificate.
var errNoCertificate = errors.New("there is no certificate yet: has `kubectl tmc init --repair-url` been run, and is there a leader?")

// Server answers AdmissionReviews over HTTPS.
type Server struct {
	address     string
	certificate atomic.Pointer[tls.Certificate]
}

// NewServer returns a server for an address, host:port. It refuses connections until it has a certificate.
func NewServer(address string) *Server { return &Server{address: address} }

// Use sets the certificate of new connections.
func (s *Server) Use(certificate *tls.Certificate) { s.certificate.Store(certificate) }

// Run serves until ctx ends. It fails when the address cannot be listened on.
func (s *Server) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("serving the repair of patches on %s: %w", s.address, err)
	}
	klog.FromContext(ctx).Info("Serving the repair of patches", "address", listener.Addr())
	return s.serve(ctx, listener)
}

// serve serves on a listener until ctx ends.
func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	// kcp makes a client for each request, and leaves its connection open: HTTP/1.1 connections cost less to open, and
	// the server closes them.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:           newHandler(),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.current},
		ReadHeaderTimeout: patience,
		ReadTimeout:       patience,
		WriteTimeout:      patience,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Protocols:         protocols,
		ErrorLog:          log.New(io.Discard, "", 0), // anybody can cause failed handshakes
	}
	server.SetKeepAlivesEnabled(false)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving the repair of patches on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := server.Shutdown(shutdown)
	served := <-ended
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close() // a client has kept a connection open, which is no failure
	}
	if !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// current implements tls.Config.GetCertificate.
func (s *Server) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := s.certificate.Load(); certificate != nil {
		return certificate, nil
	}
	return nil, errNoCertificate
}
