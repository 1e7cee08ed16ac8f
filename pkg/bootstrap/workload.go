package bootstrap

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// nonRoot is the user and group that the image names (Dockerfile).
const nonRoot int64 = 65532

// readableByGroup is the mode of the kubeconfig's file: root owns it, and the group of the pod's volumes may read it.
const readableByGroup int32 = 0o440

// gracePeriod is how many seconds a pod has to end. It finishes its writes, answers its requests, and gives up the
// Lease, which takes a few seconds.
const gracePeriod int64 = 30

// deployment returns the Deployment of the syncer. Its pod template contains nothing of the Secret and the ConfigMap:
// the syncer follows both, so that a new token restarts nothing.
func deployment(o Options) *appsv1.Deployment {
	return &appsv1.Deployment{
		TypeMeta:   typeOf(appsv1.SchemeGroupVersion, "Deployment"),
		ObjectMeta: metadata(o, Name),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(o.Replicas),
			Selector: selector(),
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				// A new pod is ready before an old one ends. Pods that wait for the Lease are ready as well: if only
				// the leader were, the rollout would wait for a new leader, and the new pods for the old leader.
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
		// The syncer needs it for the API server of the cluster. The ServiceAccount mounts none by default.
		AutomountServiceAccountToken: new(true),
		EnableServiceLinks:           new(false),
		// Without a syncer, nobody can change what kcp has placed on the cluster.
		PriorityClassName:             "system-cluster-critical",
		TerminationGracePeriodSeconds: new(gracePeriod),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   new(true),
			RunAsUser:      new(nonRoot),
			RunAsGroup:     new(nonRoot),
			FSGroup:        new(nonRoot),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		// The pods are spread over nodes so that one survives when a node fails. They may share a node if there is only
		// one.
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
		// There is no limit for CPU: a syncer that is throttled while it reads thousands of objects misses its
		// heartbeats, and its cluster counts as silent.
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		// The syncer answers as soon as it runs, so that it needs no startup probe. A restart only helps against faults
		// of the syncer itself: /healthz does not depend on kcp or the cluster, /readyz does.
		LivenessProbe:  probe("/healthz", 10, 3),
		ReadinessProbe: probe("/readyz", 5, 2),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		// These are whole directories: the kubelet never updates a single file (subPath).
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

// probe returns a probe that asks every period seconds, and fails after that many failures in a row.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(healthName)}},
		PeriodSeconds:    period,
		TimeoutSeconds:   5,
		FailureThreshold: failures,
	}
}

// disruptionBudget returns the budget by which syncers are evicted one at a time. It never blocks the drain of a node:
// with one replica that one may be evicted, and so may pods that are not ready because kcp cannot be reached.
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

// The ports that a syncer connects to.
const (
	dnsPort int32 = 53
	// httpsPort is the port of the Service kubernetes, and of kcp in many installations.
	httpsPort int32 = 443
	// apiServerPort is the port on which most API servers listen, and kcp. A NetworkPolicy applies to the address
	// behind a Service.
	apiServerPort int32 = 6443
)

// networkPolicy returns the policy that lets in requests for health, and for metrics from the namespaces that may read
// them, and lets out connections to DNS, kcp and the API server. It names no addresses but those namespaces: those of
// API servers and of kubelets cannot be known here. It fails when the kubeconfig does not say where kcp is.
func networkPolicy(o Options) (*networkingv1.NetworkPolicy, error) {
	servers := []int32{httpsPort, apiServerPort}
	if o.Kubeconfig != nil {
		port, err := kcpPort(o.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		servers = append(servers, port)
	}
	slices.Sort(servers)
	return &networkingv1.NetworkPolicy{
		TypeMeta:   typeOf(networkingv1.SchemeGroupVersion, "NetworkPolicy"),
		ObjectMeta: metadata(o, Name),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *selector(),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     ingress(o),
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{Ports: append(ports(corev1.ProtocolUDP, dnsPort), ports(corev1.ProtocolTCP, dnsPort)...)},
				{Ports: ports(corev1.ProtocolTCP, slices.Compact(servers)...)},
			},
		},
	}, nil
}

func ingress(o Options) []networkingv1.NetworkPolicyIngressRule {
	rules := []networkingv1.NetworkPolicyIngressRule{{Ports: ports(corev1.ProtocolTCP, healthPort)}}
	if !o.opensMetrics() {
		return rules
	}
	named := slices.Clone(o.MetricsFrom)
	slices.Sort(named)
	return append(rules, networkingv1.NetworkPolicyIngressRule{
		Ports: ports(corev1.ProtocolTCP, metricsPort),
		From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{
			// Only the API server sets this label.
			MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: slices.Compact(named),
			}},
		}}},
	})
}

func ports(protocol corev1.Protocol, numbers ...int32) []networkingv1.NetworkPolicyPort {
	var all []networkingv1.NetworkPolicyPort
	for _, number := range numbers {
		all = append(all, networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(number))})
	}
	return all
}

// metricsService returns the Service of /metrics.
func metricsService(o Options) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "Service"),
		ObjectMeta: metadata(o, MetricsServiceName),
		Spec: corev1.ServiceSpec{
			Selector: selector().MatchLabels,
			Ports: []corev1.ServicePort{{
				Name: metricsName, Port: metricsPort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString(metricsName),
			}},
		},
	}
}
