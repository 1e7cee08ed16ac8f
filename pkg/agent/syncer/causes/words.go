package causes

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
)

// plain returns somebody's words in one line of printable text: what a terminal would take for a command goes.
func plain(words string) string {
	words = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(words, ""))
	return strings.Join(strings.Fields(words), " ")
}

// endsAtMost is how much of a container's last words is kept, and beginning how much of it is from the beginning: a process that
// fails says why at one of both ends.
const (
	endsAtMost = 220
	beginning  = 80
)

// ends returns the beginning and the end of a container's last words.
func ends(words string) string {
	words = plain(words)
	if len(words) <= endsAtMost {
		return words
	}
	end := strings.ToValidUTF8(words[len(words)-(endsAtMost-beginning):], "")
	return text.Shorten(words, beginning) + " " + end
}

// wrappings are what runtimes and kubelets put around the words of those that they ask.
var (
	pullWrappings = []*regexp.Regexp{
		regexp.MustCompile(`^Back-off pulling image "[^"]*"(: |$)`),
		regexp.MustCompile(`^(ErrImagePull|ImagePullBackOff|RegistryUnavailable|SignatureValidationFailed): `),
		regexp.MustCompile(`^(failed to pull and unpack image|failed to resolve reference|failed to resolve image|failed to pull image|Failed to pull image) "[^"]*": `),
		regexp.MustCompile(`^(unable to pull image or OCI artifact: )`),
		rpc, daemon,
	}
	runWrappings = []*regexp.Regexp{
		rpc, daemon,
		regexp.MustCompile(`^Error: `),
		regexp.MustCompile(`^failed to (create|start) (containerd )?(task|container|sandbox|shim task)( for container "[^"]*"| "[^"]*")?: `),
		regexp.MustCompile(`^(OCI runtime create failed|container create failed|runc create failed|crun|runc|starting container process caused|unable to start container process|error during container init): `),
		regexp.MustCompile(`^[Ff]ailed to create pod sandbox: `),
	}
	rpc    = regexp.MustCompile(`^rpc error: code = \w+ desc = `)
	daemon = regexp.MustCompile(`^Error response from daemon: `)
	// ofUnknown is what containerd puts behind the words of others.
	ofUnknown = regexp.MustCompile(`: unknown$`)
	// handles are names that are made anew for each attempt.
	handles = regexp.MustCompile(`\b[0-9a-f]{12,}\b`)
	uids    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// unwrapped takes the wrappings off.
func unwrapped(words string, wrappings []*regexp.Regexp) string {
	words = plain(words)
	for {
		before := words
		for _, wrapping := range wrappings {
			words = wrapping.ReplaceAllString(words, "")
		}
		if words == before {
			return words
		}
	}
}

// registry returns what the registry, or who was to reach it, says of an image. It is empty where only a kubelet says that it waits.
func registry(words string) string { return unwrapped(words, pullWrappings) }

// runtime returns what the runtime says of a container or a sandbox that it cannot make.
func runtime(words string) string {
	return handles.ReplaceAllString(ofUnknown.ReplaceAllString(unwrapped(words, runWrappings), ""), "…")
}

var setUpFailed = regexp.MustCompile(`^(MountVolume\.\w+|AttachVolume\.\w+|MapVolume\.\w+) failed for volume "[^"]*" ?: ?`)

// mount returns what a kubelet says of a volume that it cannot mount.
func mount(words string) string {
	return uids.ReplaceAllString(unwrapped(setUpFailed.ReplaceAllString(plain(words), ""), runWrappings), "…")
}

// volume is the name of a volume, without what is made up for each.
func volume(name string) string { return uids.ReplaceAllString(plain(name), "…") }

var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b|\[[0-9a-fA-F:]+\]`)

// probe returns what a probe has found, without the address of the pod.
func probe(words string) string { return ends(address.ReplaceAllString(plain(words), "")) }

var (
	nodes     = regexp.MustCompile(`^\d+/\d+ nodes are available: ?`)
	preempted = regexp.MustCompile(`[.,] ?(preemption|no new claims to deallocate)[:,].*$`)
	number    = regexp.MustCompile(`^\d+ `)
)

// scheduler returns what a scheduler says of the nodes, without their numbers: these change with every node that comes or goes.
func scheduler(words string) string {
	words = plain(words)
	said := nodes.ReplaceAllString(words, "")
	if said == words {
		return words // it is not about nodes
	}
	said = strings.TrimSuffix(preempted.ReplaceAllString(said, ""), ".")
	reasons := strings.Split(said, ", ")
	for i := range reasons {
		reasons[i] = number.ReplaceAllString(reasons[i], "")
	}
	slices.Sort(reasons)
	return "no node fits: " + strings.Join(slices.Compact(reasons), ", ")
}

var creating = regexp.MustCompile(`(?i)^(?:.*?failed error: |Error creating: )?(?:(?:pods?|persistentvolumeclaims) "[^"]*" is (?:forbidden|invalid): )?`)

// Create returns why something cannot be created, without its name, which is another one each time.
func Create(words string) string { return plain(creating.ReplaceAllString(plain(words), "")) }

// pullClasses are what can be wrong with an image, by words that registries use. The first that is found counts.
var pullClasses = []struct {
	class string
	words []string
}{
	{"limited", []string{"toomanyrequests", "too many requests", "rate limit"}},
	{"denied", []string{"unauthorized", "denied", "forbidden", "authoriz", "authentication", "credential"}},
	{"missing", []string{"not found", "manifest unknown", "does not exist", "name unknown", "no match for platform"}},
	{"certificate", []string{"x509", "certificate"}},
	{"unreachable", []string{"no such host", "timeout", "refused", "unreachable", "eof", "deadline", "connection", "server misbehaving"}},
}

// pullClass says which of those the words are about; empty for none.
func pullClass(words string) string {
	words = strings.ToLower(words)
	for _, c := range pullClasses {
		if slices.ContainsFunc(c.words, func(word string) bool { return strings.Contains(words, word) }) {
			return c.class
		}
	}
	return ""
}
