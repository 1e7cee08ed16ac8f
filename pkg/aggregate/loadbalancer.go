package aggregate

import (
	"cmp"
	"encoding/json"
	"slices"
)

// addLoadBalancer unites the addresses at which clusters serve, sorted, each once.
func addLoadBalancer(m *merge) {
	type address struct {
		key   string
		value any
	}
	var addresses []address
	for _, o := range m.shown {
		for _, value := range o.report.Addresses {
			key, err := json.Marshal(value)
			if err != nil {
				continue // cannot be: it was decoded from JSON
			}
			addresses = append(addresses, address{key: string(key), value: value})
		}
	}
	slices.SortFunc(addresses, func(a, b address) int { return cmp.Compare(a.key, b.key) })
	addresses = slices.CompactFunc(addresses, func(a, b address) bool { return a.key == b.key })
	if len(addresses) == 0 {
		m.status["loadBalancer"] = map[string]any{}
		return
	}
	ingress := make([]any, 0, len(addresses))
	for _, a := range addresses {
		ingress = append(ingress, a.value)
	}
	m.status["loadBalancer"] = map[string]any{"ingress": ingress}
}
