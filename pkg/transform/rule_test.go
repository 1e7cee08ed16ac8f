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
		"a familiar name":               {"nginx", "registry.example.com/library/nginx"},
		"a familiar name with a tag":    {"nginx:1.29", "registry.example.com/library/nginx:1.29"},
		"an official image":             {"library/nginx", "registry.example.com/library/nginx"},
		"an organisation":               {"org/app:1", "registry.example.com/org/app:1"},
		"a deep path":                   {"quay.example.com/a/b/c/d:x", "registry.example.com/a/b/c/d:x"},
		"a port":                        {"host:5000/org/app" + sha256, "registry.example.com/org/app" + sha256},
		"Localhost":                     {"localhost/x", "registry.example.com/x"},
		"docker hub by name":            {"docker.io/nginx", "registry.example.com/library/nginx"},
		"docker hub by its old name":    {"index.docker.io/nginx", "registry.example.com/library/nginx"},
		"a tag and a digest":            {"name:tag" + sha256, "registry.example.com/library/name:tag" + sha256},
		"a long digest":                 {"name" + sha512, "registry.example.com/library/name" + sha512},
		"an uppercase tag":              {"org/app:V1-RC", "registry.example.com/org/app:V1-RC"},
		"an i pv 6 host":                {"[::1]:5000/app", "registry.example.com/app"},
		"an uppercase host":             {"HOST/app", "registry.example.com/app"},
		"the registry itself":           {"registry.example.com/org/app:1", "registry.example.com/org/app:1"},
		"the registry on another port":  {"registry.example.com:5000/app", "registry.example.com/app"},
		"a longer host":                 {"registry.example.com.au/app", "registry.example.com/app"},
		"an uppercase path":             {"org/App", "org/App"},
		"no image":                      {"", ""},
		"a blank":                       {"nginx latest", "nginx latest"},
		"an identifier":                 {strings.Repeat("c", 64), strings.Repeat("c", 64)},
		"a template nobody filled in":   {"${IMAGE}", "${IMAGE}"},
		"an unknown digest":             {"app@crc32:" + strings.Repeat("d", 32), "app@crc32:" + strings.Repeat("d", 32)},
		"a colon and nothing behind it": {"app:", "app:"},
		"a component named like a host": {"org/registry.example.com/app", "registry.example.com/org/registry.example.com/app"},
		"a digest without its digits":   {"app@sha256:", "app@sha256:"},
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
		"a Deployment":           {"{apiVersion: apps/v1, kind: Deployment}", []string{"spec", "template", "spec"}},
		"a CronJob":              {"{apiVersion: batch/v1, kind: CronJob}", []string{"spec", "jobTemplate", "spec", "template", "spec"}},
		"a kind nobody heard of": {"{apiVersion: example.com/v1, kind: Fleet}", []string{"spec", "template", "spec"}},
		"another with a Job":     {"{apiVersion: example.com/v1, kind: Backup}", []string{"spec", "jobTemplate", "spec", "template", "spec"}},
		"a pod":                  {"{apiVersion: v1, kind: Pod}", []string{"spec"}},
		"another kind named pod": {"{apiVersion: example.com/v1, kind: Pod}", nil},
		"a list that is no pods": {"{apiVersion: example.com/v1, kind: Registry}", nil},
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
		"no cap":                         {`{}`, `{resources: {limits: {cpu: 8}, requests: {cpu: 9}}}`, `{resources: {limits: {cpu: 8}, requests: {cpu: 9}}}`},
		"no limit":                       {`{cpu: 2, memory: 1Gi, ephemeral-storage: 5Gi}`, `{}`, `{resources: {limits: {cpu: "2", memory: 1Gi, ephemeral-storage: 5Gi}}}`},
		"no limit beside a request":      {`{cpu: 2}`, `{resources: {requests: {cpu: 500m}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: 500m}}}`},
		"no limit below the request":     {`{cpu: 2}`, `{resources: {requests: {cpu: 4}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: "2"}}}`},
		"empty resources":                {`{cpu: 2}`, `{resources: {}}`, `{resources: {limits: {cpu: "2"}}}`},
		"NullLimits":                     {`{cpu: 2}`, `{resources: {limits: null}}`, `{resources: {limits: {cpu: "2"}}}`},
		"Above":                          {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"above with a request above":     {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}, requests: {memory: 2Gi}}}`, `{resources: {limits: {memory: 1Gi}, requests: {memory: 1Gi}}}`},
		"above with a request below":     {`{memory: 1Gi}`, `{resources: {limits: {memory: 4Gi}, requests: {memory: 512Mi}}}`, `{resources: {limits: {memory: 1Gi}, requests: {memory: 512Mi}}}`},
		"below is kept as it is written": {`{memory: 1Gi, cpu: 2}`, `{resources: {limits: {memory: 1024Mi, cpu: 0.50}}}`, `{resources: {limits: {memory: 1024Mi, cpu: 0.5}}}`},
		"equal in other words":           {`{memory: 1Gi}`, `{resources: {limits: {memory: 1073741824}}}`, `{resources: {limits: {memory: 1073741824}}}`},
		"an integer":                     {`{cpu: 2}`, `{resources: {limits: {cpu: 3}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"a fraction":                     {`{cpu: 2}`, `{resources: {limits: {cpu: 2.5}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"an exponent":                    {`{memory: 1Gi}`, `{resources: {limits: {memory: 12e8}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"an exponent in text":            {`{memory: 1Gi}`, `{resources: {limits: {memory: "12e8"}}}`, `{resources: {limits: {memory: 1Gi}}}`},
		"no quantity":                    {`{cpu: 2}`, `{resources: {limits: {cpu: lots}, requests: {cpu: 4}}}`, `{resources: {limits: {cpu: lots}, requests: {cpu: 4}}}`},
		"a request that is no quantity":  {`{cpu: 2}`, `{resources: {limits: {cpu: 4}, requests: {cpu: lots}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: lots}}}`},
		"a limit that is no scalar":      {`{cpu: 2}`, `{resources: {limits: {cpu: {a: 1}}}}`, `{resources: {limits: {cpu: {a: 1}}}}`},
		"limits that are no object":      {`{cpu: 2}`, `{resources: {limits: [1]}}`, `{resources: {limits: [1]}}`},
		"resources that are no object":   {`{cpu: 2}`, `{resources: many}`, `{resources: many}`},
		"another resource":               {`{cpu: 2}`, `{resources: {limits: {memory: 4Gi, cpu: 1}, claims: [{name: x}]}}`, `{resources: {limits: {memory: 4Gi, cpu: 1}, claims: [{name: x}]}}`},
		"an extended resource":           {`{example.com/gpu: 1}`, `{resources: {limits: {example.com/gpu: 4}, requests: {example.com/gpu: 4}}}`, `{resources: {limits: {example.com/gpu: "1"}, requests: {example.com/gpu: "1"}}}`},
		"no extended resource":           {`{example.com/gpu: 1}`, `{name: a}`, `{name: a}`},
		"HugePages":                      {`{hugepages-2Mi: 2Mi}`, `{resources: {limits: {hugepages-2Mi: 8Mi}, requests: {hugepages-2Mi: 8Mi}}}`, `{resources: {limits: {hugepages-2Mi: 2Mi}, requests: {hugepages-2Mi: 2Mi}}}`},
		"no huge pages":                  {`{hugepages-2Mi: 2Mi}`, `{name: a}`, `{name: a}`},
		"more than there can be":         {`{cpu: 2}`, `{resources: {limits: {cpu: "1e1000000000"}, requests: {cpu: "1e999999999"}}}`, `{resources: {limits: {cpu: "2"}, requests: {cpu: "2"}}}`},
		"less than there can be":         {`{cpu: 2}`, `{resources: {limits: {cpu: "1e-1000000000"}}}`, `{resources: {limits: {cpu: "1e-1000000000"}}}`},
		"a zero that looks like much":    {`{cpu: 2}`, `{resources: {limits: {cpu: "0e1000000000"}}}`, `{resources: {limits: {cpu: "0e1000000000"}}}`},
		"a huge number":                  {`{cpu: 2}`, `{resources: {limits: {cpu: 1e300}}}`, `{resources: {limits: {cpu: "2"}}}`},
		"more digits than anybody uses":  {`{cpu: 2}`, `{resources: {limits: {cpu: "00000000000000000000000000000000000000000000000000000000000000001"}}}`, `{resources: {limits: {cpu: "00000000000000000000000000000000000000000000000000000000000000001"}}}`},
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
		"a pod with a limit": {
			"a container without one shares the pod's; one above the cap is lowered still, which the pod allows",
			`{resources: {limits: {cpu: 1}}, containers: [{name: a}, {name: b, resources: {limits: {cpu: 4}}}]}`,
			`{resources: {limits: {cpu: 1}}, containers: [{name: a}, {name: b, resources: {limits: {cpu: "2"}}}]}`,
		},
		"a pod with a request": {
			"a limit would be the container's request as well, and more than the pod's",
			`{resources: {requests: {cpu: 1}}, containers: [{name: a}]}`,
			`{resources: {requests: {cpu: 1}}, containers: [{name: a}]}`,
		},
		"a pod with a limit for something else": {
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
