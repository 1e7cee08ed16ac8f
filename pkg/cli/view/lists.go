package view

// APIVersion is that of the lists that `kubectl tmc -o json` prints. Fields are added to
// them, and none is taken away or changed in meaning.
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
