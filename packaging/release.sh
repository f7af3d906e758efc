#!/usr/bin/env bash
# Makes all that is released of VERSION, of this commit, into dist/: the binaries of each
# program, tried; the images' archives; the bundle; SHA256SUMS of them, signed where SIGN_KEY is
# given; and release-notes.md, with the digests. `make release` calls this. It refuses what
# disagrees with itself, and what comes out differently when it is built again.
#
#   packaging/release.sh VERSION ARCH ...
#   packaging/release.sh check VERSION
#
# The architectures are those that are built again; each takes minutes. `check` alone looks at
# the version, which must be that of Cargo.toml, have its dated section in CHANGELOG.md with
# nothing unreleased above it, and be committed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
# The commit is git's. make's settings are not for the steps that are called here.
unset REVISION SOURCE_DATE_EPOCH MAKEFLAGS MAKEOVERRIDES MFLAGS ARCH PROGRAM QUICK OFFLINE
source_identity

alone=
if [ "${1:-}" = check ]; then alone=1; shift; fi
wanted=${1:-}
[[ $wanted =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$ ]] ||
  refuse "VERSION=$wanted is no version (https://semver.org); right would be VERSION=$version"
[ "$wanted" = "$version" ] || refuse "VERSION=$wanted, and Cargo.toml has $version"
# The first two lines of the sections.
newest=$(awk '/^## / { begun = 1 } begun && NF && lines++ < 2' CHANGELOG.md)
[[ $newest =~ ^"## [Unreleased]"$'\n'"## [$wanted] - "[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
  refuse "CHANGELOG.md begins with '${newest/$'\n'/, }'; right would be '## [Unreleased]' with nothing" \
    "in it, and '## [$wanted] - $(date -u +%F)' below it"
must_be_clean
# A version that was published stays what it is.
tagged=$(git rev-parse --quiet --verify "refs/tags/v$wanted^{commit}" || true)
[ -z "$tagged" ] || [ "$tagged" = "$REVISION" ] ||
  refuse "v$wanted is released: the tag is on ${tagged:0:12}, and this is ${REVISION:0:12}"
[ -z "$alone" ] || exit 0

again=("${@:2}")
selected_architectures "${again[@]}"
# Before hours of work that end with a signature.
[ -z "${SIGN_KEY:-}" ] ||
  gpg --batch --local-user "$SIGN_KEY" --detach-sign </dev/null >/dev/null ||
  refuse "gpg, of Debian's gnupg, cannot sign by SIGN_KEY=$SIGN_KEY; see: gpg --list-secret-keys"
[ "$(id -u)" = 0 ] || refuse 'trying the image needs root; run: sudo make release'
export RUST=debian
packaging/tools.sh static-debian
found=$(/usr/bin/rustc --version | cut -d' ' -f2)
[ "$found" = "$RUST_TRIED" ] ||
  refuse "Debian's Rust is $found, and packaging/lib.sh has $RUST_TRIED; try the new one, and write it there"

step() {
  printf '\n#### %s (%d s since the start)\n' "$*" "$SECONDS"
  "$@"
}

# dist/ may have files of another commit. What is refused in the end must not look released.
rm -rf dist
trap '[ -f dist/release-notes.md ] || rm -f dist/*-airgap.tar dist/SHA256SUMS*' EXIT
all="ARCH=$ARCHITECTURES"
step make static "$all"
step make try-static "$all"
step make image "$all"
step make try-image "$all"
# Signed when it is known to be right.
step make airgap "$all" SIGN_KEY=
step make try-airgap "$all"
step packaging/verify-reproducible.sh "${again[@]}"
if [ -n "${SIGN_KEY:-}" ]; then step make airgap "$all"; fi

sums dist -maxdepth 1
cat >dist/release-notes.md.new <<NOTES
# csi-livenessprobe $version
$(sed -n "/^## \[$version\]/,/^## \[/p" CHANGELOG.md | sed '/^## \[/d')

## Files

SHA-256 of each:

$(sed 's/^/    /' dist/SHA256SUMS)

Built of commit $REVISION by Debian's Rust $RUST_TRIED, zig $ZIG and cargo-zigbuild
$CARGO_ZIGBUILD; built again elsewhere with the same bytes: ${again[*]}, the archives
and the bundle. \`make verify-reproducible\` does so.
NOTES
mv dist/release-notes.md.new dist/release-notes.md
echo "dist/ has all of $version; release-notes.md has the digests. To name this commit:"
echo "  git tag --annotate v$version --message 'csi-livenessprobe $version'"
