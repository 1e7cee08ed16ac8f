package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/repair"
)

// Keeper has the server use the certificate of the Secret, and makes and renews the certificates in it.
type Keeper struct {
	client kubernetes.Interface
	server *Server
	// now is the clock; tests replace it.
	now       func() time.Time
	informers informers.SharedInformerFactory
	// queue is that of the present Work, nil before the first.
	queue atomic.Pointer[controller.Controller[string]]

	// Only the worker uses these: what the configuration trusted when it was last read, and since when.
	trusted      []byte
	trustedSince time.Time
}

// NewKeeper returns a keeper for a server, with a client for the provider workspace.
func NewKeeper(client kubernetes.Interface, server *Server) (*Keeper, error) {
	onlyOurs := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, v1alpha1.RepairName).String()
	})
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, onlyOurs, informers.WithNamespace(v1alpha1.RepairNamespace))
	secrets := factory.Core().V1().Secrets().Informer()
	hooks := factory.Admissionregistration().V1().MutatingWebhookConfigurations().Informer()
	k := &Keeper{client: client, server: server, now: time.Now, informers: factory}
	for _, informer := range []cache.SharedIndexInformer{secrets, hooks} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    k.onEvent,
			UpdateFunc: func(_, obj any) { k.onEvent(obj) },
			DeleteFunc: k.onEvent,
		}); err != nil {
			return nil, fmt.Errorf("watching what the repair of patches needs: %w", err)
		}
	}
	return k, nil
}

// onEvent has the server use the certificate of a Secret, and has everything checked.
func (k *Keeper) onEvent(obj any) {
	if secret, ok := obj.(*corev1.Secret); ok {
		// The leader replaces what cannot be decoded.
		if read, err := decode(secret.Data); err == nil && read.serving != nil {
			k.server.Use(read.serving.tlsCertificate())
		}
	}
	if queue := k.queue.Load(); queue != nil {
		queue.Enqueue(v1alpha1.RepairName)
	}
}

// Run watches until ctx ends. It runs on every replica.
func (k *Keeper) Run(ctx context.Context) {
	k.informers.StartWithContext(ctx)
	<-ctx.Done()
	k.informers.Shutdown()
}

// Work makes and renews certificates until ctx ends. It runs on the leader, and may be called again after it has returned.
func (k *Keeper) Work(ctx context.Context) {
	queue := controller.New("repair", k.reconcile)
	k.queue.Store(queue)
	queue.Enqueue(v1alpha1.RepairName)
	queue.Run(ctx, 1)
}

// reconcile gathers, decides and writes at most once: the event of that write brings the next call. It reads from kcp
// and not from a cache, which may lack the last write. Without events, it is called once an hour.
func (k *Keeper) reconcile(ctx context.Context, name string) (again time.Duration, err error) {
	secret, err := k.client.CoreV1().Secrets(v1alpha1.RepairNamespace).Get(ctx, name, metav1.GetOptions{})
	if kcp.IsMissingObject(err, name) {
		return 0, nil // nobody has run `kubectl tmc init --repair-url`
	}
	if err != nil {
		return 0, err
	}
	hook, err := k.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
	if kcp.IsMissingObject(err, name) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	now, err := k.situation(ctx, secret, hook)
	if err != nil {
		return 0, err
	}
	next, err := now.next()
	if err != nil {
		return 0, err
	}
	switch {
	case next.kept != nil:
		return 0, k.keep(ctx, secret, *next.kept)
	case next.trusted != nil:
		return 0, k.trust(ctx, next.trusted)
	default:
		return next.again, nil
	}
}

// situation returns what is known about the certificates.
func (k *Keeper) situation(ctx context.Context, secret *corev1.Secret, hook *admissionregistrationv1.MutatingWebhookConfiguration) (situation, error) {
	if len(hook.Webhooks) != 1 || hook.Webhooks[0].ClientConfig.URL == nil {
		return situation{}, fmt.Errorf("MutatingWebhookConfiguration %s: expected one webhook, with clientConfig.url: run `kubectl tmc init --repair-url` again", hook.Name)
	}
	config := hook.Webhooks[0].ClientConfig
	address, err := url.Parse(*config.URL)
	if err != nil {
		return situation{}, fmt.Errorf("MutatingWebhookConfiguration %s: webhooks[0].clientConfig.url: %w", hook.Name, err)
	}
	read, err := decode(secret.Data)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Making new certificates, because those of the Secret cannot be read", "secret", klog.KObj(secret))
		read = kept{}
	}
	now := k.now()
	if k.trustedSince.IsZero() || !bytes.Equal(k.trusted, config.CABundle) {
		k.trusted, k.trustedSince = config.CABundle, now
	}
	return situation{now: now, kept: read, trusted: config.CABundle, trustedSince: k.trustedSince, host: address.Hostname()}, nil
}

// keep writes certificates to the Secret. It fails when somebody else has written it since it was read.
func (k *Keeper) keep(ctx context.Context, secret *corev1.Secret, what kept) error {
	data, err := what.encode()
	if err != nil {
		return fmt.Errorf("encoding certificates: %w", err)
	}
	secret = secret.DeepCopy()
	secret.Data = data
	klog.FromContext(ctx).Info("Keeping new certificates of the repair of patches", "authorities", len(what.authorities), "serving", what.serving != nil)
	_, err = k.client.CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.ControllerFieldManager})
	return err
}

// trust writes the authorities that kcp trusts to the configuration.
func (k *Keeper) trust(ctx context.Context, bundle []byte) error {
	patch, err := json.Marshal([]repair.Operation{
		{Op: "test", Path: "/webhooks/0/name", Value: v1alpha1.RepairWebhook},
		{Op: "add", Path: "/webhooks/0/clientConfig/caBundle", Value: bundle},
	})
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Having kcp trust the authorities of the repair of patches")
	_, err = k.client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(ctx, v1alpha1.RepairName, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.ControllerFieldManager})
	return err
}
