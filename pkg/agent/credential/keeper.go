package credential

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// Config is what a Keeper needs.
type Config struct {
	// Cluster is the name under which the cluster is known upstream.
	Cluster string
	// Upstream leads to kcp, as kcp.LoadConfig gives it.
	Upstream *rest.Config
	// KubeconfigFile is where Upstream comes from. It is read again while kcp refuses
	// the token, if there is no Secret; it may be empty.
	KubeconfigFile string
	// Downstream leads to the cluster with the Secret of that namespace and name whose
	// key SecretKey holds the kubeconfig that Upstream comes from. Without a Secret
	// nothing is renewed.
	Downstream kubernetes.Interface
	Namespace  string
	Secret     string
	// ProviderWorkspace holds the ServiceAccount that the token is for.
	ProviderWorkspace logicalcluster.Path
	// RenewAfter is how old a token gets before it is renewed; 0 is half of its life.
	RenewAfter time.Duration
}

// SecretKey is the Secret's key that holds the kubeconfig.
const SecretKey = "kubeconfig"

// Keeper keeps the credentials for kcp good. Of a kubeconfig that has no token in it,
// but a client certificate, a program or a file that gives one, it only notices when
// kcp refuses it.
type Keeper struct {
	config   Config
	upstream *rest.Config
	clients  clients
	// woken has Run look at once.
	woken chan struct{}

	mu sync.Mutex
	// token is the one in use. Only Run changes it.
	token token
	// refusedAt is since when kcp refuses the credentials, zero when it does not.
	refusedAt time.Time

	// What follows is Run's own: life is that of the token in use, due when its half is
	// over, zero for never.
	life time.Duration
	due  time.Time
	// stored is the token that was last known to be stored.
	stored string
	// looked is when another token was last looked for, retry until when not to try
	// again after a failure.
	looked, retry time.Time
	delays        wait.Backoff
	// refused lasts while kcp refuses the credentials, failing while they cannot be
	// renewed, unread while it is not known whether there is another token.
	refused, failing, unread controller.Outage
}

// clients are the ways to both sides; tests replace them.
type clients struct {
	// upstream leads to the provider workspace.
	upstream kubernetes.Interface
	// ask asks kcp for anything that it answers whoever it knows.
	ask func(context.Context) error
}

// New returns a Keeper that has not yet connected to anything. It fails when a field
// is missing, and when a client cannot be made.
func New(config Config) (*Keeper, error) {
	k, err := newKeeper(config)
	if err != nil {
		return nil, err
	}
	client, err := kcp.NewClient(k.upstream, config.ProviderWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	k.clients = clients{
		upstream: client,
		ask: func(ctx context.Context) error {
			return client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
		},
	}
	return k, nil
}

// newKeeper returns a Keeper without clients.
func newKeeper(config Config) (*Keeper, error) {
	if config.Secret != "" && (config.Namespace == "" || config.Downstream == nil) {
		return nil, errors.New("field Secret is set, expected Namespace and Downstream to be set, too")
	}
	k := &Keeper{
		config:   config,
		upstream: rest.CopyConfig(config.Upstream),
		woken:    make(chan struct{}, 1),
		delays:   retryDelays,
		failing:  controller.Outage{Begins: "Cannot renew the token for kcp, will try again", Ends: "The token for kcp is renewed and stored again"},
		unread:   controller.Outage{Begins: "Cannot tell whether there is another token for kcp, will look again", Ends: "Looked for another token for kcp again"},
		refused:  controller.Outage{Ends: "kcp accepts the credentials of this cluster again"},
	}
	what := "they have expired, were revoked, or are another kcp's"
	k.upstream.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watched{next, k} })
	if hasToken(config.Upstream) {
		what = "the token has expired or was revoked"
		k.hold(readToken(config.Upstream.BearerToken), time.Time{})
		k.stored = config.Upstream.BearerToken
		// Around what watches the answers, so that this sees with which token they were asked for.
		k.upstream.BearerToken = ""
		k.upstream.Wrap(transport.TokenSourceWrapTransport(source{k}))
	}
	k.refused.Begins = "kcp refuses the credentials of this cluster: " + what +
		"; run `kubectl tmc join " + config.Cluster + " … | kubectl apply -f -`"
	return k, nil
}

// hasToken reports whether the credentials are a token of the kubeconfig's own. A
// client certificate beside it would come first: API servers look at those before
// they look at tokens.
func hasToken(config *rest.Config) bool {
	return config.BearerToken != "" && config.BearerTokenFile == "" &&
		config.CertFile == "" && len(config.CertData) == 0 &&
		config.ExecProvider == nil && config.AuthProvider == nil && config.Username == ""
}

// Upstream returns a copy of Config.Upstream with which each request is made with the
// token of that moment, whatever copies are made of it.
func (k *Keeper) Upstream() *rest.Config { return rest.CopyConfig(k.upstream) }
