#!/usr/bin/env bash
# Makes dist/csi-livenessprobe-<version>-source.tar.xz: what is committed, with all Rust
# packages that a Linux build compiles in vendor/, so that `make build OFFLINE=1` in it
# asks no network for anything. `make airgap` calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/checkout.sh
. packaging/source.sh
. packaging/tar.sh

must_be_checkout
[ -z "$(uncommitted)" ] ||
  echo 'note: what is not committed is not in the source archive' >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=csi-livenessprobe-$version
git archive --prefix="$name/" HEAD | tar --extract --directory "$work"
echo "== vendoring the packages of Cargo.lock"
(
  cd "$work/$name"
  # With their versions, as Cargo's own store names them: the names are in the binary.
  "${CARGO:-cargo}" vendor --quiet --locked --versioned-dirs vendor >/dev/null
  packaging/trim_vendored.py vendor
  cat >>.cargo/config.toml <<'CONFIG'

# Added to the source archive: Cargo takes packages from vendor/, never from a network.
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "vendor"
CONFIG
)
archive=dist/$name-source.tar.xz
echo "== packing $archive"
mkdir -p dist
# How xz cuts the work up is in the bytes: always alike, whatever the processors.
archive "$work" "$name" | xz --threads=2 --block-size=16MiB -6 >"$archive.new"
mv "$archive.new" "$archive"
echo "built $archive ($(stat -c %s "$archive") bytes)"
