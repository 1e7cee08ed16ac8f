package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/measure"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var configMapsResource = corev1.SchemeGroupVersion.WithResource("configmaps")

const (
	// listening is how long silence is listened to.
	listening = 30 * time.Second
	// silence is how long nothing must have been written to count as silent: what a cluster is loaded with is told every
	// 30 s at most.
	silence = 35 * time.Second
)

// rest counts what is written at rest and after a restart of all programs, with many objects.
func (b *bench) rest(ctx context.Context) ([]section, error) {
	trail, err := b.trail()
	if err != nil {
		return nil, err
	}
	count, err := b.fill(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.silent(ctx, trail, silence); err != nil {
		return nil, err
	}
	s := section{
		title: fmt.Sprintf("At rest and after a restart, with %d objects", count),
		text: fmt.Sprintf("The Deployments of the measurements before are there, and ConfigMaps on one cluster: these were made with the "+
			"labels, annotations and finalizers that tmc gives one of them. At rest is %s. A restart ends tmc's programs and starts all of "+
			"them again; the CPU time is that from the start until nothing had been written for %s.", listening, 2*quiet),
		rows: [][]string{{headWhat, "AT REST", "AFTER A RESTART"}},
	}
	atRest, err := b.trail()
	if err != nil {
		return nil, err
	}
	before := b.usage()
	if err := pause(ctx, listening); err != nil { // silence has no condition
		return nil, err
	}
	resting := b.usage()
	if err := atRest.Read(); err != nil {
		return nil, err
	}
	restarted, err := b.restart(ctx)
	if err != nil {
		return nil, err
	}
	s.rows = append(s.rows,
		[]string{"writes in kcp", fmt.Sprint(writesAt(atRest, measure.InKCP)), fmt.Sprint(writesAt(restarted.trail, measure.InKCP))},
		[]string{"writes in the clusters", fmt.Sprint(writesAt(atRest, measure.InCluster)), fmt.Sprint(writesAt(restarted.trail, measure.InCluster))},
		[]string{"leases renewed in 30 s", fmt.Sprint(leases(atRest)), ""},
		[]string{"programs ready after", "", measure.Seconds(restarted.ready)},
		[]string{"CPU of a core", cpuOf(cpuSince(before, resting), listening), ""},
		[]string{"CPU time", "", cpuTimes(cpuSince(nil, restarted.used))},
		[]string{"memory", strings.Join(memoryOf(resting), ", "), strings.Join(memoryOf(restarted.used), ", ")},
	)
	return []section{s}, nil
}

// restarted is what came of a restart.
type restarted struct {
	ready time.Duration
	trail *measure.Trail
	used  map[string]measure.Usage
}

// restart ends all programs, starts them again, and waits until they write no more.
func (b *bench) restart(ctx context.Context) (restarted, error) {
	for _, p := range b.programs {
		if err := p.process.Stop(ctx); err != nil {
			return restarted{}, err
		}
	}
	trail, err := b.trail()
	if err != nil {
		return restarted{}, err
	}
	start := time.Now()
	if err := b.startPrograms(ctx); err != nil {
		return restarted{}, err
	}
	r := restarted{ready: time.Since(start), trail: trail}
	if err := b.silent(ctx, trail, 2*quiet); err != nil {
		return restarted{}, err
	}
	r.used = b.usage()
	delete(r.used, kcpProgram) // what it took is from its own start on
	return r, nil
}

// fill makes ConfigMaps until there are as many objects as asked for. One is placed by tmc; the others are made with the
// labels, annotations and finalizers that it has then: what tmc has to write for them is little, and no news to what is
// measured afterwards.
func (b *bench) fill(ctx context.Context) (int, error) {
	configMaps := b.user.objects.Resource(configMapsResource).Namespace(namespace)
	first, err := configMaps.Create(ctx, newConfigMap(0, nil), metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	err = framework.Eventually(ctx, "a ConfigMap to be placed", b.timeout, func(ctx context.Context) (bool, string, error) {
		first, err = configMaps.Get(ctx, first.GetName(), metav1.GetOptions{})
		return err == nil && isPlaced(first), "it has no label of a cluster", err
	})
	if err != nil {
		return 0, err
	}
	there := len(b.user.deployments.all())
	missing := max(0, b.objects-there-1)
	_, err = inTurn(ctx, missing, func(ctx context.Context, i int) error {
		_, err := configMaps.Create(ctx, newConfigMap(i+1, first), metav1.CreateOptions{})
		return err
	})
	return there + 1 + missing, err
}

// isPlaced reports whether an object is placed on the first cluster.
func isPlaced(obj *unstructured.Unstructured) bool {
	_, placed := obj.GetLabels()[v1alpha1.PlacementLabel(east)]
	return placed
}

// newConfigMap returns one that is placed on a cluster, with tmc's marks of another one if that is given.
func newConfigMap(i int, like *unstructured.Unstructured) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"key": numbered("value", i)}}}
	u.SetAPIVersion("v1")
	u.SetKind("ConfigMap")
	u.SetName(numbered("rest", i))
	u.SetAnnotations(map[string]string{v1alpha1.TargetClustersAnnotation: east})
	if like == nil {
		return u
	}
	u.SetFinalizers(like.GetFinalizers())
	u.SetLabels(without(like.GetLabels(), "kcp.io"))
	u.SetAnnotations(without(like.GetAnnotations(), "kcp.io"))
	return u
}

// without returns the entries whose keys do not have a domain, but for tmc's own below it.
func without(entries map[string]string, domain string) map[string]string {
	kept := map[string]string{}
	for key, value := range entries {
		of, _, _ := strings.Cut(key, "/")
		if !strings.HasSuffix(of, domain) && !strings.HasPrefix(of, "claimed.") || strings.HasSuffix(of, v1alpha1.GroupName) {
			kept[key] = value
		}
	}
	return kept
}

// silent waits until tmc's programs have not written for a while.
func (b *bench) silent(ctx context.Context, trail *measure.Trail, quiet time.Duration) error {
	since := time.Now()
	return framework.Eventually(ctx, "silence", b.timeout, func(context.Context) (bool, string, error) {
		err := trail.Read()
		last := trail.LastWrite()
		if last.Before(since) {
			last = since
		}
		return err == nil && time.Since(last) > quiet, "written " + measure.Seconds(time.Since(last)) + " ago", err
	})
}

func writesAt(trail *measure.Trail, side string) int {
	count := 0
	for _, r := range trail.Requests {
		if r.IsWrite() && r.Side == side {
			count++
		}
	}
	return count
}

func leases(trail *measure.Trail) int {
	heartbeats, _ := trail.Split()
	return heartbeats
}

func cpuTimes(cpu map[string]time.Duration) string {
	var cells []string
	for _, name := range sortedKeys(cpu) {
		cells = append(cells, name+" "+measure.Seconds(cpu[name]))
	}
	return strings.Join(cells, ", ")
}

// awaitNamespaceGone waits until a namespace is.
func (s *side) awaitNamespaceGone(ctx context.Context, name string, timeout time.Duration) error {
	return framework.Eventually(ctx, "namespace "+name+" of "+s.name+" to be gone", timeout, func(ctx context.Context) (bool, string, error) {
		_, err := s.objects.Resource(namespacesResource).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		return false, "it is there", err
	})
}
