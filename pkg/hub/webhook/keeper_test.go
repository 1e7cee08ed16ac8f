package webhook

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

type testingAction = clienttesting.Action

// running is a keeper at work on a fake kcp.
type running struct {
	client *fake.Clientset
	server *Server
	now    atomic.Pointer[time.Time]
	end    func()
}

// run starts a keeper with what `kubectl tmc init` makes.
func run(t *testing.T) *running {
	t.Helper()
	meta := metav1.ObjectMeta{Name: v1alpha1.RepairName}
	r := &running{
		client: fake.NewClientset(
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RepairName, Namespace: v1alpha1.RepairNamespace}},
			&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: v1alpha1.RepairWebhook, ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://" + host + ":9443/repair")},
			}}},
		),
		server: NewServer("127.0.0.1:0"),
	}
	r.now.Store(&start)
	r.work(t)
	return r
}

// work starts a keeper.
func (r *running) work(t *testing.T) {
	t.Helper()
	keeper, err := NewKeeper(r.client, r.server)
	if err != nil {
		t.Fatal(err)
	}
	keeper.now = func() time.Time { return *r.now.Load() }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	for _, do := range []func(context.Context){keeper.Run, keeper.Work} {
		go func() { do(ctx); ended <- struct{}{} }()
	}
	r.end = func() { cancel(); <-ended; <-ended }
	t.Cleanup(func() { cancel() })
}

// trusted returns what the configuration trusts.
func (r *running) trusted(t *testing.T) []byte {
	t.Helper()
	hook, err := r.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), v1alpha1.RepairName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return hook.Webhooks[0].ClientConfig.CABundle
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// writes counts the writes to kcp.
func (r *running) writes() int {
	return len(slices.DeleteFunc(r.client.Actions(), func(a testingAction) bool { return a.GetVerb() != "update" && a.GetVerb() != "patch" }))
}

func TestKeeper(t *testing.T) {
	t.Run("kcp trusts what is served", func(t *testing.T) {
		t.Parallel()
		r := run(t)
		eventually(t, "a certificate", func() bool { return r.server.certificate.Load() != nil })
		verify(t, r.server.certificate.Load().Leaf, r.trusted(t), host, start)
		if writes := r.writes(); writes != 3 {
			t.Errorf("%d writes, expected 3: authority, trust, certificate", writes)
		}
		r.end()

		// Another leader finds everything in order.
		r.client.ClearActions()
		r.work(t)
		eventually(t, "the other leader to have read everything", func() bool {
			return slices.ContainsFunc(r.client.Actions(), func(a testingAction) bool {
				return a.GetVerb() == "get" && a.GetResource().Resource == "mutatingwebhookconfigurations"
			})
		})
		r.end()
		if writes := r.writes(); writes != 0 {
			t.Errorf("%d writes where nothing is to be done: %v", writes, r.client.Actions())
		}
	})
	t.Run("certificates are renewed", func(t *testing.T) {
		t.Parallel()
		r := run(t)
		eventually(t, "a certificate", func() bool { return r.server.certificate.Load() != nil })
		first := r.server.certificate.Load().Leaf
		r.end()
		r.now.Store(new(start.Add(servingLife * 2 / 3)))
		r.work(t)
		eventually(t, "another certificate", func() bool { return !r.server.certificate.Load().Leaf.Equal(first) })
		verify(t, r.server.certificate.Load().Leaf, r.trusted(t), host, *r.now.Load())
		r.end()
	})
	t.Run("another URL gets another certificate", func(t *testing.T) {
		t.Parallel()
		r := run(t)
		eventually(t, "a certificate", func() bool { return r.server.certificate.Load() != nil })
		hooks := r.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
		hook, err := hooks.Get(t.Context(), v1alpha1.RepairName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hook.Webhooks[0].ClientConfig.URL = new("https://[2001:db8::1]:9443/repair")
		if _, err := hooks.Update(t.Context(), hook, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a certificate for the other host", func() bool { return r.server.certificate.Load().Leaf.VerifyHostname("2001:db8::1") == nil })
		r.end()
	})
}
