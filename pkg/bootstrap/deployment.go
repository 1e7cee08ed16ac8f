package bootstrap

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// nonRoot is the user and group that the image names (Dockerfile).
const nonRoot int64 = 65532

// readableByGroup is the mode of the kubeconfig's file: root's, and readable by the
// group of the pod's volumes.
const readableByGroup int32 = 0o440

// gracePeriod is how many seconds a pod has to end: it finishes what it writes, answers
// what is being asked, and gives up the Lease, which takes a few.
const gracePeriod int64 = 30

// deployment runs the syncer. Its pod template holds nothing of the Secret and of the
// ConfigMap, for the syncer follows both: a new token restarts nothing.
func deployment(o Options) *appsv1.Deployment {
	return &appsv1.Deployment{
		TypeMeta:   typeOf(appsv1.SchemeGroupVersion, "Deployment"),
		ObjectMeta: metadata(o, Name),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(o.Replicas),
			Selector: selector(),
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				// The next one is there, and ready to take over, before one goes. Ready is
				// who works and who waits for the Lease: if only the leader were, the new
				// ones would wait for the old leader to go, and it for them.
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxSurge:       new(intstr.FromInt32(1)),
					MaxUnavailable: new(intstr.FromInt32(0)),
				},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(o)},
				Spec:       podSpec(o),
			},
		},
	}
}

func podSpec(o Options) corev1.PodSpec {
	return corev1.PodSpec{
		ServiceAccountName: Name,
		// Its way to the API server of the cluster. The ServiceAccount mounts none.
		AutomountServiceAccountToken: new(true),
		EnableServiceLinks:           new(false),
		// Whatever runs on the cluster by kcp's word is out of reach while no syncer runs.
		PriorityClassName:             "system-cluster-critical",
		TerminationGracePeriodSeconds: new(gracePeriod),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   new(true),
			RunAsUser:      new(nonRoot),
			RunAsGroup:     new(nonRoot),
			FSGroup:        new(nonRoot),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		// One node less is no reason to have none; one node alone is no reason to have one
		// replica alone.
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew:           1,
			TopologyKey:       corev1.LabelHostname,
			WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector:     selector(),
		}},
		Containers: []corev1.Container{container(o)},
		Volumes: []corev1.Volume{
			{Name: kubeconfigName, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: SecretName, DefaultMode: new(readableByGroup),
			}}},
			{Name: ruleName, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: Name},
			}}},
		},
	}
}

func container(o Options) corev1.Container {
	return corev1.Container{
		Name:            Name,
		Image:           o.Image,
		ImagePullPolicy: o.ImagePullPolicy,
		Command:         []string{command}, // the image has three programs
		Args:            Arguments(o),
		Ports:           containerPorts(o),
		// There is no limit for CPU: who is throttled while it reads thousands of objects
		// misses its heartbeats, and its cluster is taken for lost.
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		// It answers as soon as it runs, so there is no startup probe. Being restarted helps
		// against nothing but itself: /healthz does not look at kcp or the cluster, /readyz does.
		LivenessProbe:  probe("/healthz", 10, 3),
		ReadinessProbe: probe("/readyz", 5, 2),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		// Whole directories: a single file (subPath) would never change.
		VolumeMounts: []corev1.VolumeMount{
			{Name: kubeconfigName, MountPath: kubeconfigDir, ReadOnly: true},
			{Name: ruleName, MountPath: ruleDir, ReadOnly: true},
		},
	}
}

func containerPorts(o Options) []corev1.ContainerPort {
	open := []corev1.ContainerPort{{Name: healthName, ContainerPort: healthPort, Protocol: corev1.ProtocolTCP}}
	if o.opensMetrics() {
		open = append(open, corev1.ContainerPort{Name: metricsName, ContainerPort: metricsPort, Protocol: corev1.ProtocolTCP})
	}
	return open
}

// probe asks every period seconds, and gives up after so many failures in a row.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(healthName)}},
		PeriodSeconds:    period,
		TimeoutSeconds:   5,
		FailureThreshold: failures,
	}
}

// disruptionBudget has nodes drained one syncer at a time. It never keeps a node: with
// one replica that one may go, and so may those that are not ready because kcp is not
// there.
func disruptionBudget(o Options) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   typeOf(policyv1.SchemeGroupVersion, "PodDisruptionBudget"),
		ObjectMeta: metadata(o, Name),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             new(intstr.FromInt32(1)),
			Selector:                   selector(),
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}
