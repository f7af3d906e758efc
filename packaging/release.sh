#!/usr/bin/env bash
# Makes all that is released of VERSION, of this commit, into dist/: the binaries of each
# program, tried; the images' archives; the bundle; SHA256SUMS of them, signed where SIGN_KEY is
# given; and release-notes.md, with the digests. `make release` calls this. It refuses what
# disagrees with itself, and what comes out differently when it is built again.
#
#   packaging/release.sh VERSION ARCH ...
#   packaging/release.sh check VERSION [ARCH ...]
#
# The architectures are those that are built again; each takes minutes. `check` alone looks at
# the version, which must be that of Cargo.toml, have its dated section in CHANGELOG.md with
# nothing unreleased above it, and be committed; and at the binaries of these architectures,
# which must be fit to ship and print that version and this commit.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
# The commit is git's. make's settings are not for the steps that are called here.
unset REVISION SOURCE_DATE_EPOCH MAKEFLAGS MAKEOVERRIDES MFLAGS ARCH PROGRAM QUICK OFFLINE
source_identity

# check VERSION ARCH ...
check() {
  local wanted=$1 sections newest unreleased tagged arch name binary runner said right
  [[ $wanted =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$ ]] ||
    refuse "VERSION=$wanted is no version (https://semver.org); right would be VERSION=$version"
  shift
  [ "$wanted" = "$version" ] || refuse "VERSION=$wanted, and Cargo.toml has $version"
  sections=$(grep '^## \[' CHANGELOG.md || true)
  [ "$(head -1 <<<"$sections")" = '## [Unreleased]' ] ||
    refuse "CHANGELOG.md begins with $(head -1 <<<"$sections"); right would be ## [Unreleased]"
  newest=$(sed -n 2p <<<"$sections")
  [[ $newest =~ ^"## [$wanted] - "[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
    refuse "CHANGELOG.md has '$newest' below Unreleased; right would be '## [$wanted] - $(date -u +%F)'"
  unreleased=$(sed -n '/^## \[Unreleased\]$/,/^## \[[^U]/p' CHANGELOG.md | grep -v '^## \[\|^$' || true)
  [ -z "$unreleased" ] ||
    refuse "CHANGELOG.md has what is not released: $(head -1 <<<"$unreleased"); move it to $wanted"
  must_be_clean
  # A version that was published stays what it is.
  tagged=$(git rev-parse --quiet --verify "refs/tags/v$wanted^{commit}" || true)
  [ -z "$tagged" ] || [ "$tagged" = "$REVISION" ] ||
    refuse "v$wanted is released: the tag is on ${tagged:0:12}, and this is ${REVISION:0:12}"

  for name in $PROGRAMS; do
    for arch in "$@"; do
      architecture "$arch"
      binary=dist/$name-linux-$arch
      packaging/check-binary.sh "$name" "$arch" "$binary"
      runner=()
      if [ "$machine" != "$(uname -m)" ]; then
        packaging/tools.sh try-emulated
        runner=("qemu-$machine-static")
      fi
      said=$("${runner[@]}" "$binary" --version) || refuse "$binary --version ends with $?"
      right="$name $version (${REVISION:0:12})"
      [ "$said" = "$right" ] || refuse "$binary --version says '$said'; right would be '$right'"
    done
  done
}

step() {
  printf '\n#### %s (%d s since the start)\n' "$*" "$SECONDS"
  "$@"
}

if [ "${1:-}" = check ]; then
  check "${@:2}"
  exit
fi
wanted=${1:-}
again=("${@:2}")
selected_architectures "${again[@]}"
check "$wanted"
must_be_able_to_sign
[ "$(id -u)" = 0 ] || refuse 'trying the image needs root; run: sudo make release'
export RUST=debian
packaging/tools.sh static-debian
found=$(/usr/bin/rustc --version | cut -d' ' -f2)
[ "$found" = "$RUST_TRIED" ] ||
  refuse "Debian's Rust is $found, and packaging/lib.sh has $RUST_TRIED; try the new one, and write it there"

# dist/ may have files of another commit. What is refused in the end must not look released.
rm -rf dist
trap '[ -f dist/release-notes.md ] || rm -f dist/*-airgap.tar dist/SHA256SUMS*' EXIT
all="ARCH=$ARCHITECTURES"
step make static "$all"
# shellcheck disable=SC2086 # a list
step check "$wanted" $ARCHITECTURES
step make try-static "$all"
step make image "$all"
step make try-image "$all"
# Signed when it is known to be right.
step make airgap "$all" SIGN_KEY=
step make try-airgap "$all"
step packaging/verify-reproducible.sh "${again[@]}"
if [ -n "${SIGN_KEY:-}" ]; then step make airgap "$all"; fi

cd dist
find . -maxdepth 1 -type f -printf '%P\0' | LC_ALL=C sort --zero-terminated |
  xargs --null sha256sum >../target/SHA256SUMS
mv ../target/SHA256SUMS .
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
    "${again[*]}, the archives and the bundle. \`make verify-reproducible\` does so."
} >release-notes.md.new
mv release-notes.md.new release-notes.md
cd ..
echo
echo "dist/ has all of $version; release-notes.md has the digests. To name this commit:"
echo "  git tag --annotate v$version --message 'csi-livenessprobe $version'"
