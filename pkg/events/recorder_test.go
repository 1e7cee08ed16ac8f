package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// fakeKCP takes note of what is written; err is the answer to the next writes.
type fakeKCP struct {
	writes   []string
	messages []string
	err      error
}

func (f *fakeKCP) Create(_ context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	reason, _, _ := unstructured.NestedString(obj.Object, "reason")
	message, _, _ := unstructured.NestedString(obj.Object, "message")
	f.writes = append(f.writes, fmt.Sprintf("%s %s|%s/%s %s %s", obj.GroupVersionKind().Kind, key.Workspace, key.Resource.Resource, key.Namespace, kind, reason))
	f.messages = append(f.messages, message)
	return obj, f.err
}

func (f *fakeKCP) Patch(_ context.Context, key kcp.ObjectKey, patchType types.PatchType, _ []byte, _ ...string) (*unstructured.Unstructured, error) {
	f.writes = append(f.writes, fmt.Sprintf("patch %s|%s/%s %s", key.Workspace, key.Resource.Resource, key.Namespace, patchType))
	return &unstructured.Unstructured{Object: map[string]any{}}, f.err
}

func web() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}}
	obj.SetNamespace("default")
	obj.SetName("web")
	obj.SetAnnotations(map[string]string{"kcp.io/cluster": "ws"})
	return obj
}

// afterwards runs a Recorder against kcp, and returns what it has written a while after record.
func afterwards(t *testing.T, f *fakeKCP, record func(*Recorder)) []string {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := NewRecorder(f, "tmc-test")
		r.Start(ctx)
		record(r)
		time.Sleep(10 * time.Minute)
	})
	return f.writes
}

func TestRecorder(t *testing.T) {
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "web", errors.New("no claim"))
	cases := map[string]struct {
		err    error
		record func(*Recorder)
		want   []string
	}{
		"an event is written into the workspace of its object": {nil, func(r *Recorder) {
			r.Warning(web(), "Bad", "it is bad")
			r.Normal(web(), "Good", "it is good")
		}, []string{"Event ws|events/default Warning Bad", "Event ws|events/default Normal Good"}},
		"one that is repeated is counted": {nil, func(r *Recorder) {
			r.Warning(web(), "Bad", "it is bad")
			r.Warning(web(), "Bad", "it is bad")
		}, []string{"Event ws|events/default Warning Bad", "patch ws|events/default application/strategic-merge-patch+json"}},
		"one that kcp refuses is given up": {fmt.Errorf("creating: %w", refused), func(r *Recorder) {
			r.Warning(web(), "Bad", "it is bad")
		}, []string{"Event ws|events/default Warning Bad"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, afterwards(t, &fakeKCP{err: tc.err}, tc.record)); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("one that kcp is not reached with is tried again", func(t *testing.T) {
		if got := afterwards(t, &fakeKCP{err: errors.New("connection refused")}, func(r *Recorder) { r.Warning(web(), "Bad", "it is bad") }); len(got) < 2 {
			t.Errorf("%d writes, want more than one", len(got))
		}
	})
	t.Run("a long message is cut between characters", func(t *testing.T) {
		f := &fakeKCP{}
		afterwards(t, f, func(r *Recorder) { r.Warning(web(), "Bad", strings.Repeat("ü", 1000)) })
		if got := f.messages[0]; len(got) > longestMessage || !utf8.ValidString(got) || !strings.HasSuffix(got, "ü…") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}

func TestSinkUpdatesNothing(t *testing.T) {
	if event, err := (&sink{}).Update(&corev1.Event{}); event != nil || err == nil {
		t.Errorf("got %v, %v", event, err)
	}
}
