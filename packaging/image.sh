#!/usr/bin/env bash
# Packages dist/livenessprobe-linux-* into one multi-arch OCI archive,
# dist/livenessprobe-<version>.oci.tar, by the Containerfile. `make image` calls
# this.
#
#   packaging/image.sh ARCH ...
#
# IMAGE is the name without the version, SOURCE the address of the source;
# REVISION and SOURCE_DATE_EPOCH as in source.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

. packaging/architectures.sh
. packaging/source.sh
. packaging/tar.sh
. packaging/built.sh

name=$(packaging/name_image.py --whole "${IMAGE:-csi-livenessprobe}"):$version
archive=dist/livenessprobe-$version.oci.tar
umask 022

must_be_built "$@"
packaging/tools.sh image

work=$(mktemp -d)
# vfs keeps layers that their owner may not write.
trap 'chmod -R u+w "$work" || true; rm -rf "$work"' EXIT
# vfs and chroot ask nothing of the kernel: no overlay, no mounts, no namespaces.
builder=(buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs)
for arch in "$@"; do
  echo "== packaging dist/livenessprobe-linux-$arch"
  architecture "$arch"
  IFS=/ read -r _ _ variant <<<"$platform"
  packaging/check-binary.sh "$arch" "dist/livenessprobe-linux-$arch"
  "${builder[@]}" bud --quiet --isolation chroot --platform "$platform" \
    --build-arg "TARGETVARIANT=$variant" --build-arg BINARY=prebuilt --build-arg "VERSION=$version" \
    --build-arg "REVISION=$REVISION" --build-arg "SOURCE=${SOURCE:-}" \
    --timestamp "$SOURCE_DATE_EPOCH" --manifest all --file Containerfile . >/dev/null
done
"${builder[@]}" manifest push --quiet --all all "oci:$work/layout:$name" >/dev/null
packaging/name_image.py "$work/layout" "$name"
archive "$work/layout" blobs index.json oci-layout >"$archive.new"
packaging/check_image.py "$archive.new"
mv "$archive.new" "$archive"
echo "built $archive ($(stat -c %s "$archive") bytes)"
