package transform

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCapsLowerAndNeverRaise(t *testing.T) {
	cases := map[string]struct{ caps, container, want string }{
		"NoCap":                     {`{}`, `{resources: {limits: {cpu: 8}, requests: {cpu: 9}}}`, `{resources: {limits: {cpu: 8}, requests: {cpu: 9}}}`},
		"NoLimit":                   {`{cpu: 2, memory: 1Gi, ephemeral-storage: 5Gi}`, `{}`, `{resources: {limits: {cpu: "2", memory: 1Gi, ephemeral-storage: 5Gi}}}`},
		"NoLimitBesideARequest":     {`{cpu: 2}`, `{resources: {requests: {cpu: 500m}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: 500m}}}`},
		"NoLimitBelowTheRequest":    {`{cpu: 2}`, `{resources: {requests: {cpu: 4}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: "2"}}}`},
		"EmptyResources":            {`{cpu: 2}`, `{resources: {}}`, `{resources: {limits: {cpu: "2"}}}`},
		"NullLimits":                {`{cpu: 2}`, `{resources: {limits: null}}`, `{resources: {limits: {cpu: "2"}}}`},
		"Above":                     {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"AboveWithARequestAbove":    {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}, requests: {memory: 2Gi}}}`, `{resources: {limits: {memory: 1Gi}, requests: {memory: 1Gi}}}`},
		"AboveWithARequestBelow":    {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}, requests: {memory: 512Mi}}}`, `{resources: {limits: {memory: 1Gi}, requests: {memory: 512Mi}}}`},
		"BelowIsKeptAsItIsWritten":  {`{memory: 1Gi, cpu: 2}`, `{resources: {limits: {memory: 1024Mi, cpu: 0.50}}}`, `{resources: {limits: {memory: 1024Mi, cpu: 0.5}}}`},
		"EqualInOtherWords":         {`{memory: 1Gi}`, `{resources: {limits: {memory: 1073741824}}}`, `{resources: {limits: {memory: 1073741824}}}`},
		"AnInteger":                 {`{cpu: 2}`, `{resources: {limits: {cpu: 3}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"AFraction":                 {`{cpu: 2}`, `{resources: {limits: {cpu: 2.5}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"AnExponent":                {`{memory: 1Gi}`, `{resources: {limits: {memory: 12e8}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"AnExponentInText":          {`{memory: 1Gi}`, `{resources: {limits: {memory: "12e8"}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"NoQuantity":                {`{cpu: 2}`, `{resources: {limits: {cpu: lots}, requests: {cpu: 4}}}`, `{resources: {limits: {cpu: lots}, requests: {cpu: 4}}}`},
		"ARequestThatIsNoQuantity":  {`{cpu: 2}`, `{resources: {limits: {cpu: 4}, requests: {cpu: lots}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: lots}}}`},
		"ALimitThatIsNoScalar":      {`{cpu: 2}`, `{resources: {limits: {cpu: {a: 1}}}}`, `{resources: {limits: {cpu: {a: 1}}}}`},
		"LimitsThatAreNoObject":     {`{cpu: 2}`, `{resources: {limits: [1]}}`, `{resources: {limits: [1]}}`},
		"ResourcesThatAreNoObject":  {`{cpu: 2}`, `{resources: many}`, `{resources: many}`},
		"AnotherResource":           {`{cpu: 2}`, `{resources: {limits: {memory: 4Gi, cpu: 1}, claims: [{name: x}]}}`, `{resources: {limits: {memory: 4Gi, cpu: 1}, claims: [{name: x}]}}`},
		"AnExtendedResource":        {`{example.com/gpu: 1}`, `{resources: {limits: {example.com/gpu: 4}, requests: {example.com/gpu: 4}}}`, `{resources: {limits: {example.com/gpu: "1"}, requests: {example.com/gpu: "1"}}}`},
		"NoExtendedResource":        {`{example.com/gpu: 1}`, `{name: a}`, `{name: a}`},
		"HugePages":                 {`{hugepages-2Mi: 2Mi}`, `{resources: {limits: {hugepages-2Mi: 8Mi}, requests: {hugepages-2Mi: 8Mi}}}`, `{resources: {limits: {hugepages-2Mi: 2Mi}, requests: {hugepages-2Mi: 2Mi}}}`},
		"NoHugePages":               {`{hugepages-2Mi: 2Mi}`, `{name: a}`, `{name: a}`},
		"MoreThanThereCanBe":        {`{cpu: 2}`, `{resources: {limits: {cpu: "1e1000000000"}, requests: {cpu: "1e999999999"}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: "2"}}}`},
		"LessThanThereCanBe":        {`{cpu: 2}`, `{resources: {limits: {cpu: "1e-1000000000"}}}`, `{resources: {limits: {cpu: "1e-1000000000"}}}`},
		"AZeroThatLooksLikeMuch":    {`{cpu: 2}`, `{resources: {limits: {cpu: "0e1000000000"}}}`, `{resources: {limits: {cpu: "0e1000000000"}}}`},
		"AHugeNumber":               {`{cpu: 2}`, `{resources: {limits: {cpu: 1e300}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"MoreDigitsThanAnybodyUses": {`{cpu: 2}`, `{resources: {limits: {cpu: "00000000000000000000000000000000000000000000000000000000000000001"}}}`, `{resources: {limits: {cpu: "00000000000000000000000000000000000000000000000000000000000000001"}}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got := transformed(t, inputOf(container(t, tc.container), ruleOf(t, "resourceLimits: "+tc.caps)))
			if diff := cmp.Diff(parsed(t, tc.want), containerOf(t, got)); diff != "" {
				t.Errorf("container (-want +got):\n%s", diff)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestCapsOfContainersThatCanHaveLimits(t *testing.T) {
	cases := map[string]struct{ reason, pod, want string }{
		"InitContainers": {
			"they run on the cluster as well",
			`{containers: [], initContainers: [{name: a, restartPolicy: Always}]}`,
			`{containers: [], initContainers: [{name: a, restartPolicy: Always, resources: {limits: {cpu: "2"}}}]}`,
		},
		"EphemeralContainers": {
			"they cannot have any",
			`{containers: [], ephemeralContainers: [{name: a}]}`,
			`{containers: [], ephemeralContainers: [{name: a}]}`,
		},
		"APodWithALimit": {
			"a container without one shares the pod's; one above the cap is lowered still, which the pod allows",
			`{resources: {limits: {cpu: 1}}, containers: [{name: a}, {name: b, resources: {limits: {cpu: 4}}}]}`,
			`{resources: {limits: {cpu: 1}}, containers: [{name: a}, {name: b, resources: {limits: {cpu: "2"}}}]}`,
		},
		"APodWithARequest": {
			"a limit would be the container's request as well, and more than the pod's",
			`{resources: {requests: {cpu: 1}}, containers: [{name: a}]}`,
			`{resources: {requests: {cpu: 1}}, containers: [{name: a}]}`,
		},
		"APodWithALimitForSomethingElse": {
			"it says nothing about this one",
			`{resources: {limits: {memory: 1Gi}}, containers: [{name: a}]}`,
			`{resources: {limits: {memory: 1Gi}}, containers: [{name: a, resources: {limits: {cpu: "2"}}}]}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(t, "{apiVersion: apps/v1, kind: DaemonSet, spec: {template: {}}}")
			child(obj.Object, "spec", "template")["spec"] = parsed(t, tc.pod)
			got := transformed(t, inputOf(obj, ruleOf(t, "resourceLimits: {cpu: 2}")))
			if diff := cmp.Diff(parsed(t, tc.want), podSpecs(got)[0]); diff != "" {
				t.Errorf("%s: pod (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
