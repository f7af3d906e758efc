#!/usr/bin/env bash
# Fuzzes each target, or those named, for so many seconds, and prints how many inputs it tried.
# The first finding ends it.
#
#   fuzz/run.sh SECONDS [TARGET ...]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
cargo=${CARGO:-cargo}
# A head is at most 8 KiB; the rest is for the bytes behind it.
longest=16384

. packaging/lib.sh
"$cargo" fuzz --version >/dev/null 2>&1 || {
  echo "error: cargo-fuzz is missing; install it: cargo install --locked cargo-fuzz@$CARGO_FUZZ" >&2
  exit 1
}
# The sanitizers need a nightly, or RUSTC_BOOTSTRAP, which unlocks them in the stable compiler.
toolchain=()
if "$cargo" +nightly --version >/dev/null 2>&1; then
  toolchain=(+nightly)
else
  export RUSTC_BOOTSTRAP=1
fi

if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <("$cargo" fuzz list); fi
echo "== building ${targets[*]} with coverage counters and AddressSanitizer"
for target in "${targets[@]}"; do "$cargo" "${toolchain[@]}" fuzz build "$target"; done

for target in "${targets[@]}"; do
  echo "== $target, for $seconds s"
  log=fuzz/target/$target.log
  # New inputs are kept apart from the committed ones.
  found=fuzz/target/corpus/$target
  mkdir -p "$found"
  leaks=1
  # LeakSanitizer reports the memory of a thread that starts at the moment of its check. The
  # soak looks for what a connection leaves behind.
  [ "$target" != front ] || leaks=0
  "$cargo" "${toolchain[@]}" fuzz run "$target" "$found" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len="$longest" -timeout=30 -detect_leaks="$leaks" \
    -print_final_stats=1 \
    >"$log" 2>&1 || {
    tail -40 "$log"
    echo "error: $target has a finding, see above" >&2
    exit 1
  }
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  echo "$target: $executed executions, $covered edges, no finding"
done
