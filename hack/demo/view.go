package main

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// view is what kcp and the clusters have at one time.
type view struct {
	upstream sight
	// downstream has a sight for each cluster, in their order.
	downstream []sight
}

// sight is what one place has under the Deployment's name.
type sight struct {
	// where is the name of the place.
	where string
	// deployment is nil when there is none.
	deployment *appsv1.Deployment
}

// look asks kcp and the clusters themselves.
func (s *stage) look(ctx context.Context) (view, error) {
	var v view
	var err error
	if v.upstream, err = lookAt(ctx, s.user); err != nil {
		return view{}, err
	}
	for _, at := range s.clusters {
		seen, err := lookAt(ctx, at)
		if err != nil {
			return view{}, err
		}
		v.downstream = append(v.downstream, seen)
	}
	return v, nil
}

func lookAt(ctx context.Context, at place) (sight, error) {
	deployment, err := at.client.AppsV1().Deployments(namespace).Get(ctx, workload, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return sight{where: at.name}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("%s: %w", at.name, err)
	}
	return sight{where: at.name, deployment: deployment}, nil
}

// table returns the view as rows for people.
func (v view) table() [][]string {
	rows := [][]string{{"WHERE", "WANTED", "READY", "UP-TO-DATE", "AVAILABLE", "IMAGE", "GENERATION", "OBSERVED"}}
	rows = append(rows, v.upstream.row(" each"))
	for _, seen := range v.downstream {
		rows = append(rows, seen.row(""))
	}
	return rows
}

// row returns a line of the table. What kcp wants is per cluster, which unit says.
func (s sight) row(unit string) []string {
	d := s.deployment
	if d == nil {
		return []string{s.where, "none", "-", "-", "-", "-", "-", "-"}
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	return []string{
		s.where, number(ptr.Deref(d.Spec.Replicas, 1)) + unit,
		number(d.Status.ReadyReplicas), number(d.Status.UpdatedReplicas), number(d.Status.AvailableReplicas),
		imageOf(d), strconv.FormatInt(d.Generation, 10), strconv.FormatInt(d.Status.ObservedGeneration, 10),
	}
}

// imageOf returns the image of the first container.
func imageOf(d *appsv1.Deployment) string {
	containers := d.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return "(no container)"
	}
	return containers[0].Image
}
