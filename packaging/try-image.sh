#!/usr/bin/env bash
# Runs the image in dist/ with podman and runc, and looks into it with skopeo:
# tests/integration/image.rs has what is tried. `make try-image` calls this.
#
#   packaging/try-image.sh ARCH ...
set -euo pipefail
cd "$(dirname "$0")/.."

. packaging/source.sh

# What must be in it.
export LIVENESSPROBE_ARCHITECTURES="$*"
export LIVENESSPROBE_IMAGE=$PWD/dist/livenessprobe-$version.oci.tar
[ -f "$LIVENESSPROBE_IMAGE" ] || {
  echo "error: there is no dist/livenessprobe-$version.oci.tar; run: make static image" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || {
  echo 'error: the limits that are tried need root; run: sudo make try-image' >&2
  exit 1
}
packaging/tools.sh try-image

echo "== dist/livenessprobe-$version.oci.tar in podman"
cargo test --release --locked --test integration -- --ignored image:: --test-threads=1 \
  --show-output | tee target/try-image.log
# A name that fits no test would pass.
grep --quiet '^test image::' target/try-image.log
