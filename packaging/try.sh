#!/usr/bin/env bash
# Runs the tests of what is in dist/. `make try-static` and `make try-image` call this.
#
#   packaging/try.sh static ARCH ...   on the very files that ship: all tests on this machine's
#                                      architecture, and those that are not about time or
#                                      memory under an emulator on another
#   packaging/try.sh image ARCH ...    the image with podman and runc
#
# The tests of a program find what they are about in variables, LIVENESSPROBE_BINARY and so on.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

what=$1
shift
selected_architectures "$@"
selected_programs

# tests FILTER ... refuses names that fit no test, which would pass.
tests() {
  local options=(--release --locked --package "$package" --test integration) count
  count=$(cargo test --quiet "${options[@]}" -- "$@" --list | grep -c ': test$') ||
    refuse "no test is named by: $*"
  echo "== $count tests"
  cargo test "${options[@]}" -- "$@"
}

static() {
  local binary=$PWD/dist/$name-linux-$1
  [ -x "$binary" ] || refuse "there is no $binary; run: make static ARCH=$1"
  architecture "$1"
  export "${variable}_BINARY=$binary"
  if [ "$machine" != "$(uname -m)" ]; then
    packaging/tools.sh try-emulated
    echo "== $binary under qemu-$machine-static"
    export "${variable}_RUNNER=qemu-$machine-static"
    tests shipped::
    export -n "${variable}_RUNNER"
    return
  fi
  echo "== $binary: footprint, and all tests"
  tests --ignored footprint:: chaos:: --show-output --test-threads=1
  # Not those that are about no binary, nor those that set the clock, for which ld.so loads a
  # library: a static binary has no ld.so.
  tests --skip hostile:: --skip flood:: --skip faulty_driver:: --skip chaos:: --skip properties:: \
    --skip messages:: --skip wall_clock
  tests hostile:: flood:: faulty_driver:: --test-threads=1
  tests chaos:: --skip wall_clock --test-threads=1
}

image() {
  local archive=$PWD/dist/$name-$version.oci.tar
  [ -f "$archive" ] || refuse "there is no $archive; run: make static image"
  [ "$(id -u)" = 0 ] || refuse 'the limits that are tried need root; run: sudo make try-image'
  packaging/tools.sh try-image
  echo "== $archive in podman"
  export "${variable}_IMAGE=$archive"
  tests --ignored image:: --test-threads=1 --show-output
}

for name in "${programs[@]}"; do
  program "$name"
  variable=$(tr a-z- A-Z_ <<<"$name")
  if [ "$what" = image ]; then image; else for arch in "$@"; do static "$arch"; done; fi
done
