#!/usr/bin/env bash
# Gives grpcio-sys its bindings where it brings none: armv7 and riscv64. Cargo calls
# this in rustc's stead (RUSTC_WRAPPER, packaging/static.sh).
#
#   packaging/bindings.sh RUSTC ARGUMENT ...
#
# grpcio-sys has one file of bindings for x86_64 and aarch64. For others its build
# script names a file that only its feature _gen-bindings makes, with bindgen 0.59. That
# works with a libclang before 16 alone, and is some twenty packages more that a build has
# to trust. What it makes is the file for x86_64, but for one number on 32 bits:
# packaging/check-bindings.sh shows it.
set -euo pipefail

if [[ " $* " == *' --crate-name grpcio_sys '* ]]; then
  ours=$CARGO_MANIFEST_DIR/bindings/bindings.rs
  case " $* " in
    *' --target riscv64gc-'*) cp "$ours" "$BINDING_PATH" ;;
    *' --target armv7-'*)
      # GRPC_SLICE_INLINED_SIZE: three pointers but for one byte (grpc/impl/slice_type.h).
      inlined='pub bytes: \[u8; 23usize\],'
      [ "$(grep --count "$inlined" "$ours")" = 1 ] || {
        echo "error: $ours is not what packaging/bindings.sh knows" >&2
        exit 1
      }
      sed "s/$inlined/pub bytes: [u8; 11usize],/" "$ours" >"$BINDING_PATH"
      ;;
  esac
fi
exec "$@"
