package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// tmcSpecs are those of the kinds of tmc itself: one that the export serves, and one
// that is defined in the provider workspace.
var tmcSpecs = map[string]servedSpec{
	"workloadplacements": {
		manifest: `
apiVersion: tmc.kcp.io/v1alpha1
kind: WorkloadPlacement
metadata: {name: web, namespace: default, creationTimestamp: null}
spec:
  workloadSelector: {labelSelector: {matchLabels: {app: web}}, kinds: [Deployment, Widget.example.com]}
  clusterSelector: {labelSelector: {matchExpressions: [{key: tier, operator: In, values: [gold]}]}, locations: [europe-west], clusterNames: [east, west]}
  tolerations: [{key: example.com/maintenance, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]
  numberOfClusters: 2
status: {workloads: 0}
`,
		defaults: "spec: {strategy: Spread, replicas: Duplicated}",
		accepted: map[string]string{
			"without a spec":                      "spec: null",
			"as a Go client writes an empty one":  "spec: {workloadSelector: {labelSelector: null, kinds: null}, clusterSelector: {labelSelector: null, locations: null, clusterNames: null}, tolerations: null, numberOfClusters: null}",
			"in turn":                             "spec: {strategy: RoundRobin}",
			"on the emptiest":                     "spec: {strategy: LeastLoaded}",
			"on the preferred":                    "spec: {strategy: Affinity, preferences: [{locations: [europe-west]}, {labelSelector: {matchLabels: {tier: gold}}}]}",
			"with preferences that are none":      "spec: {preferences: []}",
			"divided":                             "spec: {replicas: Divided}",
			"divided by weights":                  "spec: {replicas: Divided, divideBy: Weights, weights: [{clusterNames: [east], weight: 2}, {weight: 0}]}",
			"divided by weights, as by default":   "spec: {replicas: Divided, weights: [{clusterNames: [east], weight: 1000000}]}",
			"divided by capacity":                 "spec: {replicas: Divided, divideBy: FreeCapacity}",
			"with weights that are none":          "spec: {weights: []}",
			"with each strategy for the status":   "spec: {statusStrategy: Majority}",
			"with each way to count":              "spec: {statusCounters: PerCluster}",
			"tolerating everything":               "spec: {tolerations: [{operator: Exists}]}",
			"tolerating one value":                "spec: {tolerations: [{key: a, value: b}, {key: a, operator: Equal, value: c, effect: NoSchedule}, {key: a}]}",
			"tolerating all effects for a while":  "spec: {tolerations: [{key: a, operator: Exists, tolerationSeconds: 0}]}",
			"with all that selectors can say":     "spec: {clusterSelector: {labelSelector: {matchLabels: {example.com/tier: '', a: b_C.d-e}, matchExpressions: [{key: example.com/x, operator: NotIn, values: [a, '']}, {key: b, operator: Exists}, {key: c, operator: DoesNotExist, values: []}]}}}",
			"with the longest name of a cluster":  "spec: {clusterSelector: {clusterNames: [" + strings.Repeat("a", 63) + "]}}",
			"with a kind of a deep group":         "spec: {workloadSelector: {kinds: [NetworkPolicy.networking.k8s.io]}}",
			"with a field that is null on a whim": "spec: {strategy: null}",
		},
		refused: map[string]refusal{
			"with an unknown strategy":             {"spec: {strategy: Random}", "spec.strategy", `supported values: "Spread", "RoundRobin", "LeastLoaded", "Affinity"`},
			"with unknown replicas":                {"spec: {replicas: Halved}", "spec.replicas", `supported values: "Duplicated", "Divided"`},
			"divided by what is unknown":           {"spec: {replicas: Divided, divideBy: Luck}", "spec.divideBy", `supported values: "Weights", "FreeCapacity"`},
			"with an unknown strategy for status":  {"spec: {statusStrategy: union}", "spec.statusStrategy", `supported values: "Union", "Majority", "Latest"`},
			"with an unknown way to count":         {"spec: {statusCounters: per-cluster}", "spec.statusCounters", `supported values: "Sum", "PerCluster"`},
			"on no cluster":                        {"spec: {numberOfClusters: 0}", "spec.numberOfClusters", "greater than or equal to 1"},
			"on two and a half clusters":           {"spec: {numberOfClusters: 2.5}", "spec.numberOfClusters", "must be of type int32"},
			"with weights but duplicated":          {"spec: {weights: [{clusterNames: [east], weight: 2}]}", "spec.weights", "expected only with replicas Divided and divideBy Weights"},
			"with weights but by capacity":         {"spec: {replicas: Divided, divideBy: FreeCapacity, weights: [{weight: 2}]}", "spec.weights", "expected only with replicas Divided and divideBy Weights"},
			"divided by something but duplicated":  {"spec: {divideBy: Weights}", "spec.divideBy", "expected only with replicas Divided"},
			"with a weight below 0":                {"spec: {replicas: Divided, weights: [{weight: -1}]}", "spec.weights[0].weight", "greater than or equal to 0"},
			"with a weight too large":              {"spec: {replicas: Divided, weights: [{weight: 1000001}]}", "spec.weights[0].weight", "less than or equal to 1000000"},
			"with a weight left out":               {"spec: {replicas: Divided, weights: [{clusterNames: [east]}]}", "spec.weights[0].weight", "Required value"},
			"with preferences but spread":          {"spec: {preferences: [{clusterNames: [east]}]}", "spec.preferences", "expected only with strategy Affinity"},
			"with affinity to nothing":             {"spec: {strategy: Affinity}", "spec.preferences", "expected at least one with strategy Affinity"},
			"with affinity to an empty list":       {"spec: {strategy: Affinity, preferences: []}", "spec.preferences", "expected at least one with strategy Affinity"},
			"with what is no cluster":              {"spec: {clusterSelector: {clusterNames: [East]}}", "spec.clusterSelector.clusterNames[0]", "expected the name of a cluster"},
			"with a name too long":                 {"spec: {clusterSelector: {clusterNames: [" + strings.Repeat("a", 64) + "]}}", "spec.clusterSelector.clusterNames[0]", "may not be more than 63 bytes"},
			"with a cluster twice":                 {"spec: {clusterSelector: {clusterNames: [east, east]}}", "spec.clusterSelector.clusterNames[1]", "Duplicate value"},
			"with what is no kind":                 {"spec: {workloadSelector: {kinds: [apps/Deployment]}}", "spec.workloadSelector.kinds[0]", "expected a kind, for instance Deployment or Widget.example.com"},
			"with an empty kind":                   {"spec: {workloadSelector: {kinds: ['']}}", "spec.workloadSelector.kinds[0]", "expected a kind"},
			"with an unknown operator":             {"spec: {workloadSelector: {labelSelector: {matchExpressions: [{key: a, operator: Is}]}}}", "spec.workloadSelector.labelSelector.matchExpressions[0].operator", `supported values: "In", "NotIn", "Exists", "DoesNotExist"`},
			"in nothing":                           {"spec: {clusterSelector: {labelSelector: {matchExpressions: [{key: a, operator: In}]}}}", "spec.clusterSelector.labelSelector.matchExpressions[0].values", "expected at least one with operator In or NotIn"},
			"with values that exist":               {"spec: {clusterSelector: {labelSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}}", "spec.clusterSelector.labelSelector.matchExpressions[0].values", "expected none with operator Exists or DoesNotExist"},
			"with a label's key that is none":      {"spec: {clusterSelector: {labelSelector: {matchLabels: {a b: c}}}}", "spec.clusterSelector.labelSelector.matchLabels", "expected keys that are qualified names"},
			"with a label's value that is none":    {"spec: {clusterSelector: {labelSelector: {matchLabels: {a: b c}}}}", "spec.clusterSelector.labelSelector.matchLabels.a", "should match"},
			"preferring by a bad operator":         {"spec: {strategy: Affinity, preferences: [{labelSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}]}", "spec.preferences[0].labelSelector.matchExpressions[0].operator", "supported values"},
			"weighing by a bad label":              {"spec: {replicas: Divided, weights: [{weight: 1, labelSelector: {matchLabels: {a: b c}}}]}", "spec.weights[0].labelSelector.matchLabels.a", "should match"},
			"tolerating by an unknown operator":    {"spec: {tolerations: [{key: a, operator: Gt, value: '1'}]}", "spec.tolerations[0].operator", `supported values: "Equal", "Exists"`},
			"tolerating an unknown effect":         {"spec: {tolerations: [{key: a, effect: PreferNoSchedule}]}", "spec.tolerations[0].effect", `supported values: "NoSchedule", "NoExecute"`},
			"tolerating no key":                    {"spec: {tolerations: [{key: ''}]}", "spec.tolerations[0].operator", "expected Exists where key is empty"},
			"tolerating nothing that is said":      {"spec: {tolerations: [{}]}", "spec.tolerations[0].operator", "expected Exists where key is empty"},
			"tolerating a value that exists":       {"spec: {tolerations: [{key: a, operator: Exists, value: b}]}", "spec.tolerations[0].value", "expected none with operator Exists"},
			"tolerating NoSchedule for a while":    {"spec: {tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]}", "spec.tolerations[0].tolerationSeconds", "expected only with effect NoExecute"},
			"with more tolerations than can be":    {"spec: {tolerations: [" + strings.TrimSuffix(strings.Repeat("{operator: Exists},", 65), ",") + "]}", "spec.tolerations", "must have at most 64 items"},
			"with more preferences than are asked": {"spec: {strategy: Affinity, preferences: [" + strings.TrimSuffix(strings.Repeat("{locations: [a]},", 17), ",") + "]}", "spec.preferences", "must have at most 16 items"},
		},
		changes: map[string]string{
			"in every part": "spec: {workloadSelector: {kinds: [Job]}, clusterSelector: {clusterNames: [north]}, numberOfClusters: 1, strategy: RoundRobin, replicas: Divided}",
		},
		fixed: map[string]refusal{
			"to no cluster": {"spec: {numberOfClusters: 0}", "spec.numberOfClusters", "greater than or equal to 1"},
		},
		zeros: "status: {workloads: 0}",
	},
	"clusterregistrations": {
		manifest: `
apiVersion: tmc.kcp.io/v1alpha1
kind: ClusterRegistration
metadata: {name: east, creationTimestamp: null, labels: {tier: gold}}
spec:
  location: europe-west
  taints:
  - {key: example.com/maintenance, effect: NoSchedule}
  - {key: example.com/maintenance, effect: NoExecute, value: soon, timeAdded: "2026-01-02T03:04:05Z"}
  allowedWorkspaces: ["root:team-a", "root:org:*"]
  transform:
    namespacePrefix: tenant-
    namespaceMode: Isolated
    imageRegistry: registry.example.com:5000/mirror
    resourceLimits: {cpu: 1500m, memory: 2Gi, example.com/gpu: 2}
    labels: {site: east}
    annotations: {example.com/Owner: Jane Doe}
`,
		defaults: "spec: {deniedNamespaces: ['kube-*', '*-system', openshift, 'openshift-*', cert-manager]}",
		accepted: map[string]string{
			"without a spec":             "spec: null",
			"with an empty transform":    "spec: {transform: null}",
			"cordoned":                   "spec: {unschedulable: true}",
			"drained":                    "spec: {drain: true}",
			"with the longest name":      "metadata: {name: " + strings.Repeat("a", 63) + "}",
			"with one letter":            "metadata: {name: a}",
			"for everybody":              "spec: {allowedWorkspaces: []}",
			"with all namespaces":        "spec: {deniedNamespaces: []}",
			"with no namespace at all":   "spec: {deniedNamespaces: ['*']}",
			"with null for the default":  "spec: {deniedNamespaces: null}",
			"with what it makes itself":  "spec: {providedByCluster: [secrets/*-tls, shop-*/Secret/a.b, certificates.cert-manager.io/*]}",
			"with namespaces of others":  "spec: {allowedNamespaces: [default, 'shop-*']}",
			"with all of others":         "spec: {allowedNamespaces: ['*']}",
			"with none of others":        "spec: {allowedNamespaces: []}",
			"for the root":               "spec: {allowedWorkspaces: [root]}",
			"for who is below the root":  "spec: {allowedWorkspaces: ['root:*']}",
			"with a taint without value": "spec: {taints: [{key: a, value: '', effect: NoExecute}]}",
			"isolated":                   "spec: {isolation: Cluster}",
			"isolated with no group":     "spec: {isolation: Cluster, isolationGroup: ''}",
			"isolated with its group":    "spec: {isolation: Group, isolationGroup: eu-prod}",
			"with the longest group":     "spec: {isolation: Group, isolationGroup: " + strings.Repeat("a", 50) + "}",
			"shared":                     "spec: {isolation: Shared}",
			"with null for isolation":    "spec: {isolation: null, isolationGroup: null}",
		},
		refused: map[string]refusal{
			"with a name with a dot":          {"metadata: {name: east.de}", "metadata", "name: expected a DNS label"},
			"with a name too long":            {"metadata: {name: " + strings.Repeat("a", 64) + "}", "metadata", "of at most 63 characters"},
			"in too long a place":             {"spec: {location: " + strings.Repeat("a", 64) + "}", "spec.location", "may not be more than 63 bytes"},
			"with an unknown effect":          {"spec: {taints: [{key: a, effect: PreferNoSchedule}]}", "spec.taints[0].effect", `supported values: "NoSchedule", "NoExecute"`},
			"with no effect":                  {"spec: {taints: [{key: a}]}", "spec.taints[0].effect", "Required value"},
			"with a taint without a key":      {"spec: {taints: [{effect: NoExecute}]}", "spec.taints[0].key", "Required value"},
			"with a taint's key that is none": {"spec: {taints: [{key: a/b/c, effect: NoExecute}]}", "spec.taints[0].key", "expected a qualified name"},
			"with a taint of tmc itself":      {"spec: {taints: [{key: tmc.kcp.io/unreachable, effect: NoExecute}]}", "spec.taints[0].key", "expected a key outside of tmc.kcp.io"},
			"with a taint's value of words":   {"spec: {taints: [{key: a, value: b c, effect: NoExecute}]}", "spec.taints[0].value", "should match"},
			"with a taint twice":              {"spec: {taints: [{key: a, effect: NoExecute}, {key: a, value: b, effect: NoExecute}]}", "spec.taints[1]", "Duplicate value"},
			"with a taint at no time":         {"spec: {taints: [{key: a, effect: NoExecute, timeAdded: now}]}", "spec.taints[0].timeAdded", "must be of type date-time"},
			"for a path with slashes":         {"spec: {allowedWorkspaces: [root/team-a]}", "spec.allowedWorkspaces[0]", "expected the path of a workspace, for instance root:team-a"},
			"for a star in the middle":        {"spec: {allowedWorkspaces: ['root:*:a']}", "spec.allowedWorkspaces[0]", "expected the path of a workspace"},
			"for the start of names":          {"spec: {allowedWorkspaces: ['root:team-*']}", "spec.allowedWorkspaces[0]", "expected the path of a workspace"},
			"with an upper-case namespace":    {"spec: {deniedNamespaces: [Kube-*]}", "spec.deniedNamespaces[0]", "expected the name of a namespace, in which * stands for any characters"},
			"with an empty namespace":         {"spec: {deniedNamespaces: ['']}", "spec.deniedNamespaces[0]", "at least 1 chars long"},
			"with a namespace twice":          {"spec: {deniedNamespaces: [a, a]}", "spec.deniedNamespaces[1]", "Duplicate value"},
			"with a name alone provided":      {"spec: {providedByCluster: [a-tls]}", "spec.providedByCluster[0]", "expected KIND/NAME or NAMESPACE/KIND/NAME, in which * stands for any characters of a name, for instance secrets/*-tls"},
			"with another pattern provided":   {"spec: {providedByCluster: ['secrets/[ab]']}", "spec.providedByCluster[0]", "expected KIND/NAME"},
			"with no kind provided":           {"spec: {providedByCluster: ['*/a']}", "spec.providedByCluster[0]", "expected KIND/NAME"},
			"with too much provided":          {"spec: {providedByCluster: [a/b/c/d]}", "spec.providedByCluster[0]", "expected KIND/NAME"},
			"with an allowed path":            {"spec: {allowedNamespaces: [root:shop]}", "spec.allowedNamespaces[0]", "expected the name of a namespace, in which * stands for any characters, for instance shop-*"},
			"with an allowed empty name":      {"spec: {allowedNamespaces: ['']}", "spec.allowedNamespaces[0]", "at least 1 chars long"},
			"with an allowed one twice":       {"spec: {allowedNamespaces: [a, a]}", "spec.allowedNamespaces[1]", "Duplicate value"},
			"for a workspace twice":           {"spec: {allowedWorkspaces: [root, root]}", "spec.allowedWorkspaces[1]", "Duplicate value"},
			"with an unknown isolation":       {"spec: {isolation: None}", "spec.isolation", `supported values: "Cluster", "Group", "Shared"`},
			"in a group without a name":       {"spec: {isolation: Group}", "spec.isolationGroup", "expected the name of a group where isolation is Group"},
			"in a group with an empty name":   {"spec: {isolation: Group, isolationGroup: ''}", "spec.isolationGroup", "expected the name of a group where isolation is Group"},
			"isolated and in a group":         {"spec: {isolation: Cluster, isolationGroup: eu}", "spec.isolationGroup", "and none elsewhere"},
			"in a group and not isolated":     {"spec: {isolationGroup: eu}", "spec.isolationGroup", "and none elsewhere"},
			"in what names no group":          {"spec: {isolation: Group, isolationGroup: EU}", "spec.isolationGroup", "expected a DNS label"},
			"in a group with too long a name": {"spec: {isolation: Group, isolationGroup: " + strings.Repeat("a", 51) + "}", "spec.isolationGroup", "may not be more than 50 bytes"},
		},
		changes: map[string]string{
			"to be cordoned": "spec: {unschedulable: true}",
			"to be isolated": "spec: {isolation: Cluster}",
			"to a group":     "spec: {isolation: Group, isolationGroup: eu}",
			"in all":         "spec: {location: us, taints: [], allowedWorkspaces: [], transform: null}",
		},
		fixed: map[string]refusal{
			"to a bad taint": {"spec: {taints: [{key: a, effect: Never}]}", "spec.taints[0].effect", "supported values"},
		},
	},
}

// transformSpecs are the rules of clusters, and what is said of those that are refused.
var transformSpecs = map[string]refusal{
	"nothing":                         {patch: "{}"},
	"a prefix":                        {patch: "namespacePrefix: a"},
	"a prefix with a hyphen":          {patch: "namespacePrefix: tenant-"},
	"a prefix with a digit":           {patch: "namespacePrefix: 1-"},
	"no prefix":                       {patch: "namespacePrefix: ''"},
	"a prefix that begins otherwise":  {patch: "namespacePrefix: kuba-"},
	"the longest prefix":              {patch: "namespacePrefix: " + strings.Repeat("a", 32)},
	"a longer prefix":                 {"namespacePrefix: " + strings.Repeat("a", 33), "namespacePrefix", "may not be more than 32 bytes"},
	"a prefix that begins no name":    {"namespacePrefix: -a", "namespacePrefix", "expected the beginning of a name"},
	"a prefix with capitals":          {"namespacePrefix: Team", "namespacePrefix", "expected the beginning of a name"},
	"a prefix of Kubernetes":          {"namespacePrefix: kube-a", "namespacePrefix", "must not begin names of the form kube-"},
	"a prefix that may be Kubernetes": {"namespacePrefix: k", "namespacePrefix", "must not begin names of the form kube-"},
	"exclusive namespaces":            {patch: "namespaceMode: Exclusive"},
	"shared namespaces":               {patch: "namespaceMode: Shared"},
	"another mode":                    {"namespaceMode: isolated", "namespaceMode", `supported values: "Exclusive", "Isolated", "Shared"`},
	"no registry":                     {patch: "imageRegistry: ''"},
	"a registry":                      {patch: "imageRegistry: registry.example.com"},
	"a registry with all":             {patch: "imageRegistry: Registry.example.com:5000/a__b/c-d.e"},
	"a registry on this machine":      {patch: "imageRegistry: localhost"},
	"a registry on another machine":   {patch: "imageRegistry: host:5000"},
	"a registry by address":           {patch: "imageRegistry: 10.0.0.1"},
	"a registry by IPv6 address":      {patch: "imageRegistry: '[fd00::1]:5000/mirror'"},
	"a registry by IPv6 address only": {patch: "imageRegistry: '[::1]'"},
	"a registry in dashes":            {patch: "imageRegistry: a-b.c--d/e---f"},
	"a registry with a long path":     {patch: "imageRegistry: a.b/" + strings.Repeat("a", 236)},
	"a registry with a longer path":   {"imageRegistry: a.b/" + strings.Repeat("a", 237), "imageRegistry", "may not be more than 240 bytes"},
	"a registry that is none":         {"imageRegistry: mirror", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry that is a path":       {"imageRegistry: team/mirror", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a URL as registry":               {"imageRegistry: https://registry.example.com", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with a slash":         {"imageRegistry: registry.example.com/", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with no port":         {"imageRegistry: 'registry.example.com:'", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with a tag":           {"imageRegistry: registry.example.com/a:1", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with a digest":        {"imageRegistry: registry.example.com/a@sha256", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with capitals":        {"imageRegistry: registry.example.com/Mirror", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with a space":         {"imageRegistry: 'registry.example.com/a b'", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with underscores":     {"imageRegistry: registry_a.example.com", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"a registry with three of them":   {"imageRegistry: a.b/c___d", "imageRegistry", "expected HOST[:PORT][/PATH]"},
	"caps of all forms":               {patch: "resourceLimits: {cpu: '0.5', memory: 1e9, ephemeral-storage: '1.5', hugepages-2Mi: 4Mi, example.com/gpu: 1k}"},
	"a cap by number":                 {patch: "resourceLimits: {cpu: 2}"},
	"a cap of nothing":                {"resourceLimits: {cpu: 0}", "resourceLimits", "expected quantities of more than 0"},
	"a cap of nothing, in words":      {"resourceLimits: {cpu: 0m}", "resourceLimits", "expected quantities of more than 0"},
	"a cap below nothing":             {"resourceLimits: {cpu: -1}", "resourceLimits", "expected quantities of more than 0"},
	"a cap below nothing, in words":   {"resourceLimits: {memory: -1Gi}", "resourceLimits", "expected quantities of more than 0"},
	"a cap that takes hours to add":   {"resourceLimits: {memory: 1e2000000000}", "resourceLimits.memory", "should match"},
	"labels of namespaces":            {patch: "namespaceLabels: [team, example.com/tier, pod-security.kubernetes.io/*, '*']"},
	"half a key of a namespace":       {"namespaceLabels: [istio-*]", "namespaceLabels[0]", "expected a key"},
	"no key of a namespace":           {"namespaceAnnotations: ['a b']", "namespaceAnnotations[0]", "expected a key"},
	"keys to drop":                    {patch: "dropLabels: [team, example.com/Tier, example.com/, notkcp.io/a]"},
	"half a key to drop":              {"dropLabels: [istio-*]", "dropLabels[0]", "expected a key"},
	"a path to drop":                  {"dropAnnotations: [a/b/c]", "dropAnnotations[0]", "expected a key"},
	"nothing to drop":                 {"dropLabels: ['']", "dropLabels[0]", "should be at least 1"},
	"a key of tmc to drop":            {"dropLabels: [tmc.kcp.io/managed-by]", "dropLabels[0]", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"all keys of kcp to drop":         {"dropAnnotations: [kcp.io/]", "dropAnnotations[0]", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"a key of a cluster to drop":      {"dropAnnotations: [deployment.kubernetes.io/revision]", "dropAnnotations[0]", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"a cap that is no quantity":       {"resourceLimits: {memory: lots}", "resourceLimits.memory", "should match"},
	"half a device":                   {"resourceLimits: {example.com/gpu: 500m}", "resourceLimits", "expected whole numbers but for cpu, memory and ephemeral-storage"},
	"a cap on what is unknown":        {"resourceLimits: {mem: 1Gi}", "resourceLimits", "expected cpu, memory, ephemeral-storage, hugepages-SIZE or names with a domain"},
	"a cap on what is no name":        {"resourceLimits: {a b/c: 1}", "resourceLimits", "expected cpu, memory"},
	"labels":                          {patch: "labels: {a: '', example.com/b: c_D.e}"},
	"a label's key that is none":      {"labels: {a b: c}", "labels", "expected keys that are qualified names"},
	"a label's value that is none":    {"labels: {a: b c}", "labels.a", "should match"},
	"a label of tmc":                  {"labels: {tmc.kcp.io/managed-by: me}", "labels", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"a label of kcp":                  {"labels: {kcp.io/a: me}", "labels", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"a label of the cluster":          {"labels: {kubernetes.io/metadata.name: me}", "labels", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"a label like that of kcp":        {patch: "labels: {notkcp.io/a: b, a: kcp.io}"},
	"annotations":                     {patch: "annotations: {a: '', example.com/B: any text there is}"},
	"an annotation with a large name": {patch: "annotations: {Example.com/b: c}"},
	"an annotation's key too many":    {"annotations: {a/b/c: d}", "annotations", "expected keys that are qualified names"},
	"an annotation of a cluster":      {"annotations: {deployment.kubernetes.io/revision: '1'}", "annotations", "expected keys that tmc, kcp or the cluster do not write themselves"},
	"an annotation of kubectl":        {"annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}", "annotations", "expected keys that tmc, kcp or the cluster do not write themselves"},
}

// stricter are the rules that only the API refuses: no host is called so.
var stricter = map[string]bool{"a registry with a longer path": true, "a registry with underscores": true}

// The syncer would refuse the rule of its own cluster later, where nobody looks.
func TestServedRegistrationRulesMatchSyncer(t *testing.T) {
	const registration = "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}}"
	server := serverOf(t, "clusterregistrations")
	for name, tc := range transformSpecs {
		t.Run(name, func(t *testing.T) {
			rule := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.patch), &rule); err != nil {
				t.Fatal(err)
			}
			object := patched(t, registration, "")
			object["spec"] = asServer(t, map[string]any{"transform": rule})
			unknown, errs := server.create(object)
			_, err := transform.ParseRule([]byte(tc.patch))
			if tc.field == "" {
				if len(errs) > 0 || len(unknown) > 0 || err != nil {
					t.Errorf("refused: %v, unknown: %v, by the syncer: %v", errs, unknown, err)
				}
				return
			}
			refusal{field: "spec.transform." + tc.field, says: tc.says}.expect(t, errs)
			if err == nil && !stricter[name] {
				t.Error("the syncer would take it")
			}
		})
	}
}

func TestServedRegistrationIsWithinBudget(t *testing.T) {
	var limits, labels, taints, workspaces []string
	for i := range 13 { // and the three of the manifest
		limits = append(limits, fmt.Sprintf("example.com/%s%d: '%d'", strings.Repeat("x", 60), i, i+1))
	}
	for i := range 63 { // and the one of the manifest
		labels = append(labels, fmt.Sprintf("%s.example.com/%s%d: %s", strings.Repeat("x", 60), strings.Repeat("y", 60), i, strings.Repeat("z", 63)))
		taints = append(taints, fmt.Sprintf("{key: %s.example.com/%s%d, effect: NoExecute}", strings.Repeat("x", 60), strings.Repeat("y", 60), i))
	}
	for i := range 256 {
		workspaces = append(workspaces, fmt.Sprintf("%sroot%d", strings.Repeat(strings.Repeat("x", 60)+":", 4), i))
	}
	server, manifest := serverOf(t, "clusterregistrations"), tmcSpecs["clusterregistrations"].manifest
	var namespaces []string
	for i := range 64 {
		namespaces = append(namespaces, fmt.Sprintf("%s%02d", strings.Repeat("*", 61), i))
	}
	listed := "['" + strings.Join(namespaces, "','") + "']"
	var keys []string
	for i := range 64 {
		keys = append(keys, fmt.Sprintf("%s/%s%02d", strings.Repeat(strings.Repeat("x", 60)+".", 4)+"example", strings.Repeat("y", 61), i))
	}
	var provided []string
	for i := range 64 {
		provided = append(provided, fmt.Sprintf("%s/%s/%s%02d", strings.Repeat("a", 60), strings.Repeat("k", 200), strings.Repeat("*", 240), i))
	}
	dropped := "[" + strings.Join(keys, ",") + "]"
	object := patched(t, manifest, "spec: {providedByCluster: ['"+strings.Join(provided, "','")+"'], deniedNamespaces: "+listed+", allowedNamespaces: "+listed+", taints: ["+strings.Join(taints, ",")+"], allowedWorkspaces: ["+strings.Join(workspaces, ",")+
		"], transform: {resourceLimits: {"+strings.Join(limits, ",")+"}, labels: {"+strings.Join(labels, ",")+"}, annotations: {"+strings.Join(labels, ",")+"}, dropLabels: "+dropped+", dropAnnotations: "+dropped+"}}")
	if unknown, errs := server.create(object); len(errs) > 0 || len(unknown) > 0 {
		t.Fatalf("refused: %v, unknown: %v", errs, unknown)
	}
	if _, left := server.check(object, nil); left <= 0 {
		t.Errorf("left of the budget: %d", left)
	}
}

func TestServedPlacementIsWithinBudget(t *testing.T) {
	var names, expressions, preferences, weights []string
	for i := range 512 {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat("x", 58), i))
	}
	for i := range 32 {
		expressions = append(expressions, fmt.Sprintf("{key: key%d, operator: In, values: [%s]}", i, strings.Join(names[:100], ",")))
	}
	selector := "labelSelector: {matchExpressions: [" + strings.Join(expressions, ",") + "]}, clusterNames: [" + strings.Join(names, ",") + "]"
	for range 16 {
		preferences = append(preferences, "{"+selector+"}")
		weights = append(weights, "{weight: 1, "+selector+"}")
	}
	server, manifest := serverOf(t, "workloadplacements"), tmcSpecs["workloadplacements"].manifest
	object := patched(t, manifest, "spec: {strategy: Affinity, replicas: Divided, preferences: ["+strings.Join(preferences, ",")+"], weights: ["+strings.Join(weights, ",")+"]}")
	if unknown, errs := server.create(object); len(errs) > 0 || len(unknown) > 0 {
		t.Fatalf("refused: %v, unknown: %v", errs, unknown)
	}
	if _, left := server.check(object, nil); left <= 0 {
		t.Errorf("left of the budget: %d", left)
	}
}

// What the API takes as a cluster's name is what keys are made of.
func TestServedClusterNamesFitKeys(t *testing.T) {
	server := serverOf(t, "clusterregistrations")
	for _, name := range []string{"a", "east", "east-1", "1", "-a", "a-", "A", "a.b", "a_b", "a b", strings.Repeat("a", 63), strings.Repeat("a", 64), "ä"} {
		object := patched(t, "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {}}", "")
		object["metadata"] = map[string]any{"name": name}
		_, errs := server.create(object)
		if err := v1alpha1.ValidateClusterName(name); (err == nil) != (len(errs) == 0) {
			t.Errorf("%q: the API says %v, tmc says %v", name, errs, err)
		}
	}
}

func TestServedRegistrationDeniesClusterNamespacesByDefault(t *testing.T) {
	const resource = "clusterregistrations"
	object := patched(t, servedSpecs()[resource].manifest, "spec: null")
	delete(object, "spec")
	if _, errs := serverOf(t, resource).create(object); len(errs) > 0 {
		t.Fatal(errs)
	}
	denied, _, err := unstructured.NestedStringSlice(object, "spec", "deniedNamespaces")
	if err != nil || !slices.Contains(denied, "kube-*") {
		t.Errorf("denies %q (%v), want the default", denied, err)
	}
}

// A stolen credential writes the status of its cluster's registration; the hub reads it.
func TestServedRegistrationStatusQuantityBounds(t *testing.T) {
	server, manifest := serverOf(t, "clusterregistrations"), tmcSpecs["clusterregistrations"].manifest
	for patch, isFine := range map[string]bool{
		"status: {allocatable: {cpu: 250m, memory: 1.5Gi, pods: 110}, requested: {cpu: 1e3}}":                                           true,
		"status: {allocatable: {cpu: '1e20000000'}}":                                                                                    false,
		"status: {requested: {cpu: '1E-999999999'}}":                                                                                    false,
		"status: {allocatable: {cpu: '" + strings.Repeat("9", 65) + "'}}":                                                               false,
		"status: {allocatable: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, n: 1, o: 1, p: 1, q: 1}}": false,
		"status: {nodes: -1}": false,
		"status: {kubernetesVersion: " + strings.Repeat("v", 129) + "}": false,
	} {
		if _, errs := server.admit(patched(t, manifest, patch), nil); (len(errs) == 0) != isFine {
			t.Errorf("%.80s: got %v, want it taken: %t", patch, errs, isFine)
		}
	}
}
