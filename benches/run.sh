#!/usr/bin/env bash
# Measures the binary that ships, and prints what it takes or compares that with the record.
# `make bench` and `make guard` call this; benches/footprint/settings.rs has all variables but
# BINARY and PEER.
#
#   benches/run.sh measure|guard
set -euo pipefail

# Relative paths of BINARY and PEER are those of the caller.
BINARY=${BINARY:+$(realpath --canonicalize-missing -- "$BINARY")}
[ "${PEER:-go}" = go ] || PEER=$(realpath --canonicalize-missing -- "$PEER")
. "$(dirname "$0")/../packaging/lib.sh"

mode=${1:-}
case $mode in measure | guard) ;; *)
  echo "error: '$mode' is none of measure and guard" >&2
  exit 2
esac

if [ -z "$BINARY" ]; then
  here=
  for arch in $ARCHITECTURES; do
    architecture "$arch"
    # A 32-bit arm calls itself armv7l.
    case $(uname -m) in "$machine" | "$arch"l) here=$arch ;; esac
  done
  [ -n "$here" ] || {
    echo "error: nothing is built for this machine, $(uname -m); give BINARY=/path" >&2
    exit 1
  }
  # In a subshell, because the time and the revision that it exports would compile C-core anew.
  (
    source_identity
    must_be_built livenessprobe "$here"
  )
  BINARY=$PWD/dist/livenessprobe-linux-$here
fi
export BINARY

if [ "$mode" = guard ]; then
  packaging/tools.sh guard
elif [ "${PEER:-}" = go ]; then
  packaging/tools.sh bench-go
  PEER=$PWD/target/bench/go-peer
  echo '== building the stand-in on grpc-go' >&2
  go_build benches/go_peer "$PEER"
  version=$("$PEER" --version)
  export PEER PEER_NAME="Go stand-in (${version%%,*})"
fi

"${CARGO:-cargo}" bench --locked --bench footprint -- "$mode"
