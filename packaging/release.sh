#!/usr/bin/env bash
# Makes all that is released of VERSION, of this commit, into dist/: each binary, tried;
# the image's archive; the bundle; SHA256SUMS of them, signed where SIGN_KEY is given;
# and release-notes.md, with the digests. `make release` calls this. What disagrees with
# itself, or comes out otherwise when it is built again, is refused.
#
#   packaging/release.sh VERSION ARCH ...
#
# The architectures are those that are built again; each takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/versions.sh
. packaging/architectures.sh
. packaging/source.sh

step() {
  printf '\n#### %s (%d s since the start)\n' "$*" "$SECONDS"
  "$@"
}
wanted=${1:-}
again=("${@:2}")
packaging/check-release.sh "$wanted"
for arch in "${again[@]}"; do architecture "$arch"; done
export RUST=debian

# Of another commit, perhaps.
rm -rf dist
step make static "ARCH=$ARCHITECTURES"
# shellcheck disable=SC2086 # a list
step packaging/check-release.sh "$wanted" $ARCHITECTURES
step make try-static "ARCH=$ARCHITECTURES"
step make image
step make airgap
step packaging/verify-reproducible.sh "${again[@]}"

cd dist
files=(livenessprobe-* csi-livenessprobe-*)
sha256sum "${files[@]}" >SHA256SUMS
if [ -n "${SIGN_KEY:-}" ]; then
  gpg --batch --yes --local-user "$SIGN_KEY" --armor --detach-sign SHA256SUMS
fi
{
  echo "# csi-livenessprobe $version"
  sed -n "/^## \[$version\]/,/^## \[/p" ../CHANGELOG.md | sed '1d;/^## \[/d'
  echo '## Files'
  echo
  echo 'SHA-256 of each:'
  echo
  sed 's/^/    /' SHA256SUMS
  echo
  echo "Built of commit $REVISION by Debian's Rust $("/usr/bin/rustc" --version | cut -d' ' -f2)," \
    "zig $ZIG and cargo-zigbuild $CARGO_ZIGBUILD; built again elsewhere, by another user," \
    "with the same bytes: ${again[*]}. \`make verify-reproducible\` does so."
} >release-notes.md
cd ..
echo
echo "dist/ has all of $version; release-notes.md has the digests. To name this commit:"
echo "  git tag --annotate v$version --message 'csi-livenessprobe $version'"
