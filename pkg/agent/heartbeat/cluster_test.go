package heartbeat

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	restfake "k8s.io/client-go/rest/fake"
)

func TestSyncable(t *testing.T) {
	all := metav1.Verbs{"create", "delete", "get", "list", "patch", "update", "watch"}
	got := syncable([]*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "configmaps", Namespaced: true, Verbs: all},
		{Name: "nodes", Verbs: all},
		{Name: "bindings", Namespaced: true, Verbs: metav1.Verbs{"create"}},
		{Name: "pods/log", Namespaced: true, Verbs: metav1.Verbs{"get"}},
	}}})
	if len(got) != 1 || got[0].Resource != "configmaps" {
		t.Errorf("got %v, want configmaps alone", got)
	}
}

func TestAnswers(t *testing.T) {
	cases := map[string]struct {
		reason string
		// codes are the answers by path.
		codes map[string]int
		asked []string
		alive bool
	}{
		"ready":       {"one question is enough", map[string]int{"/readyz": 200}, []string{"/readyz"}, true},
		"not ready":   {"an API server that has lost its store can do nothing", map[string]int{"/readyz": 500, "/version": 200}, []string{"/readyz"}, false},
		"not telling": {"who answers at all lives", map[string]int{"/readyz": 403, "/version": 200}, []string{"/readyz", "/version"}, true},
		"no readyz":   {"who answers at all lives", map[string]int{"/readyz": 404, "/version": 200}, []string{"/readyz", "/version"}, true},
		"stranger":    {"with such credentials nothing can be done", map[string]int{"/readyz": 401, "/version": 200}, []string{"/readyz"}, false},
		"nothing":     {"something else answers there", map[string]int{"/readyz": 404, "/version": 404}, []string{"/readyz", "/version"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var asked []string
			client := &restfake.RESTClient{
				NegotiatedSerializer: scheme.Codecs.WithoutConversion(),
				Client: restfake.CreateHTTPClient(func(request *http.Request) (*http.Response, error) {
					asked = append(asked, request.URL.Path)
					return &http.Response{StatusCode: c.codes[request.URL.Path], Header: http.Header{}, Body: io.NopCloser(strings.NewReader("words"))}, nil
				}),
			}
			if err := answers(client)(t.Context()); (err == nil) != c.alive {
				t.Errorf("%s: got %v", c.reason, err)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
