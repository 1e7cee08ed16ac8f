package credential

import (
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// source gives each request the token in use.
type source struct{ keeper *Keeper }

// Token implements oauth2.TokenSource.
func (s source) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: s.keeper.current().value}, nil
}

// watched tells the keeper what kcp thinks of the credentials. It changes neither
// request nor answer.
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
	}
	return response, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (w *watched) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }

// answered takes note of the status of an answer to a request that had the header
// and was made at that time.
func (k *Keeper) answered(authorization string, asked time.Time, status int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token.value != "" && authorization != "Bearer "+k.token.value {
		return // of the token before this one
	}
	switch {
	case status == http.StatusUnauthorized:
		if k.refusedAt.IsZero() {
			k.refusedAt = time.Now()
			k.wake()
		}
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		// Something on the way may say this before anybody looks at the credentials.
	case !asked.Before(k.refusedAt):
		k.refusedAt = time.Time{}
	}
}

// Refused reports whether kcp refuses the credentials: from its answer 401 until it
// answers otherwise.
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

// use has every request from now on made with the token.
func (k *Keeper) use(t token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token = t
}

// wake has Run look at once.
func (k *Keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default: // it will, anyway
	}
}
