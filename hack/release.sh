#!/usr/bin/env bash
# Makes what a release consists of, in dist/release: for each platform an archive with the three programs and the
# license, for each program the CycloneDX SBOM of its build, and SHA256SUMS over all of them. Whoever runs it on the same tag with
# the same Go gets the same bytes, so that a release can be checked by making it again.
#
# usage: hack/release.sh VERSION, where VERSION is vX.Y.Z, possibly with a pre-release such as -rc.1, and a tag of HEAD.
#
# SOURCE_DATE_EPOCH is the time that the archives give their files, in seconds since 1970; the commit's by default.
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/dist/release
platforms=(linux-amd64 linux-arm64 darwin-amd64 darwin-arm64)
programs=(tmc-syncer tmc-controller kubectl-tmc)
version=${1-}

fail() {
	echo "release: $*" >&2
	exit 1
}

# require_tag fails unless the sources are those of the tag: what is released under a version has to be found again
# under it.
require_tag() {
	local semver='^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$'
	[[ $version =~ $semver ]] || fail "VERSION is '$version', expected vX.Y.Z or vX.Y.Z-PRERELEASE: make release VERSION=v1.2.3"
	[[ -z $(git -C "$root" status --porcelain) ]] || fail "the tree has changes that are not committed, expected none"
	local tagged
	tagged=$(git -C "$root" rev-parse --quiet --verify "refs/tags/$version^{commit}") ||
		fail "there is no tag $version: a release is made of a tag (git tag -a $version)"
	[[ $tagged == "$(git -C "$root" rev-parse HEAD)" ]] || fail "the tag $version is another commit than HEAD, expected HEAD: git checkout $version"
}

require_gnu_tar() {
	tar --version 2>/dev/null | grep -q 'GNU tar' || fail "tar is not GNU tar, which knows how to sort and to leave out who made an archive"
}

# pack archives the programs of a platform, with nothing in it of who has made it and when.
pack() {
	local platform=$1 archive=$2
	tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
		-C "$root/dist/$platform" -cf - "${programs[@]}" -C "$root" LICENSE | gzip -9 --no-name >"$archive"
}

require_tag
require_gnu_tar
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct)}"

rm -rf "$out"
mkdir -p "$out"
make -C "$root" VERSION="$version" bin/tools/cyclonedx-gomod "${platforms[@]/#/dist/}"
for platform in "${platforms[@]}"; do
	name=tmc_${version}_${platform/-/_}
	pack "$platform" "$out/$name.tar.gz"
	for program in "${programs[@]}"; do
		"$root/bin/tools/cyclonedx-gomod" bin -json -std -noserial -notimestamp -version "$version" \
			-output "$out/$name.$program.cdx.json" "$root/dist/$platform/$program"
	done
done
cd "$out"
sha256sum -- *.tar.gz *.json >SHA256SUMS
echo "release: $version is in ${out#"$root"/}:"
cat SHA256SUMS
