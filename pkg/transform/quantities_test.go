package transform

import (
	"errors"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestOverrideQuantityBounds(t *testing.T) {
	cases := map[string]struct {
		reason, patch string
		// want is the field that is named, empty when the override is fine.
		want string
	}{
		"ARequest":      {"A2: adding it takes seconds", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"1e20000000"}}}]`, "spec.template.spec.containers.0.resources.requests.cpu"},
		"TwoOfThem":     {"the first by name is named, always", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"memory":"1e20000000","cpu":"1E-999999999"}}}]`, "requests.cpu"},
		"ALimit":        {"likewise", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"limits":{"example.com/gpu":"1e2000000000"}}}]`, "limits.example.com/gpu"},
		"OfThePod":      {"a pod as a whole has some as well", `[{"op":"add","path":"/spec/template/spec/resources","value":{"requests":{"cpu":"1e2000"}}}]`, "spec.template.spec.resources.requests.cpu"},
		"Overhead":      {"that of its runtime class", `[{"op":"add","path":"/spec/template/spec/overhead","value":{"cpu":"1e2000"}}]`, "overhead.cpu"},
		"AVolume":       {"in memory", `[{"op":"add","path":"/spec/template/spec/volumes","value":[{"emptyDir":{"sizeLimit":"1e2000"}}]}]`, "volumes.0.emptyDir.sizeLimit"},
		"AClaim":        {"of a StatefulSet, or an ephemeral one", `[{"op":"add","path":"/spec/volumeClaimTemplates","value":[{"spec":{"resources":{"requests":{"storage":"1e2000"}}}}]}]`, "volumeClaimTemplates.0.spec.resources.requests.storage"},
		"ADivisor":      {"of the downward API", `[{"op":"add","path":"/spec/template/spec/containers/0/env","value":[{"valueFrom":{"resourceFieldRef":{"divisor":"1e-2000"}}}]}]`, "resourceFieldRef.divisor"},
		"AMetric":       {"of an autoscaler", `[{"op":"add","path":"/spec/metrics","value":[{"pods":{"target":{"value":"1e2000"}}}]}]`, "metrics.0.pods.target.value"},
		"ManyDigits":    {"reading it takes long", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"` + strings.Repeat("9", 100_000) + `"}}}]`, "requests.cpu"},
		"AFraction":     {"of JSON", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":1e300}}}]`, "requests.cpu"},
		"APod":          {"deep in a CronJob", `[{"op":"add","path":"/spec/jobTemplate","value":{"spec":{"template":{"spec":{"initContainers":[{"resources":{"limits":{"cpu":"1e2000"}}}]}}}}}]`, "jobTemplate.spec.template.spec.initContainers.0.resources.limits.cpu"},
		"Common":        {"what people write", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"250m","memory":"1.5Gi","storage":"1e3","example.com/gpu":2,"x":0.5}}}]`, ""},
		"NoNumber":      {"the cluster will say so", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"much"}}}]`, ""},
		"AnEnvironment": {"a text may look like anything", `[{"op":"add","path":"/spec/template/spec/containers/0/env","value":[{"name":"COMMIT","value":"7e12345"}]}]`, ""},
		"ALabel":        {"likewise", `[{"op":"add","path":"/metadata/labels/requests","value":"7e12345"}]`, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				_, err := Desired(inputOf(overridden(t, tc.patch), v1alpha1.TransformRule{}))
				if tc.want == "" {
					if err != nil {
						t.Errorf("%s: %v", tc.reason, err)
					}
					continue
				}
				var failed *OverrideError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), tc.want+": ") || !strings.Contains(err.Error(), "exponent") || len(err.Error()) > 512 {
					t.Errorf("%s: got %v, want an OverrideError that names %s", tc.reason, err, tc.want)
				}
			}
		})
	}
}
