#!/usr/bin/env bash
# Makes dist/csi-livenessprobe-<version>-airgap.tar: all that somebody without a network
# needs, of what is in dist/. `make airgap` calls this; docs/airgap.md, which is the
# bundle's README.md, says what is in it.
#
# SIGN_KEY names a key of gpg's that SHA256SUMS is signed with, into SHA256SUMS.asc
# beside it. A signature has its own time, so a bundle with one differs in that file
# from the next one.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/source.sh
. packaging/tar.sh

refuse() { echo "error: $*" >&2; exit 1; }
image=dist/livenessprobe-$version.oci.tar
[ -f "$image" ] || refuse "there is no $image; run: make static image"
# What is signed here is vouched for.
label=$(packaging/revision_of.py "$image")
[ "$label" = "$REVISION" ] ||
  refuse "$image is of revision $label, and this is $REVISION; run: make static image"
packaging/tools.sh airgap
if [ -n "${SIGN_KEY:-}" ]; then
  command -v gpg >/dev/null || refuse 'SIGN_KEY is given, and there is no gpg; install gnupg'
  gpg --batch --list-secret-keys "$SIGN_KEY" >/dev/null 2>&1 ||
    refuse "gpg has no secret key SIGN_KEY=$SIGN_KEY; see: gpg --list-secret-keys"
fi

packaging/source-archive.sh
# The compiler's library is in it: asked of the compiler that `make static` took.
[ "${RUST:-debian}" = rustup ] || export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc
sbom=dist/csi-livenessprobe-$version.cdx.json
packaging/check-sbom.sh "$sbom" dist/licenses

echo '== bundling'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=csi-livenessprobe-$version-airgap
bundle=$work/$name
mkdir "$bundle"
cp "$image" "dist/csi-livenessprobe-$version-source.tar.xz" \
  "$sbom" security/openvex.json "$bundle"
cp -r deploy "$bundle/deploy"
cp -r dist/licenses "$bundle/licenses"
cp docs/airgap.md "$bundle/README.md"
cp CHANGELOG.md SECURITY.md "$bundle"
(
  cd "$bundle"
  find . -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort --zero-terminated |
    xargs --null sha256sum >SHA256SUMS
  if [ -n "${SIGN_KEY:-}" ]; then
    gpg --batch --yes --local-user "$SIGN_KEY" --armor --detach-sign SHA256SUMS
    gpg --batch --verify SHA256SUMS.asc SHA256SUMS
  fi
)
archive "$work" "$name" >"dist/$name.tar.new"
mv "dist/$name.tar.new" "dist/$name.tar"
echo "built dist/$name.tar ($(stat -c %s "dist/$name.tar") bytes)"
