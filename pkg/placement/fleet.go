package placement

import (
	"cmp"
	"slices"
)

// Fleet is all clusters that there are, as they are at one time. Nothing of it changes: decisions share it, until a cluster does.
type Fleet struct {
	clusters []*Cluster
	byName   map[string]*Cluster
	// restricted is set when any of them is not for all workspaces.
	restricted bool
}

// NewFleet returns the fleet of the clusters, which may be in any order. It keeps them: nobody may change them afterwards.
func NewFleet(clusters []Cluster) *Fleet {
	f := &Fleet{clusters: make([]*Cluster, 0, len(clusters)), byName: make(map[string]*Cluster, len(clusters))}
	for i := range clusters {
		cluster := &clusters[i]
		f.clusters = append(f.clusters, cluster)
		f.byName[cluster.Name] = cluster
		f.restricted = f.restricted || len(cluster.AllowedWorkspaces) > 0
	}
	slices.SortFunc(f.clusters, func(a, b *Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return f
}

// All returns the clusters, sorted by name, to be read only.
func (f *Fleet) All() []*Cluster { return f.clusters }

// Cluster returns the cluster of that name, the zero value when there is none.
func (f *Fleet) Cluster(name string) Cluster {
	if cluster, known := f.byName[name]; known {
		return *cluster
	}
	return Cluster{}
}

// IsRestricted reports whether any cluster is for some workspaces only.
func (f *Fleet) IsRestricted() bool { return f.restricted }
