package heartbeat

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestDecideClaim(t *testing.T) {
	cases := map[string]struct {
		reason       string
		registration *unstructured.Unstructured
		want         action
	}{
		"missing":          {"nobody has registered it", nil, actRegister},
		"free":             {"it is there for whoever comes first", registration(), actClaim},
		"free and leaving": {"what goes is not begun with", registration(leaving), actAwait},
		"ours":             {"a restart changes nothing", registration(claimedBy(ours)), actWork},
		"ours and leaving": {"its copies have to be cleaned up", registration(claimedBy(ours), leaving), actWork},
		"Another's":        {"two clusters under one name would fight", registration(claimedBy(another)), actRefuse},
		"Another'sLeaves":  {"the other is still cleaning up", registration(claimedBy(another), leaving), actRefuse},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var typed *v1alpha1.ClusterRegistration
			if c.registration != nil {
				var err error
				if typed, err = decode(c.registration); err != nil {
					t.Fatal(err)
				}
			}
			if got := decideClaim(typed, ours); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

func TestClaim(t *testing.T) {
	location := func(config *Config) { config.Location, config.Labels = "here", map[string]string{"tier": "gold"} }
	cases := map[string]struct {
		reason string
		there  []*unstructured.Unstructured
		writes []string
	}{
		"free":             {"it writes who it is, and nothing else", []*unstructured.Unstructured{registration()}, []string{"patch/status"}},
		"missing":          {"it makes it first", nil, []string{"create", "patch/status"}},
		"ours":             {"a restart is silent", []*unstructured.Unstructured{registration(claimedBy(ours))}, nil},
		"ours and leaving": {"it has to clean up", []*unstructured.Unstructured{registration(claimedBy(ours), leaving)}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newProvider(c.there...)
			a := agentOf(t, p, newBody(ours), location)
			if err := a.Claim(t.Context()); err != nil || !a.Claimed() {
				t.Fatalf("%s: claimed: %t, error: %v", c.reason, a.Claimed(), err)
			}
			if diff := cmp.Diff(c.writes, p.written()); diff != "" {
				t.Errorf("%s: writes (-want +got):\n%s", c.reason, diff)
			}
			stored := p.stored(t)
			if stored.Status.ClusterUID != ours {
				t.Errorf("%s: the registration belongs to %q", c.reason, stored.Status.ClusterUID)
			}
			if made := c.there == nil; made != (stored.Spec.Location == "here" && stored.Labels["tier"] == "gold") {
				t.Errorf("location and labels are for a registration that it makes: got %q, %v", stored.Spec.Location, stored.Labels)
			}
		})
	}
}

func TestClaimHandsOnExport(t *testing.T) {
	p := newProvider(registration(func(r *v1alpha1.ClusterRegistration) {
		r.Spec.Isolation, r.Spec.IsolationGroup = v1alpha1.IsolationGroup, "eu-prod"
	}))
	told := ""
	a := agentOf(t, p, newBody(ours), func(config *Config) {
		config.Export, config.OnExport = "cluster-east", func(export string) { told = export }
	})
	if err := a.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if export := p.stored(t).Status.Export; export != "cluster-east" {
		t.Errorf("the status says %q, want what the syncer uses", export)
	}
	if told != "group-eu-prod" {
		t.Errorf("the syncer is told %q, want what the spec says", told)
	}
}

func TestClaimHandsOnNamespaces(t *testing.T) {
	listed := registration(func(r *v1alpha1.ClusterRegistration) { r.Spec.AllowedNamespaces = []string{"default", "shop-*"} })
	for name, c := range map[string]struct {
		reason string
		there  []*unstructured.Unstructured
		want   []string
	}{
		"registered":  {"its flags do not count", []*unstructured.Unstructured{listed}, []string{"default", "shop-*"}},
		"missing":     {"it makes it with what its flags say", nil, []string{"mine"}},
		"none listed": {"its flags do not count", []*unstructured.Unstructured{registration()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(c.there...)
			told := []string{"nothing yet"}
			a := agentOf(t, p, newBody(ours), func(config *Config) {
				config.AllowedNamespaces, config.OnAllowed = []string{"mine"}, func(patterns []string) { told = patterns }
			})
			if err := a.Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, told); diff != "" {
				t.Errorf("the syncer is told (-want +got), %s:\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.want, p.stored(t).Spec.AllowedNamespaces); diff != "" {
				t.Errorf("the registration has (-want +got), %s:\n%s", c.reason, diff)
			}
		})
	}
}

func TestClaimTellsWhatClusterMakes(t *testing.T) {
	provider := newProvider(registration(func(r *v1alpha1.ClusterRegistration) { r.Spec.ProvidedByCluster = []string{"secrets/*-tls"} }))
	var told []string
	a := agentOf(t, provider, newBody(ours), func(config *Config) { config.OnProvided = func(texts []string) { told = texts } })
	if err := a.Claim(t.Context()); err != nil || len(told) != 1 || told[0] != "secrets/*-tls" {
		t.Errorf("%v; told %q", err, told)
	}
}

func TestClaimRefusesAnothersName(t *testing.T) {
	p := newProvider(registration(claimedBy(another)))
	a := agentOf(t, p, newBody(ours))
	err := a.Claim(t.Context())
	want := &ClaimedError{Cluster: east, Ours: ours, Theirs: another}
	if got := (&ClaimedError{}); !errors.As(err, &got) || *got != *want {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, word := range []string{east, string(ours), string(another), "another name", "kubectl tmc remove east --force"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if written := p.written(); a.Claimed() || len(written) > 0 {
		t.Errorf("claimed: %t, writes: %v", a.Claimed(), written)
	}
}

func TestClaimOfTwoClusters(t *testing.T) {
	for name, p := range map[string]*provider{"Registered": newProvider(registration()), "Missing": newProvider()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				results := make(chan error, 2)
				for _, uid := range []types.UID{ours, another} {
					a := agentOf(t, p, newBody(uid))
					go func() { results <- a.Claim(t.Context()) }()
				}
				var refused *ClaimedError
				first, second := <-results, <-results
				if first != nil {
					first, second = second, first
				}
				if first != nil || !errors.As(second, &refused) || p.stored(t).Status.ClusterUID != refused.Theirs {
					t.Errorf("got %v and %v, want one to work and one to be refused", first, second)
				}
			})
		})
	}
}

func TestClaimLosesToAnEarlierOne(t *testing.T) {
	p := newProvider(registration())
	a := agentOf(t, p, newBody(ours))
	a.uid = ours
	read, err := a.registration.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.put(registration(claimedBy(another)))
	if err := a.claim(t.Context(), read); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	var refused *ClaimedError
	if err := a.Claim(t.Context()); !errors.As(err, &refused) {
		t.Errorf("got %v, want it to be refused", err)
	}
}

func TestClaimWaitsForObstacles(t *testing.T) {
	notForMe := func(config *Config) { config.SelfRegister = false }
	cases := map[string]struct {
		reason string
		there  []*unstructured.Unstructured
		config func(*Config)
		fails  func(string) error
		dead   bool
		words  []string
		// mend is what somebody does about it.
		mend func(*provider)
	}{
		"may not register": {
			"an administrator has to", nil, nil, forbidden("create"), false,
			[]string{"ClusterRegistration east", "root:tmc", "administrator"},
			func(p *provider) { p.put(registration()) },
		},
		"is not to register": {
			"an administrator wants to", nil, notForMe, nil, false,
			[]string{"ClusterRegistration east", "root:tmc", "administrator"},
			func(p *provider) { p.put(registration()) },
		},
		"not installed": {
			"a page that is not found is no missing registration", nil, nil, unserved, false,
			[]string{"kubectl tmc init", "root:tmc"},
			func(p *provider) { p.fail(func(string) error { return nil }) },
		},
		"denied": {
			"kcp denies workspaces that do not exist", nil, nil, forbidden("get"), false,
			[]string{"denies access", "RBAC", "root:tmc"},
			func(p *provider) { p.fail(func(string) error { return nil }) },
		},
		"unreachable": {
			"kcp may start later", nil, nil, func(string) error { return errors.New("connection refused") }, false,
			[]string{"kcp is not reachable", "connection refused"},
			func(p *provider) { p.fail(func(string) error { return nil }) },
		},
		"leaving": {
			"a registration that goes is followed by another",
			[]*unstructured.Unstructured{registration(leaving)}, nil, nil, false,
			[]string{"is being deleted"},
			func(p *provider) { p.remove() },
		},
		"an unusable rule": {
			"copies would have to move when it is mended",
			[]*unstructured.Unstructured{registration(withPrefix("NO"))}, nil, nil, false,
			[]string{"spec.transform", "namespacePrefix"},
			func(p *provider) { p.put(registration(claimedBy(ours), withPrefix("yes-"))) },
		},
		"a silent cluster": {
			"nobody knows who it is", nil, nil, nil, true,
			[]string{"The cluster does not answer"}, func(*provider) {},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, said := newProvider(c.there...), newBody(ours), &log{}
				if c.fails != nil {
					p.fail(c.fails)
				}
				var dead atomic.Bool
				dead.Store(c.dead)
				b.client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
					return dead.Load(), nil, errors.New("connection refused")
				})
				config := c.config
				if config == nil {
					config = func(*Config) {}
				}
				a := agentOf(t, p, b, config)
				result := make(chan error, 1)
				go func() { result <- a.Claim(said.into(t.Context())) }()
				time.Sleep(minutes)
				synctest.Wait()
				if a.Claimed() || len(result) > 0 {
					t.Fatalf("%s: did not wait", c.reason)
				}
				if times := said.times(c.words...); times != 1 {
					t.Errorf("%s: said %d times, want once: %q\n%v", c.reason, times, c.words, said.lines)
				}
				dead.Store(false)
				c.mend(p)
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if len(result) != 1 || <-result != nil || p.stored(t).Status.ClusterUID != ours {
					t.Errorf("%s: did not go on", c.reason)
				}
			})
		})
	}
}

func TestClaimEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider()
		p.fail(forbidden("get"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := agentOf(t, p, newBody(ours)).Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestClaimInvalidFlags(t *testing.T) {
	p := newProvider()
	p.fail(func(verb string) error {
		if verb == "create" {
			return apierrors.NewInvalid(registrations.GroupVersion().WithKind("ClusterRegistration").GroupKind(), east, nil)
		}
		return nil
	})
	if err := agentOf(t, p, newBody(ours)).Claim(t.Context()); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want what is invalid", err)
	}
}

func TestClaimHandsOnTheRule(t *testing.T) {
	for name, c := range map[string]struct {
		there *unstructured.Unstructured
		want  []*v1alpha1.TransformRule
	}{
		"a rule":  {registration(withPrefix("a-")), []*v1alpha1.TransformRule{{NamespacePrefix: "a-"}}},
		"no rule": {registration(), []*v1alpha1.TransformRule{nil}},
	} {
		t.Run(name, func(t *testing.T) {
			var rules []*v1alpha1.TransformRule
			a := agentOf(t, newProvider(c.there), newBody(ours), func(config *Config) {
				config.OnRule = func(rule *v1alpha1.TransformRule) { rules = append(rules, rule) }
			})
			if err := a.Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, rules); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}
