package transform

import "testing"

func TestMatchedGlobs(t *testing.T) {
	defaults := []string{"kube-*", "*-system", "openshift", "openshift-*", "cert-manager"}
	cases := map[string]struct {
		patterns  []string
		namespace string
		want      string
	}{
		"Prefix":              {defaults, "kube-system", "kube-*"},
		"PrefixOfTheClusters": {defaults, "kube-node-lease", "kube-*"},
		"Suffix":              {defaults, "istio-system", "*-system"},
		"TheSyncersOwn":       {defaults, "tmc-system", "*-system"},
		"Exact":               {defaults, "cert-manager", "cert-manager"},
		"NoPrefixOfExact":     {defaults, "cert-manager-2", ""},
		"NotInTheMiddle":      {defaults, "my-kube-things", ""},
		"ThePrefixIsNoName":   {defaults, "kube", ""},
		"Ordinary":            {defaults, "default", ""},
		"Everything":          {[]string{"*"}, "default", "*"},
		"Several":             {[]string{"a*b*c"}, "a-1-b-2-c", "a*b*c"},
		"None":                {nil, "kube-system", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Matched(c.patterns, c.namespace); got != c.want {
				t.Errorf("Matched(%q, %q) = %q, want %q", c.patterns, c.namespace, got, c.want)
			}
		})
	}
}
