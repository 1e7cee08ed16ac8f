package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/kcp-dev/logicalcluster/v3"
)

const (
	server  = "https://kcp:6443/clusters/root:tmc"
	subject = "system:serviceaccount:tmc-syncers:east"
	// life is that of the tokens, unless a case says otherwise.
	life = 24 * time.Hour
)

var errApart = errors.New("connection refused")

// jwt is a token with these claims; a zero time is left out.
func jwt(subject string, issued, expires time.Time) string {
	claims := map[string]any{"sub": subject, "aud": []string{"https://kcp"}, "jti": strconv.Itoa(int(time.Now().UnixNano()))}
	for name, at := range map[string]time.Time{"iat": issued, "exp": expires} {
		if !at.IsZero() {
			claims[name] = at.Unix()
		}
	}
	payload, _ := json.Marshal(claims)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(payload) + "." + encode([]byte("signature"))
}

// lasting is a token that begins now.
func lasting(life time.Duration) string { return jwt(subject, time.Now(), time.Now().Add(life)) }

func kubeconfig(token string) []byte {
	return []byte(`apiVersion: v1
kind: Config
clusters:
- name: kcp
  cluster: {server: "` + server + `", certificate-authority-data: Y2E=}
contexts:
- name: kcp
  context: {cluster: kcp, user: east}
current-context: kcp
users:
- name: east
  user: {token: "` + token + `"}
`)
}

// upstreamSide is kcp, with a clock of its own.
type upstreamSide struct {
	mu      sync.Mutex
	ahead   time.Duration
	revoked map[string]bool
	// lives are those that tokens were asked for with, asked is how often it was asked
	// anything.
	lives []time.Duration
	asked int
	// fails answers what is asked of it with an error while it returns one; unknowing is
	// a kcp that knows nobody, as one that has just started.
	fails     func() error
	unknowing bool
	// claims, if set, makes tokens in its place.
	claims func(life time.Duration) string
}

// downstreamSide is the cluster: the one Secret of it.
type downstreamSide struct {
	mu     sync.Mutex
	secret corev1.Secret
	reads  int
	writes int
	// fails answers a verb with an error while it returns one; between is what somebody
	// else does after a read.
	fails   func(verb string) error
	between func()
	// answer is what it answers to a write that it has made.
	answer func() error
}

// world is both sides, and what the keepers between them say.
type world struct {
	t    *testing.T
	kcp  *upstreamSide
	east *downstreamSide
	ctx  context.Context //nolint:containedctx // it carries the logger
	logs ktesting.Buffer
}

// inAWorld runs a test in which the Secret begins with a token that is made in it.
func inAWorld(t *testing.T, token func() string, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(ktesting.NopTL{}, ktesting.NewConfig(ktesting.BufferLogs(true)))
		w := &world{
			t: t, ctx: klog.NewContext(t.Context(), logger), logs: logger.GetSink().(ktesting.Underlier).GetBuffer(),
			kcp: &upstreamSide{revoked: map[string]bool{}, fails: func() error { return nil }},
			east: &downstreamSide{
				fails: func(string) error { return nil }, between: func() {}, answer: func() error { return nil },
				secret: corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: "tmc-system", Name: "tmc-syncer-kcp", ResourceVersion: "1"},
					Data:       map[string][]byte{SecretKey: kubeconfig(token()), "theirs": []byte("kept")},
				},
			},
		}
		test(w)
	})
}

// ofADay is a token that begins now.
func ofADay() string { return lasting(life) }

// keeper returns one that has read the Secret as it is now, and has not begun.
func (w *world) keeper(change ...func(*Config)) *Keeper {
	w.t.Helper()
	config := Config{
		Cluster: "east", Upstream: &rest.Config{Host: server, BearerToken: w.stored()},
		Downstream: w.east.client(), Namespace: "tmc-system", Secret: "tmc-syncer-kcp",
		ProviderWorkspace: logicalcluster.NewPath("root:tmc"),
	}
	for _, c := range change {
		c(&config)
	}
	k, err := newKeeper(config)
	if err != nil {
		w.t.Fatal(err)
	}
	k.clients = w.kcp.clients(k)
	return k
}

// running returns a keeper that runs until the test ends.
func (w *world) running(change ...func(*Config)) *Keeper {
	w.t.Helper()
	k := w.keeper(change...)
	go k.Run(w.ctx)
	synctest.Wait()
	return k
}

// passes lets time go by.
func (w *world) passes(duration time.Duration) {
	time.Sleep(duration)
	synctest.Wait()
}

// stored is the token in the Secret.
func (w *world) stored() string {
	w.t.Helper()
	found, err := tokenIn(w.east.read().Data[SecretKey], server)
	if err != nil {
		w.t.Fatal(err)
	}
	return found.value
}

// said returns how often something was logged, as an error or not, with all the words.
func (w *world) said(words ...string) int {
	times := 0
	for _, entry := range w.logs.Data() {
		line := fmt.Sprint(entry.Message, " ", entry.Err)
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			times++
		}
	}
	return times
}

func (w *world) wants(what string, got, want int) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %d, want %d; said:\n%s", what, got, want, w.logs)
	}
}

// inUse checks that a keeper uses a token, and that kcp takes it.
func (w *world) inUse(k *Keeper, want string) {
	w.t.Helper()
	if got := k.current().value; got != want {
		w.t.Errorf("uses the token\n%s, want\n%s", payload(got), payload(want))
	}
	if err := w.kcp.ask(k); err != nil || k.Refused() {
		w.t.Errorf("kcp answers %v, refused: %t", err, k.Refused())
	}
}

// payload is what is readable of a token.
func payload(token string) string {
	decoded, err := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1])
	if err != nil || len(decoded) == 0 {
		return token
	}
	return string(decoded)
}

// counts are what was done until now.
type counts struct {
	// lives are those that tokens were asked for with.
	lives                []time.Duration
	asked, reads, writes int
}

func (w *world) counts() counts {
	w.kcp.mu.Lock()
	defer w.kcp.mu.Unlock()
	w.east.mu.Lock()
	defer w.east.mu.Unlock()
	return counts{lives: slices.Clone(w.kcp.lives), asked: w.kcp.asked, reads: w.east.reads, writes: w.east.writes}
}

func (u *upstreamSide) now() time.Time { return time.Now().Add(u.ahead) }

// ask is any request of the keeper's, or of a client made from its configuration.
func (u *upstreamSide) ask(k *Keeper) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	if err := u.fails(); err != nil {
		return err
	}
	used, status := k.current(), http.StatusOK
	expired := !used.expires.IsZero() && !used.expires.After(u.now())
	if u.unknowing || u.revoked[used.value] || expired {
		status = http.StatusUnauthorized
	}
	k.answered("Bearer "+used.value, time.Now(), status)
	k.dated(u.now().UTC().Format(http.TimeFormat), time.Now())
	if status == http.StatusUnauthorized {
		return apierrors.NewUnauthorized("Unauthorized")
	}
	return nil
}

func (u *upstreamSide) clients(k *Keeper) clients {
	client := kubefake.NewClientset()
	client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		request := action.(clienttesting.CreateActionImpl)
		if got := request.Namespace + "/" + request.Name + "/" + request.Subresource; got != "tmc-syncers/east/token" {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, got, errors.New("not your own"))
		}
		if err := u.ask(k); err != nil {
			return true, nil, err
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		seconds := *request.Object.(*authenticationv1.TokenRequest).Spec.ExpirationSeconds
		life := time.Duration(seconds) * time.Second
		u.lives = append(u.lives, life)
		token := jwt(subject, u.now(), u.now().Add(life))
		if u.claims != nil {
			token = u.claims(life)
		}
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: token}}, nil
	})
	return clients{upstream: client, ask: func(context.Context) error { return u.ask(k) }}
}

func (u *upstreamSide) change(change func(u *upstreamSide)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

func (d *downstreamSide) client() *kubefake.Clientset {
	client := kubefake.NewClientset()
	client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := d.fails(action.GetVerb()); err != nil {
			return true, nil, err
		}
		switch action := action.(type) {
		case clienttesting.GetActionImpl:
			d.reads++
			secret := d.secret.DeepCopy()
			d.between()
			return true, secret, nil
		case clienttesting.PatchActionImpl:
			return true, &d.secret, d.patch(action)
		default:
			return true, nil, fmt.Errorf("the agent may not %s", action.GetVerb())
		}
	})
	return client
}

func (d *downstreamSide) patch(action clienttesting.PatchActionImpl) error {
	var patch corev1.Secret
	if err := json.Unmarshal(action.Patch, &patch); err != nil || action.PatchType != types.MergePatchType {
		return fmt.Errorf("a patch of type %s: %w", action.PatchType, err)
	}
	if patch.ResourceVersion != d.secret.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, action.Name, errors.New("it has changed"))
	}
	d.writes++
	d.put(patch.Data[SecretKey])
	return d.answer()
}

// put has the Secret changed, by whoever; the caller holds the lock.
func (d *downstreamSide) put(kubeconfig []byte) {
	version, _ := strconv.Atoi(d.secret.ResourceVersion)
	d.secret.ResourceVersion = strconv.Itoa(version + 1)
	d.secret.Data = map[string][]byte{SecretKey: kubeconfig, "theirs": d.secret.Data["theirs"]}
}

func (d *downstreamSide) change(change func(d *downstreamSide)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *downstreamSide) read() *corev1.Secret {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.secret.DeepCopy()
}
