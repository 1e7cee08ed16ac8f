package framework

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopTimeout bounds the cleaning up after a start that failed.
const stopTimeout = time.Minute

// Options says what a stack consists of. The zero value is a kcp without clusters in a temporary directory.
type Options struct {
	// Dir is the stack's directory, in which it keeps everything. What an earlier stack has left there goes, what
	// is not a stack's stays. Empty stands for a temporary one that Stop removes, logs and all.
	Dir string
	// Clusters are the names of the clusters to create.
	Clusters []string
	// Nodes is the number of nodes of each cluster; 0 stands for 1.
	Nodes int
	// AuditPolicy is the file of an audit policy, for kcp and the clusters; empty for no audit logs.
	AuditPolicy string
	// Progress gets a line for each step, and when it is done; nil for none.
	Progress io.Writer
	// ToolsDir has the binaries; empty for what ToolsDir() finds.
	ToolsDir string
	// KCPBinary is the kcp to run; empty for $KCP_BIN, or else the one of the tools.
	KCPBinary string
	// KCPArgs are further arguments for "kcp start".
	KCPArgs []string
	// KCPAddress is the IP address at which kcp listens, and which its URLs name; empty for 127.0.0.1. Clusters
	// whose pods are to reach kcp need another one.
	KCPAddress string
	// SeparateEtcd gives kcp an etcd of its own process, Stack.KCPEtcd, instead of one inside kcp.
	SeparateEtcd bool
	// Provider makes the clusters; nil for control planes on this machine with simulated nodes.
	Provider Provider
}

// Stack is a kcp and a number of clusters that run. Its methods may be called from several goroutines.
type Stack struct {
	// KCP is the kcp server.
	KCP *KCP
	// KCPEtcd is its etcd with Options.SeparateEtcd, and nil without.
	KCPEtcd *KCPEtcd

	options   Options
	temporary bool
	dir       *directory
	run       string
	provider  Provider
	reaper    *reaper
	progress  *progress

	mu        sync.Mutex
	clusters  map[string]Cluster
	processes []*Process
	leases    []*PortLease
	stopped   bool
}

// Start brings a stack up: kcp and all clusters at the same time, which takes about half a minute. It returns
// when all of it can be used. When a part fails or ctx ends, everything is stopped again and the error
// says what was waited for.
func Start(ctx context.Context, options Options) (*Stack, error) {
	options, temporary, err := complete(options)
	if err != nil {
		return nil, err
	}
	s, err := newStack(options, temporary)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		// The cleaning has to happen in particular when ctx has ended.
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Stop(stopCtx))
	}
	return s, nil
}

// complete checks the options and fills in what is not given.
func complete(options Options) (_ Options, temporary bool, err error) {
	if err := validateClusterNames(options.Clusters); err != nil {
		return Options{}, false, err
	}
	if options.Nodes == 0 {
		options.Nodes = 1
	}
	if options.KCPAddress == "" {
		options.KCPAddress = loopback
	}
	if options, err = completeTools(options); err != nil {
		return Options{}, false, err
	}
	// Processes of the stack have other working directories.
	if err := makeAbsolute(&options.ToolsDir, &options.KCPBinary, &options.AuditPolicy); err != nil {
		return Options{}, false, err
	}
	if options.Dir != "" {
		return options, false, nil
	}
	if options.Dir, err = os.MkdirTemp("", "tmc-stack-"); err != nil {
		return Options{}, false, fmt.Errorf("make stack directory: %w", err)
	}
	return options, true, nil
}

// completeTools finds the binaries.
func completeTools(options Options) (Options, error) {
	if options.ToolsDir == "" {
		tools, err := ToolsDir()
		if err != nil {
			return Options{}, err
		}
		options.ToolsDir = tools
	}
	options.KCPBinary = cmp.Or(options.KCPBinary, os.Getenv(KCPBinaryEnv), filepath.Join(options.ToolsDir, "kcp"))
	return options, requireFiles(options.KCPBinary)
}

func validateClusterNames(names []string) error {
	for i, name := range names {
		if err := ValidateClusterName(name); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("cluster name %q is given twice", name)
		}
	}
	return nil
}

// makeAbsolute replaces relative paths; empty ones stay.
func makeAbsolute(paths ...*string) error {
	for _, path := range paths {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("find %s: %w", *path, err)
		}
		*path = absolute
	}
	return nil
}

// newStack claims the directory and makes it empty.
func newStack(options Options, temporary bool) (*Stack, error) {
	dir, err := claim(options.Dir)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("a stack is running in %s already: %w", options.Dir, err)
	}
	if err != nil {
		return nil, err
	}
	s := &Stack{
		options: options, temporary: temporary,
		dir: dir, run: newRun(dir.path),
		provider: options.Provider,
		progress: newProgress(options.Progress),
		clusters: map[string]Cluster{},
	}
	if s.provider == nil {
		s.provider = newLocalProvider(dir, s.run, options.ToolsDir)
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, dir.release())
	}
	return s, nil
}

// prepare ends what a killed run has left behind, and makes ready for this one.
func (s *Stack) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := sweep(ctx, ofDir(s.dir.path), anyName); err != nil {
		return err
	}
	if err := errors.Join(s.dir.clear(dataNames...), s.dir.clear(logsName)); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir.file(logsName), 0o755); err != nil {
		return fmt.Errorf("make stack directory: %w", err)
	}
	var err error
	// Without a context: the reaper outlives whatever ends.
	s.reaper, err = startReaper(s.run, s.dir.file(logsName, "reaper.log"))
	return err
}

// start runs kcp and the clusters.
func (s *Stack) start(ctx context.Context) error {
	extraArgs, err := s.prepareEtcd()
	if err != nil {
		return err
	}
	s.KCP, err = newKCP(kcpConfig{
		binary:      s.options.KCPBinary,
		extraArgs:   append(extraArgs, s.options.KCPArgs...),
		address:     s.options.KCPAddress,
		auditPolicy: s.options.AuditPolicy,
		dir:         s.dir,
		run:         s.run,
	})
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return s.progress.step("kcp", "starting (about 30 s)", "ready", func() error {
			if s.KCPEtcd != nil {
				if err := s.KCPEtcd.Start(groupCtx); err != nil {
					return err
				}
			}
			return s.KCP.Start(groupCtx)
		})
	})
	for _, name := range s.options.Clusters {
		group.Go(func() error {
			_, err := s.AddCluster(groupCtx, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeRecord()
}

// prepareEtcd makes kcp's own etcd, where it is to have one, and returns the arguments by which kcp uses it.
func (s *Stack) prepareEtcd() (kcpArgs []string, err error) {
	if !s.options.SeparateEtcd {
		return nil, nil
	}
	if s.KCPEtcd, err = newKCPEtcd(s.options.ToolsDir, s.dir, s.run); err != nil {
		return nil, err
	}
	return []string{"--etcd-servers=" + s.KCPEtcd.URL()}, nil
}

// writeRecord writes down what belongs to the stack now. The caller holds the lock.
func (s *Stack) writeRecord() error {
	expected := []string{kcpName}
	if s.KCPEtcd != nil {
		expected = append(expected, kcpEtcdName)
	}
	if s.options.Provider == nil {
		for name := range s.clusters {
			for _, component := range localComponents {
				expected = append(expected, name+"/"+component)
			}
		}
	}
	return s.dir.writeRecord(record{Processes: expected})
}

// Dir returns the stack's directory.
func (s *Stack) Dir() string { return s.dir.path }

// LogDir returns the directory of the logs: kcp.log, <name>.log of StartProcess, <cluster>/<component>.log.
func (s *Stack) LogDir() string { return s.dir.file(logsName) }

// Cluster returns a cluster by name, and an error when the stack does not have it.
func (s *Stack) Cluster(name string) (Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cluster := s.clusters[name]
	if cluster == nil {
		return nil, fmt.Errorf("the stack has no cluster %q", name)
	}
	return cluster, nil
}

// AddCluster creates one more cluster, like those of the start, and returns when it can be used.
func (s *Stack) AddCluster(ctx context.Context, name string) (Cluster, error) {
	if err := ValidateClusterName(name); err != nil {
		return nil, err
	}
	options := ClusterOptions{Nodes: s.options.Nodes, AuditPolicy: s.options.AuditPolicy}
	var cluster Cluster
	err := s.progress.step("cluster "+name, "starting (about 10 s)", "ready", func() error {
		var err error
		cluster, err = s.provider.Create(ctx, name, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		err := fmt.Errorf("add cluster %s: the stack is stopped", name)
		return nil, errors.Join(err, s.provider.Delete(context.WithoutCancel(ctx), name))
	}
	s.clusters[name] = cluster
	return cluster, s.writeRecord()
}

// RemoveCluster ends a cluster and removes its data. It fails when the stack does not have it.
func (s *Stack) RemoveCluster(ctx context.Context, name string) error {
	if _, err := s.Cluster(name); err != nil {
		return err
	}
	if err := s.provider.Delete(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, name)
	return s.writeRecord()
}

// StartProcess runs one of the binaries under test as part of the stack: it is stopped with it, however the
// stack ends. Its log is logs/<name>.log unless config says otherwise; another start under the same name
// appends to it.
func (s *Stack) StartProcess(config ProcessConfig) (*Process, error) {
	if config.LogFile == "" {
		config.LogFile = s.dir.file(logsName, config.Name+".log")
	}
	config.Env = append(slices.Clone(config.Env), mark(s.run, config.Name)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, fmt.Errorf("start %s: the stack is stopped", config.Name)
	}
	process, err := StartProcess(config)
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, process)
	return process, nil
}

// FreeAddress returns an address of this machine, host:port, on which nothing listens, and that no other stack takes while
// this one runs.
func (s *Stack) FreeAddress() (string, error) {
	lease, err := ReservePorts(1)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return "", errors.Join(errors.New("free address: the stack is stopped"), lease.Release())
	}
	s.leases = append(s.leases, lease)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(lease.Ports()[0])), nil
}

// Stop ends the stack: the processes of StartProcess, last first, then kcp and the clusters. Afterwards
// nothing of it runs, even if an error says that something did not end by itself, and only the logs are left,
// unless the directory is a temporary one. A second call does nothing.
func (s *Stack) Stop(ctx context.Context) error {
	if s.markStopped() {
		return nil
	}
	return s.progress.step("stack", "stopping", "stopped", func() error {
		return errors.Join(s.stopProcesses(ctx), s.stopServers(ctx), s.cleanUp(ctx))
	})
}

// markStopped closes the stack to additions: what it consists of no longer changes, and needs no lock. It
// says whether that had happened before.
func (s *Stack) markStopped() (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.stopped = s.stopped, true
	return before
}

func (s *Stack) stopProcesses(ctx context.Context) error {
	var errs []error
	for _, process := range slices.Backward(s.processes) {
		errs = append(errs, process.Stop(ctx))
	}
	return errors.Join(errs...)
}

// stopServers ends kcp and the clusters at the same time.
func (s *Stack) stopServers(ctx context.Context) error {
	var group sync.WaitGroup
	errs := make(chan error, len(s.clusters)+2)
	for name := range s.clusters {
		group.Go(func() { errs <- s.provider.Delete(ctx, name) })
	}
	if s.KCP != nil {
		group.Go(func() { errs <- s.KCP.close(ctx) })
	}
	group.Wait()
	if s.KCPEtcd != nil { // kcp ends in order while it is there
		errs <- s.KCPEtcd.close()
	}
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// cleanUp ends whatever is left, and gives back what the stack holds.
func (s *Stack) cleanUp(ctx context.Context) error {
	errs := []error{sweep(ctx, ofRun(s.run), anyName), s.reaper.stop()}
	for _, lease := range s.leases {
		errs = append(errs, lease.Release())
	}
	errs = append(errs, s.dir.clear(dataNames...), s.dir.release())
	if s.temporary {
		errs = append(errs, os.RemoveAll(s.dir.path))
	}
	return errors.Join(errs...)
}
