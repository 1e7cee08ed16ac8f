//go:build !linux

package framework

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

const selfExecutable = ""

var errNotLinux = fmt.Errorf("the local stack needs Linux, not %s: %w", runtime.GOOS, errors.ErrUnsupported)

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func lockByte(*os.File, int) error { return errNotLinux }

func byteLocked(*os.File, int) (bool, error) { return false, errNotLinux }

func processStart(int) (uint64, error) { return 0, errNotLinux }

func markedProcesses(func(run string) bool) ([]markedProcess, error) { return nil, errNotLinux }

func readMarked(int) (markedProcess, bool) { return markedProcess{}, false }
