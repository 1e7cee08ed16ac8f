package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kcp-dev/logicalcluster/v3"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

const renderExample = `  # What cluster east is sent of a Deployment
  kubectl get deployment web -o yaml | kubectl tmc render -f - --cluster east

  # What it would be sent under another rule
  kubectl tmc render -f web.yaml --cluster east --workspace 2x8qmtefdpwqbb2u --transform-config rule.yaml`

// renderOptions are the flags of render.
type renderOptions struct {
	filename, cluster, workspace, namespace, transformConfig string

	// in is standard input.
	in io.Reader
	// out is for the copies, notes for what is said about objects that have none.
	out, notes io.Writer
}

// newRenderCommand returns the command that prints copies.
func newRenderCommand() *cobra.Command {
	options := &renderOptions{}
	command := &cobra.Command{
		Use:   "render",
		Short: "Print what a cluster is sent of objects",
		Long: `Print, as YAML, what the syncer of a cluster applies there for the objects of a file:
without what belongs to kcp and tmc, with the cluster's rule and the objects' overrides
for it. No server is asked. Objects as kcp has them ('kubectl get -o yaml', lists too) give
exactly what is applied; manifests lack what kcp fills in (defaults, UID, generation).`,
		Example: renderExample,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.in, options.out, options.notes = command.InOrStdin(), command.OutOrStdout(), &terminal{Writer: command.ErrOrStderr()}
			if err := options.validate(); err != nil {
				return err
			}
			return runRender(options)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&options.filename, "filename", "f", "", "File with the objects, in YAML or JSON; - is standard input")
	flags.StringVar(&options.cluster, "cluster", "", "Name of the cluster that the copies are for")
	flags.StringVar(&options.workspace, "workspace", "", "Name of the objects' logical cluster, if not that of their annotation "+logicalcluster.AnnotationKey)
	flags.StringVarP(&options.namespace, "namespace", "n", "default", "Namespace of the objects that name none")
	flags.StringVar(&options.transformConfig, "transform-config", "", "File with the cluster's transform rule; without it, there is none")
	return command
}

// validate checks the flags.
func (o *renderOptions) validate() error {
	if o.filename == "" {
		return errors.New("--filename is needed: a file with objects, or - for standard input")
	}
	if o.cluster == "" {
		return errors.New("--cluster is needed: the name of the cluster that the copies are for")
	}
	if err := v1alpha1.ValidateClusterName(o.cluster); err != nil {
		return fmt.Errorf("--cluster: %w", err)
	}
	if o.workspace != "" && !logicalcluster.Name(o.workspace).IsValid() {
		return fmt.Errorf("--workspace: %q is not the name of a logical cluster, which is no path: see the annotation %s of any object in it",
			o.workspace, logicalcluster.AnnotationKey)
	}
	return nil
}

// rule reads the cluster's rule.
func (o *renderOptions) rule() (v1alpha1.TransformRule, error) {
	if o.transformConfig == "" {
		return v1alpha1.TransformRule{}, nil
	}
	data, err := os.ReadFile(o.transformConfig)
	if err != nil {
		return v1alpha1.TransformRule{}, fmt.Errorf("reading the transform rule: %w", err)
	}
	rule, err := transform.ParseRule(data)
	if err != nil {
		return v1alpha1.TransformRule{}, fmt.Errorf("%s: %w", o.transformConfig, err)
	}
	return rule, nil
}

// source is an object of the file.
type source struct {
	// place says where in the file it is.
	place string
	obj   *unstructured.Unstructured
}

func (s source) String() string {
	name := strings.TrimPrefix(s.obj.GetNamespace()+"/"+s.obj.GetName(), "/")
	return fmt.Sprintf("%s (%s %s)", s.place, s.obj.GetKind(), name)
}

// runRender prints the copies of all objects. It prints none when one of them cannot be made.
func runRender(options *renderOptions) error {
	rule, err := options.rule()
	if err != nil {
		return err
	}
	sources, err := options.sources()
	if err != nil {
		return err
	}
	var copies bytes.Buffer
	for _, source := range sources {
		if reason := transform.IsNeverSynced(source.obj); reason != "" {
			fmt.Fprintf(options.notes, "# %s is not synced: %s\n", source, reason)
			continue
		}
		desired, err := options.render(source.obj, rule)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		data, err := yaml.Marshal(desired.Object)
		if err != nil {
			return fmt.Errorf("%s: printing the copy: %w", source, err)
		}
		if copies.Len() > 0 {
			copies.WriteString("---\n")
		}
		copies.Write(data)
	}
	_, err = options.out.Write(copies.Bytes())
	return err
}

// render returns the copy of an object.
func (o *renderOptions) render(obj *unstructured.Unstructured, rule v1alpha1.TransformRule) (*unstructured.Unstructured, error) {
	workspace := cmp.Or(o.workspace, logicalcluster.From(obj).String())
	if workspace == "" {
		return nil, fmt.Errorf("metadata.annotations[%s]: says no workspace: set --workspace", logicalcluster.AnnotationKey)
	}
	origin := transform.Origin{Workspace: workspace, Name: obj.GetName(), Cluster: o.cluster}
	isNamespace := obj.GetAPIVersion() == "v1" && obj.GetKind() == "Namespace"
	if !isNamespace { // all other kinds that are synced have one
		origin.Namespace = cmp.Or(obj.GetNamespace(), o.namespace)
	}
	return transform.Desired(transform.Input{Object: obj, Origin: origin, Rule: rule})
}

// sources reads the objects of the file.
func (o *renderOptions) sources() ([]source, error) {
	name, reader := "standard input", o.in
	if o.filename != "-" {
		file, err := os.Open(o.filename)
		if err != nil {
			return nil, fmt.Errorf("reading objects: %w", err)
		}
		defer func() { _ = file.Close() }() // nothing was written
		name, reader = o.filename, file
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(reader))
	var sources []source
	for number := 1; ; number++ {
		place := fmt.Sprintf("%s: document %d", name, number)
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		found, err := sourcesOf(place, document)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s: there are no objects in it", name)
	}
	return sources, nil
}

// sourcesOf reads one document: nothing, an object or a list of objects.
func sourcesOf(place string, document []byte) ([]source, error) {
	data, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	var content map[string]any
	if err := utiljson.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: is no object: %w", place, err)
	}
	if len(content) == 0 {
		return nil, nil
	}
	obj := &unstructured.Unstructured{Object: content}
	if !obj.IsList() {
		return []source{{place, obj}}, checkSource(source{place, obj})
	}
	items, _, err := unstructured.NestedSlice(content, "items")
	if err != nil {
		return nil, fmt.Errorf("%s: items: %w", place, err)
	}
	all := make([]source, len(items))
	for i, item := range items {
		object, isObject := item.(map[string]any)
		if !isObject {
			return nil, fmt.Errorf("%s, items[%d]: is no object", place, i)
		}
		all[i] = source{fmt.Sprintf("%s, items[%d]", place, i), &unstructured.Unstructured{Object: object}}
		if err := checkSource(all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// checkSource returns an error when something is no object of a Kubernetes API.
func checkSource(s source) error {
	for _, field := range []struct{ name, value string }{
		{"apiVersion", s.obj.GetAPIVersion()}, {"kind", s.obj.GetKind()}, {"metadata.name", s.obj.GetName()},
	} {
		if field.value == "" {
			return fmt.Errorf("%s: %s: is missing, or no text", s.place, field.name)
		}
	}
	return nil
}
