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

// ruleInterval is how often the rule's file is read. A file of a mounted ConfigMap
// changes by the exchange of a directory above it: reading it is the one way of
// looking that holds everywhere.
const ruleInterval = 2 * time.Second

// rules decides which rule holds: the registration's, if it has one, else the file's,
// else the one that does nothing.
type rules struct {
	mu         sync.Mutex
	registered *v1alpha1.TransformRule
	file       v1alpha1.TransformRule
	// effective is the one that holds, set is told when that is another.
	effective v1alpha1.TransformRule
	set       func(v1alpha1.TransformRule)
}

// newRules returns rules of which the file's holds already.
func newRules(file v1alpha1.TransformRule, set func(v1alpha1.TransformRule)) *rules {
	return &rules{file: file, effective: file, set: set}
}

// setRegistered takes over the registration's rule, nil when it has none.
func (r *rules) setRegistered(rule *v1alpha1.TransformRule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = rule
	r.settle()
}

// setFile takes over the rule of the file.
func (r *rules) setFile(rule v1alpha1.TransformRule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file = rule
	r.settle()
}

func (r *rules) settle() {
	rule := r.file
	if r.registered != nil {
		rule = *r.registered
	}
	if equality.Semantic.DeepEqual(rule, r.effective) {
		return
	}
	r.effective = rule
	r.set(rule)
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

// followRule has every change of the file's rule set, until ctx ends. A file that
// cannot be read or is wrong changes nothing: the rule that holds is kept.
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
