package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// ruleInterval is how often the rule's file is read. A file of a mounted ConfigMap
// changes by the exchange of a directory above it: reading it is the one way of
// looking that holds everywhere.
const ruleInterval = 2 * time.Second

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
			logger.Info("The rule has changed")
			set(rule)
		}
	}, ruleInterval)
}
