package chaos

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/kubectl/pkg/polymorphichelpers"
)

// rollouts watches the workspaces, and looks into the clusters each time that `kubectl rollout status` would return with
// success: an older spec on a cluster that the object is placed on makes that a lie.
//
// The order of reading makes sure that only what is provable is told. The status comes first, then the clusters are read,
// then the object once more: where it is still of the same generation, on the same clusters and complete, what was read in
// between was so while kcp said that all is done.
type rollouts struct {
	clusters map[string]dynamic.Interface
	// meddled returns how a fault has meddled with a copy in the last time, "" if it has not.
	meddled func(at CopyKey, within time.Duration) string
	log     func(format string, args ...any)

	mu    sync.Mutex
	stops map[string]context.CancelFunc
	group sync.WaitGroup
	// latest are the objects as the watch has shown them last.
	latest map[types.UID]*sighting
	// looks counts how often a success was looked into, blind those of them for which a cluster could not be read.
	looks, blind int
	// behind counts the successes of a status that was written before the object came to another cluster, until the next
	// one: where an object goes is written first, and its status after it.
	behind     int
	longest    time.Duration
	violations []string
}

// sighting is an object as a watch has shown it.
type sighting struct {
	object *unstructured.Unstructured
	// since is when the object came to another cluster while its status stayed as it was, zero when the status is of later.
	since time.Time
	// looking is whether a look is under way, and again whether another is due after it.
	looking, again bool
}

func newRollouts(clusters map[string]dynamic.Interface) *rollouts {
	return &rollouts{clusters: clusters, stops: map[string]context.CancelFunc{}, latest: map[types.UID]*sighting{}}
}

// watch begins to watch a workspace.
func (r *rollouts) watch(ctx context.Context, who *tenant) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.stops[who.workspace] = cancel
	r.mu.Unlock()
	for _, kind := range []Kind{Deployment, StatefulSet} {
		r.group.Go(func() { r.follow(ctx, who, kind) })
	}
}

// forget ends the watch of a workspace.
func (r *rollouts) forget(who *tenant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stop := r.stops[who.workspace]; stop != nil {
		stop()
	}
}

// stop ends all watches, and waits for looks that are under way.
func (r *rollouts) stop() {
	r.mu.Lock()
	for _, stop := range r.stops {
		stop()
	}
	r.mu.Unlock()
	r.group.Wait()
}

// follow lists and watches, and begins anew when the watch ends, until the context does.
func (r *rollouts) follow(ctx context.Context, who *tenant, kind Kind) {
	client := who.client.Resource(resources[kind])
	for ctx.Err() == nil {
		if err := r.followOnce(ctx, who, client, kind); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
}

func (r *rollouts) followOnce(ctx context.Context, who *tenant, client dynamic.ResourceInterface, kind Kind) error {
	listCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := client.List(listCtx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		r.see(ctx, who, kind, &list.Items[i])
	}
	watchCtx, cancelWatch := context.WithTimeout(ctx, 5*time.Minute)
	defer cancelWatch()
	events, err := client.Watch(watchCtx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		switch {
		case !ok || event.Type == watch.Error:
			return fmt.Errorf("watch: %v", event.Object)
		case event.Type == watch.Deleted:
			r.mu.Lock()
			delete(r.latest, object.GetUID())
			r.mu.Unlock()
		default:
			r.see(ctx, who, kind, object)
		}
	}
	return nil
}

// see takes in an object, and has it looked at when it says that it is rolled out.
func (r *rollouts) see(ctx context.Context, who *tenant, kind Kind, object *unstructured.Unstructured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	former := r.latest[object.GetUID()]
	if former == nil {
		former = &sighting{}
		r.latest[object.GetUID()] = former
	} else {
		former.compare(object, &r.longest)
	}
	former.object = object
	if !isRolledOut(object) || object.GetDeletionTimestamp() != nil {
		return
	}
	if former.looking {
		former.again = true
		return
	}
	former.looking = true
	r.group.Go(func() { r.lookUntilCurrent(ctx, who, kind, former) })
}

// compare notes whether the status that an object shows is older than where it is.
func (s *sighting) compare(object *unstructured.Unstructured, longest *time.Duration) {
	before, _ := placedOn(s.object)
	now, _ := placedOn(object)
	grown := slices.ContainsFunc(now, func(name string) bool { return !slices.Contains(before, name) })
	same := reflect.DeepEqual(s.object.Object["status"], object.Object["status"])
	switch {
	case !same && !s.since.IsZero():
		*longest = max(*longest, time.Since(s.since))
		s.since = time.Time{}
	case same && grown && s.since.IsZero():
		s.since = time.Now()
	}
}

// isRolledOut reports whether kubectl rollout status returns with success. It is kubectl's own code that says so.
func isRolledOut(object *unstructured.Unstructured) bool {
	viewer, err := polymorphichelpers.StatusViewerFor(schema.GroupKind{Group: "apps", Kind: object.GetKind()})
	if err != nil {
		return false
	}
	_, done, err := viewer.Status(object, 0)
	return done && err == nil
}

// lookUntilCurrent looks at an object until there is no newer state of it that says that it is rolled out.
func (r *rollouts) lookUntilCurrent(ctx context.Context, who *tenant, kind Kind, s *sighting) {
	for {
		r.mu.Lock()
		object, behind := s.object, !s.since.IsZero()
		s.again = false
		r.mu.Unlock()
		if isRolledOut(object) && object.GetDeletionTimestamp() == nil {
			r.look(ctx, who, kind, object, behind)
		}
		r.mu.Lock()
		if !s.again {
			s.looking = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// look reads the clusters that the object is placed on, and then the object again.
func (r *rollouts) look(ctx context.Context, who *tenant, kind Kind, object *unstructured.Unstructured, behind bool) {
	began := time.Now()
	placed, _ := placedOn(object)
	older, blind := r.olderOn(ctx, kind, object, placed)
	r.mu.Lock()
	r.looks++
	if blind {
		r.blind++
	}
	r.mu.Unlock()
	if len(older) == 0 {
		return
	}
	again, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := who.client.Resource(resources[kind]).Namespace(object.GetNamespace()).Get(again, object.GetName(), metav1.GetOptions{})
	if err != nil {
		return
	}
	placedNow, _ := placedOn(now)
	same := now.GetUID() == object.GetUID() && now.GetGeneration() == object.GetGeneration() && slices.Equal(placed, placedNow)
	if !same || now.GetDeletionTimestamp() != nil || !isRolledOut(now) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if behind && reflect.DeepEqual(now.Object["status"], object.Object["status"]) {
		r.behind++
		return
	}
	problem := fmt.Sprintf("%s: %s %s/%s says that it is rolled out (generation %d, resourceVersion %s, then %s, on %v), but %s; read within %s; status %s; annotations %s",
		began.Format("15:04:05.000"), who.workspace, kind, object.GetNamespace()+"/"+object.GetName(), object.GetGeneration(), object.GetResourceVersion(),
		now.GetResourceVersion(), placed, strings.Join(older, "; "), time.Since(began).Round(time.Millisecond), text(object.Object["status"]), text(object.GetAnnotations()))
	r.violations = append(r.violations, problem)
	r.log("VIOLATION %s", problem)
}

// olderOn says which clusters run an older spec than the object has, or none, and whether one could not be read.
func (r *rollouts) olderOn(ctx context.Context, kind Kind, object *unstructured.Unstructured, placed []string) (older []string, blind bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	want, _ := versionOf(imageOf(object))
	for _, cluster := range placed {
		client := r.clusters[cluster]
		if client == nil {
			continue
		}
		at := copyKey(cluster, object.GetNamespace(), Key{kind, object.GetName()})
		there, err := client.Resource(resources[kind]).Namespace(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
		switch {
		case isGone(err, at.Name):
			if r.meddled(at, time.Minute) == "" {
				older = append(older, cluster+" has no copy")
			}
		case err != nil:
			blind = true
		case there.GetAnnotations()[sourceUIDKey] != string(object.GetUID()):
			if r.meddled(at, time.Minute) == "" {
				older = append(older, fmt.Sprintf("%s has one of another object (%s)", cluster, there.GetAnnotations()[sourceUIDKey]))
			}
		default:
			if have, ours := versionOf(imageOf(there)); ours && have < want {
				older = append(older, fmt.Sprintf("%s runs v%d and not v%d (copy %s)", cluster, have, want, text(there.GetAnnotations())))
			}
		}
	}
	return older, blind
}

// imageOf returns the image of a workload's first container.
func imageOf(object *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if len(containers) == 0 {
		return ""
	}
	container, _ := containers[0].(map[string]any)
	name, _ := container["image"].(string)
	return name
}

// takeViolations returns what was found since the last call.
func (r *rollouts) takeViolations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.violations
	r.violations = nil
	return found
}
