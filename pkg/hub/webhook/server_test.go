package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

// deployment returns a Deployment as JSON, with the containers given.
func deployment(containers string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"two"},"spec":{"template":{"spec":{"containers":` + containers + `}}}}`
}

// review returns an AdmissionReview as kcp sends it.
func review(manager, old, current string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"UPDATE",
		"options":{"apiVersion":"meta.k8s.io/v1","kind":"UpdateOptions","fieldManager":%q},"oldObject":%s,"object":%s}}`, manager, old, current)
}

const both = `[{"name":"a","image":"nginx:1"},{"name":"b","image":"busybox:1"}]`

// respond asks the handler.
func respond(t *testing.T, method, contentType string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, Path, body)
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	newHandler().ServeHTTP(recorder, request)
	return recorder
}

func TestHandler(t *testing.T) {
	t.Run("reviews are allowed and repaired", func(t *testing.T) {
		t.Parallel()
		cases := map[string]struct{ manager, current, patch string }{
			"repaired": {
				"kubectl-set", deployment(`[{"name":"a","image":"nginx:2"}]`),
				`[{"op":"replace","path":"/spec/template/spec/containers","value":[{"image":"nginx:2","name":"a"},{"image":"busybox:1","name":"b"}]}]`,
			},
			"right": {"kubectl-set", deployment(both), ""},
			"left":  {"kubectl-edit", deployment(`[{"name":"a","image":"nginx:2"}]`), ""},
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				answer := respond(t, http.MethodPost, "application/json", strings.NewReader(review(c.manager, deployment(both), c.current)))
				var got admissionv1.AdmissionReview
				if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got.Response == nil {
					t.Fatalf("%d: %s", answer.Code, answer.Body)
				}
				if !got.Response.Allowed || got.Response.UID != "u1" || got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" {
					t.Errorf("the answer is %s", answer.Body)
				}
				if string(got.Response.Patch) != c.patch || (got.Response.PatchType != nil) != (c.patch != "") {
					t.Errorf("the patch is %s, expected %s", got.Response.Patch, c.patch)
				}
			})
		}
	})
	// TestObjectsThatAreNoneDoNoHarm sends what kcp has not validated yet.
	t.Run("objects that cannot be merged do no harm", func(t *testing.T) {
		t.Parallel()
		for _, containers := range []string{`[null]`, `[null,{"name":"a"}]`, `["a"]`, `[[]]`, `{}`, `null`, `1`, `[{"name":1}]`, `[{}]`, `[{"$patch":"x","name":"a"}]`, `[{"$retainKeys":1,"name":"a"}]`} {
			for _, old := range []string{both, containers} {
				body := review("kubectl-set", deployment(old), deployment(containers))
				answer := respond(t, http.MethodPost, "application/json", strings.NewReader(body))
				if answer.Code != http.StatusBadRequest && (answer.Code != http.StatusOK || strings.Contains(answer.Body.String(), `"patch"`)) {
					t.Errorf("%s after %s: %d: %s", containers, old, answer.Code, answer.Body)
				}
			}
		}
	})
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	good := review("kubectl-set", deployment(both), deployment(both))
	cases := map[string]struct {
		method, contentType string
		body                io.Reader
		want                int
	}{
		"a GET":                    {http.MethodGet, "application/json", nil, http.StatusMethodNotAllowed},
		"a form":                   {http.MethodPost, "text/plain", strings.NewReader(good), http.StatusUnsupportedMediaType},
		"no JSON":                  {http.MethodPost, "application/json", strings.NewReader("{"), http.StatusBadRequest},
		"an empty review":          {http.MethodPost, "application/json", strings.NewReader(`{"apiVersion":"admission.k8s.io/v1"}`), http.StatusBadRequest},
		"another version":          {http.MethodPost, "application/json", strings.NewReader(strings.Replace(good, "k8s.io/v1", "k8s.io/v1beta1", 1)), http.StatusBadRequest},
		"a creation":               {http.MethodPost, "application/json", strings.NewReader(strings.Replace(good, "UPDATE", "CREATE", 1)), http.StatusBadRequest},
		"an object that is a list": {http.MethodPost, "application/json", strings.NewReader(review("kubectl-set", "[]", deployment(both))), http.StatusBadRequest},
		"too much":                 {http.MethodPost, "application/json", bytes.NewReader(bytes.Repeat([]byte(" "), maxBody+1)), http.StatusRequestEntityTooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if answer := respond(t, c.method, c.contentType, c.body); answer.Code != c.want {
				t.Errorf("%d, expected %d: %s", answer.Code, c.want, answer.Body)
			}
		})
	}
}

// serving starts a server, and returns its address.
func serving(tb testing.TB, server *Server) string {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.serve(ctx, listener) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("the server ended with %v", err)
		}
	})
	return listener.Addr().String()
}

// post asks a server that has to be trusted by a bundle, on a connection of its own.
func post(t *testing.T, address string, trusted []byte) (*http.Response, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	body := strings.NewReader(review("kubectl-set", deployment(both), deployment(both)))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+Path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
}

func TestServer(t *testing.T) {
	t.Run("it uses the present certificate", func(t *testing.T) {
		t.Parallel()
		server := NewServer("")
		address := serving(t, server)
		if response, err := post(t, address, nil); err == nil {
			_ = response.Body.Close()
			t.Fatal("it serves without a certificate")
		}
		var last []byte
		for range 2 {
			w := &world{now: time.Now(), host: "127.0.0.1"}
			w.finish(t)
			server.Use(w.serving(t).tlsCertificate())
			response, err := post(t, address, w.trusted)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusOK || !response.Close {
				t.Errorf("it answers %s, and closes the connection: %v", response.Status, response.Close)
			}
			_ = response.Body.Close()
			if bytes.Equal(last, response.TLS.PeerCertificates[0].Raw) {
				t.Error("it serves with the certificate before")
			}
			last = response.TLS.PeerCertificates[0].Raw
		}
	})
	t.Run("a client that sends nothing is cut off", func(t *testing.T) {
		t.Parallel()
		server := NewServer("")
		w := &world{now: time.Now(), host: "127.0.0.1"}
		w.finish(t)
		server.Use(w.serving(t).tlsCertificate())
		address := serving(t, server)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(w.trusted)
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
		connection, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		began := time.Now()
		_, err = fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n", Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.SetReadDeadline(began.Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(connection); err != nil && time.Since(began) > 8*time.Second {
			t.Errorf("it still waits after %s: %v", time.Since(began), err)
		}
	})
}
