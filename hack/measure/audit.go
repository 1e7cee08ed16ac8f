package measure

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// auditPolicy has kcp and the clusters note who did what to the kinds that tmc has to do with, and what patches say.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Request
  verbs: [patch]
  resources:
  - group: apps
    resources: [deployments, deployments/status, replicasets, replicasets/status]
  - group: ""
    resources: [namespaces, configmaps]
- level: Metadata
  resources:
  - group: apps
  - group: ""
    resources: [namespaces, events, configmaps, secrets, serviceaccounts]
  - group: events.k8s.io
  - group: coordination.k8s.io
    resources: [leases]
  - group: tmc.kcp.io
- level: None
`

// WriteAuditPolicy writes the policy that a Trail needs into a directory, which it makes if need be, and returns the path of the file.
func WriteAuditPolicy(dir string) (string, error) {
	file := filepath.Join(dir, "audit-policy.yaml")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(auditPolicy), 0o600)); err != nil {
		return "", fmt.Errorf("write the audit policy: %w", err)
	}
	return file, nil
}

// The sides on which requests are made.
const (
	InKCP     = "kcp"
	InCluster = "cluster"
)

// Request is one request of a program of tmc, as the server that served it noted it.
type Request struct {
	// Side is InKCP or InCluster.
	Side string `json:"-"`
	// What says what it was for, as far as that can be told.
	What      string `json:"-"`
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

// String implements fmt.Stringer.
func (r Request) String() string {
	return fmt.Sprintf("%s: %s of %s by %s", r.Side, r.Verb, r.URI, r.UserAgent)
}

// Writer returns the program without its version.
func (r Request) Writer() string {
	program, _, _ := strings.Cut(r.UserAgent, "/")
	return program
}

// IsHeartbeat reports whether a request may be made although nothing happens.
func (r Request) IsHeartbeat() bool { return r.Object.Resource == "leases" }

// IsWatching reports whether a request is one by which a program keeps its caches.
func (r Request) IsWatching() bool { return r.Verb == "list" || r.Verb == "watch" }

// IsWrite reports whether a request may have changed something, heartbeats left out.
func (r Request) IsWrite() bool { return !r.IsHeartbeat() && !r.IsWatching() && r.Verb != "get" }

// purpose says what a request was for.
func purpose(r Request) string {
	object := r.Object.Resource
	if r.Object.Subresource != "" {
		object += "/" + r.Object.Subresource
	}
	if r.Verb != "patch" || len(r.Body) == 0 {
		return r.Verb + " " + object
	}
	if r.Side == InCluster {
		return "apply " + object
	}
	return "patch " + object + ": " + meaning(r.Body)
}

// meaning says what a patch of an upstream object is about.
func meaning(body []byte) string {
	var patch struct {
		Metadata struct {
			Labels      map[string]any `json:"labels"`
			Annotations map[string]any `json:"annotations"`
			Finalizers  []string       `json:"finalizers"`
		} `json:"metadata"`
		Status map[string]any `json:"status"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		return meaningOfSteps(body)
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		return "unknown"
	}
	switch {
	case patch.Status != nil:
		return "status"
	case hasPrefix(patch.Metadata.Labels, v1alpha1.PlacementLabelPrefix):
		return "placement labels"
	case hasPrefix(patch.Metadata.Annotations, v1alpha1.StatusAnnotationPrefix):
		return "report"
	case hasPrefix(patch.Metadata.Annotations, v1alpha1.DeletionAnnotationPrefix):
		return "deletion annotation"
	case patch.Metadata.Finalizers != nil:
		return "finalizer"
	default:
		return "other metadata"
	}
}

// meaningOfSteps says what a JSON patch is about, by the first of its steps that changes something.
func meaningOfSteps(body []byte) string {
	var steps []struct {
		Op   string `json:"op"`
		Path string `json:"path"`
	}
	if err := json.Unmarshal(body, &steps); err != nil {
		return "unknown"
	}
	for _, step := range steps {
		key := strings.NewReplacer("~1", "/", "~0", "~").Replace(step.Path)
		switch {
		case step.Op == "test":
		case strings.HasPrefix(key, "/status"):
			return "status"
		case strings.HasPrefix(key, "/metadata/finalizers"):
			return "finalizer"
		case strings.HasPrefix(key, "/metadata/labels/"+v1alpha1.PlacementLabelPrefix):
			return "placement labels"
		case strings.HasPrefix(key, "/metadata/annotations/"+v1alpha1.StatusAnnotationPrefix):
			return "report"
		}
	}
	return "other metadata"
}

func hasPrefix(entries map[string]any, prefix string) bool {
	for key := range entries {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Trail is what has been read of the audit logs since it began.
type Trail struct {
	logs []*auditLog
	// Requests are those of tmc's programs.
	Requests []Request
}

// auditLog is one server's, and how far it has been read.
type auditLog struct {
	side, path string
	offset     int64
}

// NewTrail begins to note the requests that tmc makes to kcp and to clusters, whose audit logs these are.
func NewTrail(kcp string, clusters ...string) (*Trail, error) {
	t := &Trail{logs: []*auditLog{{side: InKCP, path: kcp}}}
	for _, cluster := range clusters {
		t.logs = append(t.logs, &auditLog{side: InCluster, path: cluster})
	}
	for _, log := range t.logs {
		info, err := os.Stat(log.path)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		log.offset = info.Size()
	}
	return t, nil
}

// Read takes in what has been logged since the last time.
func (t *Trail) Read() error {
	for _, log := range t.logs {
		found, err := log.next()
		if err != nil {
			return fmt.Errorf("audit log %s: %w", log.path, err)
		}
		t.Requests = append(t.Requests, found...)
	}
	return nil
}

// next returns the requests that have been added.
func (l *auditLog) next() ([]Request, error) {
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
func parseAudit(side string, log io.Reader) (found []Request, length int64, err error) {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, length, nil
		}
		if err != nil {
			return found, length, err
		}
		r := Request{Side: side}
		if err := json.Unmarshal(line, &r); err != nil {
			return found, length, fmt.Errorf("%w in %q", err, line)
		}
		length += int64(len(line))
		if strings.HasPrefix(r.UserAgent, "tmc-") {
			r.What, r.Body = purpose(r), nil // there are many, and their bodies are long
			found = append(found, r)
		}
	}
}

// LastWrite returns the moment of the last one.
func (t *Trail) LastWrite() time.Time {
	var last time.Time
	for _, r := range t.Requests {
		if r.IsWrite() && r.Answered.After(last) {
			last = r.Answered
		}
	}
	return last
}

// Split counts the heartbeats, and gives the requests that neither they nor caches account for.
func (t *Trail) Split() (heartbeats int, others []Request) {
	for _, r := range t.Requests {
		switch {
		case r.IsHeartbeat():
			heartbeats++
		case !r.IsWatching():
			others = append(others, r)
		}
	}
	return heartbeats, others
}
