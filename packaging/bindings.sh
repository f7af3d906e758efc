#!/usr/bin/env bash
# Gives grpcio-sys its bindings where it brings none: armv7 and riscv64. Cargo calls this in
# rustc's place (RUSTC_WRAPPER, packaging/static.sh).
#
#   packaging/bindings.sh RUSTC ARGUMENT ...
#   packaging/bindings.sh check
#
# grpcio-sys has one file of bindings for x86_64 and aarch64. For others its build script names
# a file that only its feature _gen-bindings makes, with bindgen 0.59, which works with a
# libclang before 16 alone and is some twenty packages more that a build has to trust. The file
# that it makes is the one for x86_64, but for one number on 32 bits.
#
# `check` shows that, by hand when grpcio-sys has another version: it makes the bindings of each
# architecture with the bindgen that grpcio-sys asks for, of its headers and with zig's C
# library, and compares. It takes two minutes.
set -euo pipefail

# give TARGET DIRECTORY FILE writes the bindings of grpcio-sys in DIRECTORY for a target that
# it has none for.
give() {
  local given=$2/bindings/bindings.rs
  case $1 in
    riscv64gc-*) cp "$given" "$3" ;;
    armv7-*)
      # GRPC_SLICE_INLINED_SIZE: three pointers but for one byte (grpc/impl/slice_type.h).
      local inlined='pub bytes: \[u8; 23usize\],'
      [ "$(grep --count "$inlined" "$given")" = 1 ] ||
        { echo "error: $given is not what packaging/bindings.sh knows" >&2; exit 1; }
      sed "s/$inlined/pub bytes: [u8; 11usize],/" "$given" >"$3"
      ;;
  esac
}

if [ "${1:-}" != check ]; then
  if [[ " $* " == *' --crate-name grpcio_sys '* && " $* " =~ ' --target '([^ ]+) ]]; then
    give "${BASH_REMATCH[1]}" "$CARGO_MANIFEST_DIR" "$BINDING_PATH"
  fi
  exec "$@"
fi

. "$(dirname "$0")/lib.sh"
root=$PWD/target/bindgen
packaging/tools.sh bindings
venv target/zig packaging/requirements.txt
cargo_tool bindgen "$BINDGEN" --no-default-features --features runtime,clap
zig=$(echo "$PWD"/target/zig/lib/python3*/site-packages/ziglang/lib)
export LIBCLANG_PATH=/usr/lib/llvm-15/lib

source=$(grpcio_sys)
cd "$source"
# As its build.rs does: the headers that declare something, then the wrapper.
headers=()
while read -r header; do headers+=(-include "$header"); done < <(
  grep --recursive --files-with-matches --extended-regexp 'GRPCAPI|GPRAPI' ./grpc/include | LC_ALL=C sort)
options=(--size_t-is-usize --disable-header-comment --no-layout-tests --impl-debug
  --default-enum-style rust --constified-enum-module grpc_status_code --blocklist-file '^/.*')
for prefix in grpc gpr grpcwrap; do options+=(--allowlist-function "\\b${prefix}_.*" --allowlist-type "\\b${prefix}_.*"); done
options+=(--allowlist-var '\bGRPC_.*' --allowlist-type '\bcensus_context.*'
  --allowlist-type '\bverify_peer_options.*')
for name in mu cv once; do options+=(--blocklist-function "\\bgpr_${name}_.*" --blocklist-type "gpr_$name"); done

for arch in $ARCHITECTURES; do
  architecture "$arch"
  # zig's name of the processor's family.
  case $arch in amd64) family=x86 ;; riscv64) family=riscv ;; *) family=$machine ;; esac
  bindgen "${options[@]}" grpc_wrap.cc -- "${headers[@]}" \
    -xc++ -I./grpc/include -std=c++11 "--target=${target/riscv64gc/riscv64}" -nostdinc \
    -isystem "$zig/include" -isystem "$zig/libc/include/$machine-linux-musl" \
    -isystem "$zig/libc/include/generic-musl" -isystem "$zig/libc/include/$family-linux-any" \
    -isystem "$zig/libc/include/any-linux-any" >"$root/$arch.rs"
  cp bindings/bindings.rs "$root/given.rs"
  give "$target" . "$root/given.rs"
  cmp "$root/given.rs" "$root/$arch.rs" ||
    refuse "grpcio-sys' bindings for $arch are others than packaging/bindings.sh gives"
  echo "$arch: $(wc -l <"$root/$arch.rs") lines, the same"
done
