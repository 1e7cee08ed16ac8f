package scheduler

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// viewRetry is after how long an object has its next turn that waits for an APIBinding to be kept, should no event tell of that.
const viewRetry = time.Second

// exportOf returns the APIExport of its own, or of its group, through which a cluster's syncer sees its objects; empty where it is that of
// all clusters, which need not be kept.
func (s *Scheduler) exportOf(cluster string) string {
	if export := s.config.Registry.Cluster(cluster).Export; export != v1alpha1.APIExportName {
		return export
	}
	return ""
}

// exportsOf returns exportOf for clusters, each once.
func (s *Scheduler) exportsOf(clusters []string) []string {
	var exports []string
	for _, cluster := range clusters {
		if export := s.exportOf(cluster); export != "" && !slices.Contains(exports, export) {
			exports = append(exports, export)
		}
	}
	return exports
}

// viewed returns those of the clusters that the object is on, or may enter as far as the APIBindings go through which their syncers see
// it: nothing is placed through one that can vanish. While more are about to be kept it enters none, for there to be one write. It returns
// after how long to look again, 0 when it may enter all.
func (s *Scheduler) viewed(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, clusters []string) (may []string, again time.Duration) {
	object := protocol.Read(upstreamObj)
	entering := slices.DeleteFunc(slices.Clone(clusters), object.IsPlaced)
	exports := s.exportsOf(entering)
	if s.config.Views == nil || len(exports) == 0 {
		return clusters, 0
	}
	areKept, isSoon := s.config.Views.Keep(key.Workspace, exports)
	if areKept.Len() == len(exports) {
		return clusters, 0
	}
	for _, cluster := range clusters {
		export := s.exportOf(cluster)
		if object.IsPlaced(cluster) || !isSoon && (export == "" || areKept.Has(export)) {
			may = append(may, cluster)
		}
	}
	return may, viewRetry
}

// throughViews notes that a change is about to be written, until done is called. It reports whether it may be: an APIBinding that it needs
// may have been let go of since that was asked.
func (s *Scheduler) throughViews(key kcp.ObjectKey, change *protocol.Change) (done func(), may bool) {
	exports := s.exportsOf(change.Entered())
	if s.config.Views == nil || len(exports) == 0 {
		return func() {}, true
	}
	return s.config.Views.Place(key.Workspace, exports)
}
