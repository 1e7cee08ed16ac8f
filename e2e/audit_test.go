package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditPolicy makes kcp and the clusters log who did what to the kinds that tmc has to do with, and all that one
// syncer asks for.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:tmc-` + rightsWest + `"]
- level: Metadata
  resources:
  - group: apps
    resources: [deployments, deployments/status, deployments/scale, replicasets, controllerrevisions]
  - group: ""
    resources: [namespaces, events]
  - group: coordination.k8s.io
    resources: [leases]
  - group: tmc.kcp.io
    resources: [clusterregistrations, clusterregistrations/status]
- level: None
`

// request is one request of a program of tmc, as the server that served it noted it.
type request struct {
	log       string
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	URI       string `json:"requestURI"`
	Object    struct {
		Group    string `json:"apiGroup"`
		Resource string `json:"resource"`
		Name     string `json:"name"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (r request) String() string {
	return fmt.Sprintf("%s: %s of %s by %s", r.log, r.Verb, r.URI, r.UserAgent)
}

// auditTrail remembers where each server's audit log ended.
type auditTrail map[string]int64

// auditLogs returns the audit logs of kcp and of all clusters.
func auditLogs() []string {
	logs := []string{env.stack.KCP.AuditLog()}
	for _, c := range env.clusters {
		logs = append(logs, c.AuditLog())
	}
	return logs
}

// auditFromNow begins to note the requests that tmc makes to any server.
func auditFromNow(t *testing.T) auditTrail {
	t.Helper()
	trail := auditTrail{}
	for _, log := range auditLogs() {
		info, err := os.Stat(log)
		check(t, err)
		trail[log] = info.Size()
	}
	return trail
}

// requests returns what the programs of tmc have asked of any server since then.
func (trail auditTrail) requests(t *testing.T) []request {
	t.Helper()
	var all []request
	for log, offset := range trail {
		file, err := os.Open(log)
		check(t, err)
		content, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<40))
		check(t, err)
		check(t, file.Close())
		// The server may be about to write the last line.
		found, err := parseAudit(content[:bytes.LastIndexByte(content, '\n')+1])
		check(t, err)
		for _, r := range found {
			r.log = filepath.Join(filepath.Base(filepath.Dir(log)), filepath.Base(log))
			all = append(all, r)
		}
	}
	return all
}

// parseAudit returns the requests of tmc's programs, among those of all others.
func parseAudit(content []byte) ([]request, error) {
	var all []request
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("audit log: %w in %q", err, lines.Text())
		}
		if strings.HasPrefix(r.UserAgent, "tmc-") {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// isHeartbeat reports whether a request may be made although nothing happens.
func isHeartbeat(r request) bool { return r.Object.Resource == "leases" }

// isClaiming reports whether a request is one by which a starting syncer checks whether its cluster's name is its own.
func isClaiming(r request) bool {
	return r.Verb == "get" && (r.Object.Resource == "clusterregistrations" || r.Object.Resource == "namespaces" && r.Object.Name == "kube-system")
}

// isWatching reports whether a request is one by which a program keeps its caches.
func isWatching(r request) bool { return r.Verb == "list" || r.Verb == "watch" }
