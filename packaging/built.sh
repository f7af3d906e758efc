# What `make static` has left in dist/; scripts read this, after architectures.sh and
# source.sh.

# must_be_built ARCH ... refuses what is not there, or not of this commit.
must_be_built() {
  [ $# -gt 0 ] || { echo "error: give at least one of: $ARCHITECTURES" >&2; exit 2; }
  local arch binary
  for arch in "$@"; do
    architecture "$arch"
    binary=dist/livenessprobe-linux-$arch
    [ -f "$binary" ] || {
      echo "error: there is no $binary; run: make static ARCH=$arch" >&2
      exit 1
    }
    # build.rs writes the first twelve digits into it.
    grep --quiet --binary-files=text --fixed-strings "${REVISION:0:12}" "$binary" || {
      echo "error: $binary is not of revision ${REVISION:0:12}; run: make static ARCH=$arch" >&2
      exit 1
    }
  done
}
