package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startTimeout bounds the start of the throw-away API server.
const startTimeout = time.Minute

// server is a throw-away etcd and kube-apiserver on the loopback interface. It holds
// nothing, and whoever finds its random token may do anything with it until it stops.
type server struct {
	config    *rest.Config
	dir       string
	processes []*exec.Cmd
}

// startServer starts the etcd and the kube-apiserver of binDir, in a temporary directory,
// and waits until they are ready. They end with ctx or with stop.
func startServer(ctx context.Context, binDir string) (*server, error) {
	dir, err := os.MkdirTemp("", "schemagen-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := s.start(ctx, binDir); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a kube-apiserver from %s: %w", binDir, err), s.stop())
	}
	return s, nil
}

// start starts the processes and waits for them.
func (s *server) start(ctx context.Context, binDir string) error {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return err
	}
	token, err := s.writeCredentials()
	if err != nil {
		return err
	}
	etcdURL, peerURL := loopback("http", ports[0]), loopback("http", ports[1])
	if err := s.run(ctx, filepath.Join(binDir, "etcd"),
		"--name=default", "--data-dir="+s.file("etcd"), "--logger=zap",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL,
		"--initial-cluster=default="+peerURL,
	); err != nil {
		return err
	}
	if err := s.run(ctx, filepath.Join(binDir, "kube-apiserver"),
		"--etcd-servers="+etcdURL, "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[2]),
		"--cert-dir="+s.file("certs"), "--token-auth-file="+s.file("tokens.csv"), "--authorization-mode=AlwaysAllow",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.file("sa.key"), "--service-account-signing-key-file="+s.file("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
	); err != nil {
		return err
	}
	s.config = &rest.Config{
		Host: loopback("https", ports[2]), BearerToken: token,
		// The certificate is made by the server at start.
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}
	return s.waitReady(ctx)
}

// run starts one process whose output goes to a file named like it.
func (s *server) run(ctx context.Context, binary string, args ...string) error {
	log, err := os.Create(s.file(filepath.Base(binary) + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir, command.Stdout, command.Stderr = s.dir, log, log
	if err := command.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, command)
	return nil
}

// waitReady waits until the API server says that it is ready. Its log is in the error.
func (s *server) waitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("it is not ready: %w\n%s", err, s.logTail("kube-apiserver"))
	}
	return nil
}

// stop ends the processes, the last started first, and removes their directory.
func (s *server) stop() error {
	for _, process := range slices.Backward(s.processes) {
		if err := process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		// It was killed: that is what Wait reports.
		_ = process.Wait()
	}
	return os.RemoveAll(s.dir)
}

// writeCredentials writes the key for service accounts, which the API server does not
// start without, and a token with all rights, which it returns.
func (s *server) writeCredentials() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(s.file("sa.key"), block, 0o600); err != nil {
		return "", err
	}
	token := rand.Text()
	return token, os.WriteFile(s.file("tokens.csv"), []byte(token+`,admin,admin,"system:masters"`+"\n"), 0o600)
}

// logTail returns the end of a process's log.
func (s *server) logTail(name string) []byte {
	log, err := os.ReadFile(s.file(name + ".log"))
	if err != nil {
		return nil
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
}

// file returns a path in the server's directory.
func (s *server) file(name string) string { return filepath.Join(s.dir, name) }

// loopback returns a URL on the loopback interface.
func loopback(scheme string, port int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)
}

// freePorts returns ports on which nothing listens. All are held until the last is
// found, so that they differ.
func freePorts(ctx context.Context, count int) ([]int, error) {
	var ports []int
	var config net.ListenConfig
	for range count {
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
