package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// The kinds of this file are served, and never synced: v1alpha1.IsSynced leaves them out.
// tmc-controller writes ReplicaSets and ControllerRevisions, nobody writes pods. The
// policy tmc-read-only refuses what consumers would write, so the schemas check nothing.

// replicaSets have no status subresource: the hub writes spec and status in one request.
var replicaSets = kind{
	group: "apps", version: "v1", resource: "replicasets", kind: "ReplicaSet",
	scope: apiextensionsv1.NamespaceScoped, singular: "replicaset",
	shortNames: []string{"rs"}, categories: []string{"all"},
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Desired", Type: "integer", JSONPath: ".spec.replicas",
			Description: "Number of pods of this revision that there are to be, over all clusters"},
		{Name: "Current", Type: "integer", JSONPath: ".status.replicas",
			Description: "Number of pods of this revision"},
		{Name: "Ready", Type: "integer", JSONPath: ".status.readyReplicas",
			Description: "Number of ready pods of this revision"},
		ageColumn,
	},
	// The template of a revision is a copy of one that the schema of Deployments has taken.
	// It gets the same defaults: when there is a new one, kcp fills it in as it reads the
	// Deployment, and the template of the revision must still be equal to that.
	defaultsOnly: []string{"spec.template"},
}

var controllerRevisions = kind{
	group: "apps", version: "v1", resource: "controllerrevisions", kind: "ControllerRevision",
	scope: apiextensionsv1.NamespaceScoped, singular: "controllerrevision",
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Revision", Type: "integer", JSONPath: ".revision",
			Description: "Number of the revision"},
		ageColumn,
	},
}

// pods are served so that clients may ask for them. There are none in kcp.
var pods = kind{
	version: "v1", resource: "pods", kind: "Pod",
	scope: apiextensionsv1.NamespaceScoped, singular: "pod",
	shortNames: []string{"po"}, categories: []string{"all"},
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Status", Type: "string", JSONPath: ".status.phase",
			Description: "Phase of the pod"},
		ageColumn,
	},
	opaque: []string{"spec", "status"},
}
