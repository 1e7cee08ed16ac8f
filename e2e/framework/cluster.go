package framework

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

var (
	nodeGVR           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	serviceAccountGVR = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

// Cluster is a physical cluster that runs.
type Cluster interface {
	// Name gives the name it was created under.
	Name() string
	// Kubeconfig gives the path of an admin kubeconfig that holds all it needs, and that stays valid for
	// the cluster's life.
	Kubeconfig() string
	// RESTConfig gives the same as a client configuration, without client-side rate limit.
	RESTConfig() (*rest.Config, error)
	// AuditLog gives the path of the API server's audit log, empty when it keeps none.
	AuditLog() string
	// StopComponent kills one of the control plane's parts, such as kube-controller-manager, as a crash
	// would; nothing starts it again. It fails for a name that the cluster does not have.
	StopComponent(ctx context.Context, component string) error
	// StartComponent starts a part that was stopped and waits until it is healthy.
	StartComponent(ctx context.Context, component string) error
	// FreezeComponent holds a part with its connections open: the frozen kube-apiserver is a cluster behind
	// a partition.
	FreezeComponent(ctx context.Context, component string) error
	// ThawComponent lets a frozen part run on.
	ThawComponent(ctx context.Context, component string) error
}

// ClusterOptions says what a cluster is to be like.
type ClusterOptions struct {
	// Nodes is the number of nodes, all Ready when Create returns.
	Nodes int
	// AuditPolicy is the file of an audit policy; empty for no audit log.
	AuditPolicy string
}

// Provider makes physical clusters, of one kind.
type Provider interface {
	// Create makes a cluster and returns when a Deployment on it would become Available. After an error
	// nothing of it is left. Clusters may be created in parallel.
	Create(ctx context.Context, name string, options ClusterOptions) (Cluster, error)
	// Delete ends a cluster that Create made, and removes its data but not its logs. It does nothing when
	// there is no such cluster.
	Delete(ctx context.Context, name string) error
}

// ValidateClusterName returns what is wrong with the name of a cluster: it has to be a DNS-1123 label.
func ValidateClusterName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("cluster name %q: %s", name, problems[0])
	}
	return nil
}

// waitUsable waits until pods can be created in a cluster and be scheduled.
func waitUsable(ctx context.Context, config *rest.Config, cluster string, nodes int) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("cluster %s to have %d ready nodes", cluster, nodes)
	err = Eventually(ctx, what, componentTimeout, func(ctx context.Context) (bool, string, error) {
		list, err := client.Resource(nodeGVR).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		ready := countReady(list.Items)
		return ready >= nodes, fmt.Sprintf("%d of %d nodes are ready", ready, len(list.Items)), nil
	})
	if err != nil {
		return err
	}
	what = fmt.Sprintf("service account default of cluster %s", cluster)
	return Eventually(ctx, what, componentTimeout, func(ctx context.Context) (bool, string, error) {
		accounts := client.Resource(serviceAccountGVR).Namespace(metav1.NamespaceDefault)
		_, err := accounts.Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, "not there", nil
		}
		return err == nil, "", err
	})
}

// countReady counts the nodes whose condition Ready is True.
func countReady(nodes []unstructured.Unstructured) int {
	count := 0
	for _, node := range nodes {
		conditions, _, _ := unstructured.NestedSlice(node.Object, "status", "conditions")
		if slices.ContainsFunc(conditions, func(condition any) bool {
			fields, ok := condition.(map[string]any)
			return ok && fields["type"] == "Ready" && fields["status"] == "True"
		}) {
			count++
		}
	}
	return count
}
