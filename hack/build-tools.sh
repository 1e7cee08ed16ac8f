#!/usr/bin/env bash
# Builds the programs of the local stack into bin/tools: kcp, and what a physical cluster consists of
# (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok, kwokctl). Their versions
# are those of the modules hack/kcp and hack/cluster, and stand nowhere else.
#
# Both modules are built side by side, so that one compiles while the other downloads or links. hack/cluster
# requires the same versions of what it shares with tmc itself, so that tmc's own build finds most packages
# in Go's cache. When everything is up to date, the script does nothing. Interrupting it is safe: bin/tools
# only ever gets whole programs, and counts as up to date only when it has them all.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/bin/tools
stamp=$tools/.stamp
programs=(kcp etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok kwokctl)
modules=(kcp cluster)

# inputs prints a hash of all that decides what is built.
inputs() {
	cat "$root"/hack/{kcp,cluster}/go.{mod,sum} "$root/hack/build-tools.sh" | sha256sum
}

up_to_date() {
	[[ -f $stamp && $(<"$stamp") == "$(inputs)" ]] || return 1
	local program
	for program in "${programs[@]}"; do
		[[ -x $tools/$program ]] || return 1
	done
}

# version prints the version of module $2 as the tool module $1 requires it.
version() {
	go -C "$root/hack/$1" list -m -f '{{.Version}}' "$2"
}

# start compiles the tools of module hack/$1 into the staging directory, in the background. $2 is the version
# that they give as theirs, $3 the Kubernetes version, and the rest are more linker flags. The log has a line
# for each package that is compiled, and $1.packages their number.
start() {
	local module=$1 reported=$2 kubernetes=$3 package=k8s.io/component-base/version major minor
	shift 3
	IFS=. read -r major minor _ <<<"${kubernetes#v}"
	(
		go -C "$root/hack/$module" list -trimpath -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' tool 2>"$staging/$module.log" |
			grep -c . >"$staging/$module.packages" || true
		exec go -C "$root/hack/$module" build -v -trimpath \
			-ldflags "-s -w -X $package.gitVersion=$reported -X $package.gitMajor=$major -X $package.gitMinor=$minor${*:+ $*}" \
			-o "$staging/bin/" tool >>"$staging/$module.log" 2>&1
	) &
	builds[$module]=$!
}

# progress says how many packages are compiled, of those that have to be.
progress() {
	local module compiled=0 all=0 count
	for module in "${modules[@]}"; do
		[[ -s $staging/$module.packages ]] || {
			echo "downloading modules"
			return
		}
		all=$((all + $(<"$staging/$module.packages")))
		count=$(grep -vc '^go: downloading' "$staging/$module.log") || true
		compiled=$((compiled + count))
	done
	((compiled < all)) && echo "$compiled of $all packages" || echo "$all of $all packages, linking"
}

# follow shows the progress until every build has ended: on a terminal in one line, elsewhere every 20 s.
follow() {
	local text last=$SECONDS line='building bin/tools: '
	while [[ -n $(jobs -rp) ]]; do
		text=$line$(progress)
		if [[ -t 1 ]]; then
			printf '\r\e[K%s, %d s' "$text" "$SECONDS"
		elif ((SECONDS - last >= 20)); then
			echo "$text, $SECONDS s"
			last=$SECONDS
		fi
		sleep 1
	done
	[[ ! -t 1 ]] || printf '\r\e[K'
}

if up_to_date; then
	echo "bin/tools is up to date"
	exit 0
fi

mkdir -p "$tools"
exec {lock}>"$tools/.lock"
flock "$lock"
if up_to_date; then # somebody else has just built it
	echo "bin/tools is up to date"
	exit 0
fi

echo "building bin/tools from source: some 8 minutes on two cores the first time, about one with a warm cache"
rm -rf "$root"/bin/.staging.* # left by a build that was killed
staging=$(mktemp -d "$root/bin/.staging.XXXXXX")
declare -A builds=()
finish() {
	[[ ${#builds[@]} == 0 ]] || kill "${builds[@]}" 2>/dev/null || true
	wait
	rm -rf "$staging"
}
trap finish EXIT
trap 'exit 130' INT TERM
hash=$(inputs) # before the build: what changes during it is not in it

export CGO_ENABLED=0
kcp_kubernetes=$(version kcp k8s.io/kubernetes)
kubernetes=$(version cluster k8s.io/kubernetes)
start kcp "$kcp_kubernetes+kcp-$(version kcp github.com/kcp-dev/kcp)" "$kcp_kubernetes"
start cluster "$kubernetes" "$kubernetes" "-X sigs.k8s.io/kwok/pkg/consts.Version=$(version cluster sigs.k8s.io/kwok)"
follow
for module in "${modules[@]}"; do
	if ! wait "${builds[$module]}"; then
		echo "building the tools of hack/$module failed:" >&2
		tail -n 40 "$staging/$module.log" >&2
		exit 1
	fi
	unset "builds[$module]"
done
mv "$staging/bin/server" "$staging/bin/etcd" # the name of its package

rm -f "$stamp"
for program in "${programs[@]}"; do
	mv -f "$staging/bin/$program" "$tools/$program"
done
echo "$hash" >"$stamp"
echo "built bin/tools in $((SECONDS / 60)) min $((SECONDS % 60)) s"
