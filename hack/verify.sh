#!/usr/bin/env bash
# Checks that the tree is what generating, tidying and formatting would make of it, that the linters have nothing to
# say, that no known vulnerability is called, and that git tracks no binaries. It leaves the tree as it would have to
# be, and fails when that differs from what it found.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# state prints a hash of every file that git tracks or would track.
state() {
	git ls-files -z --cached --others --exclude-standard | sort -z | xargs -0 sha256sum 2>/dev/null | sha256sum
}

# unchanged runs a command that rewrites files, and fails when it changed any.
unchanged() {
	local before after
	echo "verify: $*"
	before=$(state)
	"$@"
	after=$(state)
	if [[ $before != "$after" ]]; then
		echo "verify: '$*' changed files; commit what it made:" >&2
		git status --short >&2
		return 1
	fi
}

echo "verify: no binaries"
if git ls-files --eol | grep '^i/-text'; then
	echo "verify: git tracks these binaries; take them out with 'git rm --cached'" >&2
	exit 1
fi
unchanged make generate
unchanged go mod tidy
for module in hack/kcp hack/cluster hack/lint hack/codegen hack/kind hack/sbom hack/helm hack/helm4 hack/flux hack/plot hack/vuln; do
	echo "verify: modules of $module"
	go -C "$module" mod verify >/dev/null
done
unchanged gofmt -w cmd e2e hack manifests pkg
echo "verify: go vet"
go vet ./...
go -C hack/plot vet ./...
echo "verify: lint"
make lint
echo "verify: known vulnerabilities"
make vuln
echo "verify: all is as it should be"
