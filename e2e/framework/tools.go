package framework

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ToolsDirEnv names the variable that says where the binaries are which hack/build-tools.sh makes.
const ToolsDirEnv = "TMC_TOOLS_DIR"

// KCPBinaryEnv names the variable that says which kcp binary to run instead of the one of the tools.
const KCPBinaryEnv = "KCP_BIN"

// ToolsDir returns the directory of kcp, kwokctl, kubectl and so on: $TMC_TOOLS_DIR, or bin/tools of the
// module that the working directory is in. It fails when there is neither; it does not look inside.
func ToolsDir() (string, error) {
	if dir := os.Getenv(ToolsDirEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find tools: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin", "tools"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find tools: not inside a Go module and %s is not set", ToolsDirEnv)
		}
		dir = parent
	}
}

// requireFiles fails with a hint when a binary is missing.
func requireFiles(paths ...string) error {
	for _, path := range paths {
		_, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is missing: run `make tools` first", path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
