package aggregate

import (
	"math/rand/v2"
)

// model is a small model of what the controllers of one cluster make of a copy.
type model struct {
	apiVersion, kind string
	// spec is what a user asks for.
	spec func(random *rand.Rand) map[string]any
	// onCluster is what a cluster makes of the spec when the copy is applied, such as defaults. It may be nil.
	onCluster func(spec map[string]any)
	// run returns the status that the controllers have given to a copy at any stage. A spec.replicas in the spec is the copy's own.
	run func(random *rand.Rand, spec map[string]any) map[string]any
	// observes is set where the controllers write observedGeneration.
	observes bool
	// isDivisible is set where replicas can be divided.
	isDivisible bool
	// verdicts are those that each client has to come to, now and then.
	verdicts map[string][]verdict
}

// Which verdicts there are.
var (
	everyVerdict = []verdict{done, waiting, failed}
	noFailure    = []verdict{done, waiting}
)

func oneIn(random *rand.Rand, n int) bool { return random.IntN(n) == 0 }

// upTo is any number up to n.
func upTo(random *rand.Rand, n int64) int64 { return random.Int64N(max(n, 0) + 1) }

func conditionIn(conditionType, is, reason string) any {
	return map[string]any{"type": conditionType, "status": is, "reason": reason, "message": "of " + reason}
}

// withoutZeros is a status as Kubernetes writes it, but for what its API requires.
func withoutZeros(status map[string]any, required ...string) map[string]any {
	for name, value := range status {
		isRequired := false
		for _, other := range required {
			isRequired = isRequired || other == name
		}
		if !isRequired && (value == int64(0) || value == "") {
			delete(status, name)
		}
	}
	return status
}

var models = []model{
	{
		apiVersion: "apps/v1", kind: "Deployment", observes: true, isDivisible: true,
		verdicts: map[string][]verdict{"kubectl": everyVerdict, "kstatus": everyVerdict, "Argo CD": {done, waiting, failed, suspended}},
		spec: func(random *rand.Rand) map[string]any {
			spec := map[string]any{"replicas": random.Int64N(5), "progressDeadlineSeconds": int64(600)}
			if oneIn(random, 20) {
				spec["paused"] = true
			}
			return spec
		},
		run: runDeployment,
	},
	{
		apiVersion: "apps/v1", kind: "StatefulSet", observes: true, isDivisible: true,
		verdicts: map[string][]verdict{"kubectl": noFailure, "kstatus": noFailure, "Argo CD": noFailure},
		spec: func(random *rand.Rand) map[string]any {
			replicas := random.Int64N(5)
			strategy := map[string]any{"type": "RollingUpdate"}
			switch random.IntN(6) {
			case 0, 1:
				strategy["rollingUpdate"] = map[string]any{"partition": upTo(random, replicas)}
			case 2:
				strategy["rollingUpdate"] = map[string]any{"maxUnavailable": int64(1)}
			case 3:
				strategy["type"] = "OnDelete"
			}
			return map[string]any{"replicas": replicas, "updateStrategy": strategy}
		},
		// SetDefaults_StatefulSet of pkg/apis/apps/v1/defaults.go.
		onCluster: func(spec map[string]any) {
			strategy := spec["updateStrategy"].(map[string]any)
			if strategy["type"] == "OnDelete" {
				return
			}
			if strategy["rollingUpdate"] == nil {
				strategy["rollingUpdate"] = map[string]any{}
			}
			if rolling := strategy["rollingUpdate"].(map[string]any); rolling["partition"] == nil {
				rolling["partition"] = int64(0)
			}
		},
		run: runStatefulSet,
	},
	{
		apiVersion: "apps/v1", kind: "DaemonSet", observes: true,
		verdicts: map[string][]verdict{"kubectl": noFailure, "kstatus": noFailure, "Argo CD": noFailure},
		spec: func(random *rand.Rand) map[string]any {
			return map[string]any{"updateStrategy": map[string]any{"type": []string{"RollingUpdate", "RollingUpdate", "OnDelete"}[random.IntN(3)]}}
		},
		run: func(random *rand.Rand, _ map[string]any) map[string]any {
			desired := random.Int64N(4)
			current, updated, ready := desired, desired, desired
			if oneIn(random, 3) {
				current = upTo(random, desired)
				updated, ready = upTo(random, current), upTo(random, current)
			}
			available := ready
			if oneIn(random, 6) {
				available = upTo(random, ready)
			}
			return withoutZeros(map[string]any{
				desiredScheduled: desired, currentScheduled: current, updatedScheduled: updated, numberReady: ready, numberAvailable: available,
				"numberUnavailable": desired - available, "numberMisscheduled": upTo(random, 1),
			}, desiredScheduled, currentScheduled, numberReady, "numberMisscheduled")
		},
	},
	{
		apiVersion: "batch/v1", kind: "Job",
		verdicts: map[string][]verdict{"kstatus": everyVerdict, "Argo CD": {done, waiting, failed, suspended}},
		spec: func(random *rand.Rand) map[string]any {
			return map[string]any{"completions": 1 + random.Int64N(3), "suspend": oneIn(random, 8)}
		},
		run: runJob,
	},
	{
		apiVersion: "batch/v1", kind: "CronJob", verdicts: map[string][]verdict{"kstatus": noFailure},
		spec: func(*rand.Rand) map[string]any { return map[string]any{} },
		run: func(random *rand.Rand, _ map[string]any) map[string]any {
			if oneIn(random, 2) {
				return map[string]any{}
			}
			return map[string]any{"lastScheduleTime": "2026-01-01T00:00:00Z"}
		},
	},
	{
		apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", verdicts: map[string][]verdict{"kstatus": noFailure, "Argo CD": everyVerdict},
		spec: func(*rand.Rand) map[string]any { return map[string]any{"maxReplicas": int64(9)} },
		run:  runAutoscaler,
	},
	{
		apiVersion: "policy/v1", kind: "PodDisruptionBudget", observes: true, verdicts: map[string][]verdict{"kstatus": noFailure},
		spec: func(*rand.Rand) map[string]any { return map[string]any{"minAvailable": int64(2)} },
		run: func(random *rand.Rand, _ map[string]any) map[string]any {
			healthy := random.Int64N(4)
			allowed := conditionIn("DisruptionAllowed", map[bool]string{true: "True", false: "False"}[healthy > 2], "SufficientPods")
			return map[string]any{
				"currentHealthy": healthy, "desiredHealthy": int64(2), "disruptionsAllowed": max(healthy-2, 0), "expectedPods": int64(3),
				conditionsField: []any{allowed},
			}
		},
	},
	{
		apiVersion: "v1", kind: "PersistentVolumeClaim", verdicts: map[string][]verdict{"kstatus": noFailure, "Argo CD": everyVerdict},
		spec: func(*rand.Rand) map[string]any { return map[string]any{} },
		run: func(random *rand.Rand, _ map[string]any) map[string]any {
			return withoutZeros(map[string]any{phase: []string{"Bound", "Bound", "Bound", "Bound", "Pending", "Lost", ""}[random.IntN(7)]})
		},
	},
	{
		apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", verdicts: map[string][]verdict{"kstatus": noFailure},
		spec: func(*rand.Rand) map[string]any { return map[string]any{} },
		run:  func(*rand.Rand, map[string]any) map[string]any { return map[string]any{} },
	},
	{
		apiVersion: "v1", kind: "Service", verdicts: map[string][]verdict{"kstatus": noFailure, "Argo CD": noFailure},
		spec: func(random *rand.Rand) map[string]any {
			// The default that the schema gives: each cluster has an address of its own.
			return map[string]any{"type": []string{"ClusterIP", "LoadBalancer"}[random.IntN(2)], "clusterIP": "0.0.0.0"}
		},
		onCluster: func(spec map[string]any) { spec["clusterIP"] = "10.0.0.7" },
		run: func(random *rand.Rand, spec map[string]any) map[string]any {
			return map[string]any{"loadBalancer": addressesOf(random, spec["type"] == "LoadBalancer")}
		},
	},
	{
		apiVersion: "networking.k8s.io/v1", kind: "Ingress", verdicts: map[string][]verdict{"kstatus": noFailure, "Argo CD": noFailure},
		spec: func(*rand.Rand) map[string]any { return map[string]any{} },
		run: func(random *rand.Rand, _ map[string]any) map[string]any {
			return map[string]any{"loadBalancer": addressesOf(random, true)}
		},
	},
	{apiVersion: "example.com/v1", kind: "Gadget", verdicts: map[string][]verdict{"kstatus": everyVerdict}, spec: specOfGadget, run: runGadget},
	{apiVersion: "example.com/v1", kind: "Widget", verdicts: map[string][]verdict{"kstatus": everyVerdict}, spec: specOfGadget, run: runGadget, observes: true},
}

func addressesOf(random *rand.Rand, has bool) map[string]any {
	if !has || oneIn(random, 3) {
		return map[string]any{}
	}
	return map[string]any{"ingress": []any{map[string]any{"ip": "192.0.2.1"}}}
}

// runDeployment is syncDeploymentStatus and syncRolloutStatus of kubernetes, pkg/controller/deployment.
func runDeployment(random *rand.Rand, spec map[string]any) map[string]any {
	wanted := spec["replicas"].(int64)
	updated, old := wanted, int64(0)
	switch random.IntN(6) {
	case 0: // it rolls out
		updated, old = upTo(random, wanted), upTo(random, wanted)
	case 1: // it scales
		updated = upTo(random, wanted+2)
	}
	ready := updated + old
	if oneIn(random, 4) {
		ready = upTo(random, ready)
	}
	available := ready
	if oneIn(random, 4) {
		available = upTo(random, ready)
	}
	isComplete := updated == wanted && old == 0 && available == wanted
	wasComplete := old == 0 && oneIn(random, 2)
	progress := conditionIn(progressing, "True", reasonProgressing)
	switch {
	case spec["paused"] == true:
		progress = conditionIn(progressing, "Unknown", "DeploymentPaused")
	case isComplete, wasComplete: // that stays when a pod is lost, and while it scales
		progress = conditionIn(progressing, "True", reasonComplete)
	case oneIn(random, 3):
		progress = conditionIn(progressing, "False", reasonDeadlineExceeded)
	}
	availability := conditionIn("Available", "False", reasonUnavailable)
	if available >= wanted-wanted/4 {
		availability = conditionIn("Available", "True", reasonAvailable)
	}
	status := withoutZeros(map[string]any{
		replicas: updated + old, updatedReplicas: updated, readyReplicas: ready, availableReplicas: available,
		"unavailableReplicas": max(updated+old-available, 0), "terminatingReplicas": upTo(random, 1),
	})
	status[conditionsField] = []any{availability, progress}
	return status
}

// runStatefulSet is updateStatefulSet and completeRollingUpdate of kubernetes, pkg/controller/statefulset.
func runStatefulSet(random *rand.Rand, spec map[string]any) map[string]any {
	wanted := spec["replicas"].(int64)
	strategy := spec["updateStrategy"].(map[string]any)
	rolling, _ := strategy["rollingUpdate"].(map[string]any)
	held, _ := rolling["partition"].(int64)
	all, updated := wanted, max(wanted-held, 0)
	switch random.IntN(6) {
	case 0:
		updated = upTo(random, updated)
	case 1: // it scales up: pods beyond the partition are of the new revision
		all = upTo(random, wanted)
		updated = min(updated, all)
	case 2: // it scales down
		all = wanted + 1
		updated = max(all-held, 0)
	}
	current := all - updated
	ready := all
	if oneIn(random, 4) {
		ready = upTo(random, all)
	}
	available := ready
	if oneIn(random, 4) {
		available = upTo(random, ready)
	}
	status := map[string]any{
		replicas: all, readyReplicas: ready, availableReplicas: available, currentReplicas: current, updatedReplicas: updated,
		currentRevision: "x-a", updateRevision: "x-b",
	}
	isComplete := strategy["type"] != "OnDelete" && (updated == wanted && ready == wanted && all == wanted || updated > wanted)
	if isComplete || oneIn(random, 4) && updated == 0 { // or there is but one revision
		status[currentReplicas], status[updatedReplicas], status[currentRevision] = all, all, "x-b"
	}
	return withoutZeros(status, replicas, availableReplicas)
}

// runJob is syncJob of kubernetes, pkg/controller/job.
func runJob(random *rand.Rand, spec map[string]any) map[string]any {
	completions := spec["completions"].(int64)
	if spec["suspend"] == true {
		return map[string]any{conditionsField: []any{conditionIn("Suspended", "True", "JobSuspended")}}
	}
	const began, ended = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
	switch random.IntN(6) {
	case 0:
		return map[string]any{}
	case 1:
		return withoutZeros(map[string]any{startTime: began, "active": int64(1), "succeeded": upTo(random, completions-1), "failed": upTo(random, 2)})
	case 2:
		return withoutZeros(map[string]any{
			startTime: began, "failed": int64(7), "succeeded": upTo(random, completions-1),
			conditionsField: []any{conditionIn("FailureTarget", "True", "BackoffLimitExceeded"), conditionIn("Failed", "True", "BackoffLimitExceeded")},
		})
	default:
		return map[string]any{
			startTime: began, completionTime: ended, "succeeded": completions,
			conditionsField: []any{conditionIn("SuccessCriteriaMet", "True", "CompletionsReached"), conditionIn("Complete", "True", "CompletionsReached")},
		}
	}
}

// runAutoscaler is reconcileAutoscaler of kubernetes, pkg/controller/podautoscaler.
func runAutoscaler(random *rand.Rand, _ map[string]any) map[string]any {
	desired := 1 + random.Int64N(9)
	status := map[string]any{"currentReplicas": upTo(random, desired), "desiredReplicas": desired}
	limited := conditionIn("ScalingLimited", map[bool]string{true: "True", false: "False"}[desired == 9], "TooManyReplicas")
	switch random.IntN(8) {
	case 0: // it is new
		return map[string]any{"currentReplicas": int64(0), "desiredReplicas": int64(0)}
	case 1:
		status[conditionsField] = []any{conditionIn("AbleToScale", "False", "FailedGetScale")}
	case 2:
		status[conditionsField] = []any{conditionIn("AbleToScale", "True", "SucceededGetScale"), conditionIn("ScalingActive", "False", "FailedGetResourceMetric")}
	default:
		status[conditionsField] = []any{conditionIn("AbleToScale", "True", "ReadyForNewScale"), conditionIn("ScalingActive", "True", "ValidMetricFound"), limited}
	}
	return status
}

func specOfGadget(random *rand.Rand) map[string]any {
	spec := map[string]any{"says": oneIn(random, 4)}
	if oneIn(random, 2) {
		spec["replicas"] = random.Int64N(4)
	}
	return spec
}

// runGadget is what a controller does that keeps to the conventions of kstatus, or to a condition Ready.
func runGadget(random *rand.Rand, spec map[string]any) map[string]any {
	status := map[string]any{}
	if wanted, has := spec["replicas"].(int64); has {
		status[replicas], status[readyReplicas] = wanted, upTo(random, wanted)
	}
	if spec["says"] == false {
		return status
	}
	switch random.IntN(8) {
	case 1:
		status[conditionsField] = []any{conditionIn("Ready", "False", "NotYet")}
	case 2:
		status[conditionsField] = []any{conditionIn("Ready", "Unknown", "Reconciling"), conditionIn("Reconciling", "True", "Working")}
	case 3:
		status[conditionsField] = []any{conditionIn("Ready", "False", "Broken"), conditionIn("Stalled", "True", "Broken")}
	default:
		status[conditionsField] = []any{conditionIn("Ready", "True", "Fine")}
	}
	return status
}
