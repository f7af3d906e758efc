#!/usr/bin/env bash
# Packages dist/<program>-linux-* into one multi-arch OCI archive for each program,
# dist/<program>-<version>.oci.tar, by the Containerfile. `make image` calls this.
#
#   packaging/image.sh ARCH ...
#
# IMAGE is the name without the version, for one program; SOURCE is the address of the source.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

selected_architectures "$@"
selected_programs
source_identity
[ -z "${IMAGE:-}" ] || [ ${#programs[@]} = 1 ] ||
  refuse "IMAGE=$IMAGE names one image; give one PROGRAM of: ${programs[*]}"
packaging/tools.sh image
umask 022

work=$(mktemp -d)
# vfs keeps layers that their owner may not write.
trap 'chmod -R u+w "$work" || true; rm -rf "$work"' EXIT
# vfs and chroot ask nothing of the kernel: no overlay, no mounts, no namespaces.
builder=(buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs)
for program in "${programs[@]}"; do
  program "$program"
  must_be_built "$program" "$@"
  # buildah refuses what is no name of an image.
  name=${IMAGE:-$package}:$version
  archive=dist/$program-$version.oci.tar
  for arch in "$@"; do
    echo "== packaging dist/$program-linux-$arch"
    architecture "$arch"
    IFS=/ read -r _ _ variant <<<"$platform"
    packaging/check-binary.sh "$program" "$arch" "dist/$program-linux-$arch"
    "${builder[@]}" bud --quiet --squash --isolation chroot --platform "$platform" \
      --build-arg "PROGRAM=$program" --build-arg "PACKAGE=$package" \
      --build-arg "DESCRIPTION=$description" \
      --build-arg "TARGETVARIANT=$variant" --build-arg BINARY=prebuilt \
      --build-arg "VERSION=$version" --build-arg "REVISION=$REVISION" \
      --build-arg "SOURCE=${SOURCE:-}" --timestamp "$SOURCE_DATE_EPOCH" \
      --manifest "$name" --file Containerfile . >/dev/null
  done
  "${builder[@]}" manifest push --quiet --all "$name" "oci:$work/$program" >/dev/null
  packaging/image.py name "$work/$program" "$name"
  archive "$work/$program" blobs index.json oci-layout >"$archive.new"
  packaging/image.py check "$archive.new" "$package" "$program" "$version" "${platforms[@]}"
  mv "$archive.new" "$archive"
  echo "built $archive ($(stat -c %s "$archive") bytes)"
done
