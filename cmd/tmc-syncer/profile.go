//go:build profile

package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof" // registers itself
	"os"
)

// A build with the tag profile, which no release has, serves /debug/pprof at the address that $TMC_PROFILE_ADDRESS names. It is for
// hack/syncercost.
func init() {
	if address := os.Getenv("TMC_PROFILE_ADDRESS"); address != "" {
		go func() {
			err := http.ListenAndServe(address, nil) //nolint:gosec // of developers
			fmt.Fprintln(os.Stderr, "profiles:", err)
		}()
	}
}
