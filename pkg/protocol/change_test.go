package protocol

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var now = time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("CET", 3600))

func TestChange(t *testing.T) {
	all := object(placedOn("east"), heldBy("east", "west"), leaving("east"), share("east", "2"), annotated(v1alpha1.StatusAnnotation("east"), "{}"), labelled(v1alpha1.GroupLabel("eu"), "sync", v1alpha1.GroupLabel("us"), "sync"))
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		do   func(*Change)
		want string
	}{
		"a cluster is entered":             {object(), func(c *Change) { c.Place("east") }, `{"labels":{"cluster.tmc.kcp.io/east":"sync"},"uid":"u-1"}`},
		"a cluster that it is on":          {object(placedOn("east")), func(c *Change) { c.Place("east") }, ""},
		"a label with another value":       {object(labelled(v1alpha1.PlacementLabel("east"), "no")), func(c *Change) { c.Place("east") }, `{"labels":{"cluster.tmc.kcp.io/east":"sync"},"uid":"u-1"}`},
		"back from leaving":                {all, func(c *Change) { c.Place("east") }, `{"annotations":{"deletion.tmc.kcp.io/east":null},"uid":"u-1"}`},
		"it is to leave":                   {object(placedOn("east")), func(c *Change) { c.AskToLeave("east", now) }, `{"annotations":{"deletion.tmc.kcp.io/east":"2026-02-03T03:05:06Z"},"uid":"u-1"}`},
		"it was asked before":              {all, func(c *Change) { c.AskToLeave("east", now) }, ""},
		"its lost label comes back":        {object(leaving("east")), func(c *Change) { c.AskToLeave("east", now) }, `{"labels":{"cluster.tmc.kcp.io/east":"sync"},"uid":"u-1"}`},
		"a share":                          {object(), func(c *Change) { c.SetShare("east", new(int64(2))) }, `{"annotations":{"replicas.tmc.kcp.io/east":"2"},"uid":"u-1"}`},
		"the same share":                   {all, func(c *Change) { c.SetShare("east", new(int64(2))) }, ""},
		"no share any more":                {all, func(c *Change) { c.SetShare("east", nil) }, `{"annotations":{"replicas.tmc.kcp.io/east":null},"uid":"u-1"}`},
		"no share as before":               {object(), func(c *Change) { c.SetShare("east", nil) }, ""},
		"a part":                           {object(), func(c *Change) { c.SetPart("east", &Part{1, 2}) }, `{"annotations":{"partition.tmc.kcp.io/east":"1/2"},"uid":"u-1"}`},
		"the same part":                    {object(part("1/2")), func(c *Change) { c.SetPart("east", &Part{1, 2}) }, ""},
		"no part any more":                 {object(part("1/2")), func(c *Change) { c.SetPart("east", nil) }, `{"annotations":{"partition.tmc.kcp.io/east":null},"uid":"u-1"}`},
		"nor anything else of a cluster":   {object(part("1/2")), func(c *Change) { c.Forget("east") }, `{"annotations":{"partition.tmc.kcp.io/east":null},"uid":"u-1"}`},
		"nothing of a cluster":             {all, func(c *Change) { c.Forget("east") }, `{"annotations":{"deletion.tmc.kcp.io/east":null,"replicas.tmc.kcp.io/east":null,"status.tmc.kcp.io/east":null},"labels":{"cluster.tmc.kcp.io/east":null},"uid":"u-1"}`},
		"nothing of a cluster with none":   {all, func(c *Change) { c.Forget("north") }, ""},
		"held for more clusters":           {all, func(c *Change) { c.Hold("north", "east", "south") }, `{"finalizers":["syncer.tmc.kcp.io/east","syncer.tmc.kcp.io/west","syncer.tmc.kcp.io/north","syncer.tmc.kcp.io/south"],"resourceVersion":"7","uid":"u-1"}`},
		"held already":                     {all, func(c *Change) { c.Hold("east") }, ""},
		"held for none":                    {object(), func(c *Change) { c.Hold() }, ""},
		"let go of":                        {all, func(c *Change) { c.Release("east") }, `{"finalizers":["syncer.tmc.kcp.io/west"],"resourceVersion":"7","uid":"u-1"}`},
		"let go of by the last":            {object(heldBy("east")), func(c *Change) { c.Release("east") }, `{"finalizers":[],"resourceVersion":"7","uid":"u-1"}`},
		"let go of by the last two":        {all, func(c *Change) { c.Release("east"); c.Release("west") }, `{"finalizers":[],"resourceVersion":"7","uid":"u-1"}`},
		"nobody let go":                    {all, func(c *Change) { c.Release("north") }, ""},
		"a syncer lets go, with its word":  {all, func(c *Change) { c.Release("east"); c.SetReport("east", nil) }, `{"annotations":{"status.tmc.kcp.io/east":null},"finalizers":["syncer.tmc.kcp.io/west"],"resourceVersion":"7","uid":"u-1"}`},
		"a report":                         {all, func(c *Change) { c.SetReport("east", new("[]")) }, `{"annotations":{"status.tmc.kcp.io/east":"[]"},"uid":"u-1"}`},
		"the same report":                  {all, func(c *Change) { c.SetReport("east", new("{}")) }, ""},
		"a revision":                       {object(), func(c *Change) { c.SetRevision("1") }, `{"annotations":{"deployment.kubernetes.io/revision":"1"},"uid":"u-1"}`},
		"the same revision":                {object(annotated("deployment.kubernetes.io/revision", "1")), func(c *Change) { c.SetRevision("1") }, ""},
		"no revision":                      {all, func(c *Change) { c.SetRevision("") }, ""},
		"other groups":                     {all, func(c *Change) { c.SetGroups([]string{"eu", "ap"}) }, `{"labels":{"group.tmc.kcp.io/ap":"sync","group.tmc.kcp.io/us":null},"uid":"u-1"}`},
		"the same groups":                  {all, func(c *Change) { c.SetGroups([]string{"us", "eu"}) }, ""},
		"a group with another value":       {object(labelled(v1alpha1.GroupLabel("eu"), "no")), func(c *Change) { c.SetGroups([]string{"eu"}) }, `{"labels":{"group.tmc.kcp.io/eu":"sync"},"uid":"u-1"}`},
		"only if nobody has changed it":    {object(), func(c *Change) { c.Place("east"); c.IfUnchanged = true }, `{"labels":{"cluster.tmc.kcp.io/east":"sync"},"resourceVersion":"7","uid":"u-1"}`},
		"a change that is taken back":      {all, func(c *Change) { c.SetShare("east", nil); c.SetShare("east", new(int64(2))) }, ""},
		"of changes of a key, the last is": {object(), func(c *Change) { c.SetReport("east", new("1")); c.SetReport("east", new("2")) }, `{"annotations":{"status.tmc.kcp.io/east":"2"},"uid":"u-1"}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := tc.obj.DeepCopy()
			c := Read(tc.obj).NewChange()
			tc.do(c)
			if diff := cmp.Diff(before, tc.obj); diff != "" {
				t.Errorf("the object is changed (-before +after):\n%s", diff)
			}
			if c.IsEmpty() != (tc.want == "") {
				t.Fatalf("there is nothing to write: %t, in %s", c.IsEmpty(), c.Patch())
			}
			if want := `{"metadata":` + tc.want + `}`; tc.want != "" && string(c.Patch()) != want {
				t.Errorf("the patch (-want +got):\n%s", cmp.Diff(want, string(c.Patch())))
			}
			if !json.Valid(c.Patch()) {
				t.Errorf("it is no JSON: %s", c.Patch())
			}
		})
	}
}

func TestChangeTellsOfClusters(t *testing.T) {
	obj := object(placedOn("east"), share("east", "1"))
	cases := map[string]struct {
		do      func(*Change)
		moves   bool
		entered []string
	}{
		"nothing":          {func(*Change) {}, false, nil},
		"another share":    {func(c *Change) { c.SetShare("east", nil) }, false, nil},
		"it enters two":    {func(c *Change) { c.Place("west"); c.Place("north") }, true, []string{"north", "west"}},
		"it stays":         {func(c *Change) { c.Place("east") }, false, nil},
		"it is to leave":   {func(c *Change) { c.AskToLeave("east", now) }, true, nil},
		"it has left":      {func(c *Change) { c.Forget("east") }, true, nil},
		"a group's label":  {func(c *Change) { c.SetGroups([]string{"eu"}) }, false, nil},
		"a finalizer more": {func(c *Change) { c.Hold("east") }, false, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := Read(obj).NewChange()
			tc.do(c)
			if c.Moves() != tc.moves {
				t.Errorf("it moves: %t", c.Moves())
			}
			if diff := cmp.Diff(tc.entered, c.Entered()); diff != "" {
				t.Errorf("entered (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChangeWithoutExplanation(t *testing.T) {
	change := Read(object()).NewChange()
	change.Place("east")
	change.Explain(Placement{By: ByDefault})
	short := change.WithoutExplanation()
	if _, explains := short.Explanation(); explains || short.IsEmpty() {
		t.Errorf("got %s", short.Patch())
	}
	if _, explains := change.Explanation(); !explains {
		t.Error("the change itself has lost it")
	}
}
