package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The programs.
const (
	hubBinary    = "tmc-controller"
	syncerBinary = "tmc-syncer"
	pluginBinary = "kubectl-tmc"
)

// clockFile has a program import the clock that jumps.
const clockFile = `package main

import _ "github.com/kcp-tmc/tmc/e2e/chaos/clock"
`

// programsDir returns the directory of the programs, which are built unless there are some.
func (g *Ground) programsDir(ctx context.Context) (string, error) {
	if g.options.Binaries != "" {
		return filepath.Abs(g.options.Binaries)
	}
	dir := g.file("bin")
	return dir, g.step("building", func() error { return Build(ctx, dir) })
}

// Build builds the programs into a directory, as `make build` does, with a clock that jumps when it is told to: an overlay
// adds a file to the daemons' main packages, so all but these is found in Go's cache.
func Build(ctx context.Context, dir string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source, overlay := filepath.Join(dir, "clock.go"), filepath.Join(dir, "overlay.json")
	replace := map[string]string{}
	for _, program := range []string{hubBinary, syncerBinary} {
		replace[filepath.Join(root, "cmd", program, "zz_clock.go")] = source
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	for file, data := range map[string][]byte{source: []byte(clockFile), overlay: content} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay="+overlay,
		"-ldflags=-X k8s.io/component-base/version.gitVersion=v0.0.0-chaos", "-o="+dir+string(filepath.Separator),
		"./cmd/"+hubBinary, "./cmd/"+syncerBinary, "./cmd/"+pluginBinary)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// moduleRoot is the directory above with the go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("not inside a Go module")
		}
		dir = parent
	}
}
