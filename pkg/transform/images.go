package transform

import (
	_ "crypto/sha512" // or else reference refuses sha384 and sha512 digests, which kubelets know
	"errors"
	"strings"

	"github.com/distribution/reference"
)

// useRegistry has every image of a pod come from the registry.
func useRegistry(podSpec map[string]any, registry string) {
	for _, container := range children(podSpec, "containers", "initContainers", "ephemeralContainers") {
		replaceImage(container, "image", registry)
	}
	for _, volume := range children(podSpec, "volumes") {
		replaceImage(child(volume, "image"), "reference", registry)
	}
}

func replaceImage(holder map[string]any, field, registry string) {
	if image, isString := holder[field].(string); isString {
		holder[field] = imageFrom(registry, image)
	}
}

// imageFrom returns the reference of the same image in the registry: the domain is
// replaced; path, tag and digest are kept, and no tag is added. An image that is
// there already stays as it is, and so does what the grammar of references
// (github.com/distribution/reference) refuses: the kubelet will say so.
func imageFrom(registry, image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	inRegistry := registry + "/"
	if strings.HasPrefix(image, inRegistry) || strings.HasPrefix(named.Name(), inRegistry) {
		return image
	}
	moved := inRegistry + reference.Path(named)
	if tagged, ok := named.(reference.Tagged); ok {
		moved += ":" + tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		moved += "@" + digested.Digest().String()
	}
	return moved
}

// errNoRegistry says what the registry of a rule looks like.
var errNoRegistry = errors.New("must be HOST[:PORT][/PATH] without a scheme, a tag or a slash at the end, for instance " +
	"registry.example.com:5000/mirror; a host has a dot or a port, or is localhost")

// checkRegistry returns an error unless image references can begin with registry.
func checkRegistry(registry string) error {
	host, _, _ := strings.Cut(registry, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return errNoRegistry
	}
	// Any image will do. Two components, for the grammar knows single ones on Docker
	// Hub as something else.
	if named, err := reference.ParseNormalizedNamed(registry + "/some/image"); err != nil || !reference.IsNameOnly(named) {
		return errNoRegistry
	}
	return nil
}
