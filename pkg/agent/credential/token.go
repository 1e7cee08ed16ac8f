package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// token is a bearer token, and what can be read in it.
type token struct {
	value string
	// subject is the user whom it says it is for.
	subject string
	// issued and expires are zero when it does not say that: a static token does not.
	issued, expires time.Time
}

// readToken reads the claims of a JSON Web Token (RFC 7519). It verifies nothing: kcp does.
func readToken(value string) token {
	t := token{value: value}
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return t
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return t
	}
	var claims struct {
		Subject  string  `json:"sub"`
		IssuedAt float64 `json:"iat"`
		Expires  float64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return t
	}
	t.subject, t.issued, t.expires = claims.Subject, date(claims.IssuedAt), date(claims.Expires)
	return t
}

// date returns the time of a NumericDate (RFC 7519, section 2), zero for none.
func date(seconds float64) time.Time {
	if seconds <= 0 || seconds >= 1<<40 { // tens of thousands of years
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// outlasts reports whether it is another token that ends later, or never.
func (t token) outlasts(other token) bool {
	if t.value == other.value || other.expires.IsZero() {
		return false
	}
	return t.expires.IsZero() || t.expires.After(other.expires)
}

// life returns how long the token is valid in all, by the clock of its issuer. When the token
// does not say when it was issued, that is how long it is still valid. 0 means that it does not end.
func (t token) life(now time.Time) time.Duration {
	switch {
	case t.expires.IsZero():
		return 0
	case t.issued.IsZero():
		return t.expires.Sub(now)
	default:
		return t.expires.Sub(t.issued)
	}
}

// tokenIn returns the token of a kubeconfig's current context. It fails when there is none,
// and when it is for another server than ours, which must not be sent it.
func tokenIn(kubeconfig []byte, ours string) (token, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return token{}, fmt.Errorf("not a kubeconfig: %w", err)
	}
	cluster, user, err := pointedAt(config)
	if err != nil {
		return token{}, err
	}
	if user.Token == "" {
		return token{}, errors.New("the user of the current context has no token")
	}
	base, _, err := kcp.SplitHost(cluster.Server)
	if err != nil {
		return token{}, err
	}
	if expected, _, _ := kcp.SplitHost(ours); base != expected {
		return token{}, fmt.Errorf("the server is %s, expected %s: another one is used from the next start on", base, expected)
	}
	return readToken(user.Token), nil
}

// withToken returns the kubeconfig with another token for the user of its current
// context, and with nothing else changed.
func withToken(kubeconfig []byte, value string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("not a kubeconfig: %w", err)
	}
	_, user, err := pointedAt(config)
	if err != nil {
		return nil, err
	}
	user.Token = value
	return clientcmd.Write(*config)
}

// pointedAt returns what a kubeconfig's current context points at.
func pointedAt(config *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	context := config.Contexts[config.CurrentContext]
	if context == nil {
		return nil, nil, fmt.Errorf("current-context %q is not among the contexts", config.CurrentContext)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil {
		return nil, nil, fmt.Errorf("cluster %q of the current context is not among the clusters", context.Cluster)
	}
	if user == nil {
		return nil, nil, fmt.Errorf("user %q of the current context is not among the users", context.AuthInfo)
	}
	return cluster, user, nil
}
