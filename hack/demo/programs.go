package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// startPrograms starts tmc's programs and waits until they are ready.
func (s *stage) startPrograms(ctx context.Context) error {
	kcp := "--kcp-kubeconfig=" + s.root.kubeconfig
	programs := []program{{controllerBinary, controllerBinary, []string{kcp, "--repair-bind-address=" + s.repairAddress}}}
	for _, at := range s.clusters {
		// The tour's Deployment is in default, which a cluster has without tmc's doing.
		args := []string{kcp, "--cluster-name=" + at.name, "--kubeconfig=" + at.kubeconfig, "--allow-namespaces=" + namespace}
		programs = append(programs, program{syncerName(at.name), syncerBinary, args})
	}
	var started []func() error
	for _, p := range programs {
		waitReady, err := s.startProgram(ctx, p)
		if err != nil {
			return err
		}
		started = append(started, waitReady)
	}
	for _, waitReady := range started {
		if err := waitReady(); err != nil {
			return err
		}
	}
	return nil
}

// program is one of tmc's programs as a process.
type program struct {
	name, binary string
	args         []string
}

// syncerName names the process of a cluster's syncer, and its log.
func syncerName(cluster string) string { return syncerBinary + "-" + cluster }

// startProgram starts a program, and gives a function that waits until it is ready.
func (s *stage) startProgram(ctx context.Context, p program) (waitReady func() error, err error) {
	address, err := s.stack.FreeAddress()
	if err != nil {
		return nil, err
	}
	s.out.sayf("$ %s &", p.commandLine(s.options))
	start := time.Now()
	process, err := s.stack.StartProcess(framework.ProcessConfig{
		Name: p.name,
		Path: s.options.binary(p.binary),
		Args: append([]string{"--bind-address=" + address, "--metrics-bind-address=", "-v=2"}, p.args...),
	})
	if err != nil {
		return nil, err
	}
	s.watch(ctx, p.name, process)
	return func() error {
		if err := framework.WaitHTTP(ctx, nil, "http://"+address+"/readyz", readyTimeout); err != nil {
			return fmt.Errorf("%s was expected to become ready: %w; end of %s:\n%s",
				p.name, err, short(process.LogFile()), process.LogTail(5))
		}
		s.out.sayf("%s: ready after %s, log in %s", p.name, seconds(time.Since(start)), short(process.LogFile()))
		return nil
	}, nil
}

// commandLine returns the command that starts the program, with paths shortened.
func (p program) commandLine(o options) string {
	words := []string{o.binary(p.binary)}
	for _, arg := range p.args {
		flag, value, _ := strings.Cut(arg, "=")
		if filepath.IsAbs(value) {
			value = short(value)
		}
		words = append(words, flag+"="+value)
	}
	return strings.Join(words, " ")
}
