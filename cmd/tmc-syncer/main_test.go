package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestTheRegistrationsRuleTakesThePlaceOfTheFiles(t *testing.T) {
	prefix := func(prefix string) v1alpha1.TransformRule { return v1alpha1.TransformRule{NamespacePrefix: prefix} }
	var told []string
	r := newRules(prefix("file-"), func(rule v1alpha1.TransformRule) { told = append(told, rule.NamespacePrefix) })
	steps := []struct {
		reason string
		do     func()
		want   []string
	}{
		{"the file's holds already", func() { r.setRegistered(nil) }, nil},
		{"the registration's wins", func() { r.setRegistered(new(prefix("reg-"))) }, []string{"reg-"}},
		{"the file's is for later", func() { r.setFile(prefix("new-")) }, nil},
		{"nothing has changed", func() { r.setRegistered(new(prefix("reg-"))) }, nil},
		{"a rule that does nothing is a rule", func() { r.setRegistered(&v1alpha1.TransformRule{}) }, []string{""}},
		{"the file's holds without it", func() { r.setRegistered(nil) }, []string{"new-"}},
		{"and is followed", func() { r.setFile(prefix("newer-")) }, []string{"newer-"}},
	}
	for _, step := range steps {
		told = nil
		step.do()
		if diff := cmp.Diff(step.want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.reason, diff)
		}
	}
}

func TestFlagsThatCannotBeAreNamed(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*options)
		words  []string
	}{
		"TheDefaults":    {"they work", func(*options) {}, nil},
		"NoName":         {"nobody can guess it", func(o *options) { o.clusterName = "" }, []string{"--cluster-name is required"}},
		"ABadName":       {"it becomes part of keys", func(o *options) { o.clusterName = "East_1" }, []string{"--cluster-name", `"East_1"`}},
		"NoInterval":     {"it would never rest", func(o *options) { o.heartbeatInterval = 0 }, []string{"--heartbeat-interval", "0s"}},
		"BackInTime":     {"it would never rest", func(o *options) { o.heartbeatInterval = -time.Second }, []string{"--heartbeat-interval", "-1s"}},
		"ALongLocation":  {"the registration refuses it", func(o *options) { o.location = strings.Repeat("x", 64) }, []string{"--location", "63"}},
		"ALabelThatIsNo": {"the registration refuses it", func(o *options) { o.clusterLabels = map[string]string{"a b": "c"} }, []string{"--cluster-labels", "a b"}},
		"AllOfThem": {
			"one look is enough", func(o *options) { o.clusterName, o.heartbeatInterval = "", 0 },
			[]string{"--cluster-name", "--heartbeat-interval"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := newOptions()
			o.clusterName = "east"
			c.change(o)
			err := o.validate()
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("%s: got %v", c.reason, err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", c.reason, err, word)
				}
			}
		})
	}
}
