package credential

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func TestTheClaimsOfATokenAreRead(t *testing.T) {
	at := time.Unix(1767323045, 0)
	cases := map[string]struct {
		reason string
		value  string
		want   token
	}{
		"AToken":         {"kcp's are like that", jwt(subject, at, at.Add(time.Hour)), token{subject: subject, issued: at, expires: at.Add(time.Hour)}},
		"NoEnd":          {"a ServiceAccount's from a Secret", jwt(subject, at, time.Time{}), token{subject: subject, issued: at}},
		"NoBeginning":    {"nothing needs to say it", jwt(subject, time.Time{}, at), token{subject: subject, expires: at}},
		"AStaticToken":   {"it says nothing", "a3f9", token{}},
		"Nothing":        {"it says nothing", "", token{}},
		"NoBase64":       {"it is none", "a.%.c", token{}},
		"NoJSON":         {"it is none", "a.aGVsbG8.c", token{}},
		"Fractions":      {"RFC 7519 allows them", "a.eyJleHAiOjE3NjczMjMwNDUuNX0.c", token{expires: at}},
		"BeyondAllTimes": {"nobody lives to see it", "a.eyJleHAiOjFlMzAwfQ.c", token{}},
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

func TestWhichTokenOutlastsTheOther(t *testing.T) {
	at := time.Unix(1767323045, 0)
	cases := map[string]struct {
		one, other token
		want       bool
	}{
		"Longer":        {token{value: "a", expires: at.Add(1)}, token{value: "b", expires: at}, true},
		"Shorter":       {token{value: "a", expires: at}, token{value: "b", expires: at.Add(1)}, false},
		"AsLong":        {token{value: "a", expires: at}, token{value: "b", expires: at}, false},
		"ForEver":       {token{value: "a"}, token{value: "b", expires: at}, true},
		"NotForEver":    {token{value: "a", expires: at}, token{value: "b"}, false},
		"BothForEver":   {token{value: "a"}, token{value: "b"}, false},
		"TheSame":       {token{value: "a", expires: at}, token{value: "a", expires: at}, false},
		"TheSameStatic": {token{value: "a"}, token{value: "a"}, false},
	}
	for name, c := range cases {
		if got := c.one.outlasts(c.other); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestOnlyTheTokenOfAKubeconfigIsExchanged(t *testing.T) {
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

func TestAKubeconfigThatDoesNotFitIsRefused(t *testing.T) {
	fits := "{clusters: [{name: c, cluster: {server: 'https://kcp:6443/clusters/root:other'}}], users: [{name: u, user: {token: it}}]," +
		" contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
	cases := map[string]struct {
		reason   string
		old, new string
		// word is one of the error, empty for none.
		word string
	}{
		"ItFits":         {"the workspace does not matter", "", "", ""},
		"NoContext":      {"nobody knows which is meant", "current-context: x", "current-context: z", `current-context "z"`},
		"NoCluster":      {"nobody knows where to", "cluster: c,", "cluster: d,", `cluster "d"`},
		"NoUser":         {"nobody knows who", "user: u}}", "user: v}}", `user "v"`},
		"NoToken":        {"there is nothing to adopt", "token: it", "username: it", "has no token"},
		"AnotherServer":  {"it must not be told of a token that is not its own", "https://kcp:6443", "https://kcp:6444", "https://kcp:6444"},
		"NotEncrypted":   {"anybody would be told", "https://kcp", "http://kcp", "http://kcp:6443"},
		"NotAKubeconfig": {"it is something else", "{clusters", "[clusters", "not a kubeconfig"},
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
