package kinds

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	webDeployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web, tier: front}}, spec: {containers: []}}}}`
	bareJob       = `{apiVersion: batch/v1, kind: Job, metadata: {name: web}, spec: {template: {spec: {containers: []}}}}`
	nightlyJobs   = `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {jobTemplate: {metadata: {labels: {app: job}}, spec: {template: {metadata: {labels: {app: nightly}}, spec: {containers: []}}}}}}`
	database      = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {serviceName: db-peers, template: {metadata: {labels: {app: db}}, spec: {containers: []}}}}`
	webService    = `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}`
	settings      = `{apiVersion: v1, kind: ConfigMap, metadata: {name: web, labels: {app: web}}}`
)

func autoscaler(target string) string {
	return "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: " + target + "}}"
}

func service(spec string) string {
	return "{apiVersion: v1, kind: Service, metadata: {name: db-peers}, spec: " + spec + "}"
}

func budget(spec string) string {
	return "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: " + spec + "}"
}

func networkPolicy(spec string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: " + spec + "}"
}

func ingress(spec string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: " + spec + "}"
}

func TestAFollowerGoesWhereWhatItBelongsToGoes(t *testing.T) {
	cases := map[string]struct {
		reason           string
		follower, leader string
		want             bool
	}{
		"an autoscaler of the workload":           {"group, kind and name say so", autoscaler(`{apiVersion: apps/v1, kind: Deployment, name: web}`), webDeployment, true},
		"an autoscaler that names another one":    {"the name is another", autoscaler(`{apiVersion: apps/v1, kind: Deployment, name: api}`), webDeployment, false},
		"an autoscaler of another kind":           {"the kind is another", autoscaler(`{apiVersion: apps/v1, kind: StatefulSet, name: web}`), webDeployment, false},
		"an autoscaler of another group":          {"the group is another", autoscaler(`{apiVersion: example.com/v1, kind: Deployment, name: web}`), webDeployment, false},
		"an autoscaler of another version":        {"versions are views of one object", autoscaler(`{apiVersion: apps/v1beta2, kind: Deployment, name: web}`), webDeployment, true},
		"an autoscaler without a group":           {"that is the core group", autoscaler(`{kind: Deployment, name: web}`), webDeployment, false},
		"an autoscaler of nothing":                {"it names nothing", autoscaler(`{}`), webDeployment, false},
		"an autoscaler of an odd version":         {"there is no such version", autoscaler(`{apiVersion: a/b/c, kind: Deployment, name: web}`), webDeployment, false},
		"an autoscaler whose target is a text":    {"it cannot be read", autoscaler(`web`), webDeployment, false},
		"an autoscaler in the first version":      {"it is the same kind", `{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`, webDeployment, true},
		"a Service that selects the pods":         {"every label of the selector is there", service(`{selector: {app: web}}`), webDeployment, true},
		"a Service that selects more":             {"one label is missing", service(`{selector: {app: web, zone: a}}`), webDeployment, false},
		"a Service with an empty selector":        {"somebody else keeps its endpoints", service(`{selector: {}}`), webDeployment, false},
		"a Service without a selector":            {"likewise", service(`{}`), webDeployment, false},
		"a Service of an ExternalName":            {"its selector is ignored", service(`{type: ExternalName, externalName: example.com, selector: {app: web}}`), webDeployment, false},
		"a Service with an odd selector":          {"it cannot be read", service(`{selector: {app: 7}}`), webDeployment, false},
		"a Service of a CronJob":                  {"the labels of its pods count", service(`{selector: {app: nightly}}`), nightlyJobs, true},
		"a Service of a CronJobs Jobs":            {"those of its Jobs do not", service(`{selector: {app: job}}`), nightlyJobs, false},
		"a Service that names the set's pods":     {"the StatefulSet says that it is its own, selector or not", service(`{clusterIP: None}`), database, true},
		"a Service that a Deployment names":       {"serviceName is a StatefulSet's", service(`{}`), `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {serviceName: db-peers}}`, false},
		"a Service of one pod":                    {"a label that the controller adds is in no template", service(`{selector: {app: web, statefulset.kubernetes.io/pod-name: web-0}}`), webDeployment, false},
		"a Service of a ConfigMap":                {"only what has a pod template runs pods", service(`{selector: {app: web}}`), settings, false},
		"a budget for the pods":                   {"its selector matches", budget(`{selector: {matchLabels: {app: web}}}`), webDeployment, true},
		"a budget by expressions":                 {"expressions count as well", budget(`{selector: {matchExpressions: [{key: tier, operator: In, values: [back, front]}]}}`), webDeployment, true},
		"a budget for others":                     {"one of the expressions does not match", budget(`{selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: DoesNotExist}]}}`), webDeployment, false},
		"a budget for all":                        {"an empty selector matches all pods, those without labels too", budget(`{selector: {}}`), bareJob, true},
		"a budget for none":                       {"no selector matches none", budget(`{minAvailable: 1}`), webDeployment, false},
		"a budget of null":                        {"null is no selector", budget(`{selector: null}`), webDeployment, false},
		"a budget of an odd operator":             {"it is not valid", budget(`{selector: {matchExpressions: [{key: app, operator: Likes, values: [web]}]}}`), webDeployment, false},
		"a budget of an odd selector":             {"it cannot be read", budget(`{selector: [web]}`), webDeployment, false},
		"a budget for all and a ConfigMap":        {"a ConfigMap runs no pods", budget(`{selector: {}}`), settings, false},
		"a policy for the pods":                   {"its selector matches", networkPolicy(`{podSelector: {matchLabels: {app: web}}}`), webDeployment, true},
		"a policy for others":                     {"it does not", networkPolicy(`{podSelector: {matchLabels: {app: api}}}`), webDeployment, false},
		"a policy for all":                        {"an empty selector is all workloads", networkPolicy(`{podSelector: {}}`), bareJob, true},
		"a policy without a selector":             {"that is an empty one", networkPolicy(`{policyTypes: [Ingress]}`), webDeployment, true},
		"a policy of an odd selector":             {"it cannot be read, and is not all", networkPolicy(`{podSelector: everything}`), webDeployment, false},
		"an Ingress of the Service":               {"a rule names it", ingress(`{rules: [{host: h}, {http: {paths: [{backend: {service: {name: api}}}, {backend: {service: {name: web}}}]}}]}`), webService, true},
		"an Ingress by default":                   {"so does its default backend", ingress(`{defaultBackend: {service: {name: web}}}`), webService, true},
		"an Ingress of others":                    {"it names others", ingress(`{rules: [{http: {paths: [{backend: {service: {name: api}}}]}}]}`), webService, false},
		"an Ingress of a resource":                {"that is no Service", ingress(`{defaultBackend: {resource: {kind: Service, name: web}}}`), webService, false},
		"an Ingress and a workload of that name":  {"it goes with Services, not with what these serve", ingress(`{defaultBackend: {service: {name: web}}}`), webDeployment, false},
		"a ConfigMap":                             {"it is needed, but follows nothing", settings, webDeployment, false},
		"a workload":                              {"it leads", webDeployment, webDeployment, false},
		"an autoscaler in another group":          {"another group's kind of that name is another kind", `{apiVersion: example.com/v1, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`, webDeployment, false},
		"a template with labels that are no text": {"those that are count", service(`{selector: {app: web}}`), `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web, size: 7}}, spec: {containers: []}}}}`, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Kinds{}).Follows(parse(t, tc.follower), parse(t, tc.leader)); got != tc.want {
				t.Errorf("follows: %t, but %s", got, tc.reason)
			}
		})
	}
}

func TestNothingFollowsAcrossNamespaces(t *testing.T) {
	follower, leader := parse(t, webService), parse(t, webDeployment)
	follower.SetNamespace("one")
	leader.SetNamespace("two")
	if (Kinds{}).Follows(follower, leader) {
		t.Error("a Service follows a workload of another namespace")
	}
	leader.SetNamespace("one")
	if !(Kinds{}).Follows(follower, leader) {
		t.Error("a Service does not follow a workload of its namespace")
	}
}

func TestKindsLeadOrFollowOrNeither(t *testing.T) {
	cases := map[schema.GroupKind]struct{ follows, isWorkload bool }{
		{Group: "apps", Kind: "Deployment"}:                     {isWorkload: true},
		{Group: "apps", Kind: "StatefulSet"}:                    {isWorkload: true},
		{Group: "apps", Kind: "DaemonSet"}:                      {isWorkload: true},
		{Group: "batch", Kind: "Job"}:                           {isWorkload: true},
		{Group: "batch", Kind: "CronJob"}:                       {isWorkload: true},
		{Group: "apps", Kind: "ReplicaSet"}:                     {},
		{Kind: "Deployment"}:                                    {},
		{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: {follows: true},
		{Kind: "Service"}:                                       {follows: true},
		{Group: "serving.knative.dev", Kind: "Service"}:         {},
		{Group: "policy", Kind: "PodDisruptionBudget"}:          {follows: true},
		{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:     {follows: true},
		{Group: "networking.k8s.io", Kind: "Ingress"}:           {follows: true},
		{Kind: "ConfigMap"}:                                     {},
	}
	for gk, want := range cases {
		if got := (Kinds{}).MayFollow(gk); got != want.follows {
			t.Errorf("%s may follow: %t, want %t", gk, got, want.follows)
		}
		if got := (Kinds{}).IsWorkload(gk); got != want.isWorkload {
			t.Errorf("%s is a workload: %t, want %t", gk, got, want.isWorkload)
		}
	}
}
