package transform

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestOverrideRandomPatches tries patches that a fuzzer, which
// knows no grammar, hardly finds: all operations between all kinds of places.
func TestOverrideRandomPatches(t *testing.T) {
	ops := []string{"add", "remove", "replace", "move", "copy", "test", "Add", ""}
	paths := []string{
		"", "/", "//", "/spec", "/spec/", "/spec/list", "/spec/list/-", "/spec/list/0", "/spec/list/1", "/spec/list/01", "/spec/list/1e0", "/spec/list/-1", "/spec/list/0/x",
		"/spec/list/99999999999999999999", "/spec/template/spec/containers/0", "/spec/template/spec/containers/0/image", "/spec/template/spec/containers/0/image/x",
		"/spec/replicas/x", "/spec/none/x", "/metadata", "/metadata/name", "/metadata/namespace", "/metadata/labels", "/metadata/labels/app", "/metadata/labels/a~1b~0c~2",
		"/metadata/annotations", "/metadata/annotations/tmc.kcp.io~1source-uid", "/metadata/uid", "/kind", "/Kind", "/apiVersion", "/status", "/status/x", "/spec/template",
	}
	values := []string{"", `,"value":null`, `,"value":{}`, `,"value":[]`, `,"value":"web"`, `,"value":5`, `,"value":{"a":null,"a":[null]}`, `,"value":{"name":"web","namespace":"default"}`, `,"value":[null,{"a":{}}]`, `,"VALUE":1`}
	random := rand.New(rand.NewSource(1))
	pick := func(from []string) string { return from[random.Intn(len(from))] }
	applied := 0
	for range 5000 {
		var operations []string
		for range 1 + random.Intn(6) {
			operations = append(operations, fmt.Sprintf(`{"op":%q,"path":%q,"from":%q%s}`, pick(ops), pick(paths), pick(paths), pick(values)))
		}
		patch := "[" + strings.Join(operations, ",") + "]"
		in := inputOf(overridden(t, patch), v1alpha1.TransformRule{})
		desired, err := Desired(in)
		var failed *OverrideError
		switch {
		case err == nil:
			applied++
			checkIdentity(t, in, desired)
		case !errors.As(err, &failed):
			t.Fatalf("%s: %v, want an OverrideError", patch, err)
		}
	}
	if applied < 50 {
		t.Errorf("only %d of them could be applied", applied)
	}
}
