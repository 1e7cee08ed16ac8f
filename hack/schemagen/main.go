package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
)

// options are the command's flags.
type options struct {
	root       string
	outputDir  string
	binDir     string
	kubeconfig string
	openAPIDir string
	check      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parseFlags(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

// parseFlags reads the command line. Paths are relative to --root.
func parseFlags() options {
	var o options
	flag.StringVar(&o.root, "root", ".", "root of the repository")
	flag.StringVar(&o.outputDir, "output-dir", "manifests/kcp", "where the YAML goes, below the root")
	flag.StringVar(&o.binDir, "bin-dir", "bin/tools", "where the kube-apiserver and the etcd to start are, below the root")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "read from the API server of this kubeconfig instead of starting one")
	flag.StringVar(&o.openAPIDir, "openapi-dir", "", "read documents saved from a kube-apiserver (apis__apps__v1_openapi.json, …) instead of starting one")
	flag.BoolVar(&o.check, "check", false, "write nothing, fail if something would be written")
	flag.Parse()
	return o
}

// run generates everything and writes or checks it.
func run(ctx context.Context, o options, out io.Writer) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root, o.binDir = root, filepath.Join(root, o.binDir)
	documents, err := readDocuments(ctx, o)
	if err != nil {
		return err
	}
	files, err := generate(documents, o.root)
	if err != nil {
		return err
	}
	dir := filepath.Join(o.root, o.outputDir)
	if o.check {
		stale, err := compare(dir, files)
		if err == nil && len(stale) > 0 {
			err = fmt.Errorf("out of date, run `make generate`: %s", strings.Join(stale, ", "))
		}
		return err
	}
	changed, err := write(dir, files)
	for _, path := range changed {
		fmt.Fprintln(out, "changed", filepath.Join(o.outputDir, path))
	}
	return err
}

// readDocuments reads the OpenAPI documents that the table needs.
func readDocuments(ctx context.Context, o options) (map[string][]byte, error) {
	documents, stop, err := openSource(ctx, o)
	if err != nil {
		return nil, err
	}
	found, err := documentsFor(ctx, documents, kinds)
	return found, errors.Join(err, stop())
}

// generate returns the content of every generated file, by its path in the output
// directory. documents are the OpenAPI documents by group version.
func generate(documents map[string][]byte, root string) (map[string][]byte, error) {
	objects := map[string]metav1.Object{}
	var schemas []*apisv1alpha1.APIResourceSchema
	for _, k := range kinds {
		schema, err := schemaFor(k, documents[groupVersion(k.group, k.version)], root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resourceName(k), err)
		}
		schemas = append(schemas, schema)
		objects[filepath.Join(schemaDir, fileName("apiresourceschema", resourceName(k)))] = schema
	}
	export := exportOf(schemas)
	objects[fileName("apiexport", export.Name)] = export
	objects[roleFile] = consumersRole(schemas)
	for _, k := range definitions {
		definition, err := definitionFrom(k, root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resourceName(k), err)
		}
		objects[filepath.Join(definitionDir, resourceName(k)+".yaml")] = definition
	}
	if len(objects) != len(kinds)+len(definitions)+2 {
		return nil, errors.New("two kinds of the table have the same resource and group")
	}
	files := map[string][]byte{}
	for path, object := range objects {
		content, err := encode(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		files[path] = content
	}
	return files, nil
}
