#!/usr/bin/env bash
# Builds dist/livenessprobe-linux-<arch>: one fully static binary (musl libc,
# libc++), stripped and checked; beside it the licence texts and the SBOM of what is
# linked. `make static` calls this.
#
#   packaging/static.sh amd64|arm64|armv7|riscv64
#
# zig is the C and C++ compiler and brings musl; cargo-zigbuild fits it to Cargo.
# Rust's own musl library is rustup's where the target is installed, and else is
# built from source by Debian's compiler, which needs no download from rustup.
# RUST=debian or RUST=rustup insists on one; what is released comes from Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."

. packaging/versions.sh
. packaging/architectures.sh
. packaging/grpcio-sys.sh
. packaging/source.sh

arch=${1:-}
architecture "$arch"

rustup_has() {
  local libraries
  libraries=$("${RUSTC:-rustc}" --print target-libdir --target "$target" 2>/dev/null) &&
    compgen -G "$libraries/libstd-*.rlib" >/dev/null
}
rust=${RUST:-}
case $rust in
  debian | rustup) ;;
  '') if rustup_has; then rust=rustup; else rust=debian; fi ;;
  *) echo "error: RUST=$rust is neither debian nor rustup" >&2; exit 2 ;;
esac
packaging/tools.sh "static-$rust"

# zig compiles musl with a process, and pipes to it, for each of many files.
FILES_NEEDED=4096
files=$(ulimit -Hn)
if [ "$files" != unlimited ] && [ "$files" -lt "$FILES_NEEDED" ]; then
  echo "error: zig needs $FILES_NEEDED open files, and this shell may have $files (ulimit -Hn);" \
    "in a container build, add --ulimit nofile=$FILES_NEEDED:$FILES_NEEDED" >&2
  exit 1
fi
ulimit -Sn "$files"

# In target/, so that nothing is left behind elsewhere.
tools=$PWD/target/zig
packaging/venv.sh "$tools" packaging/requirements.txt
export PATH=$tools/bin:$PATH
export CARGO_ZIGBUILD_CACHE_DIR=$tools/wrappers ZIG_GLOBAL_CACHE_DIR=$tools/cache

case $rust in
  debian) export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc ;;
  rustup) export CARGO=${CARGO:-cargo} ;;
esac
# Names of source files are in the binary, in its messages. Where they lie is not, so
# that any directory and any user make the same one: not that of the packages, which
# Cargo knows, nor this one.
source=$(grpcio_sys)
packages=${source%/*}
case $packages$PWD in
  *[[:space:]]*) echo "error: '$packages' and '$PWD' may have no space in their names" >&2; exit 1 ;;
esac

# C and C++ optimise each other when they are linked. Not for riscv64: what zig's own
# compiler-rt is made of names the ABI in another form than Clang does, and lld 20 takes
# that for another ABI ("linking module flags 'target-abi'").
lto=-flto
[ "$arch" != riscv64 ] || lto=
# C-core is from 2023: musl since 1.2.4 declares off64_t only on demand, and
# newer Clangs warn about what was right then. It throws nothing and catches
# nothing (Google's C++ has no exceptions), so tables for unwinding it would only
# be carried around; Rust's own stay, panics are caught by them.
c_flags='-D_LARGEFILE64_SOURCE -Wno-missing-template-arg-list-after-template-kw'
c_flags+=" $lto -ffunction-sections -fdata-sections"
c_flags+=' -fno-exceptions -fno-unwind-tables -fno-asynchronous-unwind-tables'
# As the link is told: zig builds its C and C++ libraries anew for a size, and for what
# debuggers need, that differ from those before, and CMake's first checks link, too.
c_flags+=' -Os -s'
c_flags+=" -ffile-prefix-map=$packages/="
name=${target//-/_}
export "CFLAGS_$name=$c_flags" "CXXFLAGS_$name=$c_flags"
# CMake 4 refuses the age of C-core's CMakeLists.txt otherwise.
export CMAKE_POLICY_VERSION_MINIMUM=3.5
if command -v ccache >/dev/null; then
  # zig's wrapper has no version that ccache could see, and is a Clang.
  sums=$(sha256sum packaging/requirements.txt)
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  export CCACHE_COMPILERTYPE=clang CCACHE_COMPILERCHECK="string:$sums"
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
fi

# Without a dynamic loader there is nothing that relocates; a fixed address saves
# the pages that doing it ourselves would dirty (docs/footprint.md).
# For size, zig's libraries, too.
flags="-C relocation-model=static -C link-arg=-Os ${lto:+-C link-arg=$lto}"
# The last one that fits counts: a source archive has the packages in this directory.
flags+=" --remap-path-prefix=$PWD=/source --remap-path-prefix=$packages=/packages"
flags+=" -C link-arg=-Wl,-z,max-page-size=$page"
options=()
if [ "$rust" = debian ]; then
  export RUSTC_BOOTSTRAP=1
  # zig brings the start files and libunwind. No backtraces: a stripped binary
  # has no names to show in them.
  flags+=' -C link-self-contained=no'
  options+=(-Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind)
  found=$("$RUSTC" --version | cut -d' ' -f2)
  [ "$found" = "$RUST_TRIED" ] ||
    echo "note: this was tried with Rust $RUST_TRIED; Debian has $found now" >&2
fi
export RUSTFLAGS=$flags
case $arch in armv7 | riscv64) export RUSTC_WRAPPER=$PWD/packaging/bindings.sh ;; esac

echo "== building for $target with $rust's Rust (the first time gRPC compiles for some minutes)"
# Wherever Cargo's settings would have it.
export CARGO_TARGET_DIR=$PWD/target
cargo-zigbuild zigbuild --profile dist --locked --target "$target" \
  --bin livenessprobe "${options[@]}"

mkdir -p dist
binary=dist/livenessprobe-linux-$arch
install -m 755 "target/$target/dist/livenessprobe" "$binary.new"
packaging/check-binary.sh "$arch" "$binary.new"
mv "$binary.new" "$binary"
packaging/licences.py dist/licenses "$tools"
packaging/sbom.py "dist/csi-livenessprobe-$version.cdx.json" "$tools"
echo "built $binary ($(stat -c %s "$binary") bytes)"
