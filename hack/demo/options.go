package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// kubectl is what users type.
const kubectl = "kubectl"

// tmc's programs.
const (
	syncerBinary     = "tmc-syncer"
	controllerBinary = "tmc-controller"
	pluginBinary     = "kubectl-tmc"
)

// options are the flags.
type options struct {
	// dir is the stack's directory.
	dir string
	// binDir has tmc's programs.
	binDir string
}

// binary returns the path of one of tmc's programs.
func (o options) binary(name string) string { return filepath.Join(o.binDir, name) }

// logDir returns the directory of the stack's logs.
func (o options) logDir() string { return filepath.Join(o.dir, "logs") }

// requireBinaries looks for all that is going to be run, so that what is missing is told at once, with its remedy.
func (o options) requireBinaries() error {
	tools, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	files := []string{
		o.binary(pluginBinary), o.binary(syncerBinary), o.binary(controllerBinary),
		cmp.Or(os.Getenv(framework.KCPBinaryEnv), filepath.Join(tools, "kcp")),
	}
	for _, name := range []string{
		"kwokctl", "kwok", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", kubectl,
	} {
		files = append(files, filepath.Join(tools, name))
	}
	var missing []string
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, short(file))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not built yet: %s: run `make build tools` first", strings.Join(missing, ", "))
	}
	return nil
}

// short returns a path for people: relative to the working directory when it lies below that.
func short(path string) string {
	cwd, err := os.Getwd()
	if err != nil {
		return path
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	relative, err := filepath.Rel(cwd, absolute)
	if err != nil || strings.HasPrefix(relative, "..") {
		return absolute
	}
	return relative
}
