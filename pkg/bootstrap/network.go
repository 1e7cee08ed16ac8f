package bootstrap

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Where a syncer connects to.
const (
	dnsPort int32 = 53
	// httpsPort is the port of the Service kubernetes, and of many a kcp.
	httpsPort int32 = 443
	// apiServerPort is what most API servers, and kcp, listen on. Policies are held
	// against the address behind a Service.
	apiServerPort int32 = 6443
)

// networkPolicy lets in who asks for health, and from the namespaces that may who reads
// metrics, and out to DNS, kcp and the API server. Beside that it names ports alone: there
// is no telling the addresses of an API server, or of kubelets that probe. It fails when the
// kubeconfig does not say where kcp is.
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
			// The API server sets the label, and lets nobody change it.
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

// metricsService leads to /metrics.
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
