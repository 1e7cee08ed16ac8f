package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"
)

// BenchmarkAReviewOnANewConnection is what kcp waits for: it connects anew for each write.
func BenchmarkAReviewOnANewConnection(b *testing.B) {
	w := &world{now: time.Now(), host: "127.0.0.1"}
	w.finish(b)
	server := NewServer("")
	server.Use(w.serving(b).tlsCertificate())
	address := serving(b, server)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.trusted)
	body := review("kubectl-set", deployment(both), deployment(`[{"name":"a","image":"nginx:2"}]`))
	for b.Loop() {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
		request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://"+address+Path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			b.Fatal(err)
		}
		_ = response.Body.Close()
	}
}
