// Package scheduler is the hub controller around placement: it writes the labels
// that place an object on clusters, and takes them off once a cluster has been
// left. It knows nothing of syncers beyond their keys.
package scheduler
