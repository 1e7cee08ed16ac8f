package daemon

import (
	"net"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// parsed returns the options of a command line that has what is required.
func parsed(t *testing.T, args ...string) *Options {
	t.Helper()
	o := NewOptions()
	flags := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(append([]string{"--kcp-kubeconfig=kcp.kubeconfig"}, args...)); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestMetricsBindAddressDefaultsToLoopback(t *testing.T) {
	o := parsed(t)
	host, _, err := net.SplitHostPort(o.MetricsBindAddress)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("--metrics-bind-address is %q by default (%v), want a loopback address", o.MetricsBindAddress, err)
	}
	if o.MetricsBindAddress == o.BindAddress {
		t.Errorf("health and metrics are both at %s: who may ask for the one gets the other", o.BindAddress)
	}
}

func TestOptionsAddresses(t *testing.T) {
	cases := map[string]struct {
		reason string
		arg    string
		words  []string // none where it is valid
	}{
		"the defaults":         {"they work", "-v=0", nil},
		"no metrics":           {"nobody has to serve them", "--metrics-bind-address=", nil},
		"metrics for all":      {"somebody scrapes", "--metrics-bind-address=:9090", nil},
		"metrics without port": {"nobody would find them", "--metrics-bind-address=127.0.0.1", []string{"--metrics-bind-address", "127.0.0.1", "host:port"}},
		"no health":            {"what runs the program asks for it", "--bind-address=", []string{"--bind-address", "host:port"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := parsed(t, c.arg).Validate()
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("%s: got %v", c.reason, err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", c.reason, err, word)
				}
			}
		})
	}
}
