package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// database serves one answer to whatever is asked.
func database(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/index/db.json" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// closed is the URL of a server that was there.
func closed(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

// tool stands in for govulncheck: a script.
func tool(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "govulncheck")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

const index = `{"modified":"2026-11-01T00:00:00Z"}`

func TestVulncheckFailsUnlessDatabaseIsUnreachable(t *testing.T) {
	withTLS := httptest.NewTLSServer(http.NotFoundHandler()) // with a certificate of nobody
	defer withTLS.Close()
	cases := map[string]struct {
		reason   string
		database string
		script   string
		words    []string // of the error, none where there is none
		says     string   // what is printed
	}{
		"Clean":        {"there is nothing to tell", database(t, 200, index), "exit 0", nil, ""},
		"Found":        {"somebody has to do something", database(t, 200, index), "echo GO-2026-0001; exit 3", []string{"vulnerabilities are called"}, "GO-2026-0001"},
		"Broken":       {"it has not looked", database(t, 200, index), "exit 1", []string{"govulncheck", "exit status 1"}, ""},
		"WronglyUsed":  {"it has not looked", database(t, 200, index), "exit 2", []string{"govulncheck", "exit status 2"}, ""},
		"Endless":      {"it has a bound", database(t, 200, index), "exec sleep 60", []string{"within", "deadline"}, ""},
		"Refused":      {"nobody is there", closed(t), "exit 1", nil, "cannot be reached"},
		"no such host": {"a network without the world", "http://database.invalid", "exit 1", nil, "cannot be reached"},
		"Overloaded":   {"another time", database(t, 503, ""), "exit 1", nil, "503"},
		"by a proxy":   {"another place", database(t, 407, ""), "exit 1", nil, "407"},
		"Elsewhere":    {"somebody has mistyped it", database(t, 404, ""), "exit 0", []string{"404", "index"}, ""},
		"Forbidden":    {"it is there, and has something against it", database(t, 403, ""), "exit 0", []string{"403"}, ""},
		"a portal":     {"somebody else answers", database(t, 200, "<html>Welcome"), "exit 0", []string{"modified", "expected"}, ""},
		"no index":     {"somebody else answers", database(t, 200, "{}"), "exit 0", []string{"modified", "expected"}, ""},
		"an impostor":  {"somebody else answers", withTLS.URL, "exit 0", []string{"certificate"}, ""},
		"no URL":       {"it leads nowhere", "vuln", "exit 0", []string{"-db", "vuln"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			timeout := 20 * time.Second
			if name == "Endless" {
				timeout = 100 * time.Millisecond
			}
			err := run(t.Context(), options{database: c.database, tool: tool(t, c.script), timeout: timeout, packages: []string{"./..."}}, &stdout, &stderr)
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("%s: got %v", c.reason, err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", c.reason, err, word)
				}
			}
			if !strings.Contains(stdout.String(), c.says) || c.says == "" && stdout.Len() > 0 {
				t.Errorf("%s: printed %q, want %q", c.reason, stdout.String(), c.says)
			}
			if lines := strings.Count(stdout.String(), "\n"); lines > 1 {
				t.Errorf("%d lines", lines)
			}
		})
	}
}

func TestVulncheckInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, options{database: closed(t), tool: tool(t, "exit 0"), timeout: time.Second}, os.Stdout, os.Stderr); err == nil {
		t.Error("it is content though it was interrupted")
	}
}

func TestVulncheckArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	url := database(t, 200, index)
	err := run(t.Context(), options{database: url, tool: tool(t, `echo "$@"`), timeout: 20 * time.Second, packages: []string{"./cmd/...", "./pkg/..."}}, &stdout, &stderr)
	if want := "-db " + url + " ./cmd/... ./pkg/...\n"; err != nil || stdout.String() != want {
		t.Errorf("arguments %q (%v), want %q", stdout.String(), err, want)
	}
}
