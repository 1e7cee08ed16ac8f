package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/hack/measure"
)

const (
	// quiet is how long none of tmc's programs must have written for a change to be over.
	quiet = 4 * time.Second
	// rollingPods is how many pods the Deployments have, in both clusters together, whose image is changed.
	rollingPods = 20
)

// create is what the first change is called.
const create = "create"

// everybody stands for all of tmc's programs.
const everybody = "all"

// imagePatch changes the image of a Deployment.
const imagePatch = `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + newImage + `"}]`

// change is something that a user does to a Deployment.
type change struct {
	name string
	// pods is how many pods the Deployment has in all clusters afterwards.
	pods int64
	// do gives the generation that the Deployment has then, 0 if it is gone.
	do func(ctx context.Context, b *bench, name string) (generation int64, err error)
}

// changes are made one after the other to the same Deployments.
func changes() []change {
	both := int64(len(clusterNames()))
	return []change{
		{create, both, func(ctx context.Context, b *bench, name string) (int64, error) {
			_, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, newDeployment(name, ""), metav1.CreateOptions{})
			return 1, err
		}},
		{"scale", rollingPods, patch(`{"spec":{"replicas":` + strconv.FormatInt(rollingPods/both, 10) + `}}`)},
		{"image", rollingPods, patch(imagePatch)},
		{"delete", 0, func(ctx context.Context, b *bench, name string) (int64, error) {
			return 0, b.user.objects.Resource(deploymentsResource).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{})
		}},
	}
}

// patch returns what changes a Deployment by a merge patch, or a JSON patch if it is a list.
func patch(body string) func(context.Context, *bench, string) (int64, error) {
	kind := types.MergePatchType
	if body[0] == '[' {
		kind = types.JSONPatchType
	}
	return func(ctx context.Context, b *bench, name string) (int64, error) {
		changed, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Patch(ctx, name, kind, []byte(body), metav1.PatchOptions{})
		if err != nil {
			return 0, err
		}
		return changed.GetGeneration(), nil
	}
}

// writes counts what tmc's programs write for a change of a Deployment on two clusters, one Deployment at a time.
func (b *bench) writes(ctx context.Context) ([]section, error) {
	s := section{
		title: fmt.Sprintf("Writes for a change of a Deployment on two clusters, mean of %d", b.changes),
		rows:  [][]string{{"CHANGE", "AT", "WRITER", "WRITE", "EACH", "409", "OTHER ERRORS"}},
	}
	bars := writeBars{}
	for _, c := range changes() {
		trail, err := b.trail()
		if err != nil {
			return nil, err
		}
		for i := range b.changes {
			if err := b.make(ctx, c, numbered("writes", i)); err != nil {
				return nil, fmt.Errorf("%s of deployment %s: %w", c.name, numbered("writes", i), err)
			}
		}
		if err := b.settle(ctx, trail); err != nil {
			return nil, err
		}
		s.rows = append(s.rows, writesOf(c.name, trail.Requests, b.changes)...)
		bars.add(c.name, trail.Requests, b.changes)
	}
	s.text = fmt.Sprintf("Create makes one pod on each cluster, scale brings both clusters to %d pods together, image rolls these over. The "+
		"user's own write is not counted.", rollingPods)
	s.picture = bars.picture()
	return []section{s}, nil
}

// writeBars are the writes of each change by who makes them where.
type writeBars struct {
	changes             []string
	hub, syncers, below []float64
}

func (w *writeBars) add(change string, requests []measure.Request, count int) {
	of := func(side, writer string) float64 {
		sum := 0
		for _, r := range requests {
			if r.IsWrite() && r.Side == side && r.Writer() == writer {
				sum++
			}
		}
		return round(float64(sum) / float64(count))
	}
	w.changes = append(w.changes, change)
	w.hub = append(w.hub, of(measure.InKCP, controllerBinary))
	w.syncers = append(w.syncers, of(measure.InKCP, syncerBinary))
	w.below = append(w.below, of(measure.InCluster, syncerBinary))
}

func (w *writeBars) picture() *picture {
	return &picture{name: "writes", alt: "How many writes each change takes, by program and side", charts: []chart{{
		Title: "Writes for a change of a Deployment on two clusters", X: axis{Categories: w.changes}, Series: []series{
			{Name: "controller in kcp", As: asBars, Values: w.hub}, {Name: "syncers in kcp", As: asBars, Values: w.syncers},
			{Name: "syncers in the clusters", As: asBars, Values: w.below},
		},
	}}}
}

// make makes a change and waits until it is complete.
func (b *bench) make(ctx context.Context, c change, name string) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	generation, err := c.do(ctx, b, name)
	if err != nil {
		return err
	}
	done := isGone
	if generation > 0 {
		done = isComplete(generation, c.pods)
	}
	_, err = b.user.deployments.await(name, done).wait(ctx)
	return err
}

// settle waits until tmc's programs write no more.
func (b *bench) settle(ctx context.Context, trail *measure.Trail) error {
	return b.silent(ctx, trail, quiet)
}

// sortOfWrite is what writes are told apart by.
type sortOfWrite struct{ side, writer, what string }

// writesOf returns the writes among requests as rows, and their sum for each side.
func writesOf(change string, requests []measure.Request, count int) [][]string {
	type tally struct{ all, conflicts, errors int }
	sums := map[sortOfWrite]*tally{}
	add := func(key sortOfWrite, r measure.Request) {
		if sums[key] == nil {
			sums[key] = &tally{}
		}
		sums[key].all++
		switch {
		case r.Response.Code == 409:
			sums[key].conflicts++
		case r.Response.Code >= 400:
			sums[key].errors++
		}
	}
	for _, r := range requests {
		if r.IsWrite() {
			add(sortOfWrite{r.Side, r.Writer(), r.What}, r)
			add(sortOfWrite{r.Side, everybody, ""}, r)
		}
	}
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b sortOfWrite) int {
		return cmp.Or(cmp.Compare(b.side, a.side), compareBool(a.writer == everybody, b.writer == everybody), cmp.Compare(a.writer, b.writer), cmp.Compare(a.what, b.what))
	})
	var rows [][]string
	for _, key := range keys {
		sum := sums[key]
		rows = append(rows, []string{
			change, key.side, key.writer, key.what, fmt.Sprintf("%.1f", float64(sum.all)/float64(count)), strconv.Itoa(sum.conflicts), strconv.Itoa(sum.errors),
		})
	}
	return rows
}

// compareBool has what is true come last.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}
