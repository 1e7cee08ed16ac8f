package kinds

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Counters of the statuses of Deployments, StatefulSets and most custom resources with replicas.
const (
	replicas          = "replicas"
	readyReplicas     = "readyReplicas"
	availableReplicas = "availableReplicas"
	updatedReplicas   = "updatedReplicas"
)

const appsGroup = "apps"

var replicasPath = path("spec.replicas")

// table are the built-in kinds, workloads first, in the order in which they are shown. To add a kind, add its entry here
// and its schema in hack/schemagen.
var table = []*Kind{
	// k8s.io/api/apps/v1.DeploymentStatus.
	{
		Group: appsGroup, Kind: "Deployment", Version: "v1", Resource: "deployments", Workload: true,
		Replicas: replicasPath, Available: availableReplicas,
		Sums:    []string{replicas, readyReplicas, availableReplicas, "terminatingReplicas", "collisionCount"},
		Updated: []string{updatedReplicas}, Lacking: "unavailableReplicas",
		Absolute: []string{"terminatingReplicas", "collisionCount"},
		Observes: AlwaysObserves,
		Conditions: []Condition{
			{Type: "Available", Merge: MergeAvailable},
			{Type: "Progressing", Failure: true, Merge: MergeProgressing},
			{Type: "ReplicaFailure", Meaning: Bad, Failure: true, Merge: MergeWhenTrue},
		},
		UpdateTimes: true, Rollout: DeploymentRollout, PodsBy: PodsByReplicaSets,
		filledIn: []FilledIn{{Path: path("spec.strategy.rollingUpdate"), Value: map[string]any{"maxSurge": "25%", "maxUnavailable": "25%"}}},
	},
	// k8s.io/api/apps/v1.StatefulSetStatus.
	{
		Group: appsGroup, Kind: "StatefulSet", Version: "v1", Resource: "statefulsets", Workload: true,
		Replicas: replicasPath, Partition: path("spec.updateStrategy.rollingUpdate.partition"), Available: availableReplicas,
		Sums:    []string{replicas, readyReplicas, availableReplicas, "currentReplicas", "collisionCount"},
		Updated: []string{updatedReplicas}, Required: []string{replicas, availableReplicas}, Absolute: []string{"collisionCount"},
		Revisions: []string{"currentRevision", "updateRevision"},
		Observes:  AlwaysObserves, Rollout: StatefulSetRollout, PodsBy: PodsByObject,
		// The Service that its pods have their names from goes where it goes.
		FollowedBy: []Reference{{Path: path("spec.serviceName"), Resource: "services"}},
		// Its pods and their claims have the names that those of the next one would have.
		Adoption: Adoption{Selector: path("spec.selector"), WhenDeleted: path("spec.persistentVolumeClaimRetentionPolicy.whenDeleted")},
	},
	// k8s.io/api/apps/v1.DaemonSetStatus.
	{
		Group: appsGroup, Kind: "DaemonSet", Version: "v1", Resource: "daemonsets", Workload: true,
		Wanted: "desiredNumberScheduled", Available: "numberAvailable",
		Sums:     []string{"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "numberAvailable", "numberUnavailable", "collisionCount"},
		Updated:  []string{"updatedNumberScheduled"},
		Required: []string{"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"},
		Observes: AlwaysObserves, Rollout: DaemonSetRollout, PodsBy: PodsByObject,
		filledIn: []FilledIn{{Path: path("spec.updateStrategy.rollingUpdate"), Value: map[string]any{"maxSurge": int64(0), "maxUnavailable": int64(1)}}},
	},
	// k8s.io/api/batch/v1.JobStatus. Its controller adds conditions when they become true.
	{
		Group: "batch", Kind: "Job", Version: "v1", Resource: "jobs", Workload: true,
		Completions: path("spec.completions"), Available: "succeeded",
		Sums:     []string{"active", "ready", "succeeded", "failed", "terminating"},
		Times:    []Time{{Field: "startTime", Rule: Earliest}, {Field: "completionTime", Rule: LatestOfAll}},
		Observes: NeverObserves, PodsBy: PodsByObject,
		Conditions: []Condition{
			{Type: "SuccessCriteriaMet", Meaning: Reached, Merge: MergeWhenTrue},
			{Type: "Complete", Meaning: Reached, Merge: MergeWhenTrue},
			{Type: "FailureTarget", Meaning: Bad, Failure: true, Merge: MergeWhenTrue, Causes: true},
			{Type: "Failed", Meaning: Bad, Failure: true, Merge: MergeWhenTrue, Causes: true},
			{Type: "Suspended", Meaning: Reached, Merge: MergeWhenTrue},
		},
		Ends: []string{"Complete", "Failed"}, TTL: path("spec.ttlSecondsAfterFinished"),
		// Unless the user chooses the selector, the server makes it from the object's UID, and labels to go with it
		// (generateSelector in k8s.io/kubernetes/pkg/registry/batch/job).
		Owned:  generatedSelector(),
		Yields: []Yield{{Marks: queued(), Paths: jobYields("spec")}},
	},
	// k8s.io/api/batch/v1.CronJobStatus. The runs that are `active` are objects of a cluster: what they refer to is not
	// upstream, and they stay away. Its controller writes no observedGeneration.
	{
		Group: "batch", Kind: "CronJob", Version: "v1", Resource: "cronjobs", Workload: true, Observes: NeverObserves, PodsBy: PodsByJobs,
		Times: []Time{{Field: "lastScheduleTime"}, {Field: "lastSuccessfulTime"}},
		// A queue manages the Jobs that it makes, not the CronJob.
		Yields: cronJobYields(),
	},
	// k8s.io/api/autoscaling/v2.HorizontalPodAutoscalerStatus. Kubernetes' own autoscaler writes no observedGeneration
	// (setStatus of its pkg/controller/podautoscaler leaves the field out); one that does is believed. What single metrics
	// are at cannot be added up, and stays away.
	{
		Group: "autoscaling", Kind: "HorizontalPodAutoscaler",
		Sums: []string{"currentReplicas", "desiredReplicas"}, Required: []string{"currentReplicas", "desiredReplicas"},
		Gap:   &Gap{Has: "currentReplicas", Of: "desiredReplicas"},
		Times: []Time{{Field: "lastScaleTime"}},
		// The number is capped, an indication to change the bounds, while scaling works. Argo CD takes it for a sign of health
		// (https://argo-cd.readthedocs.io/en/stable/operator-manual/health/), so none is given while a cluster says nothing.
		Conditions: []Condition{{Type: "ScalingLimited", Meaning: Bad, Merge: MergeWhenAllSay}},
		// It scales the target in whatever version that is named (kubernetes, pkg/controller/podautoscaler/horizontal.go).
		Follows: &Follows{Target: path("spec.scaleTargetRef")},
	},
	// k8s.io/api/policy/v1.PodDisruptionBudgetStatus and PodDisruptionBudgetSpec: an empty selector matches all pods, none
	// matches nothing.
	{
		Group: "policy", Kind: "PodDisruptionBudget", Observes: AlwaysObserves,
		Sums:     []string{"currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"},
		Required: []string{"currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"},
		Gap:      &Gap{Has: "currentHealthy", Of: "desiredHealthy"},
		Follows:  &Follows{Selector: Selector{Path: path("spec.selector")}},
	},
	// k8s.io/api/core/v1.PersistentVolumeClaimStatus. What was written to a volume that is lost is gone, whatever other
	// clusters have. The volume controllers (k8s.io/component-helpers/storage/volume) and the scheduler note on a claim
	// what it is bound to.
	{
		Kind: "PersistentVolumeClaim", Observes: NeverObserves, HoldsData: true,
		Phase: &Phase{Field: "phase", Anywhere: "Lost", Everywhere: "Bound", Otherwise: "Pending"},
		Alike: []Alike{{Field: "accessModes", Of: AlikeTexts}, {Field: "capacity", Of: AlikeAmounts}}, BoundTo: path("spec.volumeName"),
		Owned: []Owned{
			{Path: path("spec.volumeName")},
			{Path: annotation("pv.kubernetes.io/*")},
			{Path: annotation("volume.kubernetes.io/selected-node")},
			{Path: annotation("volume.kubernetes.io/storage-provisioner")},
			{Path: annotation("volume.beta.kubernetes.io/storage-provisioner")},
		},
	},
	// k8s.io/api/networking/v1.NetworkPolicySpec: no selector is an empty one. Kubernetes took the status away from
	// NetworkPolicies: tmc's own condition is all that is there.
	{
		Group: "networking.k8s.io", Kind: "NetworkPolicy", Observes: NeverObserves,
		Follows: &Follows{Selector: Selector{Path: path("spec.podSelector"), AbsentSelectsAll: true}},
	},
	// k8s.io/api/core/v1.ServiceSpec: the selector of an ExternalName is ignored. A cluster allocates addresses; that there
	// be none is the user's word. A node port is the user's: nobody applies one that a cluster allocated.
	{
		Kind: "Service", Observes: NeverObserves, Addresses: true,
		References: named(serviceAnnotations),
		Follows: &Follows{Selector: Selector{
			Path: path("spec.selector"), Labels: true, Unless: &Value{Path: path("spec.type"), Equals: "ExternalName"},
		}},
		Owned: []Owned{
			{Path: path("spec.clusterIP"), Keep: []string{"None", ""}},
			{Path: path("spec.clusterIPs"), Keep: []string{"None", ""}},
		},
	},
	// An Ingress goes along with the Services that its rules and its default backend name. The Secret of a tls entry is
	// optional: it may be made only after the Ingress and because of it (https://cert-manager.io/docs/usage/ingress/), and
	// until then ingress controllers serve a certificate of their own. What annotations name is not: without it, a controller
	// serves errors, or what should be protected.
	{
		Group: "networking.k8s.io", Kind: "Ingress", Observes: NeverObserves, Addresses: true,
		References: append([]Reference{{Path: path("spec.tls[].secretName"), Resource: secrets, Optional: true}}, named(ingressAnnotations)...),
		Follows: &Follows{Names: []Reference{
			{Path: path("spec.defaultBackend.service.name"), Resource: "services"},
			{Path: path("spec.rules[].http.paths[].backend.service.name"), Resource: "services"},
		}},
	},
	// What pods mount: these have no status, and are known for their number.
	{Kind: "ConfigMap", Observes: NeverObserves, Statusless: true},
	{Kind: "Secret", Observes: NeverObserves, Statusless: true},
	// imagePullSecrets become those of the account's pods, and are optional there (see PodReferences). `secrets` are what
	// its pods may mount, not what they do. Token controllers write the Secrets that they make into that list (OpenShift's
	// still does, Kubernetes' did until 1.24); it means something only with the annotation (ServiceAccount.Secrets in
	// k8s.io/api/core/v1).
	{
		Kind: "ServiceAccount", Observes: NeverObserves, Statusless: true,
		References: []Reference{
			{Path: path("imagePullSecrets[].name"), Resource: secrets, Optional: true},
			{Path: path("secrets[].name"), Resource: secrets, Optional: true},
		},
		Owned: []Owned{{
			Path:   path("secrets"),
			Unless: &Value{Path: annotation("kubernetes.io/enforce-mountable-secrets"), Equals: "true"},
		}},
		// The list is atomic (ServiceAccount.ImagePullSecrets in k8s.io/api/core/v1): OpenShift, and operators that hand out
		// credentials of registries, put their own into it. `secrets` has keys: what others add to it is theirs anyway. No other
		// atomic list of the built-in kinds is one that more may be added to without a change of what it means: tolerations,
		// access modes, source ranges and rules all widen what is allowed.
		Merged: []Path{path("imagePullSecrets")},
	},
}

var byGroupKind = index(table)

func index(kinds []*Kind) map[schema.GroupKind]*Kind {
	byName := make(map[schema.GroupKind]*Kind, len(kinds))
	for _, kind := range kinds {
		kind.readReferences()
		byName[kind.GroupKind()] = kind
	}
	return byName
}

// path is ParsePath for paths that are fine.
func path(text string) Path {
	p, err := ParsePath(text)
	if err != nil {
		panic(err)
	}
	return p
}

func annotation(key string) Path { return append(path("metadata.annotations"), key) }

func generatedSelector() []Owned {
	isChosen := &Value{Path: path("spec.manualSelector"), Equals: "true"}
	owned := []Owned{{Path: path("spec.selector"), Unless: isChosen}}
	for _, labels := range []Path{path("metadata.labels"), path("spec.template.metadata.labels")} {
		for _, key := range []string{"controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"} {
			owned = append(owned, Owned{Path: append(slices.Clone(labels), key), Unless: isChosen})
		}
	}
	return owned
}

// podReferences are where a pod's spec (k8s.io/api/core/v1.PodSpec) names objects, its account aside: what Kubernetes
// itself takes for its Secrets and ConfigMaps (VisitPodSecretNames and VisitPodConfigmapNames of kubernetes,
// pkg/api/v1/pod/util.go), and its claims. imagePullSecrets are optional: the kubelet warns of a missing one and goes on to
// pull the image without (getPullSecretsForPod of pkg/kubelet/kubelet_pods.go).
func podReferences() []Reference {
	references := []Reference{
		{Path: path("imagePullSecrets[].name"), Resource: secrets, Optional: true},
		{Path: path("volumes[].configMap.name"), Resource: configMapsName},
		{Path: path("volumes[].secret.secretName"), Resource: secrets},
		{Path: path("volumes[].persistentVolumeClaim.claimName"), Resource: "persistentvolumeclaims"},
		{Path: path("volumes[].projected.sources[].configMap.name"), Resource: configMapsName},
		{Path: path("volumes[].projected.sources[].secret.name"), Resource: secrets},
		{Path: path("volumes[].azureFile.secretName"), Resource: secrets},
		{Path: path("volumes[].csi.nodePublishSecretRef.name"), Resource: secrets},
	}
	for _, plugin := range []string{"cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"} {
		references = append(references, Reference{Path: path("volumes[]." + plugin + ".secretRef.name"), Resource: secrets})
	}
	for _, list := range containerLists {
		references = append(references,
			Reference{Path: path(list + "[].env[].valueFrom.configMapKeyRef.name"), Resource: configMapsName},
			Reference{Path: path(list + "[].env[].valueFrom.secretKeyRef.name"), Resource: secrets},
			Reference{Path: path(list + "[].envFrom[].configMapRef.name"), Resource: configMapsName},
			Reference{Path: path(list + "[].envFrom[].secretRef.name"), Resource: secrets},
		)
	}
	return references
}

var containerLists = []string{"containers", "initContainers", "ephemeralContainers"}

// conventional says what types of conditions mean that are not good when true, as the API conventions recommend, or whose
// absence is a failure. It counts for every kind whose entry does not say otherwise.
var conventional = []Condition{
	// Deployments (k8s.io/api/apps/v1): Progressing is false when a roll-out cannot go on or its deadline has passed,
	// ReplicaFailure true when pods cannot be made or removed.
	{Type: "Progressing", Failure: true},
	{Type: "ReplicaFailure", Meaning: Bad, Failure: true},
	// Jobs (k8s.io/api/batch/v1): FailureTarget and Failed are failures; that a Job is not complete, or is suspended as its
	// spec asks, is none.
	{Type: "FailureTarget", Meaning: Bad, Failure: true},
	{Type: "Failed", Meaning: Bad, Failure: true},
	{Type: "Complete", Meaning: Reached},
	{Type: "SuccessCriteriaMet", Meaning: Reached},
	{Type: "Suspended", Meaning: Reached},
	// HorizontalPodAutoscalers (k8s.io/api/autoscaling/v2): the number is capped, an indication to change the bounds
	// (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/), while scaling works.
	{Type: "ScalingLimited", Meaning: Bad},
	// PodDisruptionBudgets (k8s.io/api/policy/v1): that no disruption is allowed is what a budget is for.
	{Type: "DisruptionAllowed", Meaning: Reached},
	// Claims (k8s.io/api/core/v1.PersistentVolumeClaimConditionType): the first three are true while a resize or a change
	// of attributes is under way, the others are errors of it, which controllers try again.
	{Type: "Resizing", Meaning: Ongoing},
	{Type: "FileSystemResizePending", Meaning: Ongoing},
	{Type: "ModifyingVolume", Meaning: Ongoing},
	{Type: "ControllerResizeError", Meaning: Bad, Failure: true},
	{Type: "NodeResizeError", Meaning: Bad, Failure: true},
	{Type: "ModifyVolumeError", Meaning: Bad, Failure: true},
	// Services (k8s.io/api/core/v1.LoadBalancerPortsError): the load balancer could not be given a port.
	{Type: "LoadBalancerPortsError", Meaning: Bad, Failure: true},
	// Custom resources: Reconciling is under way and Stalled is a failure in kstatus, both abnormal when true; Degraded is
	// what many operators say of an object that serves less well than it should.
	{Type: v1alpha1.ConditionReconciling, Meaning: Ongoing},
	{Type: "Stalled", Meaning: Bad, Failure: true},
	{Type: "Degraded", Meaning: Bad},
	// tmc's own: something keeps an object from running as it should, though its copies are.
	{Type: v1alpha1.ConditionHindered, Meaning: Bad, Failure: true},
}
