package repair

import (
	"fmt"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/runtime"
)

// random makes manifests and edits that can be made again from their seed.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 1))} }

// kindsWithPods are those that have a pod template.
var kindsWithPods = []string{"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}

func (r random) chance(percent int) bool { return r.IntN(100) < percent }

// some returns up to most of the entries that item gives for the names, in any order; nil for none.
func (r random) some(most int, names []string, item func(name string) map[string]any) []any {
	var items []any
	for _, at := range r.Perm(len(names))[:r.IntN(min(most, len(names))+1)] {
		items = append(items, item(names[at]))
	}
	return items
}

// set sets a field unless the list is empty; now and then an empty one is set, too.
func (r random) set(fields map[string]any, name string, items []any) {
	if len(items) > 0 {
		fields[name] = items
	} else if r.chance(5) {
		fields[name] = []any{}
	}
}

func (r random) manifest(kind string) map[string]any {
	object := map[string]any{"kind": kind, "metadata": map[string]any{"name": "x", "namespace": "default"}}
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "x"}}, "spec": r.pod()}
	switch kind {
	case "Service":
		object["apiVersion"] = "v1"
		spec := map[string]any{"selector": map[string]any{"app": "x"}}
		r.set(spec, "ports", r.some(3, []string{"80", "443", "53"}, func(name string) map[string]any { return r.port("port", name) }))
		object["spec"] = spec
	case "CronJob":
		object["apiVersion"] = "batch/v1"
		object["spec"] = map[string]any{"schedule": "* * * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	case "Job":
		object["apiVersion"] = "batch/v1"
		object["spec"] = map[string]any{"template": template}
	default:
		object["apiVersion"] = "apps/v1"
		object["spec"] = map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "x"}}, "template": template}
	}
	return object
}

func (r random) pod() map[string]any {
	pod := map[string]any{"containers": []any{r.container("a")}}
	for _, name := range []string{"b", "c"} {
		if r.chance(60) {
			pod["containers"] = append(pod["containers"].([]any), r.container(name))
		}
	}
	r.set(pod, "initContainers", r.some(2, []string{"i", "j"}, r.container))
	r.set(pod, "volumes", r.some(3, []string{"v", "w", "u"}, r.volume))
	r.set(pod, "imagePullSecrets", r.some(2, []string{"p1", "p2"}, func(name string) map[string]any { return map[string]any{"name": name} }))
	r.set(pod, "hostAliases", r.some(2, []string{"10.0.0.1", "10.0.0.2"}, func(ip string) map[string]any {
		return map[string]any{"ip": ip, "hostnames": []any{fmt.Sprintf("h%d", r.IntN(3))}}
	}))
	r.set(pod, "tolerations", r.some(2, []string{"t1", "t2"}, func(key string) map[string]any { return map[string]any{"key": key, "operator": "Exists"} }))
	r.set(pod, "topologySpreadConstraints", r.some(2, []string{"zone", "host"}, func(key string) map[string]any {
		return map[string]any{"topologyKey": key, "maxSkew": int64(1 + r.IntN(3)), "whenUnsatisfiable": "DoNotSchedule"}
	}))
	if r.chance(30) {
		pod["serviceAccountName"] = fmt.Sprintf("sa%d", r.IntN(3))
	}
	return pod
}

func (r random) container(name string) map[string]any {
	c := map[string]any{"name": name, "image": fmt.Sprintf("%s:%d", name, r.IntN(3))}
	r.set(c, "env", r.some(3, []string{"FOO", "BAR", "BAZ"}, r.variable))
	r.set(c, "ports", r.some(3, []string{"80", "443", "53"}, func(port string) map[string]any { return r.port("containerPort", port) }))
	r.set(c, "volumeMounts", r.some(2, []string{"/v", "/w"}, func(path string) map[string]any {
		return map[string]any{"mountPath": path, "name": []string{"v", "w"}[r.IntN(2)]}
	}))
	r.set(c, "envFrom", r.some(2, []string{"m", "n"}, func(name string) map[string]any { return map[string]any{"configMapRef": map[string]any{"name": name}} }))
	if r.chance(40) {
		c["args"] = []any{fmt.Sprintf("arg%d", r.IntN(3))}
	}
	if r.chance(40) {
		c["resources"] = map[string]any{"limits": map[string]any{"cpu": fmt.Sprint(1 + r.IntN(3)), "memory": "1Gi"}}
	}
	return c
}

func (r random) variable(name string) map[string]any {
	v := map[string]any{"name": name}
	switch r.IntN(4) {
	case 0: // set to nothing
	case 1:
		v["valueFrom"] = map[string]any{"configMapKeyRef": map[string]any{"name": "c", "key": fmt.Sprintf("k%d", r.IntN(2))}}
	case 2:
		v["valueFrom"] = map[string]any{"secretKeyRef": map[string]any{"name": "s", "key": "k"}}
	default:
		v["value"] = fmt.Sprintf("v%d", r.IntN(3))
	}
	return v
}

func (r random) port(key, number string) map[string]any {
	var n int64
	_, _ = fmt.Sscan(number, &n) // the callers' own numbers
	p := map[string]any{key: n}
	if r.chance(50) {
		p["name"] = fmt.Sprintf("n%s-%d", number, r.IntN(2))
	}
	if r.chance(40) {
		p["protocol"] = []string{"UDP", "TCP"}[r.IntN(2)]
	}
	return p
}

func (r random) volume(name string) map[string]any {
	v := map[string]any{"name": name}
	switch r.IntN(3) {
	case 0:
		v["emptyDir"] = map[string]any{}
	case 1:
		v["configMap"] = map[string]any{"name": "c"}
	default:
		v["secret"] = map[string]any{"secretName": "s"}
	}
	return v
}

// edited returns a manifest of which some parts are those of another one.
func (r random) edited(manifest map[string]any) map[string]any {
	return r.mix(manifest, r.manifest(manifest["kind"].(string))).(map[string]any)
}

// mix returns a value with parts of another.
func (r random) mix(value, other any) any {
	fields, isMap := value.(map[string]any)
	otherFields, areMaps := other.(map[string]any)
	items, isList := value.([]any)
	otherItems, areLists := other.([]any)
	switch {
	case isMap && areMaps:
		result := runtime.DeepCopyJSON(fields)
		for name, field := range otherFields {
			if _, has := result[name]; has {
				result[name] = r.mix(fields[name], field)
			} else if r.chance(30) {
				result[name] = field
			}
		}
		return result
	case isList && areLists:
		return r.mixItems(items, otherItems)
	case r.chance(20):
		return other
	default:
		return value
	}
}

// mixItems changes, removes and adds entries, and now and then their order. The first one stays.
func (r random) mixItems(items, others []any) []any {
	var result []any
	has := map[any]bool{}
	for i, item := range items {
		if i > 0 && r.chance(20) {
			continue
		}
		for _, other := range others {
			if key(item) == key(other) && r.chance(50) {
				item = r.mix(item, other)
			}
		}
		has[key(item)] = true
		result = append(result, item)
	}
	for _, other := range others {
		if !has[key(other)] && r.chance(20) {
			result = append(result, other)
		}
	}
	if r.chance(15) {
		r.Shuffle(len(result), func(i, j int) { result[i], result[j] = result[j], result[i] })
	}
	return result
}

// key returns what tells an entry of a list from the others.
func key(item any) any {
	fields, ok := item.(map[string]any)
	if !ok {
		return item
	}
	for _, name := range []string{"mountPath", "containerPort", "port", "ip", "topologyKey", "name", "key"} {
		if value, has := fields[name]; has {
			return value
		}
	}
	return fmt.Sprint(fields)
}
