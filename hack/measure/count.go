package measure

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
func costs(requests []Request) map[sortOf]*cost {
	sum := map[sortOf]*cost{}
	for _, r := range requests {
		if r.IsWatching() && r.Response.Code < http.StatusBadRequest {
			continue
		}
		key := sortOf{r.Writer(), r.Side, r.What, !r.IsHeartbeat() && !r.IsWatching()}
		if sum[key] == nil {
			sum[key] = &cost{}
		}
		sum[key].add(r)
	}
	return sum
}

func (c *cost) add(r Request) {
	c.requests++
	c.took = append(c.took, r.Answered.Sub(r.Received))
	switch code := r.Response.Code; {
	case code == http.StatusConflict:
		c.conflicts++
	case code >= http.StatusBadRequest:
		c.failures++
	}
}

// Count returns what so many workloads on so many clusters each have cost, as rows for people.
func (t *Trail) Count(workloads, copies int) [][]string {
	rows := [][]string{{"WRITER", "REQUEST", "AT", "COUNT", "EACH", "409", "OTHER ERRORS", "p50", "p99"}}
	sum := costs(t.Requests)
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
			key.writer, key.what, key.side, strconv.Itoa(c.requests), each(key.side, c.requests, workloads, copies),
			strconv.Itoa(c.conflicts), strconv.Itoa(c.failures), Millis(Percentile(c.took, 50)), Millis(Percentile(c.took, 99)),
		})
	}
	for _, side := range []string{InKCP, InCluster} {
		rows = append(rows, []string{"all", "without leases, lists and watches", side, strconv.Itoa(totals[side]), each(side, totals[side], workloads, copies), "", "", "", ""})
	}
	return rows
}

// each gives how many requests there were for a workload in kcp, or for a copy in the cluster.
func each(side string, requests, workloads, copies int) string {
	if side == InCluster {
		return fmt.Sprintf("%.2f a copy", float64(requests)/float64(workloads*copies))
	}
	return fmt.Sprintf("%.2f a workload", float64(requests)/float64(workloads))
}
