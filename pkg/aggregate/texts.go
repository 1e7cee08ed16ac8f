package aggregate

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// addTimes merges the times of the status, RFC 3339 in UTC, which sort as they are. A text that is none is left out: the
// merged status could not be written with it.
func (m *merge) addTimes() {
	for _, field := range m.kind.Times {
		var times []string
		for _, e := range m.shown {
			text := e.Report.Texts[field.Field]
			if _, err := time.Parse(time.RFC3339, text); err == nil {
				times = append(times, text)
			}
		}
		switch {
		case len(times) == 0, field.Rule == kinds.LatestOfAll && len(times) < len(m.shown):
		case field.Rule == kinds.Earliest:
			m.status[field.Field] = slices.Min(times)
		default:
			m.status[field.Field] = slices.Max(times)
		}
	}
}

// addRevisions gives the revisions: the one that all clusters have, or one name for all of theirs. Equal sets have equal
// names. Where the numbers are those of one cluster, the revisions are.
func (m *merge) addRevisions() {
	entries := m.shown
	if m.least != nil {
		entries = []protocol.Entry{*m.least}
	}
	for _, field := range m.kind.Revisions {
		var revisions []string
		for _, e := range entries {
			if revision := e.Report.Texts[field]; revision != "" {
				revisions = append(revisions, revision)
			}
		}
		slices.Sort(revisions)
		switch revisions = slices.Compact(revisions); len(revisions) {
		case 0:
		case 1:
			m.status[field] = revisions[0]
		default:
			sum := fnv.New32a()
			_, _ = sum.Write([]byte(strings.Join(revisions, "\x00"))) // never fails
			m.status[field] = "multiple-" + strconv.FormatUint(uint64(sum.Sum32()), 36)
		}
	}
}

// addPhase merges how far the object is. It has come nowhere that is placed nowhere, or where a cluster is silent.
func (m *merge) addPhase() {
	phase := m.kind.Phase
	if phase == nil {
		return
	}
	in := map[string]int{}
	for _, e := range m.shown {
		in[e.Report.Texts[phase.Field]]++
	}
	switch {
	case phase.Anywhere != "" && in[phase.Anywhere] > 0:
		m.status[phase.Field] = phase.Anywhere
	case len(m.shown) > 0 && in[phase.Everywhere] == len(m.shown):
		m.status[phase.Field] = phase.Everywhere
	default:
		m.status[phase.Field] = phase.Otherwise
	}
}

// addAddresses unites the addresses at which clusters serve, sorted, each once.
func (m *merge) addAddresses() {
	if !m.kind.Addresses {
		return
	}
	type address struct {
		key   string
		value any
	}
	var addresses []address
	for _, e := range m.shown {
		for _, value := range e.Report.Addresses {
			key, _ := json.Marshal(value) //nolint:errchkjson // it was decoded from JSON
			addresses = append(addresses, address{key: string(key), value: value})
		}
	}
	slices.SortFunc(addresses, func(a, b address) int { return cmp.Compare(a.key, b.key) })
	addresses = slices.CompactFunc(addresses, func(a, b address) bool { return a.key == b.key })
	loadBalancer := map[string]any{}
	if len(addresses) > 0 {
		ingress := make([]any, 0, len(addresses))
		for _, a := range addresses {
			ingress = append(ingress, a.value)
		}
		loadBalancer["ingress"] = ingress
	}
	m.status["loadBalancer"] = loadBalancer
}
