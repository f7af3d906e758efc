#!/usr/bin/env bash
# Tries the sidecar against gRPC servers that are not the C-core it is made of:
# builds a driver on each library that CSI drivers use, and runs the tests that
# need a driver against it. `make interop` calls this.
#
#   tests/interop/run.sh [go python node tonic]
set -euo pipefail
. "$(dirname "$0")/../../packaging/lib.sh"

# Where a driver is started to be asked. The rest is about HTTP clients, the
# sidecar's own process or bytes that no library sends.
tests=(http:: faults:: sharing:: socket_life:: addresses:: metrics:: logs:: signals:: interop::)
# Of the suite that has the machine for itself, those two that start one.
alone=(faulty_driver::a_driver_killed_in_mid_call_two_hundred_times_is_told_of_at_once
  faulty_driver::a_reply_of_300_mb_is_not_held)

source=tests/interop target=target/interop
mkdir -p "$target"

build_go() {
  go_build "$source/go" "$target/go/driver"
  driver=$target/go/driver
}

build_python() {
  venv "$target/python" "$source/python/requirements.txt"
  driver="$target/python/bin/python $source/python/driver.py"
}

build_node() {
  # npm installs beside package.json, and what is built belongs in target/.
  local directory=$target/node
  mkdir -p "$directory"
  cp "$source"/node/{driver.js,package.json,package-lock.json,.npmrc} "$directory"
  # Written last: what broke off half-way is installed anew.
  local stamp=$directory/installed.json
  if ! cmp --silent "$directory/package-lock.json" "$stamp"; then
    (cd "$directory" && npm ci --ignore-scripts --no-audit --no-fund)
    cp "$directory/package-lock.json" "$stamp"
  fi
  driver="node $directory/driver.js"
}

build_tonic() {
  local crate=(--manifest-path "$source/tonic/Cargo.toml")
  local options=(--release --locked "${crate[@]}" --target-dir "$target/tonic")
  cargo fmt --check "${crate[@]}"
  cargo clippy "${options[@]}" -- --deny warnings
  cargo build "${options[@]}"
  driver=$target/tonic/release/tonic-driver
}

run() {
  cargo test --release --locked --test integration -- "$@"
}

servers=("$@")
[ $# -gt 0 ] || servers=(go python node tonic)
for server in "${servers[@]}"; do
  case $server in go | python | node | tonic) ;; *)
    echo "error: '$server' is none of go, python, node and tonic" >&2
    exit 2
  esac
done
packaging/tools.sh interop

names=$(run --list)
for name in "${tests[@]}" "${alone[@]}"; do
  # A name that fits no test would pass.
  case $name in *::) ;; *) name="$name: test\$" ;; esac
  grep -q "^$name" <<<"$names" || { echo "error: no test is named $name" >&2; exit 1; }
done

summary=()
for server in "${servers[@]}"; do
  began=$SECONDS
  echo "== building the driver on $server"
  "build_$server"
  version=$($driver --version)
  echo "== tests with $version"
  export LIVENESSPROBE_DRIVER=$driver
  # What a library has not got at all; it is told at the end.
  without=()
  case $server in
    # It loses an abstract address, or fills it up with null bytes, which makes it
    # another (unix(7)).
    node) without=(addresses::an_abstract_address_reaches_the_driver) ;;
  esac
  run "${tests[@]}" "${without[@]/#/--skip=}"
  run --exact "${alone[@]}" --test-threads=1
  summary+=("passed with $version, in $((SECONDS - began)) s${without:+, without ${without[*]}}")
done
echo
printf '%s\n' "${summary[@]}"
