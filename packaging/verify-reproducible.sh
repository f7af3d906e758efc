#!/usr/bin/env bash
# Shows that what is in dist/ comes out of this commit, whoever builds it, wherever and
# whenever: builds once more in another directory, with a home, a time zone, a language
# and a umask of its own, without ccache, and, started by root, as another user, and
# compares the bytes of each binary. Where dist/ has the image's archive and the bundle,
# they are made again and compared, too, by this user, whose right it is to package.
# `make verify-reproducible` calls this. gRPC compiles for some minutes an architecture.
#
#   packaging/verify-reproducible.sh ARCH ...
#
# It needs Debian's Rust, which makes what is released.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/architectures.sh
. packaging/checkout.sh
# What git says, and nobody else.
unset REVISION SOURCE_DATE_EPOCH
. packaging/source.sh
. packaging/built.sh

refuse() { echo "error: $*" >&2; exit 1; }
must_be_clean
# Debian's Rust must have built it: `make static RUST=debian`.
must_be_built "$@"
packaging/tools.sh static-debian

here=$PWD
# Not in $TMPDIR alone: the length of a path must not matter either.
work=$(mktemp -d "${TMPDIR:-/tmp}/elsewhere.XXXXXX")
trap 'chmod -R u+w "$work" || true; rm -rf "$work"' EXIT
there=$work/somewhere/quite/else
mkdir -p "$work/home"
git clone --quiet --no-hardlinks . "$there"
elsewhere=(env --ignore-environment "PATH=/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$work/home"
  LC_ALL=C TZ=Pacific/Kiritimati CCACHE_DISABLE=1 RUST=debian)
# How this machine reaches PyPI and crates.io.
for name in {http,https,all,no}_proxy {HTTP,HTTPS,ALL,NO}_PROXY REQUESTS_CA_BUNDLE \
  "${!SSL_CERT_@}" "${!PIP_@}" "${!CARGO_HTTP_@}" "${!CARGO_REGISTRIES_@}" "${!CARGO_SOURCE_@}"; do
  [ -z "${!name:-}" ] || elsewhere+=("$name=${!name}")
done
as=("${elsewhere[@]}")
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 "$work"
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups "${elsewhere[@]}")
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
    "${elsewhere[@]}" make image "ARCH=${packaged[*]}"
    if [ -f "$here/$bundle" ]; then "${elsewhere[@]}" make airgap "ARCH=${packaged[*]}"; fi
  )
  compare "$image"
  sums=$(basename "$bundle" .tar)/SHA256SUMS
  if [ ! -f "$bundle" ]; then
    :
  elif tar --list --file "$bundle" "$sums.asc" >/dev/null 2>&1; then
    # A signature has a time of its own. All else is in the sums.
    for root in . "$there"; do
      tar --extract --to-stdout --file "$root/$bundle" "$sums" >"$root/dist/bundle-sums"
    done
    compare dist/bundle-sums
    rm dist/bundle-sums
  else
    compare "$bundle"
  fi
fi
[ "$differ" = 0 ] || refuse 'this commit does not always give the same bytes'
