#!/usr/bin/env bash
# Holds the packages to deny.toml with cargo-deny, which is built into target/ where
# it is not installed. `make deny` calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/versions.sh

cargo=${CARGO:-cargo}
root=$PWD/target/cargo-deny
export PATH=$root/bin:$PATH
if [ "$(cargo-deny --version 2>/dev/null)" != "cargo-deny $CARGO_DENY" ]; then
  echo "== building cargo-deny $CARGO_DENY (some minutes)"
  # Without optimisation it is there in half the time, and its work takes a second.
  CARGO_PROFILE_DEV_DEBUG=0 "$cargo" install --debug --locked --root "$root" \
    "cargo-deny@$CARGO_DENY"
fi

"$cargo" deny --locked check bans licenses sources
# Its database is a repository on the network.
if "$cargo" deny fetch db; then
  "$cargo" deny --locked check advisories
else
  echo 'note: the advisory database cannot be reached, so nothing was looked up in it' >&2
fi
