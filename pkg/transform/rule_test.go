package transform

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestImageRegistry(t *testing.T) {
	sha256 := "@sha256:" + strings.Repeat("a", 64)
	sha512 := "@sha512:" + strings.Repeat("b", 128)
	cases := map[string]struct{ image, want string }{
		"AFamiliarName":            {"nginx", "registry.example.com/library/nginx"},
		"AFamiliarNameWithATag":    {"nginx:1.29", "registry.example.com/library/nginx:1.29"},
		"AnOfficialImage":          {"library/nginx", "registry.example.com/library/nginx"},
		"AnOrganisation":           {"org/app:1", "registry.example.com/org/app:1"},
		"ADeepPath":                {"quay.example.com/a/b/c/d:x", "registry.example.com/a/b/c/d:x"},
		"APort":                    {"host:5000/org/app" + sha256, "registry.example.com/org/app" + sha256},
		"Localhost":                {"localhost/x", "registry.example.com/x"},
		"DockerHubByName":          {"docker.io/nginx", "registry.example.com/library/nginx"},
		"DockerHubByItsOldName":    {"index.docker.io/nginx", "registry.example.com/library/nginx"},
		"ATagAndADigest":           {"name:tag" + sha256, "registry.example.com/library/name:tag" + sha256},
		"ALongDigest":              {"name" + sha512, "registry.example.com/library/name" + sha512},
		"AnUppercaseTag":           {"org/app:V1-RC", "registry.example.com/org/app:V1-RC"},
		"AnIPv6Host":               {"[::1]:5000/app", "registry.example.com/app"},
		"AnUppercaseHost":          {"HOST/app", "registry.example.com/app"},
		"TheRegistryItself":        {"registry.example.com/org/app:1", "registry.example.com/org/app:1"},
		"TheRegistryOnAnotherPort": {"registry.example.com:5000/app", "registry.example.com/app"},
		"ALongerHost":              {"registry.example.com.au/app", "registry.example.com/app"},
		"AnUppercasePath":          {"org/App", "org/App"},
		"NoImage":                  {"", ""},
		"ABlank":                   {"nginx latest", "nginx latest"},
		"AnIdentifier":             {strings.Repeat("c", 64), strings.Repeat("c", 64)},
		"ATemplateNobodyFilledIn":  {"${IMAGE}", "${IMAGE}"},
		"AnUnknownDigest":          {"app@crc32:" + strings.Repeat("d", 32), "app@crc32:" + strings.Repeat("d", 32)},
		"AColonAndNothingBehindIt": {"app:", "app:"},
		"AComponentNamedLikeAHost": {"org/registry.example.com/app", "registry.example.com/org/registry.example.com/app"},
		"ADigestWithoutItsDigits":  {"app@sha256:", "app@sha256:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := imageFrom("registry.example.com", tc.image)
			if got != tc.want {
				t.Errorf("%q became %q, want %q", tc.image, got, tc.want)
			}
			for _, registry := range []string{
				"registry.example.com", "registry.example.com/mirror", "registry.example.com:5000/a/b", "localhost/m",
				"index.docker.io/m", "docker.io", "index.docker.io", "docker.io/m",
			} {
				if err := checkRegistry(registry); err != nil {
					t.Fatalf("%s: %v", registry, err)
				}
				once := imageFrom(registry, tc.image)
				if twice := imageFrom(registry, once); twice != once {
					t.Errorf("%s: applied twice, %q became %q", registry, once, twice)
				}
			}
		})
	}
}

func TestImageRegistryOfEveryPodTemplate(t *testing.T) {
	pod := `
	containers: [{name: a, image: a}, not a container, {name: no-image}, {name: number, image: 5}]
	initContainers: [{name: b, image: b}]
	ephemeralContainers: [{name: c, image: c}]
	volumes: [{name: d, image: {reference: d, pullPolicy: Always}}, {name: e, emptyDir: {}}]
`
	want := parsed(t, strings.NewReplacer(
		"image: a}", "image: registry.example.com/library/a}", "image: b}", "image: registry.example.com/library/b}",
		"image: c}", "image: registry.example.com/library/c}", "reference: d,", "reference: registry.example.com/library/d,",
	).Replace(pod))
	cases := map[string]struct {
		header string
		path   []string
	}{
		"ADeployment":         {"{apiVersion: apps/v1, kind: Deployment}", []string{"spec", "template", "spec"}},
		"ACronJob":            {"{apiVersion: batch/v1, kind: CronJob}", []string{"spec", "jobTemplate", "spec", "template", "spec"}},
		"AKindNobodyHeardOf":  {"{apiVersion: example.com/v1, kind: Fleet}", []string{"spec", "template", "spec"}},
		"AnotherWithAJob":     {"{apiVersion: example.com/v1, kind: Backup}", []string{"spec", "jobTemplate", "spec", "template", "spec"}},
		"APod":                {"{apiVersion: v1, kind: Pod}", []string{"spec"}},
		"AnotherKindNamedPod": {"{apiVersion: example.com/v1, kind: Pod}", nil},
		"AListThatIsNoPods":   {"{apiVersion: example.com/v1, kind: Registry}", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path, expected := tc.path, want
			if path == nil { // a list of containers that are no pod's
				path, expected = []string{"spec"}, parsed(t, pod)
			}
			obj := object(t, tc.header)
			at := obj.Object
			for _, field := range path[:len(path)-1] {
				at[field] = map[string]any{}
				at = child(at, field)
			}
			at[path[len(path)-1]] = parsed(t, pod)
			got := transformed(t, inputOf(obj, ruleOf(t, "imageRegistry: registry.example.com")))
			if diff := cmp.Diff(expected, child(got.Object, path...)); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
		})
	}
}

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
