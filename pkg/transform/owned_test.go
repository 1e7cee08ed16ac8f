package transform

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestOwnedFieldsAreRemoved(t *testing.T) {
	cases := map[string]struct{ reason, obj, want string }{
		"a Service with an address": {
			"every cluster allocates its own",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "fd00::1"], ipFamilies: [IPv4], ports: [{port: 80}]}}`,
			`{apiVersion: v1, kind: Service, spec: {ipFamilies: [IPv4], ports: [{port: 80}]}}`,
		},
		"a headless Service": {
			"that there be no address is the user's word",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: None, clusterIPs: [None]}}`,
			`{apiVersion: v1, kind: Service, spec: {clusterIP: None, clusterIPs: [None]}}`,
		},
		"a Service with an empty address": {
			"it says nothing, as the user does",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: "", clusterIPs: []}}`,
			`{apiVersion: v1, kind: Service, spec: {clusterIP: "", clusterIPs: []}}`,
		},
		"a Service with NodePorts": {
			"here they can only be the user's",
			`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, healthCheckNodePort: 32000, ports: [{port: 80, nodePort: 30080}]}}`,
			`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, healthCheckNodePort: 32000, ports: [{port: 80, nodePort: 30080}]}}`,
		},
		"another kind named Service": {
			"its fields mean something else",
			`{apiVersion: serving.example.com/v1, kind: Service, spec: {clusterIP: 10.0.0.1}}`,
			`{apiVersion: serving.example.com/v1, kind: Service, spec: {clusterIP: 10.0.0.1}}`,
		},
		"a claim": {
			"the volume is the other cluster's, and so is what was noted about it",
			`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, annotations: {pv.kubernetes.io/bind-completed: "yes", pv.kubernetes.io/bound-by-controller: "yes",
				volume.kubernetes.io/selected-node: node, volume.kubernetes.io/storage-provisioner: p, volume.beta.kubernetes.io/storage-provisioner: p, volume.beta.kubernetes.io/storage-class: fast}},
				spec: {volumeName: pv-1, storageClassName: fast, resources: {requests: {storage: 1Gi}}}}`,
			`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {annotations: {volume.beta.kubernetes.io/storage-class: fast}}, spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}}`,
		},
		"a Job": {
			"its selector was generated from the upstream UID",
			`{apiVersion: batch/v1, kind: Job, metadata: {name: j, labels: {job-name: j, batch.kubernetes.io/job-name: j, app: j}}, spec: {selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}},
				template: {metadata: {labels: {controller-uid: u, batch.kubernetes.io/controller-uid: u, job-name: j, batch.kubernetes.io/job-name: j, app: j}}}}}`,
			`{apiVersion: batch/v1, kind: Job, metadata: {labels: {app: j}}, spec: {template: {metadata: {labels: {app: j}}}}}`,
		},
		"a Job without labels of its own": {
			"no map without entries is left to be owned",
			`{apiVersion: batch/v1, kind: Job, spec: {manualSelector: false, template: {metadata: {labels: {controller-uid: u}}, spec: {}}}}`,
			`{apiVersion: batch/v1, kind: Job, spec: {manualSelector: false, template: {metadata: {}, spec: {}}}}`,
		},
		"a Job with a manual selector": {
			"the user has chosen",
			`{apiVersion: batch/v1, kind: Job, metadata: {name: j, labels: {job-name: x}}, spec: {manualSelector: true, selector: {matchLabels: {job-name: x}}, template: {metadata: {labels: {job-name: x}}}}}`,
			`{apiVersion: batch/v1, kind: Job, metadata: {labels: {job-name: x}}, spec: {manualSelector: true, selector: {matchLabels: {job-name: x}}, template: {metadata: {labels: {job-name: x}}}}}`,
		},
		"a ServiceAccount": {
			"its tokens are the server's, its pull secrets the user's",
			`{apiVersion: v1, kind: ServiceAccount, secrets: [{name: robot-token-x7x2p}], imagePullSecrets: [{name: registry}], automountServiceAccountToken: false}`,
			`{apiVersion: v1, kind: ServiceAccount, imagePullSecrets: [{name: registry}], automountServiceAccountToken: false}`,
		},
		"a ServiceAccount that limits what is mounted": {
			"there the list means something",
			`{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, annotations: {kubernetes.io/enforce-mountable-secrets: "true"}}, secrets: [{name: mine}]}`,
			`{apiVersion: v1, kind: ServiceAccount, metadata: {annotations: {kubernetes.io/enforce-mountable-secrets: "true"}}, secrets: [{name: mine}]}`,
		},
		"a Secret in plain text": {
			"every server does the same, and stringData wins",
			`{apiVersion: v1, kind: Secret, immutable: true, data: {a: b2xk, b: Yg==}, stringData: {a: new, c: "ä"}}`,
			`{apiVersion: v1, kind: Secret, immutable: true, data: {a: bmV3, b: Yg==, c: w6Q=}}`,
		},
		"a Secret in plain text alone": {
			"data is made",
			`{apiVersion: v1, kind: Secret, stringData: {a: new}}`,
			`{apiVersion: v1, kind: Secret, data: {a: bmV3}}`,
		},
		"a Secret with something else in plain text": {
			"the cluster will say so",
			`{apiVersion: v1, kind: Secret, stringData: {a: 5, b: c}}`,
			`{apiVersion: v1, kind: Secret, stringData: {a: 5}, data: {b: Yw==}}`,
		},
		"a Secret whose data is none": {
			"likewise",
			`{apiVersion: v1, kind: Secret, data: text, stringData: {a: b}}`,
			`{apiVersion: v1, kind: Secret, data: text, stringData: {a: b}}`,
		},
		"SomethingMalformed": {
			"nothing is where it would be looked for",
			`{apiVersion: v1, kind: Service, spec: [1]}`,
			`{apiVersion: v1, kind: Service, spec: [1]}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := transformed(t, inputOf(object(t, tc.obj), v1alpha1.TransformRule{}))
			if diff := cmp.Diff(parsed(t, tc.want), content(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNeverSyncedObjectsOfKinds(t *testing.T) {
	cases := map[string]struct {
		obj   string
		never bool
	}{
		"a token of an account":                {`{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token}`, true},
		"a token whose type was stripped":      {`{apiVersion: v1, kind: Secret, metadata: {name: t, annotations: {kubernetes.io/service-account.name: robot}}}`, true},
		"a Secret that speaks of an account":   {`{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: t, annotations: {kubernetes.io/service-account.name: robot}}}`, false},
		"a bootstrap token":                    {`{apiVersion: v1, kind: Secret, type: bootstrap.kubernetes.io/token}`, true},
		"a bootstrap token without its type":   {`{apiVersion: v1, kind: Secret, metadata: {name: bootstrap-token-abcdef, namespace: kube-system}}`, true},
		"a Secret that is named like one":      {`{apiVersion: v1, kind: Secret, metadata: {name: bootstrap-token-abcdef, namespace: default}}`, false},
		"a Secret":                             {`{apiVersion: v1, kind: Secret, type: Opaque}`, false},
		"the root certificates":                {`{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt}}`, true},
		"OpenShifts certificates":              {`{apiVersion: v1, kind: ConfigMap, metadata: {name: openshift-service-ca.crt}}`, true},
		"a ConfigMap":                          {`{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}`, false},
		"the default account":                  {`{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}`, true},
		"another account":                      {`{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}`, false},
		"something else that is named default": {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: default}}`, false},
		"another group's account":              {`{apiVersion: example.com/v1, kind: ServiceAccount, metadata: {name: default}}`, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if reason := IsNeverSynced(object(t, tc.obj)); (reason != "") != tc.never {
				t.Errorf("the reason is %q, never is %t", reason, tc.never)
			}
		})
	}
}
