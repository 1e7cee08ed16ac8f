#!/usr/bin/env bash
# Builds the programs of the local stack into bin/tools: kcp, and what a physical cluster consists of
# (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok, kwokctl). Their versions
# are those of the modules hack/kcp and hack/cluster, and stand nowhere else.
#
# The first build takes about 12 minutes on two cores, one whose packages are in Go's cache about one.
# When everything is up to date it does nothing. Interrupting it is safe: bin/tools only ever gets whole
# programs, and counts as up to date only when it has them all.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/bin/tools
stamp=$tools/.stamp
programs=(kcp etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok kwokctl)

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

# build compiles the tools of module hack/$1 into the staging directory. $2 is the version that they give as
# theirs, $3 the Kubernetes version, and the rest are more linker flags.
build() {
	local module=$1 reported=$2 kubernetes=$3 package=k8s.io/component-base/version major minor
	shift 3
	IFS=. read -r major minor _ <<<"${kubernetes#v}"
	echo "building the tools of hack/$module, version $reported"
	go -C "$root/hack/$module" build -trimpath \
		-ldflags "-s -w -X $package.gitVersion=$reported -X $package.gitMajor=$major -X $package.gitMinor=$minor${*:+ $*}" \
		-o "$staging/" tool
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

echo "building bin/tools: about 12 minutes the first time, about one with a warm cache"
rm -rf "$root"/bin/.staging.* # left by a build that was killed
staging=$(mktemp -d "$root/bin/.staging.XXXXXX")
trap 'rm -rf "$staging"' EXIT
hash=$(inputs) # before the build: what changes during it is not in it

export CGO_ENABLED=0
kcp_kubernetes=$(version kcp k8s.io/kubernetes)
build kcp "$kcp_kubernetes+kcp-$(version kcp github.com/kcp-dev/kcp)" "$kcp_kubernetes"
kubernetes=$(version cluster k8s.io/kubernetes)
build cluster "$kubernetes" "$kubernetes" "-X sigs.k8s.io/kwok/pkg/consts.Version=$(version cluster sigs.k8s.io/kwok)"
mv "$staging/server" "$staging/etcd" # the name of its package

rm -f "$stamp"
for program in "${programs[@]}"; do
	mv -f "$staging/$program" "$tools/$program"
done
echo "$hash" >"$stamp"
echo "built bin/tools in $((SECONDS / 60)) min $((SECONDS % 60)) s"
