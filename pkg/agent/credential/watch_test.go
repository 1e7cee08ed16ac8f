package credential

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// servedKCP is a kcp that one can connect to. It knows one token.
type servedKCP struct {
	*httptest.Server

	token atomic.Value
	mu    sync.Mutex
	// with has the tokens that requests were made with, by "PATH", or "watch PATH".
	with map[string][]string
}

func serveKCP(t *testing.T, token string) *servedKCP {
	t.Helper()
	s := &servedKCP{with: map[string][]string{}}
	s.token.Store(token)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *servedKCP) serve(w http.ResponseWriter, r *http.Request) {
	used := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	what := r.URL.Path
	if r.URL.Query().Has("watch") {
		what = "watch " + what
	}
	s.mu.Lock()
	s.with[what] = append(s.with[what], used)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case used != s.token.Load():
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`)
	case r.URL.Query().Has("watch"):
		fmt.Fprint(w, `{"type":"ADDED","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web"}}}`+"\n")
	default:
		fmt.Fprint(w, `{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{},"items":[]}`)
	}
}

func (s *servedKCP) tokens(what string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.with[what]
}

// config is a kubeconfig's for the server.
func (s *servedKCP) config() *rest.Config {
	return kcp.Unlimited(&rest.Config{
		Host:        s.URL + "/clusters/root:tmc",
		BearerToken: s.token.Load().(string),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		},
	}, "test")
}

func keeperOf(t *testing.T, config *rest.Config) *Keeper {
	t.Helper()
	k, err := New(Config{Cluster: "east", Upstream: config, ProviderWorkspace: logicalcluster.NewPath("root:tmc")})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// clientOf returns a client for a workspace, made before tokens change, as all of the
// agent's are.
func clientOf(t *testing.T, k *Keeper) dynamic.ResourceInterface {
	t.Helper()
	config, err := kcp.ForWorkspace(k.Upstream(), logicalcluster.NewPath("root:team-a"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(deployments)
}

func TestKeeperUpstream(t *testing.T) {
	s := serveKCP(t, "first")
	k := keeperOf(t, s.config())
	client := clientOf(t, k)
	for _, token := range []string{"first", "second", "third"} {
		s.token.Store(token)
		k.use(readToken(token), time.Time{})
		if _, err := client.List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("listing with the token %s: %v", token, err)
		}
		w, err := client.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatalf("watching with the token %s: %v", token, err)
		}
		if _, open := <-w.ResultChan(); !open {
			t.Error("the watch has nothing")
		}
		w.Stop()
	}
	path := "/clusters/root:team-a/apis/apps/v1/deployments"
	for _, what := range []string{path, "watch " + path} {
		if diff := cmp.Diff([]string{"first", "second", "third"}, s.tokens(what)); diff != "" {
			t.Errorf("the tokens of %s (-want +got):\n%s", what, diff)
		}
	}
}

func TestKeeperNoticesRefusals(t *testing.T) {
	s := serveKCP(t, "first")
	k := keeperOf(t, s.config())
	client := clientOf(t, k)
	ask := func(refused bool) error {
		t.Helper()
		_, err := client.Get(t.Context(), "web", metav1.GetOptions{})
		if k.Refused() != refused {
			t.Errorf("refused: %t, want %t", k.Refused(), refused)
		}
		return err
	}
	if err := ask(false); err != nil {
		t.Error(err)
	}
	s.token.Store("second")
	if err := ask(true); !apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
		t.Errorf("got %v, want the server's Unauthorized", err)
	}
	if _, err := client.Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("got %v, want the server's Unauthorized", err)
	}
	k.use(readToken("second"), time.Time{})
	if err := ask(false); err != nil {
		t.Error(err)
	}
	s.Close()
	if err := ask(false); err == nil || apierrors.IsNotFound(err) {
		t.Errorf("got %v of a kcp that is down", err)
	}
}

func TestKeeperAsksTheProviderWorkspace(t *testing.T) {
	s := serveKCP(t, "first")
	k := keeperOf(t, s.config())
	s.token.Store("second")
	if err := k.clients.ask(t.Context()); !apierrors.IsUnauthorized(err) || !k.Refused() {
		t.Errorf("got %v, refused: %t", err, k.Refused())
	}
	s.token.Store("first")
	if err := k.clients.ask(t.Context()); err != nil || k.Refused() {
		t.Errorf("got %v, refused: %t", err, k.Refused())
	}
	if asked := s.tokens("/clusters/root:tmc/version"); len(asked) != 2 {
		t.Errorf("asked %v", s.with)
	}
}

func TestKeeperChangesTokensWhileManyAsk(t *testing.T) {
	s := serveKCP(t, "0")
	k := keeperOf(t, s.config())
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 8 {
		client := clientOf(t, k)
		asking.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.List(ctx, metav1.ListOptions{}); err != nil && !apierrors.IsUnauthorized(err) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 100 {
		token := fmt.Sprint(i)
		s.token.Store(token)
		k.use(readToken(token), time.Time{})
		if err := k.clients.ask(ctx); err != nil {
			t.Errorf("token %s: %v", token, err)
		}
	}
	stop()
	asking.Wait()
	if err := k.clients.ask(t.Context()); err != nil || k.Refused() {
		t.Errorf("got %v in the end, refused: %t", err, k.Refused())
	}
}

func TestKeeperKeepsOtherCredentials(t *testing.T) {
	cases := map[string]func(*rest.Config){
		"a client certificate":           func(c *rest.Config) { c.BearerToken, c.CertData, c.KeyData = "", []byte("cert"), []byte("key") },
		"a file with a certificate":      func(c *rest.Config) { c.BearerToken, c.CertFile, c.KeyFile = "", "cert", "key" },
		"a certificate beside the token": func(c *rest.Config) { c.CertData, c.KeyData = []byte("cert"), []byte("key") },
		"a file with a token":            func(c *rest.Config) { c.BearerTokenFile = "token" },
		"a program":                      func(c *rest.Config) { c.BearerToken, c.ExecProvider = "", &clientcmdapi.ExecConfig{Command: "login"} },
		"a name":                         func(c *rest.Config) { c.BearerToken, c.Username, c.Password = "", "somebody", "something" },
		"a plugin of client-go": func(c *rest.Config) {
			c.BearerToken, c.AuthProvider = "", &clientcmdapi.AuthProviderConfig{Name: "oidc"}
		},
		"nothing at all": func(c *rest.Config) { c.BearerToken = "" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			config := &rest.Config{Host: server, BearerToken: "token"}
			change(config)
			k, err := newKeeper(Config{Cluster: "east", Upstream: config})
			if err != nil {
				t.Fatal(err)
			}
			got := k.Upstream()
			got.WrapTransport = nil
			if diff := cmp.Diff(config.String(), got.String()); diff != "" || got.BearerToken != config.BearerToken {
				t.Errorf("the configuration has changed (-was +is):\n%s", diff)
			}
			if k.current().value != "" {
				t.Error("there is a token to keep")
			}
		})
	}
}

func TestKeeperWatchesOtherCredentials(t *testing.T) {
	s := serveKCP(t, "first")
	config := s.config()
	config.BearerTokenFile = filepath.Join(t.TempDir(), "gone")
	k := keeperOf(t, config)
	client := clientOf(t, k)
	for _, known := range []string{"first", "second", "first"} {
		s.token.Store(known)
		_, _ = client.List(t.Context(), metav1.ListOptions{})
		if want := known != "first"; k.Refused() != want {
			t.Errorf("refused: %t, want %t", k.Refused(), want)
		}
	}
}

func TestNewFailsWithoutAFieldOfTheSecret(t *testing.T) {
	_, err := New(Config{Cluster: "east", Upstream: &rest.Config{Host: server}, Secret: "tmc-syncer-kcp"})
	if err == nil || !strings.Contains(err.Error(), "Namespace") || !strings.Contains(err.Error(), "Downstream") {
		t.Errorf("got %v, want it to name what is missing", err)
	}
}
