// Package aggregator is the hub controller around aggregate: it reads what the clusters report on an object, adds what the
// hub itself finds wrong with it, and writes the merged status when it differs. It deletes what has ended everywhere when its
// time to live is over. It knows nothing of syncers beyond their reports.
package aggregator
