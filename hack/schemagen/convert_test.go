package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// widget is the kind of the tests.
var widget = kind{group: "test", version: "v1", kind: "Widget"}

// openAPI returns a document whose kind Widget has a spec of the given properties, in
// YAML, next to the given definitions.
func openAPI(t *testing.T, specProperties, definitions string) []byte {
	t.Helper()
	text := `
components:
  schemas:
    test.Widget:
      type: object
      x-kubernetes-group-version-kind: [{group: test, version: v1, kind: Widget}]
      properties:
        metadata:
          description: Standard metadata.
          default: {}
          allOf: [{$ref: "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]
        spec:
          type: object
          properties:
` + indent(specProperties, 12) + `
    io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta:
      type: object
      properties:
        name: {type: string}
    test.Thing:
      description: A thing.
      type: object
      required: [name]
      properties:
        name: {type: string, default: ""}
        size: {type: integer, format: int32, default: 0}
        color: {type: string, default: red}
    io.k8s.api.core.v1.RBDVolumeSource:
      description: A block device.
      type: object
      properties:
        image: {type: string}
    io.k8s.api.core.v1.PodSpec:
      type: object
      properties:
        hostname: {type: string}
        ephemeralContainers: {type: array, items: {type: string}}
    test.Endless:
      description: Holds itself.
      type: object
      properties:
        child: {$ref: "#/components/schemas/test.Endless"}
` + indent(definitions, 4)
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func indent(text string, by int) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	return strings.Repeat(" ", by) + strings.Join(lines, "\n"+strings.Repeat(" ", by))
}

func TestConvertPropertyToStructural(t *testing.T) {
	tests := map[string]struct {
		reason   string
		property string
		want     string
	}{
		"a plain value keeps type, format and description": {
			reason:   "explain shows them and int32 is a limit",
			property: "{type: integer, format: int32, description: Some number.}",
			want:     "{type: integer, format: int32, description: Some number.}",
		},
		"a reference is inlined": {
			reason:   "structural schemas have no references",
			property: `{$ref: "#/components/schemas/test.Thing"}`,
			want: `{type: object, description: A thing., required: [name],
				properties: {name: {type: string}, size: {type: integer, format: int32}, color: {type: string, default: red}}}`,
		},
		"the description beside a reference wins": {
			reason:   "it is about this use of the definition; OpenAPI v3 puts the reference into allOf for it",
			property: `{description: My thing., default: {}, allOf: [{$ref: "#/components/schemas/test.Thing"}]}`,
			want: `{type: object, description: My thing., required: [name],
				properties: {name: {type: string}, size: {type: integer, format: int32}, color: {type: string, default: red}}}`,
		},
		"a zero default is dropped": {
			reason:   "it is Go's zero value, and would make a required field optional",
			property: `{type: string, default: ""}`,
			want:     `{type: string}`,
		},
		"another default stays": {
			reason:   "a server applies it",
			property: `{type: string, default: TCP}`,
			want:     `{type: string, default: TCP}`,
		},
		"a quantity is an integer or a string that looks like one": {
			reason:   "cpu: 1 and cpu: 500m are both usual",
			property: `{description: An amount., allOf: [{$ref: "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}]}`,
			want:     `{description: An amount., x-kubernetes-int-or-string: true, pattern: '` + quantityPattern + `'}`,
		},
		"a port is an integer or a string": {
			reason:   "its published form, oneOf, is not structural",
			property: `{$ref: "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}`,
			want:     `{x-kubernetes-int-or-string: true, minimum: 0, maximum: 2147483647}`,
		},
		"an object of which nothing is known keeps everything": {
			reason:   "the server would drop all of its fields",
			property: `{type: object, description: Anything.}`,
			want:     `{type: object, description: Anything., x-kubernetes-preserve-unknown-fields: true}`,
		},
		"a map keeps the type of its values": {
			reason:   "labels are strings",
			property: `{type: object, additionalProperties: {type: string, default: ""}}`,
			want:     `{type: object, additionalProperties: {type: string}}`,
		},
		"a list of type map keeps its keys": {
			reason:   "server-side apply merges containers by name",
			property: `{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {default: {}, allOf: [{$ref: "#/components/schemas/test.Thing"}]}}`,
			want: `{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name],
				items: {type: object, description: A thing., required: [name],
				properties: {name: {type: string}, size: {type: integer, format: int32}, color: {type: string, default: red}}}}`,
		},
		"an optional key of a list keeps its zero default": {
			reason:   "each key has to be required or defaulted (imagePullSecrets)",
			property: `{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, properties: {name: {type: string, default: ""}}}}`,
			want: `{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name],
				items: {type: object, properties: {name: {type: string, default: ""}}}}`,
		},
		"what structural schemas do not know is dropped": {
			reason:   "an API server refuses the schema otherwise",
			property: `{type: array, items: {type: string}, x-kubernetes-patch-strategy: merge, x-kubernetes-patch-merge-key: name, x-kubernetes-unions: [{}]}`,
			want:     `{type: array, items: {type: string}}`,
		},
		"what has no plugin any more keeps everything": {
			reason:   "the clusters check it, and kcp need not keep its schema",
			property: `{$ref: "#/components/schemas/io.k8s.api.core.v1.RBDVolumeSource"}`,
			want:     `{type: object, description: A block device., x-kubernetes-preserve-unknown-fields: true}`,
		},
		"what no pod template may have is left out": {
			reason:   "Kubernetes refuses it, too",
			property: `{$ref: "#/components/schemas/io.k8s.api.core.v1.PodSpec"}`,
			want:     `{type: object, properties: {hostname: {type: string}}}`,
		},
		"a definition within itself ends in an object that keeps everything": {
			reason:   "an inlined schema cannot be endless",
			property: `{$ref: "#/components/schemas/test.Endless"}`,
			want: `{type: object, description: Holds itself., properties: {child:
				{type: object, description: Holds itself., x-kubernetes-preserve-unknown-fields: true}}}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			schema, err := convertKind(openAPI(t, "field: "+tc.property, ""), widget, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := schemaFrom(t, tc.want)
			if diff := cmp.Diff(want, schema.Properties["spec"].Properties["field"]); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConvertMetadata(t *testing.T) {
	schema, err := convertKind(openAPI(t, `template: {$ref: "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}`, ""), widget, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("of the object itself is bare, because the server knows it", func(t *testing.T) {
		if diff := cmp.Diff(schemaFrom(t, "{type: object}"), schema.Properties["metadata"]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("within the object is typed, because the server would drop it", func(t *testing.T) {
		want := schemaFrom(t, "{type: object, properties: {name: {type: string}}}")
		if diff := cmp.Diff(want, schema.Properties["spec"].Properties["template"]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestConvertFails(t *testing.T) {
	tests := map[string]struct {
		reason   string
		property string
		kind     kind
		overlays map[string]string
		// without is a part of the document, as JSON, that it does not have.
		without string
	}{
		"when the kind is not published": {
			reason: "the table has a typing error", property: "{type: string}",
			kind: kind{group: "test", version: "v1", kind: "Gadget"},
		},
		"when a definition is missing": {
			reason: "the document is broken", property: `{$ref: "#/components/schemas/test.Nothing"}`, kind: widget,
		},
		"when alternatives come up that nobody has thought about": {
			reason: "dropping them in silence would accept anything", property: "{oneOf: [{type: string}, {type: boolean}]}", kind: widget,
		},
		"when a definition's overlay speaks of a property that is gone": {
			reason: "the rule would be lost in silence", property: `{$ref: "#/components/schemas/test.Thing"}`, kind: widget,
			overlays: map[string]string{"test.Thing": "properties: {weight: {minimum: 0}}"},
		},
		"when a property that is left out is gone": {
			reason:   "the table is out of date",
			property: `{$ref: "#/components/schemas/io.k8s.api.core.v1.PodSpec"}`,
			kind:     widget,
			without:  `"ephemeralContainers":{"items":{"type":"string"},"type":"array"},`,
		},
		"when a list's key is no property of its items": {
			reason:   "server-side apply could not merge it",
			property: "{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [id], items: {type: object, properties: {name: {type: string}}}}", kind: widget,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			document := []byte(strings.Replace(string(openAPI(t, "field: "+tc.property, "")), tc.without, "", 1))
			if _, err := convertKind(document, tc.kind, tc.overlays); err == nil {
				t.Errorf("it did not: %s", tc.reason)
			}
		})
	}
}

func TestOverlay(t *testing.T) {
	base := "{type: object, properties: {a: {type: integer, enum: [1, 2]}, list: {type: array, items: {type: object, properties: {b: {type: string}}}}}}"
	tests := map[string]struct {
		reason  string
		overlay string
		want    string
		fails   bool
	}{
		"an empty overlay changes nothing": {overlay: "", want: base},
		"keywords are added": {
			overlay: "{required: [a], properties: {a: {default: 1, minimum: 0}}}",
			want:    "{type: object, required: [a], properties: {a: {type: integer, enum: [1, 2], default: 1, minimum: 0}, list: {type: array, items: {type: object, properties: {b: {type: string}}}}}}",
		},
		"lists are replaced": {
			reason:  "an enum may become smaller",
			overlay: "{properties: {a: {enum: [1]}}}",
			want:    "{type: object, properties: {a: {type: integer, enum: [1]}, list: {type: array, items: {type: object, properties: {b: {type: string}}}}}}",
		},
		"items are reached": {
			overlay: "{properties: {list: {items: {properties: {b: {default: x}}}}}}",
			want:    "{type: object, properties: {a: {type: integer, enum: [1, 2]}, list: {type: array, items: {type: object, properties: {b: {type: string, default: x}}}}}}",
		},
		"a default may be an object": {
			overlay: "{properties: {list: {default: [{b: x}]}, a: {default: {}}}}",
			want:    "{type: object, properties: {a: {type: integer, enum: [1, 2], default: {}}, list: {type: array, default: [{b: x}], items: {type: object, properties: {b: {type: string}}}}}}",
		},
		"an unknown property fails":   {reason: "it is out of date", overlay: "{properties: {c: {minimum: 0}}}", fails: true},
		"an unknown keyword fails":    {reason: "it is a typing error", overlay: "{properties: {a: {minimun: 0}}}", fails: true},
		"items of no list fail":       {overlay: "{properties: {a: {items: {type: string}}}}", fails: true},
		"what is no YAML fails":       {overlay: "{", fails: true},
		"a property without a schema": {overlay: "{properties: {a: 1}}", fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := layOver(schemaFrom(t, base), tc.overlay)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v, want one: %t (%s)", err, tc.fails, tc.reason)
			}
			if tc.fails {
				return
			}
			if diff := cmp.Diff(schemaFrom(t, tc.want), got); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOverlayAddsRules(t *testing.T) {
	base := schemaFrom(t, "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: one}]}}}")
	got, err := layOver(base, "{properties: {a: {x-kubernetes-validations: [{rule: two}]}}}")
	if err != nil {
		t.Fatal(err)
	}
	want := schemaFrom(t, "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: one}, {rule: two}]}}}")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a definition has rules, and each kind that uses it more (-want +got)\n%s", diff)
	}
}

// schemaFrom reads a schema from YAML, through JSON, so that raw values are compact.
func schemaFrom(t *testing.T, text string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	var schema apiextensionsv1.JSONSchemaProps
	data, err := yaml.YAMLToJSONStrict([]byte(strings.ReplaceAll(text, "\t", " ")))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}
