package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// pathsFixture is Paths with a kcp that has answers by path, and a clock.
type pathsFixture struct {
	*Paths

	t       *testing.T
	answers map[string]Answer
	err     error
	asked   []string
	told    int
	clock   time.Time
}

func newPathsFixture(t *testing.T) *pathsFixture {
	t.Helper()
	f := &pathsFixture{t: t, answers: map[string]Answer{}, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	f.Paths = newPaths(func(_ context.Context, _ logicalcluster.Name, path logicalcluster.Path) (Answer, error) {
		f.asked = append(f.asked, path.String())
		return f.answers[path.String()], f.err
	})
	f.Handle(func(logicalcluster.Name) { f.told++ })
	f.now = func() time.Time { return f.clock }
	f.Ask("ws")
	return f
}

// says has the workspace say a path on its binding of tmc.
func (f *pathsFixture) says(claim string) { f.saysOn(v1alpha1.APIExportName, claim) }

func (f *pathsFixture) saysOn(export, claim string) {
	binding := bindingOf(export)
	binding.SetAnnotations(map[string]string{"kcp.io/path": claim})
	f.OnUpstream(kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.APIBindingsResource, Name: "any"}, nil, binding)
}

func bindingOf(export string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"reference": map[string]any{"export": map[string]any{"name": export}}}}}
}

// later syncs after some time, and returns when it is to be synced again.
func (f *pathsFixture) later(after time.Duration) time.Duration {
	f.t.Helper()
	f.clock = f.clock.Add(after)
	again, err := f.sync(f.t.Context(), "ws")
	if (err != nil) != (f.err != nil) {
		f.t.Errorf("error %v, kcp says %v", err, f.err)
	}
	return again
}

func (f *pathsFixture) wantPath(want string) {
	f.t.Helper()
	if path, known := f.Path("ws"); path != want || known != (want != "") {
		f.t.Errorf("path %q (known: %t), want %q", path, known, want)
	}
}

func TestPathsBelieveWhatKCPConfirms(t *testing.T) {
	cases := map[string]struct {
		reason string
		claim  string
		answer Answer
		err    error
		// want is empty while the path is not known.
		want  string
		again time.Duration
	}{
		"it is there":           {"kcp has found it there", "root:a", AnswerIsThere, nil, "root:a", checkInterval},
		"it is not there":       {"whoever administers a workspace may say any path", "root:a", AnswerIsNotThere, nil, "ws", 0},
		"kcp does not tell":     {"what is not confirmed does not count, and somebody may grant it", "root:a", AnswerDenied, nil, "ws", 2 * claimInterval},
		"kcp fails":             {"it is asked again", "root:a", "", errors.New("not reachable"), "", 0},
		"nothing is said":       {"there is nothing to ask about", "", AnswerIsThere, nil, "ws", 0},
		"it is no path":         {"it would be part of a URL", "root:a/../b", AnswerIsThere, nil, "ws", 0},
		"it is not below root":  {"paths may begin at any logical cluster, and those that are allowed do not", "1a2b:a", AnswerIsThere, nil, "ws", 0},
		"it is root itself":     {"nobody but kcp's administrators is there", "root", AnswerIsThere, nil, "ws", 0},
		"it is everything":      {"it is no place", "*", AnswerIsThere, nil, "ws", 0},
		"it is very long":       {"no list of allowed paths has it", "root:" + strings.Repeat("a", 300), AnswerIsThere, nil, "ws", 0},
		"it has an empty place": {"it leads nowhere", "root::a", AnswerIsThere, nil, "ws", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newPathsFixture(t)
			f.err, f.answers = tc.err, map[string]Answer{tc.claim: tc.answer}
			f.says(tc.claim)
			again := f.later(0)
			f.wantPath(tc.want)
			if again != tc.again || f.told != map[bool]int{true: 1}[tc.want != ""] {
				t.Errorf("%s: again after %s, told %d times; want %s", tc.reason, again, f.told, tc.again)
			}
		})
	}
}

func TestPathsKeepAConfirmedPath(t *testing.T) {
	f := newPathsFixture(t)
	f.answers = map[string]Answer{"root:a": AnswerIsThere, "root:b": AnswerIsNotThere}
	f.says("root:a")
	f.later(0)
	f.says("root:b")
	f.later(claimInterval)
	f.wantPath("root:a")
}

// TestPathsReadOneBinding has the bindings of clusters' views say what nobody has changed there: with the last
// word, it would be chance which path a workspace has.
func TestPathsReadOneBinding(t *testing.T) {
	f := newPathsFixture(t)
	f.answers = map[string]Answer{"root:a": AnswerIsThere, "root:b": AnswerIsNotThere}
	f.says("root:b")
	f.saysOn("cluster-east", "root:a")
	f.later(0)
	f.wantPath("ws")
}

// TestPathsCheckAClaimThatComesMeanwhile has a binding come between what a turn reads and what it notes.
func TestPathsCheckAClaimThatComesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPathsFixture(t)
		f.now = time.Now
		f.answers = map[string]Answer{"root:a": AnswerIsNotThere, "root:b": AnswerIsThere}
		f.says("root:a")
		ask := f.ask
		f.ask = func(ctx context.Context, workspace logicalcluster.Name, path logicalcluster.Path) (Answer, error) {
			f.says("root:b")
			return ask(ctx, workspace, path)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*claimInterval)
		defer cancel()
		f.Run(ctx)
		f.wantPath("root:b")
	})
}

func TestPathsGiveUpAPathThatKCPDeniesTwice(t *testing.T) {
	f := newPathsFixture(t)
	f.answers["root:a"] = AnswerIsThere
	f.says("root:a")
	f.later(0)

	f.answers["root:a"] = AnswerDenied
	f.later(checkInterval)
	f.wantPath("root:a") // that nobody tells any more says nothing

	f.answers["root:a"] = AnswerIsNotThere
	if again := f.later(checkInterval); again != doubtInterval {
		t.Errorf("asked again after %s, want %s", again, doubtInterval)
	}
	f.wantPath("root:a") // a shard that starts says so of everything
	f.later(doubtInterval)
	f.wantPath("ws")
	if f.told != 2 {
		t.Errorf("told %d times, want twice: when it was known, and when it was given up", f.told)
	}
}

func TestPathsForgetUnboundWorkspaces(t *testing.T) {
	f := newPathsFixture(t)
	f.answers["root:a"] = AnswerIsThere
	f.says("root:a")
	f.later(0)
	gone := func(export string) {
		f.OnUpstream(kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.APIBindingsResource, Name: "any"}, bindingOf(export), nil)
	}
	gone("cluster-east")
	f.wantPath("root:a") // the view of a cluster
	gone(v1alpha1.APIExportName)
	f.wantPath("")
	f.later(checkInterval) // what was due does not bring it back
	f.wantPath("")
	if len(f.claims) > 0 {
		t.Errorf("its claims are kept: %v", f.claims)
	}
}

func TestPathsLimitHowOftenKCPIsAsked(t *testing.T) {
	f := newPathsFixture(t)
	f.answers["root:a"] = AnswerIsNotThere
	f.says("root:a")
	f.later(0)
	for i := range 100 {
		f.says(fmt.Sprintf("root:a%d", i))
		f.later(time.Millisecond)
	}
	if len(f.asked) != 1 {
		t.Errorf("kcp was asked %d times within %s, want once", len(f.asked), claimInterval)
	}
	f.later(claimInterval)
	if last := f.asked[len(f.asked)-1]; last != "root:a99" {
		t.Errorf("asked for %s, want what is said last", last)
	}
}

// pathServer is a kcp with the workspaces root:prod (lc-prod), root:prod:payments (lc-pay), and in root:prod a mount and
// one whose cluster is no name.
func pathServer(t *testing.T, mayWalk bool) (server *httptest.Server, requests *[]string) {
	t.Helper()
	const (
		forbidden = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`
		missing   = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"root:x","group":"tenancy.kcp.io","kind":"workspaces"}}`
	)
	workspaces := map[string]string{
		"/clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces/prod":        `{"cluster":"lc-prod"}`,
		"/clusters/lc-prod/apis/tenancy.kcp.io/v1alpha1/workspaces/payments": `{"cluster":"lc-pay","URL":"https://elsewhere"}`,
		"/clusters/lc-prod/apis/tenancy.kcp.io/v1alpha1/workspaces/mount":    `{"cluster":"lc-evil","mount":{"ref":{"kind":"ConfigMap"}}}`,
		"/clusters/lc-prod/apis/tenancy.kcp.io/v1alpha1/workspaces/new":      `{}`,
		"/clusters/lc-prod/apis/tenancy.kcp.io/v1alpha1/workspaces/odd":      `{"cluster":"lc/../evil"}`,
	}
	there := map[string]string{"/clusters/root:prod:payments/apis/core.kcp.io/v1alpha1/logicalclusters/cluster": "lc-pay"}
	requests = new([]string)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, r.Header.Get("Authorization")+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch spec, at := workspaces[r.URL.Path], there[r.URL.Path]; {
		case strings.HasSuffix(r.URL.Path, "/clusters/root:tmc/api/v1/namespaces/default/serviceaccounts/tmc-path-reader/token"):
			fmt.Fprint(w, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"reader"}}`)
		case strings.Contains(r.URL.Path, "/tenancy.kcp.io/") && !mayWalk:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, forbidden)
		case spec != "":
			fmt.Fprintf(w, `{"kind":"Workspace","apiVersion":"tenancy.kcp.io/v1alpha1","spec":%s}`, spec)
		case at != "":
			fmt.Fprintf(w, `{"kind":"LogicalCluster","apiVersion":"core.kcp.io/v1alpha1","metadata":{"annotations":{"kcp.io/cluster":%q}}}`, at)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, missing)
		}
	}))
	t.Cleanup(server.Close)
	return server, requests
}

func TestFinderIsAt(t *testing.T) {
	cases := map[string]struct {
		mayWalk   bool
		workspace logicalcluster.Name
		path      string
		want      Answer
	}{
		"it is there":                    {true, "lc-pay", "root:prod:payments", AnswerIsThere},
		"another is there":               {true, "lc-evil", "root:prod:payments", AnswerIsNotThere},
		"none is there":                  {true, "lc-evil", "root:prod:none", AnswerIsNotThere},
		"a mount is there":               {true, "lc-evil", "root:prod:mount", AnswerIsNotThere},
		"it is not made yet":             {true, "lc-evil", "root:prod:new", AnswerIsNotThere},
		"its cluster is no name":         {true, "lc-evil", "root:prod:odd:payments", AnswerIsNotThere},
		"the reader finds it":            {false, "lc-pay", "root:prod:payments", AnswerIsThere},
		"the reader finds another":       {false, "lc-evil", "root:prod:payments", AnswerIsNotThere},
		"the reader finds nothing":       {false, "lc-evil", "root:prod:none", AnswerIsNotThere},
		"the root is nobody's workspace": {true, "root", "root", AnswerIsNotThere},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server, requests := pathServer(t, tc.mayWalk)
			f := &finder{config: &rest.Config{Host: server.URL + "/clusters/root:tmc", BearerToken: "hub"}, provider: logicalcluster.NewPath("root:tmc")}
			got, err := f.isAt(t.Context(), tc.workspace, logicalcluster.NewPath(tc.path))
			if err != nil || got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			for _, request := range *requests {
				if strings.HasPrefix(request, "Bearer hub /clusters/root:prod") {
					t.Errorf("the hub's own credentials went to a path that a tenant has named: %s", request)
				}
			}
		})
	}
}

// TestFinderReader has kcp refuse what the path reader is asked for.
func TestFinderReader(t *testing.T) {
	status := func(code int, reason string) string {
		return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"details":{"kind":"logicalclusters"}}`, reason, code)
	}
	cases := map[string]struct {
		token, cluster int // the status codes of the answers
		want           Answer
		fails          bool
		tokens         int // how many tokens two turns ask for
	}{
		"the reader is denied as well":       {201, 403, AnswerDenied, false, 1},
		"the reader's token is not accepted": {201, 401, "", true, 2},
		"kcp has failed":                     {201, 500, "", true, 1},
		"the provider has no such account":   {404, 200, "", true, 2},
		"the hub may not ask for the token":  {403, 200, AnswerDenied, false, 2},
	}
	reasons := map[int]string{401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 500: "InternalError"}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tokens := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				code := http.StatusForbidden // for Workspaces
				switch {
				case strings.HasSuffix(r.URL.Path, "/token"):
					tokens++
					code = tc.token
				case strings.HasSuffix(r.URL.Path, "/logicalclusters/cluster"):
					code = tc.cluster
				}
				w.WriteHeader(code)
				if code == http.StatusCreated {
					fmt.Fprint(w, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"reader"}}`)
					return
				}
				fmt.Fprint(w, status(code, reasons[code]))
			}))
			defer server.Close()
			f := &finder{config: &rest.Config{Host: server.URL, BearerToken: "hub"}, provider: logicalcluster.NewPath("root:tmc")}
			for range 2 {
				got, err := f.isAt(t.Context(), "lc-pay", logicalcluster.NewPath("root:prod"))
				if got != tc.want || (err != nil) != tc.fails {
					t.Errorf("got %q, %v; want %q, an error: %t", got, err, tc.want, tc.fails)
				}
			}
			if tokens != tc.tokens {
				t.Errorf("asked for %d tokens, want %d", tokens, tc.tokens)
			}
		})
	}
}
