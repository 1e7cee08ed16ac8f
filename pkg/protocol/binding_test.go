package protocol

import (
	"slices"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestWithoutInUse(t *testing.T) {
	finalizers := []string{"a.tenant/has-it", v1alpha1.InUseFinalizer}
	if got := WithoutInUse(finalizers); !slices.Equal(got, finalizers[:1]) || finalizers[1] != v1alpha1.InUseFinalizer {
		t.Errorf("got %v, and the finalizers are %v", got, finalizers)
	}
}
