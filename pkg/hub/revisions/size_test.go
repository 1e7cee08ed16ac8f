package revisions

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/tools/cache"

	kcpcache "github.com/kcp-dev/apimachinery/v2/pkg/cache"

	"github.com/kcp-tmc/tmc/pkg/revisions"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// mostMemory is what a revision may take in the hub, in bytes. Those of 1,000 Deployments with ten each are 21 MiB.
const mostMemory = 2600

// TestMemoryOfRevisions fills a cache as an informer does.
func TestMemoryOfRevisions(t *testing.T) {
	workload := yamltest.Object(t, deployment)
	indexers := Indexers()
	indexers[kcpcache.ClusterIndexName] = kcpcache.ClusterIndexFunc
	store := cache.NewIndexer(kcpcache.MetaClusterNamespaceKeyFunc, indexers)
	before := heap()
	for i := range 100 {
		workload.SetName(fmt.Sprint("web-", i))
		for number := range 10 {
			made, err := revisions.Make(workload, revisions.Creation{Number: int64(number)}, int32(number))
			check(t, err)
			made.SetAnnotations(map[string]string{"kcp.io/cluster": "1dt3rotq1ugmqcge", "deployment.kubernetes.io/revision": fmt.Sprint(number), "kubernetes.io/change-cause": "kubectl set image deployment/web web=example.com/web:1.2.3"})
			made.SetUID("250ec706-a5c6-4e1b-aa10-296e1b038bc2")
			encoded, err := json.Marshal(made.Object)
			check(t, err)
			read := &unstructured.Unstructured{}
			check(t, utiljson.Unmarshal(encoded, &read.Object))
			_, err = Slim(read)
			check(t, err)
			check(t, store.Add(read))
		}
	}
	took := (heap() - before) / uint64(len(store.List()))
	t.Logf("a revision takes %d bytes", took)
	if took > mostMemory {
		t.Errorf("want %d at most", mostMemory)
	}
	runtime.KeepAlive(store)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
