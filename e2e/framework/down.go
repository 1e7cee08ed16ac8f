package framework

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"
)

// ownerGrace is how long an owner may take to stop its stack before Down kills it.
const ownerGrace = 60 * time.Second

// ProcessStatus is one line of Status.
type ProcessStatus struct {
	// Name is "stack" for the process that runs the stack, "kcp", "<cluster>/<component>", or the name
	// of an own binary.
	Name string
	// PID is the process id, 0 when it does not run.
	PID int
	// State is running, frozen, or stopped.
	State string
}

// Status lists the processes of the stack in dir by name, the one that runs the stack first, with those
// that should run and do not. It is empty when there is nothing. Processes without a "stack" among them
// are what a killed run has left behind: Down ends them.
func Status(dir string) ([]ProcessStatus, error) {
	dir, err := resolve(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	owner, owned, err := findOwner(dir)
	if err != nil {
		return nil, err
	}
	running, err := markedProcesses(ofDir(dir))
	if err != nil {
		return nil, err
	}
	if !owned {
		return statusOf(nil, running), nil
	}
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	status := statusOf(r.Processes, running)
	return slices.Insert(status, 0, ProcessStatus{Name: "stack", PID: owner.pid, State: "running"}), nil
}

// statusOf sorts what runs by name, and adds what is expected and does not run.
func statusOf(expected []string, running []markedProcess) []ProcessStatus {
	var status []ProcessStatus
	for _, p := range running {
		state := "running"
		if p.frozen {
			state = "frozen"
		}
		status = append(status, ProcessStatus{Name: p.name, PID: p.pid, State: state})
	}
	for _, name := range expected {
		if !slices.ContainsFunc(running, func(p markedProcess) bool { return p.name == name }) {
			status = append(status, ProcessStatus{Name: name, State: "stopped"})
		}
	}
	slices.SortFunc(status, func(a, b ProcessStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.PID, b.PID))
	})
	return status
}

// Down stops the stack in dir, whoever runs it, kills what a run that was itself killed has left behind,
// and removes the stack's data. The logs stay. It says whether there was anything to stop.
func Down(ctx context.Context, dir string) (found bool, err error) {
	dir, err = resolve(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	owner, owned, err := findOwner(dir)
	if err != nil {
		return false, err
	}
	if owned {
		if err := stopOwner(ctx, dir, owner); err != nil {
			return true, err
		}
	}
	left, err := markedProcesses(ofDir(dir))
	if err != nil {
		return owned, err
	}
	found = owned || len(left) > 0
	d, err := claim(dir)
	if err != nil {
		return found, err
	}
	err = sweep(ctx, ofDir(d.path), anyName)
	if err == nil {
		err = d.clear(dataNames...)
	}
	return found, errors.Join(err, d.release())
}

// stopOwner asks the process that runs a stack to stop it, and kills it when it takes too long.
func stopOwner(ctx context.Context, dir string, owner identity) error {
	if err := owner.signal(syscall.SIGTERM); err != nil {
		return err
	}
	gone := func(context.Context) (bool, string, error) {
		current, owned, err := findOwner(dir)
		if err == nil && (!owned || current != owner) {
			return true, "", nil
		}
		return false, "it is still running", err
	}
	const what = "the process that runs the stack to stop it"
	err := Eventually(ctx, what, ownerGrace, gone)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if err := owner.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return Eventually(ctx, what, ownerGrace, gone)
}
