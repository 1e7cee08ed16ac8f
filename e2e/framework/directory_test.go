package framework

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDirectoryHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "stack")
	d, err := claim(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(path); !errors.Is(err, errLocked) {
		t.Errorf("second claim: got error %v, want %v", err, errLocked)
	}
	owner, owned, err := findOwner(d.path)
	if err != nil || !owned || owner.pid != os.Getpid() {
		t.Errorf("owner is %+v, %v, %v, want this process", owner, owned, err)
	}
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
	if _, owned, err := findOwner(d.path); owned || err != nil {
		t.Errorf("after the release: owned is %v, error %v", owned, err)
	}
	d, err = claim(path)
	if err != nil {
		t.Fatalf("claim after release: %v", err)
	}
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryClearKeepsFilesOfOthers(t *testing.T) {
	d, err := claim(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.release() }()
	for _, name := range []string{"mine", kcpName} {
		if err := WriteFile(d.file(name, "file"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.clear(kcpName, kwokName); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if diff := cmp.Diff([]string{lockName, "mine"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestStatusIsSortedAndNamesMissingProcesses(t *testing.T) {
	running := []markedProcess{{pid: 3, name: "kcp"}, {pid: 2, name: "east/etcd", frozen: true}, {pid: 1, name: "kcp"}}
	got := statusOf([]string{"kcp", "east/etcd", "east/kube-apiserver"}, running)
	want := []ProcessStatus{
		{Name: "east/etcd", PID: 2, State: "frozen"},
		{Name: "east/kube-apiserver", State: "stopped"},
		{Name: "kcp", PID: 1, State: "running"},
		{Name: "kcp", PID: 3, State: "running"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestDownAndStatusWithoutStack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if found, err := Down(t.Context(), dir); found || err != nil {
		t.Errorf("down: got %v, %v", found, err)
	}
	if status, err := Status(dir); len(status) > 0 || err != nil {
		t.Errorf("status: got %v, %v", status, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

func TestDownEndsLeftoversOfKilledRun(t *testing.T) {
	d, err := claim(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	process := startMarked(t, newRun(d.path), "kcp", "sleep 60")
	if err := errors.Join(d.writeRecord(record{}), d.release()); err != nil {
		t.Fatal(err)
	}
	if found, err := Down(t.Context(), d.path); !found || err != nil {
		t.Errorf("down: got %v, %v", found, err)
	}
	if err := process.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.file(recordName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is still there: %v", err)
	}
}
