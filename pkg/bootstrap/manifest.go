package bootstrap

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Manifest returns the objects as YAML documents, in the order of application, below a
// comment that says what they are. The same options give the same bytes. It fails when
// the options are not valid.
func Manifest(o Options) ([]byte, error) {
	objects, err := Objects(o)
	if err != nil {
		return nil, err
	}
	documents, err := Encode(objects...)
	if err != nil {
		return nil, err
	}
	return append(header(o), documents...), nil
}

func header(o Options) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# The syncer of the cluster %s: it keeps copies of what workspaces of kcp place there.\n", o.Cluster)
	fmt.Fprintf(&text, "# Apply it to that cluster: kubectl --context %s apply -f FILE\n", o.Cluster)
	if o.Kubeconfig != nil {
		fmt.Fprintf(&text, "# It holds a credential for kcp, in the Secret %s: let nobody read it, and keep no copy.\n", SecretName)
	} else {
		fmt.Fprintf(&text, "# It runs once there is a Secret %s with a kubeconfig for kcp.\n", SecretName)
	}
	if o.AdmissionPolicy {
		fmt.Fprintln(&text, "# Its ValidatingAdmissionPolicy needs Kubernetes 1.30: kubectl tmc join --admission-policy=false leaves it out.")
	}
	return text.Bytes()
}

// Encode returns objects as YAML documents, with separators between them: keys sorted,
// and without what a server fills in (status) or what is empty and says nothing. It
// fails when an object cannot be encoded.
func Encode(objects ...runtime.Object) ([]byte, error) {
	var documents bytes.Buffer
	for i, object := range objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", object.GetObjectKind().GroupVersionKind().Kind, err)
		}
		delete(fields, "status")
		if spec, isMap := fields["spec"].(map[string]any); isMap && len(spec) == 0 {
			delete(fields, "spec") // a Namespace's
		}
		data, err := yaml.Marshal(fields)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", object.GetObjectKind().GroupVersionKind().Kind, err)
		}
		if i > 0 {
			documents.WriteString("---\n")
		}
		documents.Write(data)
	}
	return documents.Bytes(), nil
}
