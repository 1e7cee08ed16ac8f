package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
)

const (
	// refusedInterval is how often another stored token is looked for while kcp refuses this
	// one. Nor is any token renewed sooner than after this time.
	refusedInterval = 10 * time.Second
	// requestTimeout bounds each request.
	requestTimeout = 10 * time.Second
	// renewalJitter keeps the replicas of a syncer from asking at once: the second one finds
	// what the first one has stored.
	renewalJitter = 0.2
	// shortestLife is the shortest that kcp grants (ValidateTokenRequest in Kubernetes'
	// pkg/apis/authentication/validation).
	shortestLife = 10 * time.Minute
)

// retryDelays are the delays after failures. Half of a token's life is left for them.
var retryDelays = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 2 * time.Minute}

// Run renews the token, and looks for another stored one while kcp refuses it, until ctx ends.
// Every replica of a syncer runs it, also one that stands by.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		k.turn(ctx)
		timer := time.NewTimer(time.Until(k.next()))
		select {
		case <-ctx.Done():
		case <-k.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// turn does what is to be done now.
func (k *Keeper) turn(ctx context.Context) {
	if k.Refused() && time.Since(k.searched) >= refusedInterval {
		k.searched = time.Now()
		k.refused.Begin(ctx, k.refusal())
		k.search(ctx)
	}
	if !k.Refused() {
		k.refused.End(ctx)
	}
	if k.isDue() && k.isGuess {
		k.ask(ctx) // by kcp's clock the token may be young
	}
	k.settle()
	if k.isDue() {
		k.try(ctx)
	}
}

// ask sends kcp a request, of whose answer watched takes note.
func (k *Keeper) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_ = k.clients.ask(ctx)
}

// settle says anew when the token in use is to be renewed, once kcp's clock is known.
func (k *Keeper) settle() {
	k.mu.Lock()
	issued, ahead := k.token.issued, k.ahead
	k.mu.Unlock()
	if k.isGuess && ahead != nil {
		k.isGuess = false
		k.due = controller.NotAfter(issued.Add(-*ahead), time.Now()).Add(k.waits)
	}
}

// next returns when to take the next turn, unless Run is woken before.
func (k *Keeper) next() time.Time {
	times := []time.Time{time.Now().Add(time.Hour)}
	switch {
	case k.Refused():
		times = append(times, k.searched.Add(refusedInterval))
	case k.renews() && !k.due.IsZero():
		times = append(times, slices.MaxFunc([]time.Time{k.due, k.retry}, time.Time.Compare))
	}
	if k.isUnsaved() {
		times = append(times, k.retry)
	}
	return slices.MinFunc(times, time.Time.Compare)
}

// renews reports whether there is a token, and a Secret to keep a new one in.
func (k *Keeper) renews() bool { return k.current().value != "" && k.config.Secret != "" }

// isUnsaved reports whether a new token is not stored yet.
func (k *Keeper) isUnsaved() bool { return k.renews() && k.current().value != k.stored }

// isHalfOver reports whether it is time to ask for a new token. With one that kcp refuses, it
// never is.
func (k *Keeper) isHalfOver() bool {
	return k.renews() && !k.due.IsZero() && !time.Now().Before(k.due) && !k.Refused()
}

func (k *Keeper) isDue() bool {
	return (k.isUnsaved() || k.isHalfOver()) && !time.Now().Before(k.retry)
}

// refusal says what is known of the credentials that kcp refuses.
func (k *Keeper) refusal() error {
	expires := k.current().expires
	switch {
	case expires.IsZero():
		return errors.New("kcp has answered 401 Unauthorized")
	case expires.After(time.Now()):
		return fmt.Errorf("kcp has answered 401 Unauthorized to a token that expires at %s", expires.UTC().Format(time.RFC3339))
	default:
		return fmt.Errorf("kcp has answered 401 Unauthorized to a token that expired at %s", expires.UTC().Format(time.RFC3339))
	}
}

// search takes up another token if one has been stored since, and asks kcp whether it accepts
// the credentials now: a replica that stands by sends no other request.
func (k *Keeper) search(ctx context.Context) {
	if k.current().value != "" && (k.config.Secret != "" || k.config.KubeconfigFile != "") {
		found, err := k.read(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			k.unread.Begin(ctx, err)
		default:
			k.unread.End(ctx)
			if found.value != k.stored {
				k.adopt(ctx, found)
			}
		}
	}
	k.ask(ctx)
}

// try renews or stores the token, and notes when to try again.
func (k *Keeper) try(ctx context.Context) {
	err := k.renew(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		k.failing.Begin(ctx, err)
		k.retry = time.Now().Add(k.delays.Step())
	default:
		k.failing.End(ctx)
		k.retry, k.delays = time.Time{}, retryDelays
	}
}

// renew gets a token that lasts longer, if it is time, and stores it. It uses a new token at
// once, stored or not. A syncer that ends in between starts again with the old one, half of
// whose life is left.
func (k *Keeper) renew(ctx context.Context) error {
	if k.isHalfOver() {
		// When the stored one cannot be read, a new one will do.
		if found, err := k.read(ctx); err == nil && found.outlasts(k.current()) {
			k.adopt(ctx, found)
			return nil
		}
		fresh, err := k.request(ctx)
		if err != nil {
			return err
		}
		k.use(fresh, time.Now())
	}
	return k.save(ctx)
}

// request asks kcp for another token like the present one.
func (k *Keeper) request(ctx context.Context) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	subject := k.current().subject
	namespace, name, err := serviceaccount.SplitUsername(subject)
	if err != nil {
		return token{}, fmt.Errorf("the token's subject %q is no ServiceAccount: %w", subject, err)
	}
	answer, err := k.clients.upstream.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(min(max(k.life, shortestLife), v1alpha1.MaxTokenLifetime).Seconds()))},
	}, metav1.CreateOptions{})
	if err != nil {
		return token{}, fmt.Errorf("asking kcp for a token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	fresh := readToken(answer.Status.Token)
	if fresh.value == "" || !fresh.outlasts(k.current()) {
		return token{}, fmt.Errorf("kcp has given a token for ServiceAccount %s/%s that ends at %s, expected it to outlast the one that ends at %s",
			namespace, name, fresh.expires.UTC().Format(time.RFC3339), k.current().expires.UTC().Format(time.RFC3339))
	}
	return fresh, nil
}

// renewAfter returns how old the token in use gets: at most half of its life.
func (k *Keeper) renewAfter() time.Duration {
	half := max(min(k.life, v1alpha1.MaxTokenLifetime)/2, refusedInterval)
	if k.config.RenewAfter == 0 {
		return half
	}
	return min(k.config.RenewAfter, half)
}

// use has all requests take the token from now on. Its age counts from when it was received or, when that is zero, from when it
// says that it was issued. That is by kcp's clock: until that is known, it is taken for ours.
func (k *Keeper) use(t token, received time.Time) {
	now := time.Now()
	k.life, k.due, k.isGuess = t.life(now), time.Time{}, false
	if !t.expires.IsZero() {
		// Until MaxTokenLifetime is left of a longer one, no new token would outlast it.
		k.waits = max(k.life-v1alpha1.MaxTokenLifetime, 0) + wait.Jitter(k.renewAfter(), renewalJitter)
		begin := received
		if begin.IsZero() && !t.issued.IsZero() {
			begin, k.isGuess = t.issued, true
		}
		if begin.IsZero() {
			begin = now
		}
		k.due = controller.NotAfter(begin, now).Add(k.waits)
	}
	k.mu.Lock()
	k.token = t
	k.mu.Unlock()
	k.settle()
}

// adopt uses a token that somebody else has stored.
func (k *Keeper) adopt(ctx context.Context, t token) {
	k.use(t, time.Time{})
	k.stored = t.value
	klog.FromContext(ctx).Info("Took up another token for kcp that has been stored", "expires", t.expires)
}

// read returns the token that is stored in the Secret or, without one, in the file.
func (k *Keeper) read(ctx context.Context) (token, error) {
	if k.config.Secret == "" {
		data, err := os.ReadFile(k.config.KubeconfigFile)
		if err != nil {
			return token{}, err
		}
		found, err := tokenIn(data, k.upstream.Host)
		if err != nil {
			return token{}, fmt.Errorf("kubeconfig %q: %w", k.config.KubeconfigFile, err)
		}
		return found, nil
	}
	_, found, err := k.readSecret(ctx)
	return found, err
}

// readSecret returns the Secret and the token in it.
func (k *Keeper) readSecret(ctx context.Context) (*corev1.Secret, token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	secret, err := k.config.Downstream.CoreV1().Secrets(k.config.Namespace).Get(ctx, k.config.Secret, metav1.GetOptions{})
	if err != nil {
		return nil, token{}, fmt.Errorf("reading Secret %s/%s: %w", k.config.Namespace, k.config.Secret, err)
	}
	found, err := tokenIn(secret.Data[SecretKey], k.upstream.Host)
	if err != nil {
		return nil, token{}, fmt.Errorf("kubeconfig in Secret %s/%s, data[%s]: %w", k.config.Namespace, k.config.Secret, SecretKey, err)
	}
	return secret, found, nil
}

// save stores the token in use, unless the stored one lasts longer: then it uses that one. It
// does not overwrite what it cannot decode.
func (k *Keeper) save(ctx context.Context) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		secret, found, err := k.readSecret(ctx)
		if err != nil {
			return err
		}
		present := k.current()
		if found.outlasts(present) {
			k.adopt(ctx, found)
			return nil
		}
		if found.value != present.value { // it is the same when the answer to a write was lost
			if err := k.write(ctx, secret, present); err != nil {
				return err
			}
		}
		k.stored = present.value
		klog.FromContext(ctx).Info("Renewed the token for kcp", "expires", present.expires)
		return nil
	})
}

// write writes a token into the Secret, if that has not changed since it was read.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret, t token) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kubeconfig, err := withToken(secret.Data[SecretKey], t.value)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": secret.ResourceVersion},
		"data":     map[string][]byte{SecretKey: kubeconfig},
	})
	if err != nil {
		return fmt.Errorf("encoding Secret %s: %w", secret.Name, err)
	}
	_, err = k.config.Downstream.CoreV1().Secrets(secret.Namespace).
		Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		return fmt.Errorf("writing Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}
