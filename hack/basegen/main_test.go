package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

const (
	base    = "../../manifests/syncer"
	example = "../../manifests/syncer-example"
)

// objects are by kind: of each there is one.
type objects map[string]map[string]any

// decoded reads YAML documents.
func decoded(t *testing.T, into objects, data []byte) {
	t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if into[object.GetKind()] != nil {
			t.Errorf("there are two of kind %s", object.GetKind())
		}
		into[object.GetKind()] = object.Object
	}
}

// made returns what bootstrap makes of the options of the base, changed.
func made(t *testing.T, change func(*bootstrap.Options)) objects {
	t.Helper()
	o := options()
	change(&o)
	manifest, err := bootstrap.Manifest(o)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	decoded(t, all, manifest)
	return all
}

// built returns what `kubectl apply -k` sends, built by kubectl's own code.
func built(t *testing.T, dir string) objects {
	t.Helper()
	infos, err := resource.NewLocalBuilder().Local().Unstructured().
		FilenameParam(false, &resource.FilenameOptions{Kustomize: dir}).Flatten().Do().Infos()
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for _, info := range infos {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(info.Object)
		if err != nil {
			t.Fatal(err)
		}
		data, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		decoded(t, all, data)
	}
	return all
}

func TestBaseIsUpToDate(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	stale, err := compare(base, files)
	if err != nil {
		t.Fatal(err)
	}
	if len(stale) > 0 {
		t.Errorf("out of date, run `make generate`: %v", stale)
	}
}

// TestBaseHasAllObjects reads the files as kustomize would, and knows nothing of how
// they were written.
func TestBaseHasAllObjects(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(base, kustomization))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		APIVersion, Kind string
		Resources        []string
	}
	if err := yaml.UnmarshalStrict(data, &list); err != nil {
		t.Fatal(err)
	}
	got := objects{}
	for _, name := range list.Resources {
		data, err := os.ReadFile(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		decoded(t, got, data)
	}
	if diff := cmp.Diff(made(t, func(*bootstrap.Options) {}), got); diff != "" {
		t.Errorf("the base is not what bootstrap makes (-want +got)\n%s", diff)
	}
	if _, ok := got["Secret"]; ok {
		t.Error("the base holds a Secret: that is for those who have the credentials")
	}
}

func TestBaseIsBuiltByKubectl(t *testing.T) {
	if diff := cmp.Diff(made(t, func(*bootstrap.Options) {}), built(t, base)); diff != "" {
		t.Errorf("kustomize makes something else of it (-want +got)\n%s", diff)
	}
}

// TestExampleIsWhatJoinMakes compares the overlay with a manifest for the same
// cluster: nothing that depends on its name is forgotten.
func TestExampleIsWhatJoinMakes(t *testing.T) {
	kubeconfig, err := os.ReadFile(filepath.Join(example, bootstrap.KubeconfigKey))
	if err != nil {
		t.Fatal(err)
	}
	want := made(t, func(o *bootstrap.Options) {
		o.Cluster, o.Export, o.Image, o.Kubeconfig = "east", v1alpha1.ClusterExport("east"), "registry.example.com/kcp-tmc/tmc:v1.2.3", kubeconfig
	})
	got := built(t, example)
	// The labels of a generated Secret are the overlay's, and kustomize breaks the lines of
	// its data, which reads the same.
	for _, all := range []objects{want, got} {
		secret := &corev1.Secret{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all["Secret"], secret); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(secret.Data[bootstrap.KubeconfigKey], kubeconfig) {
			t.Errorf("the Secret holds %q", secret.Data)
		}
		unstructured.RemoveNestedField(all["Secret"], "metadata", "labels")
		unstructured.RemoveNestedField(all["Secret"], "data")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example (-want +got)\n%s", diff)
	}
}

func TestWriteChangesOnlyDifferences(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "base")
	files := map[string][]byte{"a.yaml": []byte("a"), "b.yaml": []byte("b")}
	steps := []struct {
		reason string
		before func() error
		want   []string
	}{
		{"nothing is there", func() error { return nil }, []string{"a.yaml", "b.yaml"}},
		{"all is there", func() error { return nil }, nil},
		{"one is another", func() error { return os.WriteFile(filepath.Join(dir, "b.yaml"), nil, 0o600) }, []string{"b.yaml"}},
		{"one is too many", func() error { return os.WriteFile(filepath.Join(dir, "c.yaml"), nil, 0o600) }, []string{"c.yaml"}},
		{"all is there again", func() error { return nil }, nil},
	}
	for _, step := range steps {
		if err := step.before(); err != nil {
			t.Fatal(err)
		}
		changed, err := write(dir, files)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, changed); diff != "" {
			t.Errorf("%s (-want +got)\n%s", step.reason, diff)
		}
	}
}
