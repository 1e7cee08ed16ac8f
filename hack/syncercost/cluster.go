package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// cluster is a kube-apiserver and its etcd, and nothing else: no controller writes anything there. The directory keeps etcd's data, for
// the next run.
type cluster struct {
	dir       string
	token     string
	etcd, api string
	ports     *framework.PortLease
	processes []*framework.Process
}

// startCluster starts it and waits until it is ready.
func startCluster(ctx context.Context, dir, tools string) (*cluster, error) {
	c := &cluster{dir: dir}
	if err := c.start(ctx, tools); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a kube-apiserver of %s: %w", tools, err), c.stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, tools string) error {
	var err error
	if c.ports, err = framework.ReservePorts(3); err != nil {
		return err
	}
	if err := c.writeCredentials(); err != nil {
		return err
	}
	ports := c.ports.Ports()
	c.etcd, c.api = loopback("http", ports[0]), loopback("https", ports[2])
	peer := loopback("http", ports[1])
	err = c.run(filepath.Join(tools, "etcd"),
		"--data-dir="+c.file("etcd"), "--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--quota-backend-bytes=4294967296", "--max-request-bytes=8388608")
	if err != nil {
		return err
	}
	err = c.run(filepath.Join(tools, "kube-apiserver"),
		"--etcd-servers="+c.etcd, "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[2]), "--cert-dir="+c.file("certs"),
		"--token-auth-file="+c.file("tokens.csv"), "--authorization-mode=AlwaysAllow", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.file("sa.key"), "--service-account-signing-key-file="+c.file("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/16", "--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount",
		"--event-ttl=1h", "--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000")
	if err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return framework.Eventually(ctx, "kube-apiserver to be ready", 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		return err == nil, "not ready", nil
	})
}

// config returns the configuration of an administrator, who is not limited.
func (c *cluster) config() (*rest.Config, error) {
	authority, err := c.authority()
	if err != nil {
		return nil, err
	}
	return &rest.Config{Host: c.api, BearerToken: c.token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: authority}}, nil
}

// authority waits for the certificate that the server makes for itself.
func (c *cluster) authority() ([]byte, error) {
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		content, err := os.ReadFile(c.file("certs/apiserver.crt"))
		if err == nil && len(content) > 0 || time.Since(begin) > time.Minute {
			return content, err
		}
	}
}

// kubeconfig writes one, for a program.
func kubeconfig(file, server, token string, authority []byte) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: server, CertificateAuthorityData: authority}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "c",
	}, file)
}

func (c *cluster) run(binary string, args ...string) error {
	name := filepath.Base(binary)
	process, err := framework.StartProcess(framework.ProcessConfig{Name: name, Path: binary, Args: args, Dir: c.dir, LogFile: c.file(name + ".log")})
	if err == nil {
		c.processes = append(c.processes, process)
	}
	return err
}

func (c *cluster) stop(ctx context.Context) error {
	var errs []error
	for _, process := range slices.Backward(c.processes) {
		errs = append(errs, process.Stop(ctx))
	}
	if c.ports != nil {
		errs = append(errs, c.ports.Release())
	}
	return errors.Join(errs...)
}

func (c *cluster) writeCredentials() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.file("sa.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	c.token = rand.Text()
	return os.WriteFile(c.file("tokens.csv"), []byte(c.token+`,admin,admin,"system:masters"`+"\n"), 0o600)
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// pair is a key of etcd and its value.
type pair struct{ key, value []byte }

// store writes objects into etcd without the API server, which takes JSON there as well: that is what makes tens of thousands of
// foreign ones cheap.
func (c *cluster) store(ctx context.Context, pairs []pair) error {
	const batch = 100
	for len(pairs) > 0 {
		n := min(batch, len(pairs))
		puts := make([]map[string]any, 0, n)
		for _, p := range pairs[:n] {
			puts = append(puts, map[string]any{"requestPut": map[string]string{
				"key": base64.StdEncoding.EncodeToString(p.key), "value": base64.StdEncoding.EncodeToString(p.value),
			}})
		}
		if err := c.ask(ctx, "/v3/kv/txn", map[string]any{"success": puts}, nil); err != nil {
			return err
		}
		pairs = pairs[n:]
	}
	return nil
}

// revision returns etcd's, which moves with each write.
func (c *cluster) revision(ctx context.Context) (int64, error) {
	answer, err := c.rangeOf(ctx, "/none", 0)
	return answer.Header.Revision, err
}

// writtenSince returns how many objects of the kinds that own objects are of, namespaces included, were written after a revision.
func (c *cluster) writtenSince(ctx context.Context, revision int64) (int64, error) {
	var sum int64
	for _, kind := range []string{"deployments", "services/specs", "configmaps", "secrets", "namespaces"} {
		answer, err := c.rangeOf(ctx, "/registry/"+kind+"/", revision+1)
		if err != nil {
			return 0, err
		}
		sum += int64(len(answer.Pairs))
	}
	return sum, nil
}

// rangeAnswer is etcd's answer to a range.
type rangeAnswer struct {
	Header struct {
		Revision int64 `json:"revision,string"`
	} `json:"header"`
	Pairs []struct{} `json:"kvs"`
}

// rangeOf asks for the keys that begin with prefix and were written at a revision or after it.
func (c *cluster) rangeOf(ctx context.Context, prefix string, since int64) (answer rangeAnswer, err error) {
	err = c.ask(ctx, "/v3/kv/range", map[string]any{
		"key": base64.StdEncoding.EncodeToString([]byte(prefix)), "range_end": endOf(prefix), "min_mod_revision": since, "keys_only": true,
	}, &answer)
	return answer, err
}

// endOf returns the end of the keys that begin with prefix.
func endOf(prefix string) string {
	end := []byte(prefix)
	end[len(end)-1]++
	return base64.StdEncoding.EncodeToString(end)
}

func (c *cluster) ask(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcd+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd says %s: %s", response.Status, said)
	}
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(said, answer)
}

// removeAll removes all that begins so.
func (c *cluster) removeAll(ctx context.Context, prefix string) error {
	return c.ask(ctx, "/v3/kv/deleterange", map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(prefix)), "range_end": endOf(prefix)}, nil)
}

// requestKind is what requests of the API server are told apart by.
type requestKind struct{ verb, resource string }

// requestSum is how many requests there were, and how long they took together, in seconds.
type requestSum struct{ count, seconds float64 }

// requests returns what has been asked of the API server so far, watches aside.
func (c *cluster) requests(ctx context.Context) (map[requestKind]requestSum, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	content, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	all := map[requestKind]requestSum{}
	for line := range strings.Lines(string(content)) {
		rest, isRequest := strings.CutPrefix(line, "apiserver_request_duration_seconds_")
		if !isRequest || strings.HasPrefix(rest, "bucket") {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return nil, err
		}
		kind := requestKind{label(line, "verb"), strings.TrimSuffix(label(line, "resource")+"/"+label(line, "subresource"), "/")}
		sum := all[kind]
		if strings.HasPrefix(rest, "count") {
			sum.count += value
		} else {
			sum.seconds += value
		}
		if all[kind] = sum; kind.verb == "WATCH" {
			delete(all, kind)
		}
	}
	return all, nil
}

// label returns the value of a label of a metric.
func label(line, name string) string {
	_, rest, _ := strings.Cut(line, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// dearest says which requests have taken longest between two moments.
func dearest(before, after map[requestKind]requestSum) string {
	kinds := slices.SortedFunc(maps.Keys(after), func(a, b requestKind) int {
		return cmp.Compare(after[b].seconds-before[b].seconds, after[a].seconds-before[a].seconds)
	})
	var parts []string
	for _, kind := range kinds[:min(len(kinds), 5)] {
		if count := after[kind].count - before[kind].count; count > 0 {
			parts = append(parts, fmt.Sprintf("%s %s: %.0f in %.1f s", kind.verb, kind.resource, count, after[kind].seconds-before[kind].seconds))
		}
	}
	return strings.Join(parts, ", ")
}
