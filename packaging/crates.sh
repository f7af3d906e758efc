#!/usr/bin/env bash
# Counts the packages that the product is built from, build scripts' included, and
# fails where they are many: each is somebody to be trusted.
set -euo pipefail
cd "$(dirname "$0")/.."

most=59
count=$("${CARGO:-cargo}" tree --locked --offline --edges normal,build --prefix none --format '{p}' |
  sed 's/ (.*//' | sort -u | wc -l)
echo "$count packages, this one included; at most $most are allowed"
[ "$count" -le "$most" ] || {
  echo 'error: too many packages in the build tree; see cargo tree --edges normal,build' >&2
  exit 1
}
