package kcp

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MetadataPatch is a merge patch (RFC 7386) of an upstream object's metadata.
// Server-side apply would not do: through a virtual workspace it records no
// ownership.
type MetadataPatch struct {
	// Labels and Annotations set the keys that have a value and remove those that
	// are nil.
	Labels      map[string]*string
	Annotations map[string]*string
	// Finalizers replaces the whole list when it is not nil. It takes
	// IfUnchangedSince: a merge patch cannot add to a list.
	Finalizers []string
	// Of is the object the patch is meant for: another one that has come under
	// its name is refused (409).
	Of metav1.Object
	// IfUnchangedSince refuses the patch (409) as well when the object is no
	// longer as Of has it.
	IfUnchangedSince bool
}

// Encode returns the patch as JSON, keys sorted.
func (p MetadataPatch) Encode() ([]byte, error) {
	metadata := map[string]any{"uid": p.Of.GetUID()}
	if len(p.Labels) > 0 {
		metadata["labels"] = p.Labels
	}
	if len(p.Annotations) > 0 {
		metadata["annotations"] = p.Annotations
	}
	if p.Finalizers != nil {
		metadata["finalizers"] = p.Finalizers
	}
	if p.IfUnchangedSince || p.Finalizers != nil {
		metadata["resourceVersion"] = p.Of.GetResourceVersion()
	}
	data, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return nil, fmt.Errorf("encoding a patch of %s/%s: %w", p.Of.GetNamespace(), p.Of.GetName(), err)
	}
	return data, nil
}
