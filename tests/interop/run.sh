#!/usr/bin/env bash
# Tries the sidecar, which is built on C-core, against servers on other gRPC libraries: builds
# a driver on each library that CSI drivers use, and runs the tests that need a driver against
# it. `make interop` calls this.
#
#   tests/interop/run.sh [go python node tonic]
set -euo pipefail
. "$(dirname "$0")/../../packaging/lib.sh"

# The tests that start a driver and probe it. The others are about HTTP clients, the sidecar's
# own process, or bytes that no library sends.
tests=(http:: faults:: sharing:: socket_life:: addresses:: metrics:: logs:: signals:: interop::)
# The two tests with a driver in the suite that needs the whole machine.
alone=(faulty_driver::a_driver_killed_in_mid_call_two_hundred_times_is_reported_at_once
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
  # npm installs next to package.json, and everything that is built belongs in target/.
  local directory=$target/node
  mkdir -p "$directory"
  cp "$source"/node/{driver.js,package.json,package-lock.json,.npmrc} "$directory"
  # It is written last, so that an install that broke off is repeated.
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
  # cargo test succeeds with a name that matches no test.
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
  export CSI_DRIVER=$driver
  # Tests of what a library does not support; the summary names them.
  without=()
  case $server in
    # It loses an abstract address, or fills it up with null bytes, which makes it another
    # address (unix(7)).
    node) without=(addresses::an_abstract_address_reaches_the_driver) ;;
  esac
  run "${tests[@]}" "${without[@]/#/--skip=}"
  run --exact "${alone[@]}" --test-threads=1
  summary+=("passed with $version, in $((SECONDS - began)) s${without:+, without ${without[*]}}")
done
echo
printf '%s\n' "${summary[@]}"
