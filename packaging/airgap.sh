#!/usr/bin/env bash
# Makes dist/csi-livenessprobe-<version>-airgap.tar: all that somebody without a network
# needs, of what is in dist/ and of what is committed. `make airgap` calls this;
# docs/airgap.md, which is the bundle's README.md, says what is in it.
#
#   packaging/airgap.sh ARCH ...
#
# The image must be for these, and of this commit. SIGN_KEY names a key of gpg's that
# SHA256SUMS is signed with, into SHA256SUMS.asc beside it. A signature has its own time,
# so a bundle with one differs in that file from the next one.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/architectures.sh
. packaging/checkout.sh
. packaging/sign.sh
. packaging/source.sh
. packaging/tar.sh

refuse() { echo "error: $*" >&2; exit 1; }
[ $# -gt 0 ] || refuse "give at least one of: $ARCHITECTURES"
must_be_checkout
# What is signed is vouched for.
if [ -n "${SIGN_KEY:-}" ]; then
  must_be_clean
  must_be_able_to_sign
fi
image=dist/livenessprobe-$version.oci.tar
[ -f "$image" ] || refuse "there is no $image; run: make static image"
platforms=()
for arch in "$@"; do
  architecture "$arch"
  platforms+=("$platform")
done
packaging/tools.sh airgap
# One version of Cargo vendors otherwise than another, and the SBOM has the compiler's
# library: those that `make static` takes.
if [ "${RUST:-debian}" != rustup ]; then
  packaging/tools.sh static-debian
  export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc
fi
found=$(packaging/describe_image.py "$image")
right="$REVISION ${platforms[*]}"
[ "$found" = "$right" ] ||
  refuse "$image is of $found, and not of $right; run: make static image, with the same ARCH"

packaging/source-archive.sh
sbom=dist/csi-livenessprobe-$version.cdx.json
packaging/check-sbom.sh "$sbom" dist/licenses

echo '== bundling'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=csi-livenessprobe-$version-airgap
bundle=$work/$name
mkdir "$bundle"
cp "$image" "dist/csi-livenessprobe-$version-source.tar.xz" "$sbom" "$bundle"
cp -r dist/licenses "$bundle/licenses"
git archive HEAD deploy | tar --extract --directory "$bundle"
git show HEAD:security/openvex.json >"$bundle/openvex.json"
git show HEAD:docs/airgap.md | sed 's#](\.\./#](#g' >"$bundle/README.md"
(
  cd "$bundle"
  find . -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort --zero-terminated |
    xargs --null sha256sum >SHA256SUMS
  sign SHA256SUMS
)
archive "$work" "$name" >"dist/$name.tar.new"
mv "dist/$name.tar.new" "dist/$name.tar"
echo "built dist/$name.tar ($(stat -c %s "dist/$name.tar") bytes)"
