#!/usr/bin/env bash
# Shows that what is in dist/ comes out of this commit, independently of the machine, the place
# and the time: builds once more in another directory, with a home, a time zone, a language and
# a umask of its own, without ccache, and, started by root, as another user, and compares the
# bytes of each binary. Where dist/ has the images' archives and the bundle, it also makes them
# again and compares, as this user, who has the right to package. `make verify-reproducible`
# calls this. gRPC compiles for some minutes an architecture.
#
#   packaging/verify-reproducible.sh ARCH ...
#
# Debian's Rust must have made it, and makes it again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
# The commit is git's.
unset REVISION SOURCE_DATE_EPOCH
source_identity
selected_architectures "$@"
selected_programs
must_be_clean
for name in "${programs[@]}"; do must_be_built "$name" "$@"; done
packaging/tools.sh static-debian

# Not in $TMPDIR alone: the length of a path must not matter either.
work=$(mktemp -d "${TMPDIR:-/tmp}/elsewhere.XXXXXX")
trap 'chmod -R u+w "$work" || true; rm -rf "$work"' EXIT
there=$work/somewhere/quite/else
mkdir -p "$work/home"
git clone --quiet --no-hardlinks . "$there"
mkdir "$there/dist"
# The images and the SBOM are of all architectures, so what is not built again is copied.
packaged=()
for arch in $ARCHITECTURES; do
  if [[ " $* " != *" $arch "* ]]; then
    (must_be_built "${programs[0]}" "$arch") 2>/dev/null || continue
    for name in "${programs[@]}"; do cp "dist/$name-linux-$arch" "$there/dist/"; done
  fi
  packaged+=("$arch")
done
elsewhere=(env --ignore-environment "PATH=/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$work/home"
  LC_ALL=C TZ=Pacific/Kiritimati CCACHE_DISABLE=1 RUST=debian "PROGRAM=${programs[*]}")
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

compared=()
for name in "${programs[@]}"; do
  for arch in "$@"; do compared+=("dist/$name-linux-$arch"); done
done
steps=()
if [ -f "dist/${programs[0]}-$version.oci.tar" ]; then
  steps+=(image)
  for name in "${programs[@]}"; do compared+=("dist/$name-$version.oci.tar"); done
fi
bundle=dist/csi-livenessprobe-$version-airgap.tar
[ ! -f "$bundle" ] || steps+=(airgap)
if [ ${#steps[@]} -gt 0 ]; then
  echo '== packaging there'
  # git refuses a checkout of another user.
  [ "$(id -u)" != 0 ] || chown -R 0:0 "$there"
  (
    cd "$there"
    umask 077
    "${elsewhere[@]}" make "${steps[@]}" "ARCH=${packaged[*]}"
  )
fi
if [ -f "$bundle" ]; then
  # A signature has a time of its own. All else is in the sums.
  for root in . "$there"; do
    tar --extract --to-stdout --file "$root/$bundle" "$(basename "$bundle" .tar)/SHA256SUMS" \
      >"$root/target/bundle-sums"
  done
  compared+=(target/bundle-sums)
fi

differ=
for file in "${compared[@]}"; do
  cmp "$file" "$there/$file" || differ+=" $file"
  sha256sum "$file" "$there/$file"
done
[ -z "$differ" ] || refuse "this commit does not always give the same bytes:$differ"
