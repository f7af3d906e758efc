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
# What git says, and nobody else; and what make was told is not for those called here.
unset REVISION SOURCE_DATE_EPOCH MAKEFLAGS MAKEOVERRIDES MFLAGS ARCH QUICK OFFLINE
. packaging/versions.sh
. packaging/architectures.sh
. packaging/sign.sh
. packaging/source.sh

refuse() { echo "error: $*" >&2; exit 1; }
step() {
  printf '\n#### %s (%d s since the start)\n' "$*" "$SECONDS"
  "$@"
}
wanted=${1:-}
again=("${@:2}")
[ ${#again[@]} -gt 0 ] || refuse "give at least one of: $ARCHITECTURES"
for arch in "${again[@]}"; do architecture "$arch"; done
packaging/check-release.sh "$wanted"
must_be_able_to_sign
[ "$(id -u)" = 0 ] || refuse 'trying the image needs root; run: sudo make release'
export RUST=debian
packaging/tools.sh static-debian
found=$(/usr/bin/rustc --version | cut -d' ' -f2)
[ "$found" = "$RUST_TRIED" ] ||
  refuse "Debian's Rust is $found, and packaging/versions.sh has $RUST_TRIED; try the new one, and write it there"

# Of another commit, perhaps. What is refused in the end must not look released.
rm -rf dist
trap '[ -f dist/release-notes.md ] || rm -f dist/*-airgap.tar dist/SHA256SUMS*' EXIT
all="ARCH=$ARCHITECTURES"
step make static "$all"
# shellcheck disable=SC2086 # a list
step packaging/check-release.sh "$wanted" $ARCHITECTURES
step make try-static "$all"
step make image "$all"
step make try-image "$all"
# Signed when it is known to be right.
step make airgap "$all" SIGN_KEY=
step make try-airgap "$all"
step packaging/verify-reproducible.sh "${again[@]}"
if [ -n "${SIGN_KEY:-}" ]; then step make airgap "$all"; fi

cd dist
files=(livenessprobe-* csi-livenessprobe-*)
sha256sum "${files[@]}" >SHA256SUMS
sign SHA256SUMS
{
  echo "# csi-livenessprobe $version"
  sed -n "/^## \[$version\]/,/^## \[/p" ../CHANGELOG.md | sed '1d;/^## \[/d'
  echo
  echo '## Files'
  echo
  echo 'SHA-256 of each:'
  echo
  sed 's/^/    /' SHA256SUMS
  echo
  echo "Built of commit $REVISION by Debian's Rust $RUST_TRIED, zig $ZIG and" \
    "cargo-zigbuild $CARGO_ZIGBUILD; built again elsewhere with the same bytes:" \
    "${again[*]}, the archive and the bundle. \`make verify-reproducible\` does so."
} >release-notes.md.new
mv release-notes.md.new release-notes.md
cd ..
echo
echo "dist/ has all of $version; release-notes.md has the digests. To name this commit:"
echo "  git tag --annotate v$version --message 'csi-livenessprobe $version'"
