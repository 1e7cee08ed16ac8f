package kcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

func TestWaitSupported(t *testing.T) {
	cases := map[string]struct {
		version string
		refused int32
		want    error
	}{
		"tmc works with it":                  {version: "v1.35.1+kcp-v0.31.2"},
		"it is asked again until it answers": {version: "v1.35.1+kcp-v0.31.2", refused: 1},
		"it is too old":                      {version: "v1.33.3+kcp-v0.28.1", want: ErrTooOld},
		"it is a cluster":                    {version: "v1.36.3", want: ErrNotKCP},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/clusters/root:tmc/version":
					t.Errorf("asked for %s", r.URL.Path)
				case asked.Add(1) <= tc.refused:
					w.WriteHeader(http.StatusForbidden)
				default:
					fmt.Fprintf(w, `{"gitVersion":%q}`, tc.version)
				}
			}))
			defer server.Close()
			err := WaitSupported(t.Context(), &rest.Config{Host: server.URL + "/clusters/root:other"}, logicalcluster.NewPath("root:tmc"))
			if !errors.Is(err, tc.want) || asked.Load() != tc.refused+1 {
				t.Errorf("got %v after %d requests, want %v", err, asked.Load(), tc.want)
			}
		})
	}
}

func TestWaitSupportedEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		cancel()
	}))
	defer server.Close()
	if err := WaitSupported(ctx, &rest.Config{Host: server.URL}, logicalcluster.NewPath("root:tmc")); err != nil {
		t.Errorf("got %v from a kcp that has not answered", err)
	}
	for _, config := range []*rest.Config{{Host: "https://kcp:port:/"}, {Host: "https://kcp", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("no PEM")}}} {
		if err := WaitSupported(t.Context(), config, logicalcluster.NewPath("root:tmc")); err == nil {
			t.Errorf("no error for %s, of which no client can be made", config.Host)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	for gitVersion, want := range map[string]error{
		"v1.33.3+kcp-v0.28.1":                   ErrTooOld,
		"v1.34.2+kcp-v0.30.4":                   ErrTooOld,
		"v1.35.1+kcp-v0.31.0":                   nil,
		"v1.35.1+kcp-v0.32.0-rc.1":              nil,
		"v1.35.1+kcp-v0.32.3-12-gabcdef":        nil,
		"v1.36.0+kcp-v1.0.0":                    nil,
		"v1.36.0+kcp-v0.0.0-162-gdac74f5955f1d": nil,
		"v0.0.0-master+$Format:%H$":             nil,
		"v1.36.3":                               ErrNotKCP,
		"v1.35.1+kcp-":                          ErrNotKCP,
		"":                                      ErrNotKCP,
	} {
		err := CheckVersion(gitVersion)
		if !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", gitVersion, err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), gitVersion) || !strings.Contains(err.Error(), "v0.31")) {
			t.Errorf("%q: %v does not say what was found and what is expected", gitVersion, err)
		}
	}
}
