package kcp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

func TestRequestsWaitForEachOtherOnlyWhereKCPNeedsIt(t *testing.T) {
	cases := map[string]struct {
		version  string
		together bool
	}{
		"Old":        {"v1.33.3+kcp-v0.28.1", false},
		"JustBefore": {"v1.34.2+kcp-v0.30.9", false},
		"Mended":     {"v1.35.1+kcp-v0.31.0", true},
		"New":        {"v1.36.0+kcp-v0.32.0-162-gdac74f5955f1d4", true},
		"Unknown":    {"v1.36.0", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			const requests = 8
			var asked, inside atomic.Int32
			most := make(chan int32, requests)
			var arrived sync.WaitGroup
			arrived.Add(requests)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/version" {
					asked.Add(1)
					fmt.Fprintf(w, `{"gitVersion":%q}`, c.version)
					return
				}
				most <- inside.Add(1)
				arrived.Done()
				if c.together {
					arrived.Wait() // none is answered before all are here
				}
				inside.Add(-1)
			}))
			defer server.Close()
			client, err := rest.HTTPClientFor(oneAtATime(&rest.Config{Host: server.URL}))
			if err != nil {
				t.Fatal(err)
			}
			var running sync.WaitGroup
			for range requests {
				running.Go(func() {
					response, err := client.Post(server.URL+"/clusters/x", "application/json", http.NoBody)
					if err != nil {
						t.Error(err)
						return
					}
					response.Body.Close()
				})
			}
			running.Wait()
			close(most)
			together := int32(0)
			for seen := range most {
				together = max(together, seen)
			}
			if want := map[bool]int32{true: requests, false: 1}[c.together]; together != want || asked.Load() != 1 {
				t.Errorf("%d requests were there together, want %d; asked for the version %d times, want once", together, want, asked.Load())
			}
		})
	}
}
