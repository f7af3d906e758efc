#!/usr/bin/env bash
# Runs the example driver and the sidecar beside it, as in a pod. It shows the sidecar's answers
# and then serves until Ctrl-C; ONCE=1 ends it after the answers. `make run` builds both first.
#
# It needs bash alone, because a minimal Debian has no curl.
set -euo pipefail
cd "$(dirname "$0")/.."

host=127.0.0.1 port=9808
if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then
  echo "error: something listens on $host:$port already; stop it first" >&2
  exit 1
fi
directory=$(mktemp -d)
driver= sidecar=

finish() {
  trap '' INT TERM
  for process in $sidecar $driver; do
    kill "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  rm -rf "$directory"
}
trap finish EXIT
trap 'exit 0' INT TERM

get() {
  exec 3<>"/dev/tcp/$host/$port" || return 1
  printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$host" >&3
  cat <&3
  exec 3>&-
}

show() {
  printf '\n$ curl -i http://%s:%s%s\n' "$host" "$port" "$1"
  get "$1" | tr -d '\r'
  echo
}

socket=$directory/csi.sock
target/release/examples/csi_driver --address="$socket" >/dev/null &
driver=$!
target/release/livenessprobe --csi-address="$socket" --http-endpoint="$host:$port" &
sidecar=$!

# The sidecar answers as soon as it listens, and waits for the driver.
until (get /healthz) >/dev/null 2>&1; do
  if ! kill -0 "$sidecar" 2>/dev/null; then
    echo "error: the sidecar did not start; its log is above" >&2
    exit 1
  fi
  sleep 0.05
done

show /healthz
show '/healthz?verbose'
show /metrics

if [ -n "${ONCE:-}" ]; then exit 0; fi
echo
echo "Serving on http://$host:$port/healthz until Ctrl-C."
echo "Stop the driver to see it fail: kill $driver"
wait "$sidecar"
