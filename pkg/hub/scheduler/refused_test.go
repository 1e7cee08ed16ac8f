package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// strictKCP refuses some patches.
type strictKCP struct {
	*fakeKCP

	refuse func(patch string) error
	// tries counts the patches, warned are the events.
	tries  int
	warned []string
}

func (s *strictKCP) Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error) {
	s.tries++
	if err := s.refuse(string(patch)); err != nil {
		return nil, err
	}
	return s.fakeKCP.Patch(ctx, key, patchType, patch, subresources...)
}

func (s *strictKCP) Warn(_ kcp.ObjectKey, obj *unstructured.Unstructured, reason string, messages ...string) {
	if reason == reasonWriteRefused {
		s.warned = append(s.warned, obj.GetName()+" "+strings.Join(messages, " "))
	}
}

var errTooLong = apierrors.NewInvalid(schema.GroupKind{Kind: "Deployment"}, "web", field.ErrorList{field.TooLong(field.NewPath("metadata", "annotations"), "", 262144)})

// TestSyncOfWhatIsRefused has kcp refuse what places a Deployment: its user is told once, the write is tried ever less often, and at
// once when the object changes.
func TestSyncOfWhatIsRefused(t *testing.T) {
	f := &strictKCP{fakeKCP: newFakeKCP(t, web), refuse: func(string) error { return errTooLong }}
	s := f.scheduler(fleet{"east"})
	var heard []string
	s.config.Upstream, s.config.Notices, s.config.Refused = f, f, func(key kcp.ObjectKey) { heard = append(heard, key.Name) }
	begin := time.Unix(1_000_000, 0)
	now := begin
	s.now = func() time.Time { return now }
	key := f.keyOf("web")
	turn := func() time.Duration {
		t.Helper()
		again, err := s.sync(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return again
	}
	for now.Before(begin.Add(time.Hour)) {
		again := turn()
		if again <= 0 || again > 2*time.Minute {
			t.Fatalf("again after %s", again)
		}
		tries := f.tries
		if turn(); f.tries != tries {
			t.Fatal("it is tried again at once")
		}
		now = now.Add(again)
	}
	if f.tries > 110 || len(f.warned) != 1 || !strings.Contains(f.warned[0], "Too long") || !slices.Equal(heard, []string{"web"}) {
		t.Errorf("%d tries in an hour; told: %q; heard: %v", f.tries, f.warned, heard)
	}
	turn()
	old := f.object("web").DeepCopy()
	f.changeWeb(func(obj *unstructured.Unstructured) { obj.SetAnnotations(map[string]string{"a": "b"}) })
	f.refuse = func(string) error { return nil }
	s.OnUpstream(key, old, f.object("web"))
	if again := turn(); again != 0 || len(f.patches) != 1 || !s.Refusals().IsEmpty() || len(heard) != 2 {
		t.Errorf("again after %s, written %q, heard %v", again, f.patches, heard)
	}
}

// TestSyncWritesWhatFits has no room for why an object is where it is: it is placed all the same.
func TestSyncWritesWhatFits(t *testing.T) {
	f := &strictKCP{fakeKCP: newFakeKCP(t, web), refuse: func(patch string) error {
		if strings.Contains(patch, v1alpha1.PlacementAnnotation) {
			return errTooLong
		}
		return nil
	}}
	s := f.scheduler(fleet{"east"})
	s.config.Upstream, s.config.Notices = f, f
	again, err := s.sync(t.Context(), f.keyOf("web"))
	if err != nil || again <= 0 || len(f.warned) != 1 {
		t.Errorf("again after %s, %v; told %q", again, err, f.warned)
	}
	want := []string{`{"metadata":{"finalizers":["syncer.tmc.kcp.io/east"],"labels":{"cluster.tmc.kcp.io/east":"sync"},"resourceVersion":"","uid":"web"}}`}
	if diff := cmp.Diff(want, f.patches); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	f.refuse = func(string) error { return errors.New("connection refused") }
	if _, err := f.scheduler(fleet{"east"}).sync(t.Context(), f.keyOf("web")); err != nil {
		t.Errorf("of what is written: %v", err)
	}
}

func TestSyncWhenWhatFitsFails(t *testing.T) {
	away := errors.New("connection refused")
	f := &strictKCP{fakeKCP: newFakeKCP(t, web), refuse: func(patch string) error {
		if strings.Contains(patch, v1alpha1.PlacementAnnotation) {
			return errTooLong
		}
		return away
	}}
	s := f.scheduler(fleet{"east"})
	s.config.Upstream, s.config.Notices = f, f
	if _, err := s.sync(t.Context(), f.keyOf("web")); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}
