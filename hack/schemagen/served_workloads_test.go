package main

// workloadSpecs are the specs of the kinds that make pods.
var workloadSpecs = map[string]servedSpec{
	"statefulsets": {
		manifest: `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default, creationTimestamp: null}
spec:
  selector: {matchLabels: {app: db}}
  serviceName: db
  updateStrategy: {}
  template:
    metadata: {creationTimestamp: null, labels: {app: db}}
    spec:
      containers: [{name: db, image: postgres, resources: {}, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: {name: data, creationTimestamp: null, labels: {a: b}, annotations: {c: d}}
    spec: {accessModes: [ReadWriteOnce], volumeMode: Filesystem, resources: {requests: {storage: 1Gi}}}
    status: {}
status: {replicas: 0}
`,
		defaults: "spec: {replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: OrderedReady, updateStrategy: {type: RollingUpdate}}",
		accepted: map[string]string{
			"without a service":              "spec: {serviceName: null}",
			"without claims":                 "spec: {volumeClaimTemplates: null}",
			"with a partition":               "spec: {updateStrategy: {rollingUpdate: {partition: 2, maxUnavailable: 50%}}}",
			"that is rolled out by deletion": "spec: {updateStrategy: {type: OnDelete}}",
			"that keeps its claims":          "spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Delete}}",
			"with the status {}":             "status: {replicas: null}",
		},
		refused: map[string]refusal{
			"without a spec":                     {"spec: null", "spec", "Required value"},
			"without a selector":                 {"spec: {selector: null}", "spec.selector", "Required value"},
			"with an empty selector":             {"spec: {selector: {matchLabels: null}}", "spec.selector", "empty selector is invalid for statefulset"},
			"with a selector that does not fit":  {"spec: {template: {metadata: {labels: {app: web}}}}", "spec.template.metadata.labels", "`selector` does not match template `labels`"},
			"with less than no replicas":         {"spec: {replicas: -1}", "spec.replicas", "greater than or equal to 0"},
			"with an unknown policy":             {"spec: {podManagementPolicy: Ordered}", "spec.podManagementPolicy", "supported values"},
			"with an unknown strategy":           {"spec: {updateStrategy: {type: Recreate}}", "spec.updateStrategy.type", "supported values"},
			"with parameters of no use":          {"spec: {updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}", "spec.updateStrategy.rollingUpdate", "only allowed for updateStrategy 'RollingUpdate'"},
			"with a roll-out that stands":        {"spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}", "spec.updateStrategy.rollingUpdate.maxUnavailable", "cannot be 0"},
			"with a share above all":             {"spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 101%}}}", "spec.updateStrategy.rollingUpdate.maxUnavailable", "should match"},
			"with pods that are not restarted":   {"spec: {template: {spec: {restartPolicy: Never}}}", "spec.template.spec.restartPolicy", "supported values"},
			"with pods that have a deadline":     {"spec: {template: {spec: {activeDeadlineSeconds: 9}}}", "spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in StatefulSet is not Supported"},
			"with a service's name that is none": {"spec: {serviceName: A.b}", "spec.serviceName", "should match"},
			"with a name that no pod can have":   {"metadata: {name: a.b}", "metadata", "a lowercase RFC 1123 label must consist of"},
			"with a claim of no mode":            {"spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {requests: {storage: 1Gi}}}}]}", "spec.volumeClaimTemplates[0].spec.accessModes", "Required value"},
			"with a claim without a name":        {"spec: {volumeClaimTemplates: [{metadata: {labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}", "spec.volumeClaimTemplates[0].metadata.name", "Required value"},
			"with a claim of no size":            {"spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {}}}]}", "spec.volumeClaimTemplates[0].spec.resources.requests", "Required value"},
		},
		changes: map[string]string{
			"in what may change": "spec: {replicas: 3, ordinals: {start: 1}, minReadySeconds: 1, revisionHistoryLimit: 1, updateStrategy: {type: OnDelete}, template: {spec: {containers: [{name: db, image: mysql}]}}, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}}",
			"not at all":         "",
			"by other tools":     "spec: {volumeClaimTemplates: [{metadata: {name: data, labels: {a: b}, annotations: {c: d}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}",
		},
		fixed: map[string]refusal{
			"in a claim's labels":    {"spec: {volumeClaimTemplates: [{metadata: {name: data, annotations: {c: d}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}", "spec", "are forbidden"},
			"in the name of a claim": {"spec: {volumeClaimTemplates: [{metadata: {name: other, labels: {a: b}, annotations: {c: d}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}", "spec", "are forbidden"},
			"in the selector":        {"spec: {selector: {matchLabels: {app: db, tier: front}}, template: {metadata: {labels: {tier: front}}}}", "spec", "updates to statefulset spec for fields other than 'replicas'"},
			"in the service":         {"spec: {serviceName: other}", "spec", "are forbidden"},
			"to no service":          {"spec: {serviceName: null}", "spec", "are forbidden"},
			"in the order":           {"spec: {podManagementPolicy: Parallel}", "spec", "are forbidden"},
			"to no claims":           {"spec: {volumeClaimTemplates: null}", "spec", "are forbidden"},
			"in the size of a claim": {"spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}]}", "spec", "are forbidden"},
		},
		zeros: "status: {replicas: 0}",
	},
	"daemonsets": {
		manifest: `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: default}
spec:
  selector: {matchLabels: {app: agent}}
  updateStrategy: {}
  template:
    metadata: {creationTimestamp: null, labels: {app: agent}}
    spec:
      containers: [{name: agent, image: agent, resources: {}}]
status: {}
`,
		defaults: "spec: {revisionHistoryLimit: 10, updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}",
		accepted: map[string]string{
			"that is rolled out by deletion": "spec: {updateStrategy: {type: OnDelete}}",
			"with a share that is replaced":  "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}}",
			"that starts the new pod first":  "spec: {updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}",
			"that says what a cluster says":  "spec: {updateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}",
			"with an empty rolling update":   "spec: {updateStrategy: {rollingUpdate: {}}}",
		},
		refused: map[string]refusal{
			"without a spec":                                     {"spec: null", "spec", "Required value"},
			"without a selector":                                 {"spec: {selector: null}", "spec.selector", "Required value"},
			"with an empty selector":                             {"spec: {selector: {matchLabels: null}}", "spec.selector", "empty selector is invalid for daemonset"},
			"with a selector that does not fit":                  {"spec: {template: {metadata: {labels: {app: web}}}}", "spec.template.metadata.labels", "`selector` does not match template `labels`"},
			"with an unknown strategy":                           {"spec: {updateStrategy: {type: Recreate}}", "spec.updateStrategy.type", "supported values"},
			"with a surge beside what is unavailable by default": {"spec: {updateStrategy: {rollingUpdate: {maxSurge: 1}}}", "spec.updateStrategy.rollingUpdate.maxSurge", "may not be set when maxUnavailable is non-zero"},
			"with a roll-out that stands":                        {"spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0%}}}", "spec.updateStrategy.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0"},
			"with pods that are not restarted":                   {"spec: {template: {spec: {restartPolicy: OnFailure}}}", "spec.template.spec.restartPolicy", "supported values"},
			"with pods that have a deadline":                     {"spec: {template: {spec: {activeDeadlineSeconds: 9}}}", "spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in DaemonSet is not Supported"},
		},
		changes: map[string]string{
			"in template and strategy": "spec: {template: {spec: {containers: [{name: agent, image: other}]}}, updateStrategy: {type: OnDelete}}",
		},
		fixed: map[string]refusal{
			"in the selector": {"spec: {selector: {matchLabels: {tier: front}}, template: {metadata: {labels: {tier: front}}}}", "spec.selector", "field is immutable"},
		},
		zeros: "status: {currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0}",
	},
	"jobs": {
		manifest: `
apiVersion: batch/v1
kind: Job
metadata: {name: pi, namespace: default, creationTimestamp: null}
spec:
  template:
    metadata: {creationTimestamp: null, labels: {app: pi}}
    spec:
      restartPolicy: Never
      containers: [{name: pi, image: perl, command: [perl], resources: {limits: {cpu: 1}}}]
status: {}
`,
		// What depends on other fields is left to the clusters.
		defaults: "spec: {completionMode: NonIndexed, suspend: false}",
		accepted: map[string]string{
			"with pods that are restarted": "spec: {template: {spec: {restartPolicy: OnFailure}}}",
			"with a work queue":            "spec: {parallelism: 3}",
			"with an index":                "spec: {completionMode: Indexed, completions: 3, backoffLimitPerIndex: 1, maxFailedIndexes: 1, successPolicy: {rules: [{succeededCount: 1}]}}",
			"with a selector of its own":   "spec: {manualSelector: true, selector: {matchLabels: {app: pi}}}",
			"with a policy about failures": "spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}]}}",
			"that waits":                   "spec: {suspend: true, completions: 0, parallelism: 0, backoffLimit: 0, ttlSecondsAfterFinished: 0}",
		},
		refused: map[string]refusal{
			"without a spec":                      {"spec: null", "spec", "Required value"},
			"without a template":                  {"spec: {template: null}", "spec.template", "Required value"},
			"without a restart policy":            {"spec: {template: {spec: {restartPolicy: null}}}", "spec.template.spec.restartPolicy", "Required value"},
			"with pods that never end":            {"spec: {template: {spec: {restartPolicy: Always}}}", "spec.template.spec.restartPolicy", `supported values: "Never", "OnFailure"`},
			"with a selector that nobody gave it": {"spec: {selector: {matchLabels: {app: pi}}}", "spec.selector", "`selector` not auto-generated"},
			"with a selector that does not fit":   {"spec: {manualSelector: true, selector: {matchLabels: {a: b}}}", "spec.template.metadata.labels", "`selector` does not match template `labels`"},
			"with less than no pods":              {"spec: {parallelism: -1}", "spec.parallelism", "greater than or equal to 0"},
			"with an index without end":           {"spec: {completionMode: Indexed}", "spec.completions", "when completion mode is Indexed"},
			"with limits without index":           {"spec: {backoffLimitPerIndex: 1}", "spec.backoffLimitPerIndex", "requires indexed completion mode"},
			"with success without index":          {"spec: {successPolicy: {rules: [{succeededCount: 1}]}}", "spec.successPolicy", "requires indexed completion mode"},
			"with half of a limit":                {"spec: {completionMode: Indexed, completions: 1, maxFailedIndexes: 1}", "spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"},
			"with a policy of no use":             {"spec: {podFailurePolicy: {rules: []}, template: {spec: {restartPolicy: OnFailure}}}", "spec.template.spec.restartPolicy", `only "Never" is supported when podFailurePolicy is specified`},
			"without containers":                  {"spec: {template: {spec: {containers: null}}}", "spec.template.spec.containers", "Required value"},
		},
		changes: map[string]string{
			"in what may change": "spec: {parallelism: 2, suspend: true, backoffLimit: 1, activeDeadlineSeconds: 9, ttlSecondsAfterFinished: 9}",
			"not at all":         "",
			"in its labels":      "metadata: {labels: {a: b}, finalizers: [x/y]}",
			"by other tools":     "spec: {template: {metadata: {creationTimestamp: null}}}",
		},
		fixed: map[string]refusal{
			"in its template":       {"spec: {template: {spec: {containers: [{name: pi, image: other}]}}}", "spec.template.spec", "field is immutable"},
			"to a selector":         {"spec: {manualSelector: true, selector: {matchLabels: {app: pi}}}", "spec.selector", "field is immutable"},
			"to completions":        {"spec: {completions: 2}", "spec.completions", "field is immutable"},
			"in its mode":           {"spec: {completionMode: Indexed, completions: 1}", "spec.completionMode", "field is immutable"},
			"to a policy":           {"spec: {podFailurePolicy: {rules: []}}", "spec.podFailurePolicy", "field is immutable"},
			"to another controller": {"spec: {managedBy: x.io/y}", "spec.managedBy", "field is immutable"},
			"to limits":             {"spec: {backoffLimitPerIndex: 1}", "spec.backoffLimitPerIndex", "field is immutable"},
			"to success":            {"spec: {successPolicy: {rules: [{succeededCount: 1}]}}", "spec.successPolicy", "field is immutable"},
		},
	},
	"cronjobs": {
		manifest: `
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick, namespace: default, creationTimestamp: null}
spec:
  schedule: "*/5 * * * *"
  jobTemplate:
    metadata: {name: tick, creationTimestamp: null, labels: {a: b}, annotations: {c: d}}
    spec:
      template:
        metadata: {creationTimestamp: null}
        spec:
          restartPolicy: OnFailure
          containers: [{name: tick, image: busybox, resources: {}}]
status: {}
`,
		defaults: "spec: {concurrencyPolicy: Allow, suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1}",
		accepted: map[string]string{
			"with a name for a schedule": `spec: {schedule: "@hourly"}`,
			"with an interval":           `spec: {schedule: "@every 1h30m"}`,
			"with words":                 `spec: {schedule: " 0 9-17/2  * JAN MON-FRI "}`,
			"that keeps nothing":         "spec: {successfulJobsHistoryLimit: 0, failedJobsHistoryLimit: 0, startingDeadlineSeconds: 0}",
			"in a time zone":             "spec: {timeZone: Europe/Berlin}",
		},
		refused: map[string]refusal{
			"without a spec":                    {"spec: null", "spec", "Required value"},
			"without a schedule":                {"spec: {schedule: null}", "spec.schedule", "Required value"},
			"with an empty schedule":            {"spec: {schedule: ''}", "spec.schedule", "at least 1 chars long"},
			"with a schedule too short":         {"spec: {schedule: '* * * *'}", "spec.schedule", "expected exactly 5 fields"},
			"with seconds":                      {"spec: {schedule: '0 * * * * *'}", "spec.schedule", "expected exactly 5 fields"},
			"with a zone in the schedule":       {"spec: {schedule: 'CRON_TZ=UTC * * * * *'}", "spec.schedule", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"},
			"with an unknown policy":            {"spec: {concurrencyPolicy: Never}", "spec.concurrencyPolicy", "supported values"},
			"without a Job":                     {"spec: {jobTemplate: {spec: null}}", "spec.jobTemplate.spec", "Required value"},
			"with pods that never end":          {"spec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Always}}}}}", "spec.jobTemplate.spec.template.spec.restartPolicy", `supported values: "Never", "OnFailure"`},
			"with a selector":                   {"spec: {jobTemplate: {spec: {selector: {matchLabels: {a: b}}}}}", "spec.jobTemplate.spec.selector", "`selector` will be auto-generated"},
			"with a selector to come":           {"spec: {jobTemplate: {spec: {manualSelector: true}}}", "spec.jobTemplate.spec.manualSelector", "supported values: nil, false"},
			"with an index without end":         {"spec: {jobTemplate: {spec: {completionMode: Indexed}}}", "spec.jobTemplate.spec.completions", "when completion mode is Indexed"},
			"with a name too long for its Jobs": {"metadata: {name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff}", "metadata", "must be no more than 52 characters"},
		},
		changes: map[string]string{
			"in everything": "spec: {schedule: '@daily', suspend: true, jobTemplate: {spec: {completions: 2, template: {spec: {containers: [{name: tick, image: other}]}}}}}",
		},
	},
}
