package dependency

// Fields that are read by name in more than one place.
const (
	metadataField   = "metadata"
	labelsField     = "labels"
	specField       = "spec"
	containersField = "containers"
	accountField    = "serviceAccountName"
	nameField       = "name"
	secretNameField = "secretName"
)

// templatePaths are where objects of any kind keep a pod template: most of them as
// Deployments do, CronJobs and what is like them within the template of a Job.
var templatePaths = [][]string{
	{specField, "template"},
	{specField, "jobTemplate", specField, "template"},
}

// podTemplate returns the pod template at the path, nil when there is none. Its shape
// tells: other things than pods have a `template` as well.
func podTemplate(object map[string]any, path []string) map[string]any {
	template := mapAt(object, path...)
	if _, isList := mapAt(template, specField)[containersField].([]any); !isList {
		return nil
	}
	return template
}

// pruneTemplate returns what of a pod template is looked at: labels, references and
// what it requests.
// It tells found of the references.
func pruneTemplate(template map[string]any, found func(Reference)) map[string]any {
	return map[string]any{
		metadataField: map[string]any{labelsField: pruneLabels(template)},
		specField:     prunePodSpec(mapAt(template, specField), found),
	}
}

func pruneLabels(template map[string]any) map[string]any {
	kept := map[string]any{}
	for key, value := range templateLabels(template) {
		kept[key] = value
	}
	return kept
}

// templateLabels are the labels of a template's pods, as far as the template has
// them: what controllers add to each pod is not among them.
func templateLabels(template map[string]any) map[string]string {
	labels := map[string]string{}
	for key, value := range mapAt(template, metadataField, labelsField) {
		if text, isText := value.(string); isText {
			labels[key] = text
		}
	}
	return labels
}

func prunePodSpec(spec map[string]any, found func(Reference)) map[string]any {
	kept, _ := podSpec.prune(spec, found).(map[string]any)
	if kept == nil {
		kept = map[string]any{}
	}
	if _, hasContainers := kept[containersField]; !hasContainers {
		kept[containersField] = []any{} // a template is known by them
	}
	if account := accountOf(spec); account != "" && account != defaultAccount {
		kept[accountField] = account
		found(Reference{Resource: serviceAccounts, Name: account})
	}
	return kept
}

// accountOf returns the service account that a pod runs as, empty for the default.
// The deprecated field counts where the other one is empty, as in
// Convert_v1_PodSpec_To_core_PodSpec (kubernetes, pkg/apis/core/v1/conversion.go).
func accountOf(spec map[string]any) string {
	if account, _ := spec[accountField].(string); account != "" {
		return account
	}
	account, _ := spec["serviceAccount"].(string)
	return account
}

// podSpec is the shape of a pod's spec (k8s.io/api/core/v1.PodSpec).
var podSpec = fields{
	containersField:       each{container},
	"initContainers":      each{container},
	"ephemeralContainers": each{container},
	"imagePullSecrets":    pullSecrets,
	"volumes":             each{volume},
	"overhead":            whole{},
}

var pullSecrets = each{reference{resource: secrets, field: nameField, tolerated: true}}

// Names of ConfigMaps and Secrets, next to which may stand that they are optional.
var (
	configMapName = reference{resource: configMaps, field: nameField}
	secretName    = reference{resource: secrets, field: nameField}
)

var container = fields{
	// What a pod requests says how many of them a cluster has room for.
	"resources": whole{},
	"env": each{fields{"valueFrom": fields{
		"configMapKeyRef": configMapName,
		"secretKeyRef":    secretName,
	}}},
	"envFrom": each{fields{
		"configMapRef": configMapName,
		"secretRef":    secretName,
	}},
}

// volume is the shape of a volume, of whatever type.
var volume = fields{
	"configMap":             configMapName,
	"secret":                reference{resource: secrets, field: secretNameField},
	"persistentVolumeClaim": reference{resource: claims, field: "claimName"},
	"projected": fields{"sources": each{fields{
		"configMap": configMapName,
		"secret":    secretName,
	}}},
	"azureFile":  reference{resource: secrets, field: secretNameField},
	"cephfs":     withSecret,
	"cinder":     withSecret,
	"flexVolume": withSecret,
	"iscsi":      withSecret,
	"rbd":        withSecret,
	"scaleIO":    withSecret,
	"storageos":  withSecret,
	"csi":        fields{"nodePublishSecretRef": secretName},
}

var withSecret = fields{"secretRef": secretName}
