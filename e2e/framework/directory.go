package framework

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errLocked is the error of an attempt at a lock that somebody else holds.
var errLocked = errors.New("locked by another process")

// What a stack keeps in its directory.
const (
	lockName        = "lock"
	recordName      = "stack.json"
	kubeconfigsName = "kubeconfigs"
	logsName        = "logs"
	kcpName         = "kcp"
	kwokName        = "kwok"
)

// dataNames are all but the lock and the logs: what is of no use when the stack does not run.
var dataNames = []string{recordName, kubeconfigsName, kcpName, kwokName}

// directory is where a stack lives. Whoever holds its lock owns the stack.
type directory struct {
	path string
	lock *os.File
}

// claim makes the directory if need be and takes its lock. The error wraps errLocked when somebody else
// has it.
func claim(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make stack directory: %w", err)
	}
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("claim stack directory: %w", err)
	}
	d := &directory{path: path, lock: lock}
	if err := d.takeLock(); err != nil {
		return nil, errors.Join(fmt.Errorf("claim stack directory %s: %w", path, err), lock.Close())
	}
	return d, nil
}

// takeLock locks the directory and leaves word who has it.
func (d *directory) takeLock() error {
	if err := lockByte(d.lock, 0); err != nil {
		return err
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return err
	}
	_, err = d.lock.WriteAt([]byte(self.String()), 0)
	return err
}

// release gives the directory up.
func (d *directory) release() error { return d.lock.Close() }

func (d *directory) file(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// clear removes some of what a stack keeps in its directory, and nothing else that is there.
func (d *directory) clear(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("clear stack directory: %w", err)
		}
	}
	return nil
}

// resolve returns the one name of a directory that the marks of processes use.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("stack directory: %w", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("stack directory: %w", err)
	}
	return path, nil
}

// findOwner returns the process that holds the lock of a directory, and false when none does.
func findOwner(dir string) (identity, bool, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, fmt.Errorf("find owner of stack: %w", err)
	}
	defer func() { _ = lock.Close() }()
	locked, err := byteLocked(lock, 0)
	if err != nil || !locked {
		return identity{}, false, err
	}
	data, err := os.ReadFile(lock.Name())
	if err != nil {
		return identity{}, false, fmt.Errorf("find owner of stack: %w", err)
	}
	owner, err := parseIdentity(string(data))
	return owner, err == nil, err
}

// identity tells a process from all others, before and after it.
type identity struct {
	pid   int
	start uint64
}

const identityFormat = "%10d %20d\n" // of one length, so that writing it leaves nothing of the one before

func identify(pid int) (identity, error) {
	start, err := processStart(pid)
	if err != nil {
		return identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return identity{pid: pid, start: start}, nil
}

func (i identity) String() string { return fmt.Sprintf(identityFormat, i.pid, i.start) }

func parseIdentity(text string) (identity, error) {
	var i identity
	if _, err := fmt.Sscanf(text, "%d %d", &i.pid, &i.start); err != nil {
		return identity{}, fmt.Errorf("read process identity from %q: %w", text, err)
	}
	return i, nil
}

// signal sends a signal to the process, if it still is the one. The handle is opened before that is
// checked, so that what holds for the check holds for the signal.
func (i identity) signal(signal os.Signal) error {
	handle, err := os.FindProcess(i.pid)
	if err != nil {
		return nil // it is gone
	}
	defer func() { _ = handle.Release() }()
	if current, err := identify(i.pid); err != nil || current != i {
		return nil // it is gone
	}
	if err := handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", i.pid, err)
	}
	return nil
}

// record is the content of stack.json.
type record struct {
	// Processes are the names of those that belong to the stack, as far as it has come up.
	Processes []string `json:"processes,omitempty"`
}

func (d *directory) writeRecord(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", recordName, err)
	}
	return WriteFile(d.file(recordName), append(data, '\n'))
}

// readRecord returns the zero record when there is no file.
func readRecord(dir string) (record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, os.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read %s: %w", recordName, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("read %s: %w", recordName, err)
	}
	return r, nil
}

// WriteFile replaces a file in one step: a reader sees the old content or the new, also with several writers.
// Only its owner may read it, for many of these files hold credentials.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
