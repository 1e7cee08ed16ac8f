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
		"AnAutoscalerOfTheWorkload":        {"group, kind and name say so", autoscaler(`{apiVersion: apps/v1, kind: Deployment, name: web}`), webDeployment, true},
		"AnAutoscalerThatNamesAnotherOne":  {"the name is another", autoscaler(`{apiVersion: apps/v1, kind: Deployment, name: api}`), webDeployment, false},
		"AnAutoscalerOfAnotherKind":        {"the kind is another", autoscaler(`{apiVersion: apps/v1, kind: StatefulSet, name: web}`), webDeployment, false},
		"AnAutoscalerOfAnotherGroup":       {"the group is another", autoscaler(`{apiVersion: example.com/v1, kind: Deployment, name: web}`), webDeployment, false},
		"AnAutoscalerOfAnotherVersion":     {"versions are views of one object", autoscaler(`{apiVersion: apps/v1beta2, kind: Deployment, name: web}`), webDeployment, true},
		"AnAutoscalerWithoutAGroup":        {"that is the core group", autoscaler(`{kind: Deployment, name: web}`), webDeployment, false},
		"AnAutoscalerOfNothing":            {"it names nothing", autoscaler(`{}`), webDeployment, false},
		"AnAutoscalerOfAnOddVersion":       {"there is no such version", autoscaler(`{apiVersion: a/b/c, kind: Deployment, name: web}`), webDeployment, false},
		"AnAutoscalerWhoseTargetIsAText":   {"it cannot be read", autoscaler(`web`), webDeployment, false},
		"AnAutoscalerInTheFirstVersion":    {"it is the same kind", `{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`, webDeployment, true},
		"AServiceThatSelectsThePods":       {"every label of the selector is there", service(`{selector: {app: web}}`), webDeployment, true},
		"AServiceThatSelectsMore":          {"one label is missing", service(`{selector: {app: web, zone: a}}`), webDeployment, false},
		"AServiceWithAnEmptySelector":      {"somebody else keeps its endpoints", service(`{selector: {}}`), webDeployment, false},
		"AServiceWithoutASelector":         {"likewise", service(`{}`), webDeployment, false},
		"AServiceOfAnExternalName":         {"its selector is ignored", service(`{type: ExternalName, externalName: example.com, selector: {app: web}}`), webDeployment, false},
		"AServiceWithAnOddSelector":        {"it cannot be read", service(`{selector: {app: 7}}`), webDeployment, false},
		"AServiceOfACronJob":               {"the labels of its pods count", service(`{selector: {app: nightly}}`), nightlyJobs, true},
		"AServiceOfACronJobsJobs":          {"those of its Jobs do not", service(`{selector: {app: job}}`), nightlyJobs, false},
		"AServiceThatNamesTheSetsPods":     {"the StatefulSet says that it is its own, selector or not", service(`{clusterIP: None}`), database, true},
		"AServiceThatADeploymentNames":     {"serviceName is a StatefulSet's", service(`{}`), `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {serviceName: db-peers}}`, false},
		"AServiceOfOnePod":                 {"a label that the controller adds is in no template", service(`{selector: {app: web, statefulset.kubernetes.io/pod-name: web-0}}`), webDeployment, false},
		"AServiceOfAConfigMap":             {"only what has a pod template runs pods", service(`{selector: {app: web}}`), settings, false},
		"ABudgetForThePods":                {"its selector matches", budget(`{selector: {matchLabels: {app: web}}}`), webDeployment, true},
		"ABudgetByExpressions":             {"expressions count as well", budget(`{selector: {matchExpressions: [{key: tier, operator: In, values: [back, front]}]}}`), webDeployment, true},
		"ABudgetForOthers":                 {"one of the expressions does not match", budget(`{selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: DoesNotExist}]}}`), webDeployment, false},
		"ABudgetForAll":                    {"an empty selector matches all pods, those without labels too", budget(`{selector: {}}`), bareJob, true},
		"ABudgetForNone":                   {"no selector matches none", budget(`{minAvailable: 1}`), webDeployment, false},
		"ABudgetOfNull":                    {"null is no selector", budget(`{selector: null}`), webDeployment, false},
		"ABudgetOfAnOddOperator":           {"it is not valid", budget(`{selector: {matchExpressions: [{key: app, operator: Likes, values: [web]}]}}`), webDeployment, false},
		"ABudgetOfAnOddSelector":           {"it cannot be read", budget(`{selector: [web]}`), webDeployment, false},
		"ABudgetForAllAndAConfigMap":       {"a ConfigMap runs no pods", budget(`{selector: {}}`), settings, false},
		"APolicyForThePods":                {"its selector matches", networkPolicy(`{podSelector: {matchLabels: {app: web}}}`), webDeployment, true},
		"APolicyForOthers":                 {"it does not", networkPolicy(`{podSelector: {matchLabels: {app: api}}}`), webDeployment, false},
		"APolicyForAll":                    {"an empty selector is all workloads", networkPolicy(`{podSelector: {}}`), bareJob, true},
		"APolicyWithoutASelector":          {"that is an empty one", networkPolicy(`{policyTypes: [Ingress]}`), webDeployment, true},
		"APolicyOfAnOddSelector":           {"it cannot be read, and is not all", networkPolicy(`{podSelector: everything}`), webDeployment, false},
		"AnIngressOfTheService":            {"a rule names it", ingress(`{rules: [{host: h}, {http: {paths: [{backend: {service: {name: api}}}, {backend: {service: {name: web}}}]}}]}`), webService, true},
		"AnIngressByDefault":               {"so does its default backend", ingress(`{defaultBackend: {service: {name: web}}}`), webService, true},
		"AnIngressOfOthers":                {"it names others", ingress(`{rules: [{http: {paths: [{backend: {service: {name: api}}}]}}]}`), webService, false},
		"AnIngressOfAResource":             {"that is no Service", ingress(`{defaultBackend: {resource: {kind: Service, name: web}}}`), webService, false},
		"AnIngressAndAWorkloadOfThatName":  {"it goes with Services, not with what these serve", ingress(`{defaultBackend: {service: {name: web}}}`), webDeployment, false},
		"AConfigMap":                       {"it is needed, but follows nothing", settings, webDeployment, false},
		"AWorkload":                        {"it leads", webDeployment, webDeployment, false},
		"AnAutoscalerInAnotherGroup":       {"another group's kind of that name is another kind", `{apiVersion: example.com/v1, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`, webDeployment, false},
		"ATemplateWithLabelsThatAreNoText": {"those that are count", service(`{selector: {app: web}}`), `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web, size: 7}}, spec: {containers: []}}}}`, true},
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
