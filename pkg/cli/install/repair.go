package install

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/manifests"
)

// repairPath is where tmc-controller answers, below the URL that is given.
const repairPath = "/repair"

// ValidateRepairURL fails when kcp could not be told to ask tmc-controller at a URL. Empty is good: it stands for none.
func ValidateRepairURL(given string) error {
	if given == "" {
		return nil
	}
	parsed, err := url.Parse(given)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL: %w", given, err)
	case parsed.Scheme != "https":
		return fmt.Errorf("%q: expected https://HOST:PORT: kcp talks to webhooks over TLS alone", given)
	case parsed.Hostname() == "":
		return fmt.Errorf("%q: expected https://HOST:PORT, and the host is missing", given)
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.Path != "" && parsed.Path != "/":
		return fmt.Errorf("%q: expected https://HOST:PORT and nothing else: tmc-controller chooses the path", given)
	}
	return nil
}

// applyRepair has kcp ask tmc-controller to repair patches, or no longer, as the options say.
func (s *server) applyRepair(ctx context.Context, workspace string) error {
	given := s.options.RepairURL
	if given == nil {
		return nil
	}
	address := ""
	if *given != "" {
		parsed, err := url.Parse(*given)
		if err != nil {
			return fmt.Errorf("the URL for the repair of patches: %w", err)
		}
		parsed.Path = repairPath
		address = parsed.String()
	}
	objects, err := manifests.Repair(address)
	if err != nil {
		return fmt.Errorf("reading the embedded manifests: %w", err)
	}
	if address == "" {
		slices.Reverse(objects) // kcp stops asking before the certificates go
		return s.removeRepair(ctx, workspace, objects)
	}
	return s.applyAll(ctx, workspace, stepsOf(objects, mergeWebhook))
}

// removeRepair deletes what there is of the objects.
func (s *server) removeRepair(ctx context.Context, workspace string, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		client, err := s.resource(workspace, object)
		if err != nil {
			return err
		}
		err = client.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
		if isMissing(err) {
			continue
		}
		if err != nil {
			return s.explain(workspace, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
		}
		s.applied(workspace, object, Deleted)
	}
	return nil
}

// mergeWebhook is the merger for what repairs patches. The webhook becomes the desired one; the certificates that kcp
// trusts, and what is in the Secret, are tmc-controller's. The API server fills in nothing that is not desired.
func mergeWebhook(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	result := overlayObject(live, desired)
	hooks, found, err := unstructured.NestedSlice(desired.Object, "webhooks")
	if !found || err != nil {
		return result // the Secret
	}
	// An error means that the field is no list: the API server sees to that.
	liveHooks, _, _ := unstructured.NestedSlice(live.Object, "webhooks")
	if len(hooks) == 1 && len(liveHooks) == 1 {
		hooks[0] = keepBundle(liveHooks[0], hooks[0])
	}
	_ = unstructured.SetNestedSlice(result.Object, hooks, "webhooks")
	return result
}

// keepBundle returns the desired webhook with what the live one trusts, and with what the API server has filled in.
func keepBundle(live, desired any) any {
	liveHook, isLive := live.(map[string]any)
	hook, isDesired := desired.(map[string]any)
	if !isLive || !isDesired || liveHook["name"] != hook["name"] {
		return desired
	}
	for _, filledIn := range []string{"namespaceSelector", "objectSelector"} {
		if value, has := liveHook[filledIn]; has {
			hook[filledIn] = value
		}
	}
	if bundle, has, err := unstructured.NestedString(liveHook, "clientConfig", "caBundle"); has && err == nil {
		_ = unstructured.SetNestedField(hook, bundle, "clientConfig", "caBundle")
	}
	return hook
}
