package framework

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// Pod is what a manifest gives the pods of its Deployment. Local clusters run no containers: there, a process with the
// same command line and the same files stands for such a pod.
type Pod struct {
	// Args is the command line of the first container, without the command.
	Args []string
	// Files are the Secrets and ConfigMaps that this container mounts, by the path of each file in it.
	Files map[string][]byte
}

// ReadPod reads a manifest with one Deployment, in YAML. The manifest has to have all Secrets and ConfigMaps that the
// first container mounts, and the container has to mount all their keys.
func ReadPod(manifest string) (Pod, error) {
	objects, err := decodeManifest(manifest)
	if err != nil {
		return Pod{}, fmt.Errorf("read manifest: %w", err)
	}
	var deployments []*appsv1.Deployment
	contents := map[string]map[string][]byte{}
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			deployments = append(deployments, object)
		case *corev1.Secret:
			contents[secretSource+object.Name] = object.Data
		case *corev1.ConfigMap:
			data := map[string][]byte{}
			for key, value := range object.Data {
				data[key] = []byte(value)
			}
			contents[configMapSource+object.Name] = data
		}
	}
	if len(deployments) != 1 {
		return Pod{}, fmt.Errorf("the manifest has %d Deployments, expected one", len(deployments))
	}
	return podOf(deployments[0].Spec.Template.Spec, contents)
}

// What the contents of volumes are filed under, before the name of the object.
const (
	secretSource    = "Secret "
	configMapSource = "ConfigMap "
)

func podOf(spec corev1.PodSpec, contents map[string]map[string][]byte) (Pod, error) {
	container := spec.Containers[0]
	pod := Pod{Args: container.Args, Files: map[string][]byte{}}
	for _, mount := range container.VolumeMounts {
		at := slices.IndexFunc(spec.Volumes, func(volume corev1.Volume) bool { return volume.Name == mount.Name })
		if at < 0 {
			return Pod{}, fmt.Errorf("the pod has no volume %s", mount.Name)
		}
		var source string
		switch volume := spec.Volumes[at]; {
		case volume.Secret != nil:
			source = secretSource + volume.Secret.SecretName
		case volume.ConfigMap != nil:
			source = configMapSource + volume.ConfigMap.Name
		default:
			continue
		}
		if len(contents[source]) == 0 {
			return Pod{}, fmt.Errorf("the manifest has nothing for volume %s, expected %s with data", mount.Name, source)
		}
		for key, data := range contents[source] {
			pod.Files[path.Join(mount.MountPath, key)] = data
		}
	}
	return pod, nil
}

// Write writes the files below a directory that stands for the root of the pod. Each is replaced in one step, as a
// kubelet does.
func (p Pod) Write(dir string) error {
	// Most are credentials.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range p.Files {
		if err := WriteFile(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// ProcessArgs returns the command line as that of a process which has the files below dir. The flags named in without
// are left out: a process shares the ports of the host, for example.
func (p Pod) ProcessArgs(dir string, without ...string) []string {
	var adapted []string
	for _, arg := range p.Args {
		flag, value, _ := strings.Cut(arg, "=")
		if slices.Contains(without, flag) {
			continue
		}
		if _, isFile := p.Files[value]; isFile {
			arg = flag + "=" + filepath.Join(dir, value)
		}
		adapted = append(adapted, arg)
	}
	return adapted
}

// FlagValue returns the value of the first flag with the name on a command line, such as --kubeconfig, and "" when there is
// none. It knows flags of the form --name=value alone.
func FlagValue(args []string, name string) string {
	for _, arg := range args {
		if value, found := strings.CutPrefix(arg, name+"="); found {
			return value
		}
	}
	return ""
}

// decodeManifest reads the objects of a manifest as their Go types.
func decodeManifest(manifest string) ([]runtime.Object, error) {
	var objects []runtime.Object
	documents := yaml.NewYAMLToJSONDecoder(strings.NewReader(manifest))
	for {
		var raw runtime.RawExtension
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(raw.Raw)) == 0 {
			continue
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}
