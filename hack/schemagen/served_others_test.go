package main

import "testing"

// otherSpecs are the specs of the kinds that belong to workloads.
var otherSpecs = map[string]servedSpec{
	"services": {
		manifest: `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, creationTimestamp: null, labels: {app: web}}
spec:
  ports:
  - {name: http, port: 80, protocol: TCP, targetPort: http}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  selector: {app: web}
status: {loadBalancer: {}}
`,
		defaults: "spec: {type: ClusterIP, clusterIP: 0.0.0.0}",
		accepted: map[string]string{
			"with a port without protocol":  "spec: {ports: [{port: 80}]}",
			"with a port for two protocols": "spec: {ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]}",
			"without a target":              "spec: {ports: [{port: 80, name: '', targetPort: 0}]}",
			"that is headless":              "spec: {clusterIP: None, ports: null}",
			"that is only a name":           "spec: {type: ExternalName, externalName: example.com., ports: null, selector: null}",
			"that a load balancer serves":   "spec: {type: LoadBalancer, loadBalancerClass: x.io/y, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}",
			"with empty strings":            "spec: {sessionAffinity: '', externalTrafficPolicy: '', clusterIP: ''}",
			"that keeps clients":            "spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}}",
			"with a name that is a number":  "metadata: {name: 1st}",
			"with an address of its own":    "spec: {clusterIP: 10.0.0.9}",
			"with the unspecified address":  "spec: {clusterIP: 0.0.0.0}",
		},
		refused: map[string]refusal{
			"without a spec":                      {"spec: null", "spec", "Required value"},
			"without ports":                       {"spec: {ports: null}", "spec.ports", "Required value"},
			"with no ports":                       {"spec: {ports: []}", "spec.ports", "Required value"},
			"with a port without number":          {"spec: {ports: [{name: a}]}", "spec.ports[0].port", "Required value"},
			"with port 0":                         {"spec: {ports: [{port: 0}]}", "spec.ports[0].port", "greater than or equal to 1"},
			"with a port beyond numbers":          {"spec: {ports: [{port: 65536}]}", "spec.ports[0].port", "less than or equal to 65535"},
			"with a target beyond numbers":        {"spec: {ports: [{port: 1, targetPort: 65536}]}", "spec.ports[0].targetPort", "less than or equal to 65535"},
			"with a port's name that is none":     {"spec: {ports: [{port: 1, name: A_b}]}", "spec.ports[0].name", "should match"},
			"with ports of which one has no name": {"spec: {ports: [{port: 1, name: a}, {port: 2}]}", "spec.ports", "each of several ports needs a name"},
			"with a port twice":                   {"spec: {ports: [{port: 1, name: a}, {port: 1, name: b}]}", "spec.ports[1]", "Duplicate value"},
			"with an unknown protocol":            {"spec: {ports: [{port: 1, protocol: HTTP}]}", "spec.ports[0].protocol", "supported values"},
			"with an unknown type":                {"spec: {type: Public}", "spec.type", "supported values"},
			"that is a name without one":          {"spec: {type: ExternalName}", "spec.externalName", "Required value"},
			"that is balanced without address":    {"spec: {type: LoadBalancer, clusterIP: None}", "spec.clusterIP", "may not be set to 'None'"},
			"with a class of no use":              {"spec: {loadBalancerClass: x.io/y}", "spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'"},
			"with a selector of no labels":        {"spec: {selector: {a: 'b c'}}", "spec.selector.a", "should match"},
			"with a name that is no host":         {"metadata: {name: a.b}", "metadata", "a lowercase RFC 1123 label must consist of"},
		},
		changes: map[string]string{
			"in ports and selector": "spec: {ports: [{port: 8080}], selector: {app: other}}",
			"to another type":       "spec: {type: NodePort}",
			"to a name":             "spec: {type: ExternalName, externalName: example.com}",
			"to a class":            "spec: {type: LoadBalancer, loadBalancerClass: x.io/y}",
			"to the empty address":  "spec: {clusterIP: ''}",
		},
		fixed: map[string]refusal{
			"to no address": {"spec: {clusterIP: None}", "spec.clusterIP", "may not change once set"},
			"to an address": {"spec: {clusterIP: 10.0.0.9}", "spec.clusterIP", "may not change once set"},
		},
	},
	"persistentvolumeclaims": {
		manifest: `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default, creationTimestamp: null}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
status: {}
`,
		defaults: "spec: {volumeMode: Filesystem}",
		accepted: map[string]string{
			"with all of it":             "spec: {storageClassName: fast, volumeName: pv, volumeMode: Block, accessModes: [ReadWriteMany, ReadOnlyMany], selector: {matchLabels: {a: b}}, resources: {limits: {storage: 2Gi}}}",
			"without a class on purpose": "spec: {storageClassName: ''}",
			"for one pod":                "spec: {accessModes: [ReadWriteOncePod]}",
			"from a snapshot":            "spec: {dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}}",
		},
		refused: map[string]refusal{
			"without a spec":         {"spec: null", "spec", "Required value"},
			"without a mode":         {"spec: {accessModes: null}", "spec.accessModes", "Required value"},
			"with no mode":           {"spec: {accessModes: []}", "spec.accessModes", "at least 1 items"},
			"with an unknown mode":   {"spec: {accessModes: [ReadWrite]}", "spec.accessModes[0]", "supported values"},
			"for one pod and others": {"spec: {accessModes: [ReadWriteOncePod, ReadWriteOnce]}", "spec.accessModes", "may not use ReadWriteOncePod with other access modes"},
			"without resources":      {"spec: {resources: null}", "spec.resources", "Required value"},
			"without a size":         {"spec: {resources: {requests: {storage: null}}}", "spec.resources.requests.storage", "Required value"},
			"with an unknown form":   {"spec: {volumeMode: Files}", "spec.volumeMode", "supported values"},
		},
		changes: map[string]string{
			"not at all":                 "",
			"in its size":                "spec: {resources: {requests: {storage: 2Gi}}}",
			"in its class of attributes": "spec: {volumeAttributesClassName: gold}",
			"to a volume":                "spec: {volumeName: pv}",
			"to a class":                 "spec: {storageClassName: fast}",
		},
		fixed: map[string]refusal{
			"in its modes":                 {"spec: {accessModes: [ReadWriteMany]}", "spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"},
			"in its form":                  {"spec: {volumeMode: Block}", "spec", "spec is immutable after creation"},
			"to a limit":                   {"spec: {resources: {limits: {storage: 2Gi}}}", "spec", "spec is immutable after creation"},
			"to a selector":                {"spec: {selector: {matchLabels: {a: b}}}", "spec", "spec is immutable after creation"},
			"to a source":                  {"spec: {dataSource: {kind: PersistentVolumeClaim, name: a}}", "spec", "spec is immutable after creation"},
			"to a source with a namespace": {"spec: {dataSourceRef: {kind: PersistentVolumeClaim, name: a, namespace: b}}", "spec", "spec is immutable after creation"},
		},
	},
	"ingresses": {
		manifest: `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default, creationTimestamp: null, annotations: {a: b}}
spec:
  ingressClassName: nginx
  rules:
  - host: "*.example.com"
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /api, pathType: Exact, backend: {service: {name: web, port: {name: http}}}}
  tls:
  - {hosts: [example.com], secretName: tls}
status: {loadBalancer: {}}
`,
		accepted: map[string]string{
			"with a backend for all":    "spec: {rules: null, defaultBackend: {service: {name: web, port: {number: 80}}}}",
			"with a resource":           "spec: {defaultBackend: {resource: {apiGroup: x.io, kind: Bucket, name: b}}}",
			"with a rule for all":       "spec: {rules: [{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: a, port: {number: 1}}}}]}}]}",
			"with a host without paths": "spec: {rules: [{host: example.com}]}",
		},
		refused: map[string]refusal{
			"without a spec":              {"spec: null", "spec", "Required value"},
			"with neither":                {"spec: {rules: null}", "spec", "either `defaultBackend` or `rules` must be specified"},
			"with no rules":               {"spec: {rules: []}", "spec", "either `defaultBackend` or `rules` must be specified"},
			"with a path of no type":      {"spec: {rules: [{http: {paths: [{path: /, backend: {service: {name: a, port: {number: 1}}}}]}}]}", "spec.rules[0].http.paths[0].pathType", "Required value"},
			"with a path of another type": {"spec: {rules: [{http: {paths: [{path: /, pathType: Suffix, backend: {service: {name: a, port: {number: 1}}}}]}}]}", "spec.rules[0].http.paths[0].pathType", "supported values"},
			"with a path from nowhere":    {"spec: {rules: [{http: {paths: [{path: a, pathType: Prefix, backend: {service: {name: a, port: {number: 1}}}}]}}]}", "spec.rules[0].http.paths[0].path", "should match"},
			"with no paths":               {"spec: {rules: [{http: {paths: []}}]}", "spec.rules[0].http.paths", "at least 1 items"},
			"with no backend":             {"spec: {defaultBackend: {}}", "spec.defaultBackend.service", "Required value"},
			"with two backends":           {"spec: {defaultBackend: {service: {name: a, port: {number: 1}}, resource: {kind: B, name: b}}}", noPath, `"spec.defaultBackend" must validate one and only one schema`},
			"with a service without port": {"spec: {defaultBackend: {service: {name: a}}}", "spec.defaultBackend.service.port", "Required value"},
			"with a port of no number":    {"spec: {defaultBackend: {service: {name: a, port: {}}}}", noPath, `"spec.defaultBackend.service.port" must validate at least one schema`},
			"with a host that is none":    {"spec: {rules: [{host: A_b}]}", "spec.rules[0].host", "should match"},
		},
		changes: map[string]string{
			"in everything": "spec: {ingressClassName: other, rules: [{host: b.example.com}], tls: null}",
		},
	},
	"networkpolicies": {
		manifest: `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default, creationTimestamp: null}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - namespaceSelector: {matchLabels: {team: a}}
      podSelector: {}
    ports: [{protocol: TCP, port: 80}]
  egress: [{}]
status: {}
`,
		accepted: map[string]string{
			"without a spec":             "spec: null",
			"for all pods":               "spec: {podSelector: {}, ingress: null, egress: null}",
			"without a selector":         "spec: {podSelector: null}",
			"with a port by name":        "spec: {ingress: [{ports: [{port: http, protocol: TCP}]}]}",
			"with ports from and to":     "spec: {egress: [{ports: [{port: 1, endPort: 65535}], to: [{ipBlock: {cidr: '2001:db8::/32'}}]}]}",
			"with a port of all numbers": "spec: {ingress: [{ports: [{protocol: UDP}]}]}",
		},
		refused: map[string]refusal{
			"with a peer of no kind":     {"spec: {ingress: [{from: [{}]}]}", noPath, `"spec.ingress[0].from[0]" must validate one and only one schema`},
			"with a peer of two kinds":   {"spec: {ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}", noPath, `"spec.ingress[0].from[0]" must validate one and only one schema`},
			"with a block without range": {"spec: {egress: [{to: [{ipBlock: {}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "Required value"},
			"with a range that is none":  {"spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "must be of type cidr"},
			"with port 0":                {"spec: {ingress: [{ports: [{port: 0}]}]}", "spec.ingress[0].ports[0].port", "greater than or equal to 1"},
			"with an unknown protocol":   {"spec: {ingress: [{ports: [{protocol: HTTP}]}]}", "spec.ingress[0].ports[0].protocol", "supported values"},
			"with an unknown type":       {"spec: {policyTypes: [In]}", "spec.policyTypes[0]", "supported values"},
			"with too many types":        {"spec: {policyTypes: [Ingress, Egress, Ingress]}", "spec.policyTypes", "at most 2 items"},
		},
		changes: map[string]string{
			"in everything": "spec: {podSelector: {}, policyTypes: [Ingress], egress: null}",
		},
	},
	"poddisruptionbudgets": {
		manifest: `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default, creationTimestamp: null}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
status: {currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0}
`,
		accepted: map[string]string{
			"with a share":     "spec: {minAvailable: null, maxUnavailable: 25%}",
			"with all":         "spec: {minAvailable: 100%, unhealthyPodEvictionPolicy: AlwaysAllow}",
			"without a number": "spec: {minAvailable: null}",
		},
		refused: map[string]refusal{
			"with both numbers":      {"spec: {maxUnavailable: 1}", "spec", "minAvailable and maxUnavailable cannot be both set"},
			"with more than all":     {"spec: {minAvailable: 101%}", "spec.minAvailable", "should match"},
			"with less than none":    {"spec: {minAvailable: -1}", "spec.minAvailable", "greater than or equal to 0"},
			"with no share":          {"spec: {minAvailable: most}", "spec.minAvailable", "should match"},
			"with an unknown policy": {"spec: {unhealthyPodEvictionPolicy: Never}", "spec.unhealthyPodEvictionPolicy", "supported values"},
		},
		changes: map[string]string{
			"in everything": "spec: {minAvailable: null, maxUnavailable: 1, selector: {matchLabels: {app: other}}}",
		},
	},
	"horizontalpodautoscalers": {
		manifest: `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default, creationTimestamp: null}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 10
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  behavior:
    scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}
status: {currentMetrics: null, desiredReplicas: 0}
`,
		defaults: "spec: {minReplicas: 1}",
		accepted: map[string]string{
			"without metrics":       "spec: {metrics: null, behavior: null}",
			"that stands still":     "spec: {minReplicas: 10}",
			"that scales to zero":   "spec: {minReplicas: 0}",
			"with a metric's value": "spec: {metrics: [{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: 1k}}}]}",
			"with the status {}":    "status: {desiredReplicas: null}",
		},
		refused: map[string]refusal{
			"without a spec":           {"spec: null", "spec", "Required value"},
			"without a target":         {"spec: {scaleTargetRef: null}", "spec.scaleTargetRef", "Required value"},
			"with a target of no name": {"spec: {scaleTargetRef: {name: ''}}", "spec.scaleTargetRef.name", "at least 1 chars long"},
			"with a target of no kind": {"spec: {scaleTargetRef: {kind: null}}", "spec.scaleTargetRef.kind", "Required value"},
			"without a maximum":        {"spec: {maxReplicas: null}", "spec.maxReplicas", "Required value"},
			"with a maximum of none":   {"spec: {maxReplicas: 0}", "spec.maxReplicas", "greater than or equal to 1"},
			"with a minimum above":     {"spec: {minReplicas: 11}", "spec.maxReplicas", "must be greater than or equal to `minReplicas`"},
			"with a metric of no type": {"spec: {metrics: [{resource: {name: cpu, target: {type: Utilization}}}]}", "spec.metrics[0].type", "Required value"},
			"with an unknown metric":   {"spec: {metrics: [{type: Memory}]}", "spec.metrics[0].type", "supported values"},
			"with an unknown target":   {"spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Percent}}}]}", "spec.metrics[0].resource.target.type", "supported values"},
			"with a policy of nothing": {"spec: {behavior: {scaleDown: {policies: [{type: Pods, value: 0, periodSeconds: 60}]}}}", "spec.behavior.scaleDown.policies[0].value", "greater than or equal to 1"},
		},
		changes: map[string]string{
			"in everything": "spec: {minReplicas: 2, maxReplicas: 3, metrics: null, behavior: null, scaleTargetRef: {name: other}}",
		},
		zeros: "status: {desiredReplicas: 0}",
	},
}

// TestServedServiceAddresses: the address of a Service is what somebody has written, or the unspecified one, and may be left
// out of every update, as on a cluster.
func TestServedServiceAddresses(t *testing.T) {
	const manifest = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {ports: [{port: 80}]}}"
	server := serverOf(t, "services")
	addressOf := func(patch string) (map[string]any, string) {
		service := patched(t, manifest, patch)
		if _, errs := server.create(service); len(errs) > 0 {
			t.Fatalf("%s: refused: %v", patch, errs)
		}
		return service, service["spec"].(map[string]any)["clusterIP"].(string)
	}
	for patch, want := range map[string]string{
		"{}":                           "0.0.0.0",
		"spec: {clusterIP: ''}":        "",
		"spec: {clusterIP: None}":      "None",
		"spec: {clusterIP: 10.0.0.9}":  "10.0.0.9",
		"spec: {clusterIP: 'fd00::1'}": "fd00::1",
		"spec: {type: LoadBalancer}":   "0.0.0.0",
		"spec: {type: NodePort}":       "0.0.0.0",
		"spec: {type: ExternalName, externalName: example.com}": "0.0.0.0",
	} {
		old, got := addressOf(patch)
		if got != want {
			t.Errorf("%s: the address is %q, want %q", patch, got, want)
		}
		if _, errs := server.update(patched(t, manifest, "spec: {ports: [{port: 81}]}"), old); len(errs) > 0 {
			t.Errorf("%s: an update without address is refused: %v", patch, errs)
		}
		same := patched(t, manifest, patch)
		if _, errs := server.update(same, old); len(errs) > 0 {
			t.Errorf("%s: the same again is refused: %v", patch, errs)
		}
	}
}
