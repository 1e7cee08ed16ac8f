package view

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// APIVersion is that of the lists that `kubectl tmc -o json` prints. Fields are added to them, and none is taken away or
// changed in meaning.
const APIVersion = "view.tmc.kcp.io/v1"

// List is what programs read.
type List[T any] struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []T    `json:"items"`
}

// NewList returns a list of that kind. Its items are never null.
func NewList[T any](kind string, items []T) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{APIVersion: APIVersion, Kind: kind, Items: items}
}

const (
	// mostColumns is how many clusters have columns of their own, before they are summed up in one.
	mostColumns = 12
	// mostNames is how many clusters a summary names of each sort.
	mostNames = 3
)

const (
	// none is the cell of what there is not.
	none = "-"
	// silentCell is that of a cluster that is not heard of.
	silentCell = "silent"
)

// leftOutCells are the cells of clusters that an object cannot enter.
var leftOutCells = map[v1alpha1.LeftOut]string{
	v1alpha1.LeftOutNotBound:            "not bound",
	v1alpha1.LeftOutBindingsHidden:      "bound?",
	v1alpha1.LeftOutKindNotAccepted:     "not taken",
	v1alpha1.LeftOutKindNotServed:       "not taken",
	v1alpha1.LeftOutPoliciesNotAccepted: "no policies",
	v1alpha1.LeftOutPoliciesMissing:     "no policies",
}

// TableOptions say which columns a table of workloads has.
type TableOptions struct {
	// Namespaces shows the namespace.
	Namespaces bool
	// Where shows where each object is, in words.
	Where bool
	// Wide gives each cluster a column, however many there are.
	Wide bool
}

// WorkloadTable returns a row for each workload, in their order, and a column for each cluster that one of them is on, or a
// summary of many.
func WorkloadTable(workloads []Workload, options TableOptions) *metav1.Table {
	names := sets.New[string]()
	for _, w := range workloads {
		for _, o := range w.Clusters {
			names.Insert(o.Name)
		}
		names = names.Union(sets.KeySet(w.LeftOut))
	}
	clusters := sets.List(names)
	folded := len(clusters) > mostColumns && !options.Wide
	headers := []string{"Kind", "Name", "Ready"}
	if options.Namespaces {
		headers = append([]string{"Namespace"}, headers...)
	}
	if options.Where {
		headers = append(headers, "Where")
	}
	if folded {
		headers = append(headers, "Summary")
	} else {
		headers = append(headers, clusters...)
	}
	table := newTable(headers...)
	for _, w := range workloads {
		cells := []any{w.Kind, w.Name, w.Ready()}
		if options.Namespaces {
			cells = append([]any{w.Namespace}, cells...)
		}
		if options.Where {
			cells = append(cells, w.Where())
		}
		if folded {
			cells = append(cells, w.Summary())
		} else {
			cells = append(cells, w.cells(clusters)...)
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
	}
	return table
}

func newTable(headers ...string) *metav1.Table {
	table := &metav1.Table{}
	for _, header := range headers {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: header, Type: "string"})
	}
	return table
}

// cells returns the cells of the clusters.
func (w *Workload) cells(clusters []string) []any {
	byName := map[string]string{}
	for _, o := range w.Clusters {
		byName[o.Name] = o.Cell()
	}
	for cluster, why := range w.LeftOut {
		byName[cluster] = leftOutCells[why]
	}
	var cells []any
	for _, cluster := range clusters {
		cell, isOn := byName[cluster]
		if !isOn {
			cell = none
		}
		cells = append(cells, cell)
	}
	return cells
}

// Ready is how many of the workload there are of those that there should be, everywhere.
func (w *Workload) Ready() string {
	if w.Available == nil {
		return none
	}
	return fraction(w.Available, w.Wanted)
}

// Cell says, in a few characters, how the object fares on the cluster: how many there are of how many ("ok" for kinds that
// count nothing), with "!" where something is wrong and "…" where the present state has not been taken up.
func (o OnCluster) Cell() string {
	switch {
	case o.Silent:
		return silentCell
	case o.State == protocol.Leaving:
		return string(protocol.Leaving)
	}
	text := ""
	if o.Available != nil {
		text = fraction(o.Available, o.Wanted)
	}
	marks := []string{text}
	if o.State == protocol.Kept {
		marks = append(marks, string(protocol.Kept))
	}
	switch {
	case o.isFailing():
		marks = append(marks, "!")
	case o.isLagging():
		marks = append(marks, "…")
	case text == "":
		marks[0] = "ok"
	}
	return strings.TrimSpace(strings.Join(marks, " "))
}

// sort is what a summary counts an object on a cluster as.
func (o OnCluster) sort() string {
	switch {
	case o.Silent:
		return silentCell
	case o.State == protocol.Leaving:
		return string(protocol.Leaving)
	case o.isFailing():
		return "in trouble"
	case o.isLagging() || o.lacks():
		return "lagging"
	default:
		return "ok"
	}
}

// Summary says in a line how the object fares on all its clusters, and names the first of those that are not well.
func (w *Workload) Summary() string {
	leftOut := ""
	if names := sets.List(sets.KeySet(w.LeftOut)); len(names) > 0 {
		leftOut = "; left out: " + firstOf(names, mostNames)
	}
	if len(w.Clusters) == 0 {
		return "on no cluster" + leftOut
	}
	bySort := map[string][]string{}
	for _, o := range w.Clusters {
		bySort[o.sort()] = append(bySort[o.sort()], o.Name)
	}
	var parts []string
	for _, sort := range []string{"in trouble", "lagging", silentCell, string(protocol.Leaving)} {
		if names := bySort[sort]; len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s: %s", len(names), sort, firstOf(names, mostNames)))
		}
	}
	summary := fmt.Sprintf("%s: %d ok", count(len(w.Clusters), "cluster"), len(bySort["ok"]))
	if len(parts) > 0 {
		summary += ", " + strings.Join(parts, "; ")
	}
	return summary + leftOut
}

// firstOf joins the first names, and says how many more there are.
func firstOf(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// count words a number of things.
func count(number int, thing string) string {
	if number == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", number, thing)
}
