#!/usr/bin/env bash
# Runs the tests on the very file that ships: all of them on this machine's
# architecture, what is not about time or memory under an emulator on another.
#
#   packaging/try-static.sh ARCH
set -euo pipefail
cd "$(dirname "$0")/.."

. packaging/architectures.sh

arch=${1:-}
architecture "$arch"
export LIVENESSPROBE_BINARY=$PWD/dist/livenessprobe-linux-$arch
[ -x "$LIVENESSPROBE_BINARY" ] || {
  echo "error: there is no dist/livenessprobe-linux-$arch; run: make static ARCH=$arch" >&2
  exit 1
}
packaging/check-binary.sh "$arch" "$LIVENESSPROBE_BINARY"

tests() {
  # A name that fits no test would pass.
  local count
  count=$(cargo test --quiet --release --locked --test integration -- "$@" --list | grep -c ': test$') ||
    { echo "error: no test is named by: $*" >&2; exit 1; }
  echo "== $count tests"
  cargo test --release --locked --test integration -- "$@"
}

case $machine in
  "$(uname -m)")
    echo "== dist/livenessprobe-linux-$arch: footprint, and all tests"
    tests --ignored footprint:: chaos:: --show-output --test-threads=1
    # Not those that are about no binary, nor what sets the clock: that is loaded by ld.so,
    # which a static binary does without.
    tests --skip hostile:: --skip flood:: --skip faulty_driver:: --skip chaos:: --skip properties:: \
      --skip messages:: --skip wall_clock
    tests hostile:: flood:: faulty_driver:: --test-threads=1
    tests chaos:: --skip wall_clock --test-threads=1
    ;;
  *)
    packaging/tools.sh try-emulated
    emulator=qemu-$machine-static
    echo "== dist/livenessprobe-linux-$arch under $emulator"
    LIVENESSPROBE_RUNNER=$emulator tests shipped::
    ;;
esac
