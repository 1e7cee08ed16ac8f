package credential

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
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

// Keeper keeps the credentials for kcp valid. When the kubeconfig holds no token, but a client
// certificate, or a program or a file that gives one, it only notices when kcp refuses them.
type Keeper struct {
	config   Config
	upstream *rest.Config
	clients  clients
	// woken has Run take a turn at once.
	woken chan struct{}

	mu sync.Mutex
	// token is the one in use. Only Run changes it.
	token token
	// refusedAt is since when kcp refuses the credentials, zero when it does not.
	refusedAt time.Time
	// ahead is by how much kcp's clock is ahead of ours, nil while that is not known.
	ahead *time.Duration

	// Only Run uses what follows. life is how long the token in use is valid in all, due when it
	// is to be renewed, zero for never.
	life time.Duration
	due  time.Time
	// waits is how old the token in use gets, and isGuess is set while due follows from its time of issue and our own clock.
	waits   time.Duration
	isGuess bool
	// stored is the token that was last known to be stored.
	stored string
	// searched is when another stored token was last looked for, retry until when not to try
	// again after a failure.
	searched, retry time.Time
	delays          wait.Backoff
	// refused lasts while kcp refuses the credentials, failing while they cannot be renewed,
	// unread while the stored token cannot be read.
	refused, failing, unread controller.Outage
}

// clients are the ways to both sides; tests replace them.
type clients struct {
	// upstream leads to the provider workspace.
	upstream kubernetes.Interface
	// ask asks kcp for something that it answers everybody whose credentials it accepts.
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
		k.use(readToken(config.Upstream.BearerToken), time.Time{})
		k.stored = config.Upstream.BearerToken
		// This wraps what watches the answers, which so sees the token of each request.
		k.upstream.BearerToken = ""
		k.upstream.Wrap(transport.TokenSourceWrapTransport(source{k}))
	}
	k.refused.Begins = "kcp refuses the credentials of this cluster: " + what +
		"; run `kubectl tmc join " + config.Cluster + " … | kubectl apply -f -`"
	return k, nil
}

// hasToken reports whether the credentials are a token that the kubeconfig holds. With a
// client certificate beside it, they are not: API servers check that first.
func hasToken(config *rest.Config) bool {
	return config.BearerToken != "" && config.BearerTokenFile == "" &&
		config.CertFile == "" && len(config.CertData) == 0 &&
		config.ExecProvider == nil && config.AuthProvider == nil && config.Username == ""
}

// Upstream returns a copy of Config.Upstream whose requests, and those of its copies, each
// take the token that is in use at that moment.
func (k *Keeper) Upstream() *rest.Config { return rest.CopyConfig(k.upstream) }

// source gives each request the token in use.
type source struct{ keeper *Keeper }

// Token implements oauth2.TokenSource.
func (s source) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: s.keeper.current().value}, nil
}

// watched tells the keeper whether kcp accepts the credentials. It changes neither requests
// nor answers.
type watched struct {
	http.RoundTripper

	keeper *Keeper
}

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(request *http.Request) (*http.Response, error) {
	asked := time.Now()
	response, err := w.RoundTripper.RoundTrip(request)
	if err == nil {
		w.keeper.answered(request.Header.Get("Authorization"), asked, response.StatusCode)
		w.keeper.dated(response.Header.Get("Date"), time.Now())
	}
	return response, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (w *watched) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }

// answered takes note of the status code of an answer. The request had that Authorization
// header, and was made at that time.
func (k *Keeper) answered(authorization string, asked time.Time, status int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token.value != "" && authorization != "Bearer "+k.token.value {
		return // it was about the token before this one
	}
	switch {
	case status == http.StatusUnauthorized:
		if k.refusedAt.IsZero() {
			k.refusedAt = time.Now()
			k.wake()
		}
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		// A server on the way may answer this before anybody checks the credentials.
	case !asked.Before(k.refusedAt):
		k.refusedAt = time.Time{}
	}
}

// dated takes note of the time that kcp says it is (the header Date of its answers, RFC 9110, section 6.6.1), and of ours: the age of
// a token counts from when kcp issued it, and kcp's clock may differ from ours.
func (k *Keeper) dated(date string, now time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	isNews := k.ahead == nil
	k.ahead = new(theirs.Sub(now))
	if isNews {
		k.wake()
	}
}

// Refused reports whether kcp refuses the credentials: from an answer 401 until another answer.
func (k *Keeper) Refused() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.refusedAt.IsZero()
}

// current returns the token in use, empty where there is none to keep.
func (k *Keeper) current() token {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.token
}

// wake has Run take a turn at once.
func (k *Keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default: // it will take one anyway
	}
}
