package transform

import (
	"strings"
	"testing"

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
