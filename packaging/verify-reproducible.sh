#!/usr/bin/env bash
# Shows that what is in dist/ comes out of this commit, whoever builds it, wherever and
# whenever: builds once more in another directory, as another user with a home, a time
# zone, a language and a umask of its own and without ccache, and compares the bytes of
# each binary, and of the image's archive and the bundle where dist/ has them.
# `make verify-reproducible` calls this. gRPC compiles for some minutes an architecture.
#
#   packaging/verify-reproducible.sh ARCH ...
#
# It needs Debian's Rust, which makes what is released, and as root has a user that is
# nobody build.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/architectures.sh
. packaging/source.sh

refuse() { echo "error: $*" >&2; exit 1; }
[ $# -gt 0 ] || refuse "give at least one of: $ARCHITECTURES"
for arch in "$@"; do
  architecture "$arch"
  [ -f "dist/livenessprobe-linux-$arch" ] ||
    refuse "there is no dist/livenessprobe-linux-$arch; run: make static ARCH=$arch RUST=debian"
done
[ -z "$(git status --porcelain)" ] || refuse 'the checkout has changes; commit them first'
packaging/tools.sh static-debian

here=$PWD
# Not in $TMPDIR alone: the length of a path must not matter either.
work=$(mktemp -d "${TMPDIR:-/tmp}/elsewhere.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
there=$work/somewhere/quite/else
mkdir -p "$work/home"
git clone --quiet --no-hardlinks . "$there"
as=(env --ignore-environment "PATH=/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$work/home"
  LC_ALL=C TZ=Pacific/Kiritimati CCACHE_DISABLE=1 RUST=debian)
for name in http_proxy https_proxy no_proxy SSL_CERT_FILE PIP_INDEX_URL PIP_CERT \
  CARGO_HTTP_CAINFO "${!CARGO_REGISTRIES_@}" "${!CARGO_SOURCE_@}"; do
  [ -z "${!name:-}" ] || as+=("$name=${!name}")
done
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 "$work"
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups "${as[@]}")
fi
echo "== building in $there as user $("${as[@]}" id -u)"
(
  cd "$there"
  umask 027
  "${as[@]}" make static "ARCH=$*" RUST=debian
)

differ=0
compare() {
  if cmp "$1" "$there/$1"; then
    echo "the same: $(sha256sum "$1")"
  else
    echo "error: $1 came out otherwise: $(sha256sum "$there/$1")" >&2
    differ=1
  fi
}
for arch in "$@"; do compare "dist/livenessprobe-linux-$arch"; done

image=dist/livenessprobe-$version.oci.tar bundle=dist/csi-livenessprobe-$version-airgap.tar
if [ -f "$image" ]; then
  echo '== packaging there'
  # What was not built there is packaged there all the same.
  packaged=()
  for arch in $ARCHITECTURES; do
    [ -e "dist/livenessprobe-linux-$arch" ] || continue
    packaged+=("$arch")
    [ -e "$there/dist/livenessprobe-linux-$arch" ] ||
      cp "dist/livenessprobe-linux-$arch" "$there/dist/"
  done
  # A checkout of somebody else's, to git.
  if [ "$(id -u)" = 0 ]; then chown -R 0:0 "$there"; fi
  (
    cd "$there"
    umask 077
    export TZ=Pacific/Kiritimati
    make image "ARCH=${packaged[*]}"
    if [ -f "$here/$bundle" ]; then make airgap SIGN_KEY=; fi
  )
  compare "$image"
  if [ -f "$bundle" ]; then compare "$bundle"; fi
fi
[ "$differ" = 0 ] || refuse 'this commit does not always give the same bytes'
