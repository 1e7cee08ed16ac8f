package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const retryExample = `  # The quota on east has been lifted: have every cluster try again now
  kubectl tmc retry deployment/web

  # Several objects of another namespace
  kubectl tmc retry deployment/web service/web -n shop

  # All Services of the namespace
  kubectl tmc retry services --all`

// newRetryCommand returns the command that has clusters try again.
func newRetryCommand() *cobra.Command {
	all := false
	command := &cobra.Command{
		Use:   "retry (KIND NAME... | KIND/NAME... | KIND --all)",
		Short: "Have the clusters of objects try again now",
		Long: `Have the clusters that objects of the workspace are placed on try again now what they have
failed to do. What a cluster refuses is tried again by itself within two minutes; this is for
who has mended the reason and looks on. Nothing of the copies changes: the command notes the
time in the annotation ` + v1alpha1.RetryAnnotation + ` of the objects, with your own rights.`,
		Example: retryExample,
	}
	options := newClientOptions(command, true)
	command.Flags().BoolVar(&all, "all", false, "All objects of the kind in the namespace")
	return options.runs(command, func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			return errors.New("say what to try again: KIND NAME, or KIND/NAME, such as deployment/web")
		}
		return runRetry(ctx, options, args, all)
	})
}

// runRetry has the objects that the arguments name tried again.
func runRetry(ctx context.Context, options *clientOptions, args []string, all bool) error {
	config, found, err := options.find(args, all)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		namespace, err := options.namespace()
		fmt.Fprintf(options.progress, "no %s found in namespace %s\n", strings.Join(args, ", "), namespace)
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	var failed []error
	for _, info := range found {
		if err := options.retry(ctx, client, info); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// retry has one object tried again, and says who is asked.
func (o *clientOptions) retry(ctx context.Context, client dynamic.Interface, info *resource.Info) error {
	obj, name := info.Object.(*unstructured.Unstructured), info.ObjectName() // see Unstructured above
	if served := info.Mapping.Resource; !v1alpha1.IsSynced(served.GroupResource(), info.Namespaced()) {
		return fmt.Errorf("%s goes to no cluster: %s are not synced", name, served.GroupResource())
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": obj.GetUID(), "annotations": map[string]string{v1alpha1.RetryAnnotation: time.Now().UTC().Format(time.RFC3339Nano)},
	}})
	if err != nil {
		return fmt.Errorf("encoding the annotation of %s: %w", name, err)
	}
	_, err = client.Resource(info.Mapping.Resource).Namespace(info.Namespace).Patch(ctx, info.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-tmc"})
	switch {
	case kcp.IsMissingObject(err, info.Name), apierrors.IsConflict(err):
		return fmt.Errorf("%s was deleted in the meantime", name)
	case err != nil:
		return fmt.Errorf("annotating %s: %w", name, err)
	}
	if clusters := protocol.Read(obj).Present(); len(clusters) > 0 {
		fmt.Fprintf(o.out, "%s: asked %s to try again\n", name, strings.Join(clusters, ", "))
	} else {
		fmt.Fprintf(o.out, "%s: is on no cluster; asked tmc-controller to try again\n", name)
	}
	return nil
}
