package framework

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func TestAccountKubeconfigHasTokenOfAccount(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request authenticationv1.TokenRequest
		_, _, decodeErr := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &request)
		if err := errors.Join(err, decodeErr); err != nil {
			t.Error(err)
			return
		}
		if r.URL.Path != "/api/v1/namespaces/tmc-system/serviceaccounts/syncer/token" || r.Header.Get("Authorization") != "Bearer admin" {
			http.NotFound(w, r)
			return
		}
		if got := *request.Spec.ExpirationSeconds; got != 7200 {
			t.Errorf("asked for %d seconds, want 7200", got)
		}
		request.Status.Token = "new"
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(request); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	admin := filepath.Join(t.TempDir(), "admin.kubeconfig")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	cluster := &api.Cluster{Server: server.URL, CertificateAuthorityData: authority}
	if err := writeKubeconfig(admin, singleContext("east", cluster, "admin", &api.AuthInfo{Token: "admin"})); err != nil {
		t.Fatal(err)
	}
	data, err := AccountKubeconfig(t.Context(), admin, "tmc-system", "syncer", 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil || config.Host != server.URL || config.BearerToken != "new" {
		t.Errorf("got %v, %v, want one for %s with the new token", config, err, server.URL)
	}
	if _, err := AccountKubeconfig(t.Context(), admin, "tmc-system", "other", time.Hour); err == nil || !strings.Contains(err.Error(), "tmc-system/other") {
		t.Errorf("got error %v, want one that names the account", err)
	}
	if _, err := AccountKubeconfig(t.Context(), admin+".missing", "tmc-system", "syncer", time.Hour); err == nil {
		t.Error("got no error without the administrator's kubeconfig")
	}
}
