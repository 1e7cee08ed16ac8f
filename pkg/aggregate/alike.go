package aggregate

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// addAlike shows the fields of which all clusters say the same, and of amounts the smallest. A cluster that says nothing of
// one, or what cannot be such a field, leaves it out.
func (m *merge) addAlike() {
	for _, alike := range m.kind.Alike {
		var value any
		texts := m.texts(func(texts map[string]string) string { return texts[alike.Field] })
		switch {
		case len(texts) == 0:
		case alike.Of == kinds.AlikeAmounts:
			value = smallest(texts)
		case len(slices.Compact(slices.Clone(texts))) > 1:
		case alike.Of == kinds.AlikeTexts:
			value = textsIn(texts[0])
		default:
			value = texts[0]
		}
		if value != nil {
			m.status[alike.Field] = value
		}
	}
}

// boundTo names what all clusters have bound the object to, where that has the same name on all of them.
func (m *merge) boundTo() []condition {
	names := m.texts(m.kind.BoundToIn)
	if len(slices.Compact(names)) != 1 {
		return nil
	}
	return []condition{{v1alpha1.ConditionBoundTo, metav1.ConditionTrue, reasonAlike, names[0]}}
}

// texts returns a text of each of the clusters, none where one of them has none.
func (m *merge) texts(of func(texts map[string]string) string) []string {
	texts := make([]string, 0, len(m.shown))
	for _, e := range m.shown {
		text := of(e.Report.Texts)
		if text == "" {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// textsIn returns a list of texts, nil for what is none.
func textsIn(encoded string) any {
	var texts []string
	if json.Unmarshal([]byte(encoded), &texts) != nil {
		return nil
	}
	list := make([]any, 0, len(texts))
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}

// smallest returns, of each amount that all have, the smallest; nil where one of them cannot be read. What clusters say may be
// any number: those of a quantity out of bounds are none.
func smallest(encoded []string) any {
	var least map[string]any
	for i, text := range encoded {
		var amounts map[string]string
		if json.Unmarshal([]byte(text), &amounts) != nil || len(amounts) == 0 {
			return nil
		}
		next := map[string]any{}
		for name, amount := range amounts {
			parsed, ok := quantity.Parse(amount)
			if !ok {
				return nil
			}
			before, known := least[name].(string)
			smallestYet, _ := quantity.Parse(before)
			switch {
			case i == 0, known && parsed.Cmp(smallestYet) < 0:
				next[name] = amount
			case known:
				next[name] = before
			}
		}
		least = next
	}
	return least
}
