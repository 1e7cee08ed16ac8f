package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What tmc's protocol looks like from outside. It is spelled anew here: a suite that used the names of the product would not
// notice when they change.
const (
	domain          = "tmc.kcp.io"
	targetsKey      = domain + "/target-clusters"
	placementPrefix = "cluster." + domain + "/"
	placementValue  = "sync"
	deletionPrefix  = "deletion." + domain + "/"
	finalizerPrefix = "syncer." + domain + "/"
	statusPrefix    = "status." + domain + "/"
	managedByKey    = domain + "/managed-by"
	managedByValue  = "tmc-syncer"
	sourceHashKey   = domain + "/source-hash"
	sourceUIDKey    = domain + "/source-uid"
)

// The suite's own keys.
const (
	// opKey is the annotation of every object of a tenant with the number of the operation that wrote it last. It tells, when
	// the answer of a write was lost, whether the write was carried out.
	opKey = "chaos.example.com/op"
	// groupLabel selects the WorkloadPlacement that is about a workload.
	groupLabel = "group"
	// noteLabel is changed by operations that change labels.
	noteLabel = "note"
	appLabel  = "app"
)

// Kind is one of the kinds that tenants use here.
type Kind string

// The kinds.
const (
	Deployment        Kind = "Deployment"
	StatefulSet       Kind = "StatefulSet"
	Job               Kind = "Job"
	ConfigMap         Kind = "ConfigMap"
	Secret            Kind = "Secret"
	Service           Kind = "Service"
	WorkloadPlacement Kind = "WorkloadPlacement"
)

// resources are the kinds' resources.
var resources = map[Kind]schema.GroupVersionResource{
	Deployment:        {Group: "apps", Version: "v1", Resource: "deployments"},
	StatefulSet:       {Group: "apps", Version: "v1", Resource: "statefulsets"},
	Job:               {Group: "batch", Version: "v1", Resource: "jobs"},
	ConfigMap:         {Version: "v1", Resource: "configmaps"},
	Secret:            {Version: "v1", Resource: "secrets"},
	Service:           {Version: "v1", Resource: "services"},
	WorkloadPlacement: {Group: domain, Version: "v1alpha1", Resource: "workloadplacements"},
}

// syncedKinds are those that go to clusters, in a fixed order.
var syncedKinds = []Kind{Deployment, StatefulSet, Job, ConfigMap, Secret, Service}

// isWorkload reports whether objects of the kind are placed by themselves.
func (k Kind) isWorkload() bool { return k == Deployment || k == StatefulSet || k == Job }

// isScalable reports whether the kind has replicas.
func (k Kind) isScalable() bool { return k == Deployment || k == StatefulSet }

// Key names an object within a namespace.
type Key struct {
	Kind Kind
	Name string
}

func (k Key) String() string { return strings.ToLower(string(k.Kind)) + "/" + k.Name }

// Wanted is what a tenant has written of one object. The zero value, but for the key, is an object that is not there.
type Wanted struct {
	Key

	// Exists is false of an object that was deleted, or never made.
	Exists bool
	// Op is the number of the operation that wrote the object last, and Incarnation that of the one that created it.
	Op, Incarnation int
	// Version is in the image, or in the data. It only ever grows while the object exists.
	Version  int
	Replicas int64
	// Group is the value of the label by which placements select, and Note that of another label; empty: the object has none.
	Group, Note string
	// Mounts are the ConfigMaps and Secrets that a workload's pods mount.
	Mounts []Key
	// Targets is the value of the annotation that names clusters, nil for none.
	Targets *string
	// Clusters, Number and Divided are a WorkloadPlacement's: the clusters that it selects (nil: all), how many (0: all of them),
	// and whether replicas are divided.
	Clusters []string
	Number   int64
	Divided  bool
	// Counts is the number of pods of a Job.
	Counts int64
}

// labels are those that the tenant has given the object.
func (w Wanted) labels() map[string]any {
	labels := map[string]any{appLabel: w.Name}
	if w.Group != "" {
		labels[groupLabel] = w.Group
	}
	if w.Note != "" {
		labels[noteLabel] = w.Note
	}
	return labels
}

func (w Wanted) annotations() map[string]any {
	annotations := map[string]any{opKey: strconv.Itoa(w.Op)}
	if w.Targets != nil {
		annotations[targetsKey] = *w.Targets
	}
	return annotations
}

// image is what the containers of a workload run.
func image(version int) string { return fmt.Sprintf("registry.example.com/app:v%d", version) }

// versionOf returns the version of an image that image has made, and whether it is one.
func versionOf(name string) (int, bool) {
	rest, found := strings.CutPrefix(name, "registry.example.com/app:v")
	version, err := strconv.Atoi(rest)
	return version, found && err == nil
}

// Manifest is the object as the tenant writes it, without its namespace: every field of it is compared with the copies'.
func (w Wanted) Manifest() map[string]any {
	gvr := resources[w.Kind]
	object := map[string]any{
		"apiVersion": gvr.GroupVersion().String(),
		"kind":       string(w.Kind),
		"metadata":   map[string]any{"name": w.Name, "labels": w.labels(), "annotations": w.annotations()},
	}
	value := "v" + strconv.Itoa(w.Version)
	switch w.Kind {
	case ConfigMap:
		object["data"] = map[string]any{"version": value, "from": strconv.Itoa(w.Incarnation), "text": "a = \"b\"\n"}
	case Secret:
		object["type"] = "Opaque"
		object["data"] = map[string]any{"version": encode(value)}
	case Service:
		object["spec"] = map[string]any{
			"selector": map[string]any{appLabel: w.Name},
			"ports":    []any{map[string]any{"name": "http", "port": int64(80), "protocol": "TCP", "targetPort": int64(8000 + w.Version)}},
		}
	case WorkloadPlacement:
		object["spec"] = w.placementSpec()
	case Deployment, StatefulSet, Job:
		object["spec"] = w.workloadSpec()
	}
	return object
}

func (w Wanted) placementSpec() map[string]any {
	spec := map[string]any{
		"workloadSelector": map[string]any{"labelSelector": map[string]any{"matchLabels": map[string]any{groupLabel: w.Name}}},
		"replicas":         "Duplicated",
	}
	if w.Divided {
		spec["replicas"] = "Divided"
	}
	if w.Number > 0 {
		spec["numberOfClusters"] = w.Number
	}
	if w.Clusters != nil {
		names := make([]any, len(w.Clusters))
		for i, name := range w.Clusters {
			names[i] = name
		}
		spec["clusterSelector"] = map[string]any{"clusterNames": names}
	}
	return spec
}

func (w Wanted) workloadSpec() map[string]any {
	container := map[string]any{
		"name": "app", "image": image(w.Version),
		"env": []any{map[string]any{"name": "VERSION", "value": strconv.Itoa(w.Version)}},
	}
	pod := map[string]any{"containers": []any{container}}
	var volumes, mounts []any
	for i, key := range w.Mounts {
		name := "v" + strconv.Itoa(i)
		source := map[string]any{"configMap": map[string]any{"name": key.Name}}
		if key.Kind == Secret {
			source = map[string]any{"secret": map[string]any{"secretName": key.Name}}
		}
		source["name"] = name
		volumes = append(volumes, source)
		mounts = append(mounts, map[string]any{"name": name, "mountPath": "/etc/" + name})
	}
	if volumes != nil {
		pod["volumes"], container["volumeMounts"] = volumes, mounts
	}
	selector := map[string]any{appLabel: w.Name}
	template := map[string]any{"metadata": map[string]any{"labels": maps.Clone(selector)}, "spec": pod}
	switch w.Kind {
	case Job:
		delete(template, "metadata")
		pod["restartPolicy"] = "Never"
		return map[string]any{"template": template, "completions": w.Counts, "parallelism": w.Counts}
	case StatefulSet:
		return map[string]any{
			"replicas": w.Replicas, "serviceName": w.Name, "selector": map[string]any{"matchLabels": selector}, "template": template,
			"podManagementPolicy": "Parallel",
		}
	default:
		return map[string]any{"replicas": w.Replicas, "selector": map[string]any{"matchLabels": selector}, "template": template}
	}
}

// mounts reports whether the pods of a workload mount the object.
func (w Wanted) mounts(key Key) bool { return slices.Contains(w.Mounts, key) }
