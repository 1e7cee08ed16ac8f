package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// ruleInterval is how often the rule's file is read. A file of a mounted ConfigMap changes by the exchange of a directory above it:
// only reading it shows that everywhere.
const ruleInterval = 2 * time.Second

// handler is who is told of settings: see syncer.Syncer.
type handler interface {
	SetRule(rule v1alpha1.TransformRule)
	SetDenied(patterns []string)
	SetAllowed(patterns []string)
	SetProvided(texts []string)
	SetExport(export string)
}

// settings hand on what the registration and the file of the rule say. They are made before those who read them and those who
// are told; the rule that holds is the registration's, if it has one, else the file's, else the one that does nothing.
type settings struct {
	mu         sync.Mutex
	handlers   []handler
	registered *v1alpha1.TransformRule
	file       v1alpha1.TransformRule
	// effective is the rule that holds. Who is told knows it from the beginning.
	effective v1alpha1.TransformRule
}

// handle has a handler told of all changes. It is called before anything runs.
func (s *settings) handle(h handler) { s.handlers = append(s.handlers, h) }

// setRegistered takes over the registration's rule, nil when it has none.
func (s *settings) setRegistered(rule *v1alpha1.TransformRule) {
	s.set(func() { s.registered = rule })
}

// setFile takes over the rule of the file.
func (s *settings) setFile(rule v1alpha1.TransformRule) {
	s.set(func() { s.file = rule })
}

// set changes a rule, and tells of the one that holds when that is another.
func (s *settings) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	rule := s.file
	if s.registered != nil {
		rule = *s.registered
	}
	if equality.Semantic.DeepEqual(rule, s.effective) {
		return
	}
	s.effective = rule
	for _, h := range s.handlers {
		h.SetRule(rule)
	}
}

func (s *settings) setDenied(patterns []string) {
	for _, h := range s.handlers {
		h.SetDenied(patterns)
	}
}

func (s *settings) setAllowed(patterns []string) {
	for _, h := range s.handlers {
		h.SetAllowed(patterns)
	}
}

func (s *settings) setProvided(texts []string) {
	for _, h := range s.handlers {
		h.SetProvided(texts)
	}
}

func (s *settings) setExport(export string) {
	for _, h := range s.handlers {
		h.SetExport(export)
	}
}

// readRule reads the rule from a file. Errors name the file and the field.
func readRule(file string) (rule v1alpha1.TransformRule, data []byte, err error) {
	data, err = os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return rule, nil, fmt.Errorf("--transform-config: %w", err)
	}
	rule, err = transform.ParseRule(data)
	if err != nil {
		return rule, data, fmt.Errorf("--transform-config: %s: %w", file, err)
	}
	return rule, data, nil
}

// followRule has every change of the file's rule set, until ctx ends. A file that cannot be read or is wrong changes nothing: the
// rule that holds is kept.
func followRule(ctx context.Context, file string, read []byte, set func(v1alpha1.TransformRule)) {
	logger := klog.FromContext(ctx).WithValues("file", file)
	said := ""
	wait.UntilWithContext(ctx, func(context.Context) {
		rule, data, err := readRule(file)
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			logger.Error(err, "The rule is not usable, the one before is kept; will read it again")
		case err == nil && !bytes.Equal(data, read):
			said, read = "", data
			logger.Info("The file of the rule has changed")
			set(rule)
		}
	}, ruleInterval)
}
