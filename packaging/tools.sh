#!/usr/bin/env bash
# Installs the programs that a step needs in addition to Rust where it may (as root, with
# apt-get), and names them otherwise.
#
#   packaging/tools.sh STEP ...
set -euo pipefail

# What must be there, a command or a file, and the Debian package that has it.
needs() {
  local python='python3:python3 /usr/share/doc/python3-venv:python3-venv'
  local certificates=/etc/ssl/certs/ca-certificates.crt:ca-certificates
  local compiler='cmake:cmake make:make gcc:gcc /usr/include/stdio.h:libc6-dev'
  local go="go:golang-go /usr/share/gocode/src/google.golang.org/grpc:golang-google-grpc-dev"
  case $1 in
    # Cargo's linker, and gRPC's C-core.
    build) echo "$compiler g++:g++" ;;
    # A pair of interfaces. Without it a test is skipped, which CI takes for a failure.
    ci) echo ip:iproute2 unshare:util-linux ;;
    # The host's compiler links build scripts; zig does the rest.
    static-rustup) echo "$compiler $python readelf:binutils" ;;
    # A slim container has no certificates, and Cargo downloads.
    static-debian) needs static-rustup
      echo "$certificates" /usr/share/doc/rustc-web:rustc-web /usr/share/doc/cargo-web:cargo-web \
        /usr/lib/rustlib/src/rust/library/std/Cargo.toml:rust-web-src ;;
    image) echo buildah:buildah readelf:binutils python3:python3 ;;
    airgap) echo "$python" git:git xz:xz-utils ;;
    # The registry and containerd would be started as services; lib.sh unpacks them.
    try-airgap) echo python3:python3 skopeo:skopeo runc:runc unshare:util-linux xz:xz-utils ;;
    try-image) echo podman:podman runc:runc skopeo:skopeo ;;
    try-deploy) echo "$python" ;;
    # deploy/try.sh compiles kustomize, and the Go proxy is reached over TLS.
    kustomize) echo go:golang-go "$certificates" ;;
    # Go's libraries are Debian's, too; Python's, node's and tonic's are not.
    interop) echo "$go $python" node:nodejs npm:npm ;;
    # The peer that stands in for upstream's, of Debian's libraries.
    bench-go) echo "$go" /usr/share/gocode/src/k8s.io/klog:golang-k8s-klog-dev \
      /usr/share/gocode/src/github.com/prometheus/client_golang:golang-github-prometheus-client-golang-dev ;;
    # bindgen 0.59 understands no libclang from 16 on.
    bindings) echo /usr/lib/llvm-15/lib/libclang.so.1:libclang1-15 ;;
    guard) echo valgrind:valgrind ;;
    chaos) echo "/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1:libfaketime" ;;
    memcheck) echo valgrind:valgrind strace:strace ;;
    try-emulated) echo qemu-aarch64-static:qemu-user-static ;;
    *) echo "error: '$1' is no step that tools.sh knows" >&2; exit 2 ;;
  esac
}

missing=()
for step in "$@"; do
  wanted=$(needs "$step")
  for need in $wanted; do
    what=${need%%:*} package=${need#*:}
    if [[ $what == /* ]]; then [ -e "$what" ]; else command -v "$what" >/dev/null; fi ||
      missing+=("$package")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ -z "${OFFLINE:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== installing ${missing[*]}"
  apt-get update
  # rustc-web and cargo-web conflict with Debian's rustc, cargo and rustup, which may be
  # wanted; rustup's own installation does not conflict.
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    --no-remove "${missing[@]}"
else
  echo "error: these tools are missing; install them first: apt-get install ${missing[*]}" >&2
  exit 1
fi
