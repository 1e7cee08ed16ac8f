package credential

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func TestReadToken(t *testing.T) {
	at := time.Unix(1767323045, 0)
	cases := map[string]struct {
		reason string
		value  string
		want   token
	}{
		"a token":          {"kcp's are like that", jwt(subject, at, at.Add(time.Hour)), token{subject: subject, issued: at, expires: at.Add(time.Hour)}},
		"no end":           {"a ServiceAccount's from a Secret", jwt(subject, at, time.Time{}), token{subject: subject, issued: at}},
		"no beginning":     {"nothing needs to say it", jwt(subject, time.Time{}, at), token{subject: subject, expires: at}},
		"a static token":   {"it says nothing", "a3f9", token{}},
		"nothing":          {"it says nothing", "", token{}},
		"no base64":        {"it is none", "a.%.c", token{}},
		"no json":          {"it is none", "a.aGVsbG8.c", token{}},
		"fractions":        {"RFC 7519 allows them", "a.eyJleHAiOjE3NjczMjMwNDUuNX0.c", token{expires: at}},
		"beyond all times": {"nobody lives to see it", "a.eyJleHAiOjFlMzAwfQ.c", token{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.want.value = c.value
			if diff := cmp.Diff(c.want, readToken(c.value), cmp.AllowUnexported(token{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestTokenOutlasts(t *testing.T) {
	at := time.Unix(1767323045, 0)
	cases := map[string]struct {
		one, other token
		want       bool
	}{
		"longer":          {token{value: "a", expires: at.Add(1)}, token{value: "b", expires: at}, true},
		"shorter":         {token{value: "a", expires: at}, token{value: "b", expires: at.Add(1)}, false},
		"as long":         {token{value: "a", expires: at}, token{value: "b", expires: at}, false},
		"for ever":        {token{value: "a"}, token{value: "b", expires: at}, true},
		"not for ever":    {token{value: "a", expires: at}, token{value: "b"}, false},
		"both for ever":   {token{value: "a"}, token{value: "b"}, false},
		"the same":        {token{value: "a", expires: at}, token{value: "a", expires: at}, false},
		"the same static": {token{value: "a"}, token{value: "a"}, false},
	}
	for name, c := range cases {
		if got := c.one.outlasts(c.other); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestWithToken(t *testing.T) {
	before := []byte(`apiVersion: v1
kind: Config
clusters:
- name: kcp
  cluster: {server: "` + server + `", certificate-authority-data: Y2E=, tls-server-name: kcp, proxy-url: "http://proxy:3128"}
- name: other
  cluster: {server: "https://other"}
contexts:
- name: kcp
  context: {cluster: kcp, user: east, namespace: theirs}
- name: other
  context: {cluster: other, user: other}
current-context: kcp
users:
- name: east
  user: {token: first}
- name: other
  user: {token: others}
`)
	after, err := withToken(before, "second")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := tokenIn(after, server); err != nil || found.value != "second" {
		t.Errorf("found %q and %v in what was made", found.value, err)
	}
	want, _ := clientcmd.Load(before)
	want.AuthInfos["east"].Token = "second"
	got, err := clientcmd.Load(after)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := withToken(after, "second")
	if err != nil || string(again) != string(after) {
		t.Errorf("the same token again makes %s", cmp.Diff(string(after), string(again)))
	}
}

func TestTokenInRefuses(t *testing.T) {
	fits := "{clusters: [{name: c, cluster: {server: 'https://kcp:6443/clusters/root:other'}}], users: [{name: u, user: {token: it}}]," +
		" contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
	cases := map[string]struct {
		reason   string
		old, new string
		// word is one of the error, empty for none.
		word string
	}{
		"it fits":          {"the workspace does not matter", "", "", ""},
		"no context":       {"nobody knows which is meant", "current-context: x", "current-context: z", `current-context "z"`},
		"no cluster":       {"nobody knows where to", "cluster: c,", "cluster: d,", `cluster "d"`},
		"no user":          {"nobody knows who", "user: u}}", "user: v}}", `user "v"`},
		"no token":         {"there is nothing to adopt", "token: it", "username: it", "has no token"},
		"another server":   {"it must not be told of a token that is not its own", "https://kcp:6443", "https://kcp:6444", "https://kcp:6444"},
		"not encrypted":    {"anybody would be told", "https://kcp", "http://kcp", "http://kcp:6443"},
		"not a kubeconfig": {"it is something else", "{clusters", "[clusters", "not a kubeconfig"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			found, err := tokenIn([]byte(strings.Replace(fits, c.old, c.new, 1)), server)
			if (err == nil) != (c.word == "") || (err != nil && !strings.Contains(err.Error(), c.word)) {
				t.Fatalf("%s: got %v, want %q", c.reason, err, c.word)
			}
			if err == nil && found.value != "it" {
				t.Errorf("found %q", found.value)
			}
		})
	}
}
