package protocol

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestObjectPlacement(t *testing.T) {
	cases := map[string]struct {
		annotation string
		want       Placement
		text       string
	}{
		"a placement":            {`{"by":"placement","name":"p","clusters":{"a":"spread"},"kept":["b"]}`, Placement{By: ByPlacement, Name: "p", Clusters: map[string]string{"a": "spread"}, Kept: []string{"b"}}, "placement p"},
		"a placement, as before": {`{"by":"placement p","replicas":3}`, Placement{By: ByPlacement, Name: "p", Replicas: new(int64(3))}, "placement p"},
		"kept, as before": {
			`{"by":"placement p","clusters":{"c":"stays until it is available elsewhere","b":"stays until it is available elsewhere","a":"x"}}`,
			Placement{By: ByPlacement, Name: "p", Kept: []string{"b", "c"}, Clusters: map[string]string{"a": "x", "b": formerKept, "c": formerKept}}, "placement p",
		},
		"that text says nothing now": {`{"by":"placement","name":"p","clusters":{"a":"stays until it is available elsewhere"}}`, Placement{By: ByPlacement, Name: "p", Clusters: map[string]string{"a": formerKept}}, "placement p"},
		"the annotation":             {`{"by":"annotation"}`, Placement{By: ByAnnotation}, "annotation"},
		"the default":                {`{"by":"default","leftOut":{"a":"NotBound"},"moreLeftOut":true,"message":"m"}`, Placement{By: ByDefault, LeftOut: map[string]v1alpha1.LeftOut{"a": "NotBound"}, MoreLeftOut: true, Message: "m"}, "default"},
		"nothing":                    {"", Placement{}, ""},
		"what nobody can read":       {`{"by":"default"`, Placement{}, ""},
		"a part that is something":   {`{"by":"default","replicas":"many"}`, Placement{}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Read(object(explained(tc.annotation))).Placement()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.String() != tc.text {
				t.Errorf("it is %q for people, want %q", got, tc.text)
			}
		})
	}
}

// TestChangeExplain shows too that an upgraded hub writes nothing on objects that say the same in an earlier form.
func TestChangeExplain(t *testing.T) {
	// decided is what has been decided in all cases.
	decided := func() Placement {
		return Placement{
			By: ByPlacement, Name: "p", Replicas: new(int64(2)), Message: "too few", Clusters: map[string]string{"a": "x", "b": "for now"}, Kept: []string{"b"},
			LeftOut: map[string]v1alpha1.LeftOut{"c": v1alpha1.LeftOutNotBound}, MoreLeftOut: true,
		}
	}
	written := func(change func(*Placement)) string {
		placement := decided()
		if change != nil {
			change(&placement)
		}
		encoded, _ := json.Marshal(placement)
		return string(encoded)
	}
	const rest = `,"replicas":2,"leftOut":{"c":"NotBound"},"moreLeftOut":true`
	const before = `{"by":"placement p","clusters":{"a":"because","b":"stays until it is available elsewhere"}` + rest + `,"message":"too few"}`
	cases := map[string]struct {
		present string
		// want is the annotation afterwards.
		want string
	}{
		"nothing was said":                     {"", written(nil)},
		"the same is said":                     {written(nil), written(nil)},
		"the same in the former form":          {before, before},
		"the same in other words":              {written(func(p *Placement) { p.Clusters["a"] = "because" }), written(func(p *Placement) { p.Clusters["a"] = "because" })},
		"news in the former form keeps words":  {`{"by":"placement p","clusters":{"a":"because","b":"stays until it is available elsewhere"}` + rest + `}`, written(func(p *Placement) { p.Clusters["a"], p.Clusters["b"] = "because", formerKept })},
		"it was there for good":                {written(func(p *Placement) { p.Kept = nil }), written(nil)},
		"it was there for good, former form":   {`{"by":"placement p","clusters":{"a":"x","b":"for good"}` + rest + `,"message":"too few"}`, written(nil)},
		"another placement decided":            {written(func(p *Placement) { p.Name, p.Clusters["a"] = "q", "because" }), written(nil)},
		"the default decided":                  {written(func(p *Placement) { p.By, p.Name = ByDefault, "" }), written(nil)},
		"another message":                      {written(func(p *Placement) { p.Message = "" }), written(nil)},
		"another total":                        {written(func(p *Placement) { p.Replicas = nil }), written(nil)},
		"another that is left out":             {written(func(p *Placement) { p.LeftOut = nil }), written(nil)},
		"more are left out":                    {written(func(p *Placement) { p.MoreLeftOut = false }), written(nil)},
		"a cluster more":                       {written(func(p *Placement) { p.Clusters["d"] = "x" }), written(nil)},
		"a cluster fewer":                      {written(func(p *Placement) { delete(p.Clusters, "a") }), written(nil)},
		"what nobody can read is written anew": {"?", written(nil)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object()
			if tc.present != "" {
				explained(tc.present)(obj)
			}
			o := Read(obj)
			c := o.NewChange()
			decision := decided()
			c.Explain(decision)
			if diff := cmp.Diff(decided(), decision); diff != "" {
				t.Errorf("the decision is changed (-before +after):\n%s", diff)
			}
			explanation, changes := c.Explanation()
			if changes != (tc.want != tc.present) || c.IsEmpty() == changes {
				t.Fatalf("it is written: %t\n%s", changes, c.Patch())
			}
			if !changes {
				return
			}
			if got := *c.Annotations[v1alpha1.PlacementAnnotation]; got != tc.want {
				t.Errorf("the annotation (-want +got):\n%s", cmp.Diff(tc.want, got))
			}
			if diff := cmp.Diff(parsePlacement(tc.want), explanation); diff != "" {
				t.Errorf("the explanation (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChangeExplainRemovesWhatNobodyDecided(t *testing.T) {
	c := Read(object(explained("{}"))).NewChange()
	c.Explain(Placement{})
	if value, changes := c.Annotations[v1alpha1.PlacementAnnotation]; !changes || value != nil {
		t.Errorf("the patch is %s", c.Patch())
	}
	if _, changes := c.Explanation(); changes {
		t.Error("there is an explanation")
	}
	c = Read(object()).NewChange()
	if c.Explain(Placement{}); !c.IsEmpty() {
		t.Errorf("of nothing, the patch is %s", c.Patch())
	}
}
