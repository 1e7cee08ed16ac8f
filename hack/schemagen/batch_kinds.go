package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var jobs = kind{
	group: "batch", version: "v1", resource: "jobs", kind: "Job",
	scope: apiextensionsv1.NamespaceScoped, singular: "job",
	categories:   []string{"all"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Active", Type: "integer", JSONPath: ".status.active",
			Description: "Number of pods that run or wait to run, over all clusters"},
		{Name: "Succeeded", Type: "integer", JSONPath: ".status.succeeded",
			Description: "Number of pods that succeeded"},
		{Name: "Failed", Type: "integer", JSONPath: ".status.failed",
			Description: "Number of pods that failed"},
		ageColumn,
	},
	// Defaults: SetDefaults_Job (kubernetes, pkg/apis/batch/v1/defaults.go), but only those
	// that depend on nothing. completions is 1 only if parallelism is absent too: with
	// a default for one of them here, a cluster would take the Job for a work queue.
	// backoffLimit is 6 only without backoffLimitPerIndex. The clusters fill these in.
	//
	// Rules and words: ValidateJobSpec, validateGeneratedSelector, ValidateJobSpecUpdate
	// and validateCompletions (pkg/apis/batch/validation/validation.go). No controller in
	// kcp gives a Job its selector, so there is one only with manualSelector. The template
	// of a suspended Job is immutable too; a cluster would let its scheduling change.
	immutable: []string{
		"backoffLimitPerIndex", "completionMode", "managedBy", "podFailurePolicy", "selector", "successPolicy",
		// The template but for creationTimestamp, which tools write as null or not at all.
		"template.metadata.annotations", "template.metadata.labels", "template.spec",
	},
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      completionMode: {default: NonIndexed}
      suspend: {default: false}
      template:
        properties:
          spec:
            properties:
              # The template is compared: see withImmutability.
              volumes:
                items:
                  properties:
                    ephemeral:
                      properties:
                        volumeClaimTemplate:
                          properties:
                            metadata:
                              properties:
                                creationTimestamp: {nullable: false}
    x-kubernetes-validations:` + selectorFitsTemplate + `
    - rule: "!has(self.selector) || (has(self.manualSelector) && self.manualSelector)"
      message: "` + "`selector` not auto-generated" + `"
      fieldPath: .selector
    - rule: self.completionMode == 'Indexed' || (` + unchanged("completions") + `)
      message: field is immutable
      fieldPath: .completions
    - rule: "self.completionMode != 'Indexed' || (` + unchanged("completions") + `) || self.completions == (has(self.parallelism) ? self.parallelism : 1)"
      message: can only be modified in tandem with spec.parallelism
      fieldPath: .completions
`,
}

var cronJobs = kind{
	group: "batch", version: "v1", resource: "cronjobs", kind: "CronJob",
	scope: apiextensionsv1.NamespaceScoped, singular: "cronjob",
	shortNames: []string{"cj"}, categories: []string{"all"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Schedule", Type: "string", JSONPath: ".spec.schedule",
			Description: "When a Job is made, in cron's format"},
		{Name: "Timezone", Type: "string", JSONPath: ".spec.timeZone",
			Description: "Time zone of the schedule"},
		{Name: "Suspend", Type: "boolean", JSONPath: ".spec.suspend",
			Description: "Whether no more Jobs are made"},
		{Name: "Last Schedule", Type: "date", JSONPath: ".status.lastScheduleTime",
			Description: "Time since a Job was made"},
		ageColumn,
	},
	// Defaults: SetDefaults_CronJob (kubernetes, pkg/apis/batch/v1/defaults.go); those of
	// a Job do not apply to jobTemplate. Rules and words: validateCronJobSpec,
	// ValidateJobTemplateSpec and ValidateCronJobCreate
	// (pkg/apis/batch/validation/validation.go). Whether the fields of a schedule make
	// sense is left to the clusters.
	overlay: `
properties:
  spec:
    properties:
      concurrencyPolicy: {default: Allow}
      failedJobsHistoryLimit: {default: 1, minimum: 0}
      jobTemplate:
        required: [spec]
        properties:
          spec:
            x-kubernetes-validations:
            - rule: "!has(self.selector)"
              message: "` + "`selector` will be auto-generated" + `"
              fieldPath: .selector
            - rule: "!has(self.manualSelector) || !self.manualSelector"
              message: "supported values: nil, false"
              fieldPath: .manualSelector
      schedule:
        minLength: 1
        x-kubernetes-validations:
        - rule: "!self.contains('TZ')"
          message: cannot use TZ or CRON_TZ in schedule, use timeZone field instead
        - rule: self.contains('TZ') || self.matches('^(@.+|\\s*\\S+(\\s+\\S+){4}\\s*)$')
          message: expected exactly 5 fields
      startingDeadlineSeconds: {minimum: 0}
      successfulJobsHistoryLimit: {default: 3, minimum: 0}
      suspend: {default: false}
      timeZone: {minLength: 1}
x-kubernetes-validations:
- rule: size(self.metadata.name) <= 52
  message: must be no more than 52 characters
  fieldPath: .metadata
`,
}
