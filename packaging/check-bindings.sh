#!/usr/bin/env bash
# Shows that packaging/bindings.sh gives grpcio-sys what its own feature _gen-bindings
# would: makes the bindings of each architecture with the bindgen that grpcio-sys asks
# for, by its headers and with zig's C library, and compares. It takes two minutes, and
# is called by hand when grpcio-sys has another version.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/versions.sh
. packaging/architectures.sh
. packaging/grpcio-sys.sh

root=$PWD/target/bindgen
packaging/venv.sh target/zig packaging/requirements.txt
packaging/venv.sh "$root/python" packaging/requirements-bindings.txt
if [ "$("$root/bin/bindgen" --version 2>/dev/null)" != "bindgen $BINDGEN" ]; then
  cargo install --locked --root "$root" --no-default-features --features runtime,clap \
    "bindgen@$BINDGEN"
fi
zig=$(echo "$PWD"/target/zig/lib/python3*/site-packages/ziglang/lib)
LIBCLANG_PATH=$(echo "$root"/python/lib/python3*/site-packages/clang/native)
export LIBCLANG_PATH

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
  # zig's names of what there is for one processor, and for its family.
  case $arch in
    amd64) libc=x86_64-linux-musl kernel=x86-linux-any ;;
    arm64) libc=aarch64-linux-musl kernel=aarch64-linux-any ;;
    armv7) libc=arm-linux-musl kernel=arm-linux-any ;;
    riscv64) libc=riscv64-linux-musl kernel=riscv-linux-any ;;
  esac
  "$root/bin/bindgen" "${options[@]}" grpc_wrap.cc -- "${headers[@]}" \
    -xc++ -I./grpc/include -std=c++11 "--target=${target/riscv64gc/riscv64}" -nostdinc \
    -isystem "$zig/include" -isystem "$zig/libc/include/$libc" \
    -isystem "$zig/libc/include/generic-musl" -isystem "$zig/libc/include/$kernel" \
    -isystem "$zig/libc/include/any-linux-any" >"$root/$arch.rs"
  case $arch in
    amd64 | arm64) cp bindings/bindings.rs "$root/given.rs" ;;
    *) CARGO_MANIFEST_DIR=$PWD BINDING_PATH=$root/given.rs \
      "$OLDPWD/packaging/bindings.sh" true --crate-name grpcio_sys --target "$target" ;;
  esac
  cmp "$root/given.rs" "$root/$arch.rs" || {
    echo "error: grpcio-sys' bindings for $arch are others than packaging/bindings.sh gives" >&2
    exit 1
  }
  echo "$arch: $(wc -l <"$root/$arch.rs") lines, the same"
done
