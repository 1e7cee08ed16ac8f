package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// auditPolicy has kcp and the cluster note who did what to the kinds that tmc has to do with, and what patches say.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Request
  verbs: [patch]
  resources:
  - group: apps
    resources: [deployments]
  - group: ""
    resources: [namespaces]
- level: Metadata
  resources:
  - group: apps
    resources: [deployments, deployments/status, deployments/scale]
  - group: ""
    resources: [namespaces, events, configmaps, secrets, serviceaccounts]
  - group: coordination.k8s.io
    resources: [leases]
  - group: tmc.kcp.io
- level: None
`

// The sides on which requests are made.
const (
	inKCP     = "kcp"
	inCluster = "cluster"
)

// request is one request of a program of tmc, as the server that served it noted it.
type request struct {
	side string
	// what says what it was for, as far as that can be told.
	what      string
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	URI       string `json:"requestURI"`
	Object    struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Body     json.RawMessage `json:"requestObject"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

func (r request) String() string {
	return fmt.Sprintf("%s: %s of %s by %s", r.side, r.Verb, r.URI, r.UserAgent)
}

// writer returns the program without its version.
func (r request) writer() string {
	program, _, _ := strings.Cut(r.UserAgent, "/")
	return program
}

// isHeartbeat reports whether a request may be made although nothing happens.
func (r request) isHeartbeat() bool { return r.Object.Resource == "leases" }

// isWatching reports whether a request is one by which a program keeps its caches.
func (r request) isWatching() bool { return r.Verb == "list" || r.Verb == "watch" }

func (r request) isWrite() bool { return !r.isHeartbeat() && !r.isWatching() && r.Verb != "get" }

// purpose says what a request was for.
func purpose(r request) string {
	object := r.Object.Resource
	if r.Object.Subresource != "" {
		object += "/" + r.Object.Subresource
	}
	if r.Verb != "patch" || len(r.Body) == 0 {
		return r.Verb + " " + object
	}
	if r.side == inCluster {
		return "apply " + object
	}
	return "patch " + object + ": " + meaning(r.Body)
}

// meaning says what a merge patch of an upstream object's metadata is about.
func meaning(body []byte) string {
	var patch struct {
		Metadata struct {
			Labels      map[string]any `json:"labels"`
			Annotations map[string]any `json:"annotations"`
			Finalizers  []string       `json:"finalizers"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		return "unknown"
	}
	switch {
	case patch.Metadata.Finalizers != nil:
		return "finalizer"
	case hasPrefix(patch.Metadata.Labels, v1alpha1.PlacementLabelPrefix):
		return "placement labels"
	case hasPrefix(patch.Metadata.Annotations, v1alpha1.StatusAnnotationPrefix):
		return "report"
	case hasPrefix(patch.Metadata.Annotations, v1alpha1.DeletionAnnotationPrefix):
		return "deletion annotation"
	default:
		return "other metadata"
	}
}

func hasPrefix(entries map[string]any, prefix string) bool {
	for key := range entries {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// trail is what has been read of the audit logs since it began.
type trail struct {
	logs     []*auditLog
	requests []request
}

// auditLog is one server's, and how far it has been read.
type auditLog struct {
	side, path string
	offset     int64
}

// auditFromNow begins to note the requests that tmc makes to any server.
func (s *stage) auditFromNow() (*trail, error) {
	t := &trail{logs: []*auditLog{{side: inKCP, path: s.stack.KCP.AuditLog()}, {side: inCluster, path: s.cluster.AuditLog()}}}
	for _, log := range t.logs {
		info, err := os.Stat(log.path)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		log.offset = info.Size()
	}
	return t, nil
}

// read takes in what has been logged since the last time.
func (t *trail) read() error {
	for _, log := range t.logs {
		found, err := log.next()
		if err != nil {
			return fmt.Errorf("audit log %s: %w", log.path, err)
		}
		t.requests = append(t.requests, found...)
	}
	return nil
}

// next returns the requests that have been added.
func (l *auditLog) next() ([]request, error) {
	file, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < l.offset {
		return nil, errors.New("it has become shorter: what it had is lost to the count")
	}
	found, length, err := parseAudit(l.side, io.NewSectionReader(file, l.offset, info.Size()-l.offset))
	l.offset += length
	return found, err
}

// parseAudit returns the requests of tmc's programs, among those of all others, and the length of what it has read:
// a last line that is not complete yet is left for later.
func parseAudit(side string, log io.Reader) (found []request, length int64, err error) {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, length, nil
		}
		if err != nil {
			return found, length, err
		}
		r := request{side: side}
		if err := json.Unmarshal(line, &r); err != nil {
			return found, length, fmt.Errorf("%w in %q", err, line)
		}
		length += int64(len(line))
		if strings.HasPrefix(r.UserAgent, "tmc-") {
			r.what, r.Body = purpose(r), nil // there are many, and their bodies are long
			found = append(found, r)
		}
	}
}

// lastWrite returns the moment of the last one.
func (t *trail) lastWrite() time.Time {
	var last time.Time
	for _, r := range t.requests {
		if r.isWrite() && r.Answered.After(last) {
			last = r.Answered
		}
	}
	return last
}

// split counts the heartbeats, and gives the requests that neither they nor caches account for.
func (t *trail) split() (heartbeats int, others []request) {
	for _, r := range t.requests {
		switch {
		case r.isHeartbeat():
			heartbeats++
		case !r.isWatching():
			others = append(others, r)
		}
	}
	return heartbeats, others
}
