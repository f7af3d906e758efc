#!/usr/bin/env bash
# Builds dist/<program>-linux-<arch>: fully static binaries (musl libc, libc++), stripped and
# checked, with the list of their Rust packages inside; beside them the licence texts and the
# SBOM of what is linked. `make static` calls this.
#
#   packaging/static.sh amd64|arm64|armv7|riscv64
#
# zig is the C and C++ compiler and brings musl; cargo-zigbuild fits it to Cargo. Rust's own musl
# library is rustup's where the target is installed, and else Debian's compiler builds it from
# source, which needs no download from rustup. RUST=debian or RUST=rustup insists on one; what is
# released comes from Debian's.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

arch=${1:-}
architecture "$arch"
selected_programs
source_identity

rust=${RUST:-}
if [ -z "$rust" ]; then
  libraries=$("${RUSTC:-rustc}" --print target-libdir --target "$target" 2>/dev/null || true)
  if compgen -G "$libraries/libstd-*.rlib" >/dev/null; then rust=rustup; else rust=debian; fi
fi
packaging/tools.sh "static-$rust"

# zig compiles musl with a process, and pipes to it, for each of many files.
ulimit -Sn 4096 ||
  refuse 'zig needs 4096 open files; in a container build, add --ulimit nofile=4096:4096'

if [ "$rust" = debian ]; then debian_rust; else export CARGO=${CARGO:-cargo}; fi
cargo_tool cargo-auditable "$CARGO_AUDITABLE"
# In target/, so that nothing is left behind elsewhere.
zig=$PWD/target/zig
venv "$zig" packaging/requirements.txt
export PATH=$zig/bin:$PATH
export CARGO_ZIGBUILD_CACHE_DIR=$zig/wrappers ZIG_GLOBAL_CACHE_DIR=$zig/cache

# The binary has names of source files in its messages. The directories are left out, both
# that of the packages, which Cargo knows, and this one, so that any directory and any user
# make the same binary.
source=$(grpcio_sys)
packages=${source%/*}
[[ $packages$PWD != *[[:space:]]* ]] || refuse "'$packages' and '$PWD' may have no space in their names"

# The linker optimises C and C++ together. Not for riscv64: zig's own compiler-rt names the
# ABI in another form than Clang does, and lld 20 takes that for another ABI ("linking module
# flags 'target-abi'").
lto=-flto
[ "$arch" != riscv64 ] || lto=
# C-core is from 2023: since 1.2.4 musl declares off64_t only on demand, and newer Clangs warn
# about what was right then. C-core throws nothing and catches nothing (Google's C++ has no
# exceptions), so that it needs no tables for unwinding; Rust's own stay, as panics are caught
# by them.
c_flags='-D_LARGEFILE64_SOURCE -Wno-missing-template-arg-list-after-template-kw'
c_flags+=" $lto -ffunction-sections -fdata-sections"
c_flags+=' -fno-exceptions -fno-unwind-tables -fno-asynchronous-unwind-tables'
# The same as at the link: zig builds its C and C++ libraries anew for each size and each kind
# of debug information, and CMake's first checks link, too.
c_flags+=' -Os -s'
c_flags+=" -ffile-prefix-map=$packages/="
name=${target//-/_}
export "CFLAGS_$name=$c_flags" "CXXFLAGS_$name=$c_flags"
# CMake 4 refuses the age of C-core's CMakeLists.txt otherwise.
export CMAKE_POLICY_VERSION_MINIMUM=3.5
if command -v ccache >/dev/null; then
  # ccache cannot see a version of zig's wrapper, which is a Clang.
  sums=$(sha256sum packaging/requirements.txt)
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  export CCACHE_COMPILERTYPE=clang CCACHE_COMPILERCHECK="string:$sums"
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
fi

# A fixed address: there is no dynamic loader that relocates, and a program that relocates
# itself dirties pages (docs/footprint.md). For size, zig's libraries, too.
flags="-C relocation-model=static -C link-arg=-Os ${lto:+-C link-arg=$lto}"
# The last one that fits counts: a source archive has the packages in this directory.
flags+=" --remap-path-prefix=$PWD=/source --remap-path-prefix=$packages=/packages"
flags+=" -C link-arg=-Wl,-z,max-page-size=$page"
# cargo-auditable writes Cargo's own list of what is linked (sbom) into each program; its other
# source, `cargo metadata`, adds what only tests turn on. `cargo auditable` would only give
# Cargo these two variables, with the wrapper's whole path, which Cargo's hashes have in them:
# another directory would make other bytes.
#
# Cargo calls sbom unstable, and RUSTC_BOOTSTRAP permits it.
export RUSTC_BOOTSTRAP=1 CARGO_BUILD_SBOM=true
export RUSTC_WORKSPACE_WRAPPER=cargo-auditable CARGO_AUDITABLE_ORIG_ARGS={}
options=(-Zsbom)
if [ "$rust" = debian ]; then
  # zig brings the start files and libunwind. No backtraces: a stripped binary has no names
  # to show in them.
  flags+=' -C link-self-contained=no'
  options+=(-Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind)
  found=$("$RUSTC" --version | cut -d' ' -f2)
  [ "$found" = "$RUST_TRIED" ] ||
    echo "note: this was tried with Rust $RUST_TRIED; Debian has $found now" >&2
fi
export RUSTFLAGS=$flags
case $arch in armv7 | riscv64) export RUSTC_WRAPPER=$PWD/packaging/bindings.sh ;; esac

echo "== building for $target with $rust's Rust (the first time gRPC compiles for some minutes)"
# Independently of Cargo's settings.
export CARGO_TARGET_DIR=$PWD/target
mkdir -p dist
# A Cargo for each program: one for all would give the features that a program asks of a package
# to the others, whose bytes would depend on what is built beside them, and with Cargo 1.96's
# feature-unification="package" a program can have one package twice. C-core is still compiled
# once, because what it is built with is the same for each.
for name in "${programs[@]}"; do
  program "$name"
  architecture "$arch"
  cargo-zigbuild zigbuild --profile dist --locked --target "$target" \
    --package "$package" --bin "$name" "${options[@]}"
  binary=dist/$name-linux-$arch
  install -m 755 "target/$target/dist/$name" "$binary.new"
  packaging/check-binary.sh "$name" "$arch" "$binary.new"
  mv "$binary.new" "$binary"
  built=()
  for other in $ARCHITECTURES; do
    (must_be_built "$name" "$other") 2>/dev/null || continue
    architecture "$other"
    built+=("$target=dist/$name-linux-$other")
  done
  packaging/parts.py "$packages" "$name" "$package" "${built[@]}"
  echo "built $binary ($(stat -c %s "$binary") bytes)"
done
