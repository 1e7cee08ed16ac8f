package install

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hooksResource is where the fake keeps the configuration.
const hooksResource = "mutatingwebhookconfigurations"

// initWith installs again with a URL for the repair, and returns what was written.
func initWith(t *testing.T, fake *fakeKCP, options Options, url *string) []string {
	t.Helper()
	fake.takeWrites()
	options.RepairURL = url
	if err := Init(context.Background(), options); err != nil {
		t.Fatal(err)
	}
	return fake.takeWrites()
}

// hookIn returns the only webhook of the configuration, nil without one.
func hookIn(fields map[string]any) map[string]any {
	hooks, _ := fields["webhooks"].([]any)
	if len(hooks) != 1 {
		return nil
	}
	return hooks[0].(map[string]any)
}

func TestInitRepair(t *testing.T) {
	t.Run("a URL sets up the webhook", func(t *testing.T) {
		fake, config := initialized(t, "")
		options := (&recorder{}).options(config)
		first := []string{"create root:tmc secrets/default/tmc-repair", "create root:tmc " + hooksResource + "/tmc-repair"}
		if diff := cmp.Diff(first, initWith(t, fake, options, new("https://hub.example.com:9443/"))); diff != "" {
			t.Errorf("at first (-want +got)\n%s", diff)
		}
		// What others write is theirs.
		fake.change("root:tmc", "secrets", "default/tmc-repair", func(fields map[string]any) { fields["data"] = map[string]any{"ca.crt": "eA=="} })
		fake.change("root:tmc", hooksResource, "tmc-repair", func(fields map[string]any) {
			hook := hookIn(fields)
			hook["clientConfig"].(map[string]any)["caBundle"] = "eA=="
			hook["namespaceSelector"], hook["objectSelector"] = map[string]any{}, map[string]any{}
		})
		for name, url := range map[string]*string{"the same URL": new("https://hub.example.com:9443"), "no flag": nil} {
			if writes := initWith(t, fake, options, url); len(writes) > 0 {
				t.Errorf("%s: writes %v, want none", name, writes)
			}
		}
		if diff := cmp.Diff([]string{"update root:tmc " + hooksResource + "/tmc-repair"}, initWith(t, fake, options, new("https://[2001:db8::1]:9443"))); diff != "" {
			t.Errorf("another URL (-want +got)\n%s", diff)
		}
		hook := hookIn(fake.stored("root:tmc", hooksResource, "tmc-repair"))
		want := map[string]any{"url": "https://[2001:db8::1]:9443/repair", "caBundle": "eA=="}
		if diff := cmp.Diff(want, hook["clientConfig"]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("what differs is repaired, and certificates stay", func(t *testing.T) {
		fake, config := initialized(t, "")
		options := (&recorder{}).options(config)
		url := new("https://hub.example.com:9443")
		initWith(t, fake, options, url)
		fake.change("root:tmc", hooksResource, "tmc-repair", func(fields map[string]any) {
			hook := hookIn(fields)
			hook["failurePolicy"] = "Fail"
			hook["rules"] = append(hook["rules"].([]any), map[string]any{"resources": []any{"*"}})
		})
		initWith(t, fake, options, url)
		hook := hookIn(fake.stored("root:tmc", hooksResource, "tmc-repair"))
		if rules := hook["rules"].([]any); hook["failurePolicy"] != "Ignore" || len(rules) != 3 {
			t.Errorf("it has the policy %v and %d rules", hook["failurePolicy"], len(rules))
		}
	})
	t.Run("an empty URL removes the webhook", func(t *testing.T) {
		fake, config := initialized(t, "")
		options := (&recorder{}).options(config)
		if writes := initWith(t, fake, options, new("")); len(writes) > 0 {
			t.Errorf("there is none, and the writes are %v", writes)
		}
		initWith(t, fake, options, new("https://hub.example.com:9443"))
		// kcp stops asking before the certificates go.
		want := []string{"delete root:tmc " + hooksResource + "/tmc-repair", "delete root:tmc secrets/default/tmc-repair"}
		if diff := cmp.Diff(want, initWith(t, fake, options, new(""))); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestValidateRepairURL(t *testing.T) {
	for given, want := range map[string]string{
		"":                                "",
		"https://hub.example.com:9443":    "",
		"https://hub.example.com":         "",
		"https://192.0.2.1:9443/":         "",
		"https://[2001:db8::1]:9443":      "",
		"http://hub.example.com:9443":     "over TLS",
		"hub.example.com:9443":            "https://HOST:PORT",
		"https://:9443":                   "the host is missing",
		"https://hub.example.com/repair":  "nothing else",
		"https://hub.example.com?x=y":     "nothing else",
		"https://me@hub.example.com:9443": "nothing else",
		"https://hub example.com":         "is not a URL",
	} {
		err := ValidateRepairURL(given)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error that says %q", given, err, want)
		}
	}
	if err := Init(context.Background(), Options{ProviderWorkspace: "root:tmc", RepairURL: new("x")}); err == nil {
		t.Error("Init takes a URL that is none")
	}
}
