package transform

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// A decoded object takes ten times the memory of its JSON: each of its objects is a map, with room for eight entries. What a cache keeps of an
// upstream object beside its metadata is read when a copy is made, and else never. So it is kept as compressed JSON.

// packedField is where a packed object has its content. What a server sends there has another type, and is not looked at.
const packedField = "packed content"

type packedContent string

// leastPacked is from how many bytes of JSON on it is worth it.
const leastPacked = 128

// typical is what the JSON of many objects has in common: compression begins with it as if it had just gone by. Packed content never
// leaves the process, so that it may change.
const typical = `"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true,` +
	`"runAsNonRoot":true,"runAsUser":1000,"fsGroup":2000,"seccompProfile":{"type":"RuntimeDefault"}}"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` +
	`{"podAffinityTerm":{"topologyKey":"kubernetes.io/hostname"},"weight":100}"topologySpreadConstraints":"tolerations":[{"effect":"NoSchedule","key":"operator":"Exists"}` +
	`"initContainers":[{"command":["sh","-c"],"args":["--"envFrom":[{"configMapRef":{"name":"}},{"secretRef":{"name":"}}],"env":[{"name":"value":"},{"name":"POD_NAMESPACE",` +
	`"valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}},{"name":"valueFrom":{"secretKeyRef":{"key":"password","name":"configMapKeyRef":{"key":"` +
	`"data":{"stringData":{"spec":{"minReadySeconds":0,"podManagementPolicy":"OrderedReady","progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"` +
	`"serviceName":"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"},"updateStrategy":{"rollingUpdate":{"partition":0},"type":"RollingUpdate"},` +
	`"clusterIP":"type":"ClusterIP","sessionAffinity":"None","ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":"http"},{"name":"metrics","nodePort":` +
	`"template":{"metadata":{"annotations":{"checksum/config":"prometheus.io/port":"9090","prometheus.io/scrape":"true"},"creationTimestamp":null,"labels":{"app":"app.kubernetes.io/component":"` +
	`"app.kubernetes.io/instance":"app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":"app.kubernetes.io/part-of":"app.kubernetes.io/version":"helm.sh/chart":"}},"spec":{"automountServiceAccountToken":false,"containers":[{` +
	`"image":"registry","imagePullPolicy":"IfNotPresent","lifecycle":{"preStop":{"exec":{"command":["sleep","5"]}}},"livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},` +
	`"initialDelaySeconds":10,"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"name":"ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],` +
	`"readinessProbe":{"failureThreshold":3,"httpGet":{"path":"/readyz","port":"http","scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"startupProbe":` +
	`"resources":{"limits":{"cpu":"1","ephemeral-storage":"memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",` +
	`"volumeMounts":[{"mountPath":"/tmp","name":"tmp","readOnly":true,"subPath":"}]}],"dnsPolicy":"ClusterFirst","imagePullSecrets":[{"name":"nodeSelector":{"kubernetes.io/os":"linux"},"priorityClassName":"` +
	`"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"serviceAccount":"default","serviceAccountName":"default","terminationGracePeriodSeconds":30,` +
	`"volumes":[{"configMap":{"defaultMode":420,"name":"},"name":"config"},{"emptyDir":{},"name":"tmp"},{"persistentVolumeClaim":{"claimName":"},"secret":{"defaultMode":420,"secretName":"}}]}}`

// packer is what one goroutine compresses with at a time; both halves take tens of kilobytes.
type packer struct {
	plain, packed bytes.Buffer
	writer        *flate.Writer
}

var (
	packers = sync.Pool{New: func() any {
		p := &packer{}
		p.writer, _ = flate.NewWriterDict(&p.packed, flate.DefaultCompression, []byte(typical)) // the level is a right one
		return p
	}}
	unpackers = sync.Pool{New: func() any { return flate.NewReaderDict(strings.NewReader(""), []byte(typical)) }}
)

// Pack replaces the fields of an object that are objects or lists, its metadata aside, by something that takes a tenth of the memory: Whole
// gives them back. Equal contents are packed to equal strings. An object that is small stays as it is.
func Pack(obj *unstructured.Unstructured) {
	content := map[string]any{}
	for name, field := range obj.Object {
		switch field.(type) {
		case map[string]any, []any:
			if name != metadataField {
				content[name] = field
			}
		}
	}
	if len(content) == 0 {
		return
	}
	p, _ := packers.Get().(*packer)
	defer packers.Put(p)
	packed, ok := p.pack(content)
	if !ok {
		return
	}
	for name := range content {
		delete(obj.Object, name)
	}
	obj.Object[packedField] = packed
}

// pack returns the content as a string; false where it cannot be encoded, or is too small.
func (p *packer) pack(content map[string]any) (packedContent, bool) {
	p.plain.Reset()
	if err := json.NewEncoder(&p.plain).Encode(content); err != nil || p.plain.Len() < leastPacked {
		return "", false
	}
	p.packed.Reset()
	p.writer.Reset(&p.packed) // with the same dictionary
	_, err := p.writer.Write(p.plain.Bytes())
	if err == nil {
		err = p.writer.Close()
	}
	return packedContent(p.packed.String()), err == nil // a buffer takes everything
}

// Whole returns the object with all that it had before Pack: itself where it was not packed, and else one that shares its metadata.
// It fails when what is packed cannot be read, which Pack has not written then.
func Whole(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if obj == nil {
		return nil, nil
	}
	packed, isPacked := obj.Object[packedField].(packedContent)
	if !isPacked {
		return obj, nil
	}
	reader, _ := unpackers.Get().(io.ReadCloser)
	defer unpackers.Put(reader)
	err := reader.(flate.Resetter).Reset(strings.NewReader(string(packed)), []byte(typical))
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(reader)
	}
	content := map[string]any{}
	if err == nil {
		err = utiljson.Unmarshal(plain, &content)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the packed content of %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	maps.Copy(content, obj.Object)
	delete(content, packedField)
	return &unstructured.Unstructured{Object: content}, nil
}
