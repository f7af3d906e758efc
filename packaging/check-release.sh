#!/usr/bin/env bash
# Refuses to release what disagrees with itself: VERSION must be that of Cargo.toml, have
# its dated section in CHANGELOG.md with nothing unreleased above it, and be committed.
# With architectures, each one's binary in dist/ must besides be fit to ship and tell
# that version and this commit.
#
#   packaging/check-release.sh VERSION [ARCH ...]
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/architectures.sh
. packaging/checkout.sh
# What git says, and nobody else.
unset REVISION SOURCE_DATE_EPOCH
. packaging/source.sh

refuse() { echo "error: $*" >&2; exit 1; }
wanted=${1:-}
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
# Somebody may have it already.
tagged=$(git rev-parse --quiet --verify "refs/tags/v$wanted^{commit}" || true)
[ -z "$tagged" ] || [ "$tagged" = "$REVISION" ] ||
  refuse "v$wanted is released: the tag is on ${tagged:0:12}, and this is ${REVISION:0:12}"

for arch in "$@"; do
  architecture "$arch"
  binary=dist/livenessprobe-linux-$arch
  packaging/check-binary.sh "$arch" "$binary"
  runner=()
  if [ "$machine" != "$(uname -m)" ]; then
    packaging/tools.sh try-emulated
    runner=("qemu-$machine-static")
  fi
  said=$("${runner[@]}" "$binary" --version) || refuse "$binary --version ends with $?"
  right="livenessprobe $version (${REVISION:0:12})"
  [ "$said" = "$right" ] || refuse "$binary --version says '$said'; right would be '$right'"
done
