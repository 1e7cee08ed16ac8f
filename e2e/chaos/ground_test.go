package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// TestGround tries each kind of fault by itself. It is not part of e2e, which has TestChaos: TMC_CHAOS_GROUND names the kinds
// to try, or is "all".
func TestGround(t *testing.T) {
	kinds := strings.Split(os.Getenv("TMC_CHAOS_GROUND"), ",")
	if kinds[0] == "" {
		return // not skipped: CI wants nothing to be
	}
	if kinds[0] == "all" {
		kinds = FaultKinds()
	}
	began := time.Now()
	g, err := Start(t.Context(), Options{Dir: os.Getenv("TMC_CHAOS_DIR"), Binaries: os.Getenv("TMC_CHAOS_BIN"), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the ground stands after %s", time.Since(began).Round(100*time.Millisecond))
	t.Cleanup(func() {
		if err := g.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	probes := startProbes(t, g)
	seed, _ := strconv.ParseUint(os.Getenv("TMC_CHAOS_SEED"), 10, 64)
	r := rand.New(rand.NewPCG(seed, 2))
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { tryFault(t, g, kind, r, probes) })
	}
}

// probe is a Deployment in a workspace, which runs on all clusters.
type probe struct {
	workspace string
	client    kubernetes.Interface
	changes   int
}

// startProbes makes a Deployment, and what it mounts, in each workspace.
func startProbes(t *testing.T, g *Ground) []*probe {
	t.Helper()
	var probes []*probe
	for _, workspace := range g.Workspaces {
		client, err := kubernetes.NewForConfig(g.Workspace(workspace))
		if err != nil {
			t.Fatal(err)
		}
		p := &probe{workspace: workspace, client: client}
		name := strings.ReplaceAll(workspace, ":", "-")
		p.make(t, name)
		probes = append(probes, p)
	}
	for _, p := range probes {
		p.wait(t)
	}
	return probes
}

func (p *probe) namespace() string { return strings.ReplaceAll(p.workspace, ":", "-") }

func (p *probe) make(t *testing.T, namespace string) {
	t.Helper()
	ctx, meta, labels := t.Context(), metav1.ObjectMeta{Name: "probe"}, map[string]string{"app": "probe"}
	_, err := p.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	source := func(source corev1.VolumeSource) corev1.Volume {
		name := "secret"
		if source.ConfigMap != nil {
			name = "config"
		}
		return corev1.Volume{Name: name, VolumeSource: source}
	}
	_, err = p.client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/probe:0"}},
			Volumes: []corev1.Volume{
				source(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "probe"}}}),
				source(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "probe"}}),
			},
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// change has the Deployment run another image, if kcp takes that now.
func (p *probe) change(t *testing.T) {
	t.Helper()
	p.changes++
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	data := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"registry.example.com/probe:%d"}]`, p.changes)
	if _, err := p.client.AppsV1().Deployments(p.namespace()).Patch(ctx, "probe", types.JSONPatchType, []byte(data), metav1.PatchOptions{}); err != nil {
		t.Logf("no change in %s: %v", p.workspace, err)
	}
}

// wait waits until all clusters run what the Deployment says.
func (p *probe) wait(t *testing.T) {
	t.Helper()
	began := time.Now()
	err := framework.Eventually(t.Context(), "the Deployment in "+p.workspace+" to be everywhere", time.Minute, func(ctx context.Context) (bool, string, error) {
		d, err := p.client.AppsV1().Deployments(p.namespace()).Get(ctx, "probe", metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		all := int32(len(ClusterNames))
		isDone := d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == all && d.Status.UpdatedReplicas == all && d.Status.Replicas == all
		return isDone, fmt.Sprintf("generation %d, status %+v", d.Generation, d.Status), nil
	})
	if err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the Deployment in %s took %s", p.workspace, took)
	}
}

func tryFault(t *testing.T, g *Ground, kind string, r *rand.Rand, probes []*probe) {
	t.Helper()
	const times = 3
	for range times {
		fault, err := g.NewFaultOf(kind, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s for %s", fault.Name, fault.Lasts)
		if err := fault.Begin(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(fault.Lasts / 2)
		for _, p := range probes {
			p.change(t)
		}
		time.Sleep(fault.Lasts / 2)
		healing := time.Now()
		if err := g.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
		healed := time.Now()
		for _, p := range g.Programs {
			if err := p.waitReady(t.Context()); err != nil {
				t.Error(err)
			}
		}
		for _, p := range probes {
			p.wait(t)
		}
		t.Logf("touched %v; healed in %s, well %s later", fault.Touched(), healed.Sub(healing).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	}
	for _, death := range g.Deaths() {
		t.Errorf("%s ended by itself: %s", death.Program, death.Log)
	}
}
