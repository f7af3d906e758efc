# What the scripts of this project have in common. Each of them sources this file, which
# also changes to the project's directory.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The versions of what builds and checks this project. Cargo.lock pins what the product is
# made of; what a step installs from Debian is what Debian has.

# The oldest Rust, of rustup's or Debian's; Cargo.toml has it as rust-version.
RUST_LEAST=1.93
# Debian 12's rustc-web, which makes what is released. Debian's archive keeps one version
# at a time, so `make static` mentions another one and does not refuse it.
RUST_TRIED=1.96.0
# The C and C++ compiler of what is released, and what fits it to Cargo;
# requirements.txt has their digests.
ZIG=0.15.2
CARGO_ZIGBUILD=0.24.0
# Writes the list of Rust packages into a program, where scanners look for it.
CARGO_AUDITABLE=0.7.7
# The fuzzer, and the policy of deny.toml.
CARGO_FUZZ=0.13.2
CARGO_DENY=0.20.2
# The bindgen that grpcio-sys asks for.
BINDGEN=0.59.2

# The version of all of them.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)

# The programs of this workspace. Each one's name is that of its binary, of its file in the
# image's root, which is the entrypoint, and of the links to it in packaging/link/. A further
# program needs a row below, such a link, and a stage with its entrypoint in the Containerfile.
PROGRAMS='livenessprobe'

# program NAME sets, for one of these:
#   package     Cargo's package, after which the image and the SBOM are named
#   description what it is, in the words of its Cargo.toml
#   size_most   the size that the file may have, in bytes. Each program is far below; a
#               part of C-core that is linked again (crates/csi/linked/plugins.rs) is not.
#   crates_most how many packages of others it may be built from
program() {
  case $1 in
    livenessprobe) package=csi-livenessprobe size_most=2936012 crates_most=58
      description='A small, sturdy liveness sidecar for Kubernetes CSI drivers' ;;
    *) refuse "'$1' is not a program of this project; give one of: $PROGRAMS" ;;
  esac
}

# The architectures of a release, by the names that files have: the names of the platforms
# without "linux" and "/".
ARCHITECTURES='amd64 arm64 armv7 riscv64'

# architecture NAME sets, for one of these:
#   target    Rust's name
#   platform  OCI's
#   machine   what `uname -m` and qemu call it
#   elf       what readelf calls it
#   page      the largest page of its kernels, in bytes
architecture() {
  case $1 in
    amd64) target=x86_64-unknown-linux-musl platform=linux/amd64
      machine=x86_64 elf=X86-64 page=4096 ;;
    # Raspberry Pi 5 has pages of 16 KiB, and RHEL once had pages of 64 KiB.
    arm64) target=aarch64-unknown-linux-musl platform=linux/arm64
      machine=aarch64 elf=AArch64 page=65536 ;;
    # A 64-bit kernel also runs it, with the pages that the kernel has.
    armv7) target=armv7-unknown-linux-musleabihf platform=linux/arm/v7
      machine=arm elf=ARM page=65536 ;;
    riscv64) target=riscv64gc-unknown-linux-musl platform=linux/riscv64
      machine=riscv64 elf=RISC-V page=4096 ;;
    *) refuse "'$1' is not an architecture of a release; give one of: $ARCHITECTURES" ;;
  esac
}

refuse() { echo "error: $*" >&2; exit 1; }

# selected_programs sets `programs` to those that PROGRAM names, or to all where it is not given.
selected_programs() {
  local name
  read -ra programs <<<"${PROGRAM:-$PROGRAMS}"
  for name in "${programs[@]}"; do program "$name"; done
}

# selected_architectures ARCH ... sets `platforms`.
selected_architectures() {
  local arch
  platforms=()
  for arch in "$@"; do
    architecture "$arch"
    platforms+=("$platform")
  done
}

# source_identity exports REVISION, the commit, and SOURCE_DATE_EPOCH, the time of that commit in
# seconds since 1970.
#
# Where the environment does not give them, they come from git, or from the source archive that
# this directory was unpacked from. All files that are made have this one time, so that the same
# source makes the same bytes (https://reproducible-builds.org/docs/source-date-epoch/). A build
# with another time compiles C-core anew, so tests do not call this.
source_identity() {
  local revision epoch
  read -r revision epoch <packaging/commit.txt
  if [[ $revision == \$Format* ]]; then
    # Where git refuses, as in a checkout of another user, it prints the reason.
    revision=$(git rev-parse HEAD || echo unknown)
    epoch=$(git log -1 --format=%ct || echo 0)
  fi
  export REVISION=${REVISION:-$revision} SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$epoch}
}

# Refuses a directory that is not the top of a git checkout: git would answer for a
# repository around an unpacked archive.
must_be_checkout() {
  [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ] ||
    refuse "$PWD is not a git checkout, which this step needs"
}

must_be_clean() {
  local changes
  must_be_checkout
  changes=$(git status --porcelain --untracked-files=all)
  [ -z "$changes" ] ||
    refuse "the checkout has changes, of $(head -1 <<<"$changes"); commit them first"
}

# must_be_built PROGRAM ARCH ... refuses a binary that is not in dist/, or is not of this
# commit, of which build.rs writes the first twelve digits into it.
must_be_built() {
  local name=$1 arch binary
  for arch in "${@:2}"; do
    binary=dist/$name-linux-$arch
    [ -f "$binary" ] || refuse "there is no $binary; run: make static ARCH=$arch"
    grep --quiet --binary-files=text --fixed-strings "${REVISION:0:12}" "$binary" ||
      refuse "$binary is not of revision ${REVISION:0:12}; run: make static ARCH=$arch"
  done
}

# archive DIRECTORY NAME ... prints a tar archive of these that is the same wherever and
# whenever it is made: sorted, as of SOURCE_DATE_EPOCH, owned by root, with no mode but
# whether a file may be run.
archive() {
  tar --create --sort=name --format=ustar --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" --directory "$@"
}

# sums DIRECTORY [OPTION ...] writes the digests of the files that find lists there into
# SHA256SUMS, and signs them, if there is a key.
sums() (
  cd "$1"
  mapfile -d '' -t files < <(find . "${@:2}" -type f -printf '%P\0' | LC_ALL=C sort --zero-terminated)
  sha256sum "${files[@]}" >SHA256SUMS
  [ -z "${SIGN_KEY:-}" ] ||
    gpg --batch --yes --local-user "$SIGN_KEY" --armor --detach-sign SHA256SUMS
)

# venv DIRECTORY REQUIREMENTS makes a virtual environment of Python's with pinned packages,
# unless it is there. The stamp is written last, so that an installation that was
# interrupted is made anew.
venv() {
  local directory=$1 requirements=$2 stamp=$1/requirements.txt
  if cmp --silent "$requirements" "$stamp"; then return; fi
  # pip may be pointed at a directory of what it would download, PIP_FIND_LINKS.
  [ -z "${OFFLINE:-}" ] || export PIP_NO_INDEX=1
  echo "== installing what $requirements names"
  rm -rf "$directory"
  python3 -m venv "$directory"
  "$directory/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
  cp "$requirements" "$stamp"
}

# cargo_tool NAME VERSION OPTION ... puts a program of crates.io on PATH, at this version.
# It is built into target/ where it is not installed: without optimisation, which is ready in
# half the time, and the program's own work takes a second.
cargo_tool() {
  PATH=$PWD/target/$1/bin:$PATH
  # Cargo has a list of what it has installed there, and asks no network where it is on it.
  CARGO_PROFILE_DEV_DEBUG=0 "${CARGO:-cargo}" install --quiet --debug --locked \
    --root "$PWD/target/$1" "${@:3}" "$1@$2"
}

# debian_rust has Cargo and rustc be Debian's, which make what is released.
debian_rust() { export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc; }

# grpcio_sys prints the directory in which Cargo has the source of grpcio-sys.
grpcio_sys() {
  "${CARGO:-cargo}" metadata --locked --format-version=1 |
    grep --only-matching '[^"]*/grpcio-sys-[^"/]*/Cargo.toml' | sort --unique | xargs dirname
}

# unpack PACKAGE PROGRAM puts a program on PATH where it is not: Debian's, of a package that starts
# a server when it is installed, which a test should not do.
unpack() {
  local directory=$PWD/target/debian/$1
  PATH+=:$directory/usr/bin
  if command -v "$2" >/dev/null; then return; fi
  [ -z "${OFFLINE:-}" ] || refuse "OFFLINE=1, and there is no $2; put one on PATH"
  echo "== unpacking $2, of Debian's package $1"
  rm -rf "$directory" "$directory.new"
  mkdir -p "$directory.new"
  (
    cd "$directory.new"
    # apt's own user may not write here, and as root there is no need of it.
    download() { apt-get -qq -o APT::Sandbox::User=root download "$1"; }
    # The lists may be missing, or name a version that is no longer there.
    download "$1" || { apt-get -qq update && download "$1"; }
    dpkg-deb --extract ./*.deb .
  )
  mv "$directory.new" "$directory"
}

# go_build DIRECTORY PROGRAM builds a Go program of this project with Debian's libraries,
# offline, independently of the user's settings of Go.
go_build() {
  mkdir -p "${2%/*}"
  env GO111MODULE=off GOPATH=/usr/share/gocode GOENV=off GOFLAGS=-trimpath \
    GOCACHE="$PWD/target/go-cache" CGO_ENABLED=0 \
    go build -p 1 -ldflags '-s -w' -o "$2" "./$1"
}
