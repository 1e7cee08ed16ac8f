package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// probe asks a database for its index, which says when it was changed last. It returns why
// the database cannot be reached, empty when it can. It fails when something answers that
// is no vulnerability database, and when it is not the one whose certificate that is.
func probe(ctx context.Context, client *http.Client, database string) (unreachable string, err error) {
	where, err := url.JoinPath(database, "index", "db.json")
	if err != nil {
		return "", fmt.Errorf("-db: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return "", fmt.Errorf("-db: %w", err)
	}
	if request.URL.Scheme != "https" && request.URL.Scheme != "http" {
		return "", fmt.Errorf("-db: %q is no URL that begins with https://", database)
	}
	response, err := client.Do(request)
	if err != nil {
		if _, isAnothers := errors.AsType[*tls.CertificateVerificationError](err); isAnothers || ctx.Err() != nil {
			return "", err
		}
		return cause(err), nil
	}
	defer response.Body.Close()
	if isAway(response.StatusCode) {
		return "it answers " + response.Status, nil
	}
	return "", checkIndex(where, response)
}

// checkIndex fails when an answer is not the index of a vulnerability database.
func checkIndex(where string, response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answers %s, expected the index of a vulnerability database", where, response.Status)
	}
	var index struct {
		Modified time.Time `json:"modified"`
	}
	if err := json.NewDecoder(response.Body).Decode(&index); err != nil {
		return fmt.Errorf("GET %s: field modified, expected when the vulnerability database was changed: %w", where, err)
	}
	if index.Modified.IsZero() {
		return fmt.Errorf("GET %s: no field modified, expected when the vulnerability database was changed", where)
	}
	return nil
}

// isAway tells of a status whether it says that a server, or a proxy before it, is not to be
// had for now.
func isAway(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusProxyAuthRequired
}

// cause is an error of a request without the URL, which is told anyway.
func cause(err error) string {
	if of, isOfURL := errors.AsType[*url.Error](err); isOfURL {
		return of.Err.Error()
	}
	return err.Error()
}
