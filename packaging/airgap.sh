#!/usr/bin/env bash
# Makes dist/csi-livenessprobe-<version>-airgap.tar: all that is needed without a network, of
# what is in dist/ and of what is committed, and the source archive that is in it. `make
# airgap` calls this; docs/airgap.md, which is the bundle's README.md, says what is in it.
#
#   packaging/airgap.sh ARCH ...
#
# The images must be for these, and of this commit. SIGN_KEY names a key of gpg's that SHA256SUMS
# is signed with, into SHA256SUMS.asc beside it. A signature has its own time, so a bundle with
# one differs in that file from the next one.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

selected_architectures "$@"
selected_programs
source_identity
must_be_checkout
# A signature vouches for the whole.
[ -z "${SIGN_KEY:-}" ] || must_be_clean
packaging/tools.sh airgap
# Versions of Cargo vendor differently, so this is the one that `make static` takes.
if [ "${RUST:-debian}" != rustup ]; then
  packaging/tools.sh static-debian
  debian_rust
fi
venv target/sbom packaging/requirements-sbom.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=csi-livenessprobe-$version-airgap
bundle=$work/$name
mkdir -p "$bundle/licenses"
for program in "${programs[@]}"; do
  program "$program"
  image=dist/$program-$version.oci.tar
  [ -f "$image" ] || refuse "there is no $image; run: make static image"
  must_be_built "$program" "$@"
  packaging/image.py check "$image" "$package" "$program" "$version" "${platforms[@]}" ||
    refuse "$image is not of this commit and of $*; run: make static image, with the same ARCH"
  sbom=dist/$package-$version.cdx.json
  target/sbom/bin/python packaging/parts.py check "$sbom"
  cp "$image" "$sbom" "$bundle"
  cp -r "dist/licenses/$program" "$bundle/licenses/"
done

# `make build OFFLINE=1` in the source archive asks no network for anything.
echo '== vendoring the packages of Cargo.lock'
source=csi-livenessprobe-$version
git archive --prefix="$source/" HEAD | tar --extract --directory "$work"
(
  cd "$work/$source"
  # With their versions, as Cargo's own store names them: the names are in the binary. What is
  # printed has Cargo take packages from vendor/, never from a network.
  "${CARGO:-cargo}" vendor --locked --versioned-dirs vendor >>.cargo/config.toml
  # Cargo wants the manifest of each package that Cargo.lock names, also of those for Windows,
  # which are half of the whole. Their manifests stay, with all other files empty.
  for directory in vendor/winapi* vendor/windows*; do
    find "$directory" -type f ! -name Cargo.toml ! -name .cargo-checksum.json -exec truncate --size=0 {} +
    # The digest of the package stays, which Cargo compares with that in Cargo.lock.
    sed -i 's/"files":{[^}]*}/"files":{}/' "$directory/.cargo-checksum.json"
  done
)
echo "== packing dist/$source-source.tar.xz"
# How xz divides the work is in the bytes: the same on any number of processors.
archive "$work" "$source" | xz --threads=2 --block-size=16MiB -6 >"dist/$source-source.tar.xz.new"
mv "dist/$source-source.tar.xz.new" "dist/$source-source.tar.xz"

echo '== bundling'
cp "dist/$source-source.tar.xz" "$bundle"
git archive HEAD deploy | tar --extract --directory "$bundle"
git show HEAD:security/openvex.json >"$bundle/openvex.json"
git show HEAD:docs/airgap.md | sed 's#](\.\./#](#g' >"$bundle/README.md"
sums "$bundle"
archive "$work" "$name" >"dist/$name.tar.new"
mv "dist/$name.tar.new" "dist/$name.tar"
echo "built dist/$name.tar ($(stat -c %s "dist/$name.tar") bytes)"
