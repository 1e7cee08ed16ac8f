package protocol

import (
	"slices"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// WithoutInUse returns the finalizers of an APIBinding without the one by which the hub keeps the binding while clusters
// see objects through it.
func WithoutInUse(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool { return finalizer == v1alpha1.InUseFinalizer })
}
