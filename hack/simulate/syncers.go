package main

import (
	"bytes"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/hack/fakekcp"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// syncers report on what is placed, as those of all clusters would: each copy is complete at once.
type syncers struct {
	server *fakekcp.Server

	mu      sync.Mutex
	waiting map[fakekcp.Place]bool
	wake    chan struct{}
}

// newSyncers returns syncers that work on what changes on the server.
func newSyncers(s *fakekcp.Server) *syncers {
	y := &syncers{server: s, waiting: map[fakekcp.Place]bool{}, wake: make(chan struct{}, 1)}
	s.OnChange = func(at fakekcp.Place, encoded []byte) {
		isPlaced := bytes.Contains(encoded, []byte(v1alpha1.PlacementLabelPrefix)) || bytes.Contains(encoded, []byte(v1alpha1.FinalizerPrefix))
		if at.Workspace == provider || at.Resource == namespaces || !isPlaced {
			return
		}
		y.mu.Lock()
		y.waiting[at] = true
		y.mu.Unlock()
		select {
		case y.wake <- struct{}{}:
		default:
		}
	}
	return y
}

func (y *syncers) run() {
	for range y.wake {
		y.mu.Lock()
		waiting := y.waiting
		y.waiting = map[fakekcp.Place]bool{}
		y.mu.Unlock()
		for at := range waiting {
			y.report(at)
		}
	}
}

// report writes what each of an object's clusters has to say, a write for each.
func (y *syncers) report(at fakekcp.Place) {
	for y.server.Change(at, reportOnce) {
	}
}

// reportOnce has the first cluster that has something to say change the object, and reports whether any had.
func reportOnce(obj *unstructured.Unstructured) bool {
	said := protocol.Read(obj)
	annotations := obj.GetAnnotations()
	for _, cluster := range said.Present() {
		if !said.IsPlaced(cluster) {
			if !said.IsHeld(cluster) {
				continue
			}
			var finalizers []string
			for _, finalizer := range obj.GetFinalizers() {
				if finalizer != v1alpha1.Finalizer(cluster) {
					finalizers = append(finalizers, finalizer)
				}
			}
			obj.SetFinalizers(finalizers)
			delete(annotations, v1alpha1.StatusAnnotation(cluster))
			obj.SetAnnotations(annotations)
			return true
		}
		report := protocol.Report{
			Version: protocol.ReportVersion, Cluster: cluster, Generation: obj.GetGeneration(), Inputs: said.Inputs(cluster),
			LocalGeneration: 1, LocalObservedGeneration: 1,
		}
		if obj.GetKind() == "Deployment" {
			report.Replicas = new(int64(2))
			report.Counters = map[string]int64{"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
			report.Conditions = []protocol.ReportCondition{
				{Type: "Available", Status: "True", Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."},
				{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable", Message: "ReplicaSet has successfully progressed."},
			}
		} else if obj.GetKind() != "Service" {
			continue // nothing is reported of what has no status while nothing is wrong
		}
		encoded, err := report.Encode()
		if err != nil {
			panic(err)
		}
		if annotations[v1alpha1.StatusAnnotation(cluster)] != encoded {
			annotations[v1alpha1.StatusAnnotation(cluster)] = encoded
			obj.SetAnnotations(annotations)
			return true
		}
	}
	return false
}
