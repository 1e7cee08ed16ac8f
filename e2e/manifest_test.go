package e2e

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The images that tests use. On simulated nodes any name runs, on others those that loadImages gives them.
const (
	image    = "example.com/web:1"
	newImage = "example.com/web:2"
	// overrideImage is what an override has east run.
	overrideImage = "example.com/east:1"
	// wellKnownImage is what people write without a registry. A kubelet pulls one without a tag each time.
	wellKnownImage = "nginx:1.29"
)

// deployment returns a Deployment as a user would write it: one replica of one container.
func deployment(name string, changes ...func(*appsv1.Deployment)) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image}}},
			},
		},
	}
	for _, change := range changes {
		change(d)
	}
	return d
}

// on names the clusters that are to run the Deployment.
func on(targets string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Annotations[v1alpha1.TargetClustersAnnotation] = targets }
}

func withReplicas(replicas int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Replicas = new(replicas) }
}

func withNewImage(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = newImage }

// some is a list of Deployments.
func some(deployments ...*appsv1.Deployment) []*appsv1.Deployment { return deployments }

// names returns count names with a common beginning.
func names(prefix string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return all
}
