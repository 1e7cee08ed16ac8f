package kinds

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// boundTo is the text of a report that names what a copy is bound to: Kind.BoundTo.
const boundTo = "boundTo"

// AlikeTexts returns, as texts of a report, what of a copy is shown where it is alike on all clusters: texts as they are, lists
// and objects as JSON. What is empty, or longer than a text may be, is left out.
func (k *Kind) AlikeTexts(downstreamObj *unstructured.Unstructured, longest int) map[string]string {
	texts := map[string]string{}
	status, _ := downstreamObj.Object[statusField].(map[string]any)
	for _, alike := range k.Alike {
		texts[alike.Field] = encode(status[alike.Field])
	}
	if len(k.BoundTo) > 0 {
		texts[boundTo] = encode(k.BoundTo.In(downstreamObj.Object))
	}
	for name, text := range texts {
		if text == "" || len(text) > longest {
			delete(texts, name)
		}
	}
	return texts
}

// BoundToIn returns what the texts of a report say that the copy is bound to, empty for nothing.
func (k *Kind) BoundToIn(texts map[string]string) string {
	if len(k.BoundTo) == 0 {
		return ""
	}
	return texts[boundTo]
}

func encode(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		encoded, _ := json.Marshal(value) //nolint:errchkjson // it was decoded from JSON
		return string(encoded)
	}
}
