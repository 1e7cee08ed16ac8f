package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// source returns the OpenAPI v3 document of a group version.
type source func(ctx context.Context, group, version string) ([]byte, error)

// openAPIPath returns the path below /openapi/v3 of a group version's document.
func openAPIPath(group, version string) string {
	if group == "" {
		return "api/" + version
	}
	return "apis/" + group + "/" + version
}

// dirSource reads documents from a directory, named as in the Kubernetes repository
// (api/openapi-spec/v3): apis__apps__v1_openapi.json. Those of the repository itself
// say less than a server does: they have no enums.
func dirSource(dir string) source {
	return func(_ context.Context, group, version string) ([]byte, error) {
		name := strings.ReplaceAll(openAPIPath(group, version), "/", "__") + "_openapi.json"
		return os.ReadFile(filepath.Join(dir, name))
	}
}

// serverSource reads documents from the API server that config points at.
func serverSource(config *rest.Config) (source, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, group, version string) ([]byte, error) {
		return client.RESTClient().Get().
			AbsPath("/openapi/v3/"+openAPIPath(group, version)).
			SetHeader("Accept", "application/json").
			Do(ctx).Raw()
	}, nil
}

// openSource returns the source that the options ask for, and what to call when done
// with it: with neither a directory nor a kubeconfig, a kube-apiserver is started.
func openSource(ctx context.Context, o options) (source, func() error, error) {
	nothing := func() error { return nil }
	if o.openAPIDir != "" {
		return dirSource(o.openAPIDir), nothing, nil
	}
	if o.kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
		if err != nil {
			return nil, nil, err
		}
		documents, err := serverSource(config)
		return documents, nothing, err
	}
	server, err := startServer(ctx, o.binDir)
	if err != nil {
		return nil, nil, err
	}
	documents, err := serverSource(server.config)
	if err != nil {
		return nil, nil, errors.Join(err, server.stop())
	}
	return documents, server.stop, nil
}

// documentsFor reads the documents of all built-in kinds, each once, by group version.
func documentsFor(ctx context.Context, documents source, kinds []kind) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, k := range kinds {
		key := groupVersion(k.group, k.version)
		if _, known := found[key]; known || k.crdFile != "" {
			continue
		}
		data, err := documents(ctx, k.group, k.version)
		if err != nil {
			return nil, fmt.Errorf("reading the OpenAPI document of %s: %w", key, err)
		}
		found[key] = data
	}
	return found, nil
}
