package framework

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func adminConfig() *api.Config {
	return &api.Config{
		Clusters: map[string]*api.Cluster{
			"base": {Server: "https://127.0.0.1:6443", CertificateAuthorityData: []byte("other")},
			"root": {
				Server:                   "https://127.0.0.1:6443/clusters/root",
				CertificateAuthorityData: []byte("ca"), TLSServerName: "kcp",
			},
		},
		AuthInfos:      map[string]*api.AuthInfo{"kcp-admin": {Token: "volatile"}},
		Contexts:       map[string]*api.Context{"root": {Cluster: "root", AuthInfo: "kcp-admin", Namespace: "x"}},
		CurrentContext: "root",
	}
}

func TestKubeconfigOfWorkspace(t *testing.T) {
	tests := map[string]struct{ workspace, name, server string }{
		"root":      {"root", "root", "https://127.0.0.1:6443/clusters/root"},
		"deeper":    {"root:team-a:dev", "root:team-a:dev", "https://127.0.0.1:6443/clusters/root:team-a:dev"},
		"no at all": {"", "kcp", "https://127.0.0.1:6443"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			admin := adminConfig()
			got, err := workspaceKubeconfig(admin, test.workspace, "user", "token")
			if err != nil {
				t.Fatal(err)
			}
			want := &api.Config{
				Clusters: map[string]*api.Cluster{
					test.name: {Server: test.server, CertificateAuthorityData: []byte("ca"), TLSServerName: "kcp"},
				},
				AuthInfos:      map[string]*api.AuthInfo{"user": {Token: "token"}},
				Contexts:       map[string]*api.Context{test.name: {Cluster: test.name, AuthInfo: "user"}},
				CurrentContext: test.name,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("kubeconfig (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(adminConfig(), admin); diff != "" {
				t.Errorf("the argument was changed:\n%s", diff)
			}
		})
	}
}

func TestKubeconfigWithoutContextOrCluster(t *testing.T) {
	tests := map[string]func(*api.Config){
		"no context": func(c *api.Config) { c.CurrentContext = "gone" },
		"no cluster": func(c *api.Config) { delete(c.Clusters, "root") },
		"bad server": func(c *api.Config) { c.Clusters["root"].Server = "https://x:y:z" },
	}
	for name, spoil := range tests {
		admin := adminConfig()
		spoil(admin)
		if _, err := workspaceKubeconfig(admin, "root", "user", "token"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestKubeconfigOfClusterEmbedsFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "kubeconfig.yaml")
	err := clientcmd.WriteToFile(api.Config{
		Clusters: map[string]*api.Cluster{"kwok-east": {Server: "https://127.0.0.1:1", CertificateAuthority: "ca.crt"}},
		AuthInfos: map[string]*api.AuthInfo{
			"kwok-east": {ClientCertificate: filepath.Join(dir, "admin.crt"), ClientKey: filepath.Join(dir, "admin.key")},
		},
		Contexts:       map[string]*api.Context{"kwok-east": {Cluster: "kwok-east", AuthInfo: "kwok-east"}},
		CurrentContext: "kwok-east",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clusterKubeconfig(file, "east")
	if err != nil {
		t.Fatal(err)
	}
	rest, err := restConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if rest.QPS != -1 {
		t.Errorf("QPS is %v, want no limit", rest.QPS)
	}
	got := []string{config.CurrentContext, rest.Host, string(rest.CAData), string(rest.CertData), string(rest.KeyData)}
	if diff := cmp.Diff([]string{"east", "https://127.0.0.1:1", "ca.crt", "admin.crt", "admin.key"}, got); diff != "" {
		t.Errorf("kubeconfig (-want +got):\n%s", diff)
	}
}

func TestKubeconfigFileName(t *testing.T) {
	if got, want := workspaceFile("root:team-a"), "kcp.root.team-a.kubeconfig"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := workspaceFile(""), "kcp.kubeconfig"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
