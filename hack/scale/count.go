package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// cost is what requests of one sort came to.
type cost struct {
	requests, conflicts, failures int
	took                          []time.Duration
}

// sortOf is what requests are told apart by.
type sortOf struct {
	writer, side, what string
	// isWork is not so of heartbeats, and of what keeps caches.
	isWork bool
}

// costs adds requests up, those that keep caches left out unless they failed.
func costs(requests []request) map[sortOf]*cost {
	sum := map[sortOf]*cost{}
	for _, r := range requests {
		if r.isWatching() && r.Response.Code < http.StatusBadRequest {
			continue
		}
		key := sortOf{r.writer(), r.side, r.what, !r.isHeartbeat() && !r.isWatching()}
		if sum[key] == nil {
			sum[key] = &cost{}
		}
		sum[key].add(r)
	}
	return sum
}

func (c *cost) add(r request) {
	c.requests++
	c.took = append(c.took, r.Answered.Sub(r.Received))
	switch code := r.Response.Code; {
	case code == http.StatusConflict:
		c.conflicts++
	case code >= http.StatusBadRequest:
		c.failures++
	}
}

// count returns what the workloads have cost as rows for people.
func (t *trail) count(workloads int) [][]string {
	rows := [][]string{{"WRITER", "REQUEST", "AT", "COUNT", "EACH", "409", "OTHER ERRORS", "p50", "p99"}}
	sum := costs(t.requests)
	keys := slices.SortedFunc(maps.Keys(sum), func(a, b sortOf) int {
		return cmp.Or(cmp.Compare(b.side, a.side), cmp.Compare(a.writer, b.writer), cmp.Compare(sum[b].requests, sum[a].requests), cmp.Compare(a.what, b.what))
	})
	totals := map[string]int{}
	for _, key := range keys {
		c := sum[key]
		if key.isWork {
			totals[key.side] += c.requests
		}
		rows = append(rows, []string{
			key.writer, key.what, key.side, strconv.Itoa(c.requests), each(key.side, c.requests, workloads),
			strconv.Itoa(c.conflicts), strconv.Itoa(c.failures), millis(percentile(c.took, 50)), millis(percentile(c.took, 99)),
		})
	}
	for _, side := range []string{inKCP, inCluster} {
		rows = append(rows, []string{"all", "without leases, lists and watches", side, strconv.Itoa(totals[side]), each(side, totals[side], workloads), "", "", "", ""})
	}
	return rows
}

// each gives how many requests there were for a workload in kcp, or for a copy in the cluster.
func each(side string, requests, workloads int) string {
	if side == inCluster {
		return fmt.Sprintf("%.2f a copy", float64(requests)/float64(workloads*copies))
	}
	return fmt.Sprintf("%.2f a workload", float64(requests)/float64(workloads))
}
