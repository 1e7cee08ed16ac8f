package events

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}

// Writer writes single objects of kcp; an upstream.Client is one.
type Writer interface {
	Create(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// Recorder writes events on upstream objects, next to them in their workspaces.
type Recorder struct {
	writer      Writer
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// NewRecorder returns a recorder whose events come from the named component. client-go's
// correlator limits how many events of one object are written.
func NewRecorder(writer Writer, component string) *Recorder {
	broadcaster := record.NewBroadcaster()
	return &Recorder{
		writer:      writer,
		broadcaster: broadcaster,
		recorder:    broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: component}),
	}
}

// Start writes in the background what is recorded from then on, until ctx ends.
func (r *Recorder) Start(ctx context.Context) {
	r.broadcaster.StartRecordingToSink(&sink{ctx: ctx, writer: r.writer})
	context.AfterFunc(ctx, r.broadcaster.Shutdown)
}

// Warning records that something is wrong with the object; reason is CamelCase,
// message for people.
func (r *Recorder) Warning(upstreamObj *unstructured.Unstructured, reason, message string) {
	r.record(upstreamObj, corev1.EventTypeWarning, reason, message)
}

// Normal records what has been done about the object; reason is CamelCase, message for
// people.
func (r *Recorder) Normal(upstreamObj *unstructured.Unstructured, reason, message string) {
	r.record(upstreamObj, corev1.EventTypeNormal, reason, message)
}

// longestMessage is how many bytes the message of an event may have in events.k8s.io
// (NoteLengthLimit in k8s.io/kubernetes/pkg/apis/core/validation). Messages of clusters can be
// longer.
const longestMessage = 1024

func (r *Recorder) record(upstreamObj *unstructured.Unstructured, eventType, reason, message string) {
	if len(message) > longestMessage {
		message = text.Shorten(message, longestMessage-len("…"))
	}
	// The sink reads from the event in which workspace it belongs.
	workspace := map[string]string{logicalcluster.AnnotationKey: logicalcluster.From(upstreamObj).String()}
	r.recorder.AnnotatedEventf(upstreamObj, workspace, eventType, reason, "%s", message)
}

// sink is a record.EventSink over all workspaces.
type sink struct {
	// ctx bounds the writes: the interface has none.
	ctx    context.Context //nolint:containedctx // record.EventSink has no context
	writer Writer
}

// Create implements record.EventSink.
func (s *sink) Create(event *corev1.Event) (*corev1.Event, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(event)
	if err != nil {
		return nil, fmt.Errorf("converting event %s: %w", event.Name, err)
	}
	obj := &unstructured.Unstructured{Object: content}
	obj.SetAPIVersion("v1")
	obj.SetKind("Event")
	return toEvent(s.writer.Create(s.ctx, kcp.KeyOf(eventsResource, event), obj))
}

// Update implements record.EventSink. The broadcaster never calls it: it creates and
// patches.
func (s *sink) Update(*corev1.Event) (*corev1.Event, error) {
	return nil, errors.New("events are not updated")
}

// Patch implements record.EventSink.
func (s *sink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	return toEvent(s.writer.Patch(s.ctx, kcp.KeyOf(eventsResource, event), types.StrategicMergePatchType, data))
}

func toEvent(obj *unstructured.Unstructured, err error) (*corev1.Event, error) {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		// The broadcaster looks for the bare type, to tell a refusal, which it
		// gives up on, from a connection that failed, which it tries again.
		return nil, status
	}
	if err != nil {
		return nil, err
	}
	event := &corev1.Event{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, event); err != nil {
		return nil, fmt.Errorf("converting event %s: %w", obj.GetName(), err)
	}
	return event, nil
}
