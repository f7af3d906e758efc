#!/usr/bin/env bash
# Holds the packages that the programs are built from to their policies.
#
#   packaging/crates.sh count   their number, build scripts' included: each has to be trusted
#   packaging/crates.sh deny    deny.toml, by cargo-deny, which is built into target/
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cargo=${CARGO:-cargo}

if [ "$1" = count ]; then
  for name in $PROGRAMS; do
    program "$name"
    # Packages of ours have a path.
    number=$("$cargo" tree --locked --offline --package "$package" --edges normal,build \
      --prefix none --format '{p}' | grep -v ' (/' | cut -d' ' -f1,2 | sort -u | wc -l)
    echo "$name: $number packages of others; at most $crates_most are allowed"
    [ "$number" -le "$crates_most" ] ||
      refuse "too many packages in $name; see cargo tree --package $package --edges normal,build"
  done
  exit
fi

cargo_tool cargo-deny "$CARGO_DENY"
# deny.toml has rows for packages of controllers, which are still to come.
"$cargo" deny --locked check --allow unused-wrapper bans licenses sources
# Its database is a repository on the network.
if "$cargo" deny fetch db; then
  "$cargo" deny --locked check advisories
else
  echo 'note: the advisory database cannot be reached, so nothing was looked up in it' >&2
fi
