#!/usr/bin/env bash
# Refuses a binary that is not what the image promises: static, stripped, small,
# and loadable by every kernel of its architecture.
#
#   packaging/check-binary.sh amd64|arm64 FILE
set -euo pipefail

arch=$1 file=$2
# Bytes: 2.8 MiB. Both are far below; a part of C-core that is linked
# again (src/probe/parts.rs) is not.
SIZE_MAX=$((28 * 1024 * 1024 / 10))

refuse() { echo "error: $file $*" >&2; exit 1; }

case $arch in
  amd64) machine='X86-64' page=$((4 * 1024)) ;;
  arm64) machine='AArch64' page=$((64 * 1024)) ;;
  *) echo "error: '$arch' is neither amd64 nor arm64" >&2; exit 2 ;;
esac

elf() {
  local said
  said=$(LC_ALL=C readelf --wide "$@" "$file" 2>&1) || refuse "is no ELF file"
  # What is cut off, readelf only warns of.
  [[ $said != *readelf:* ]] || refuse "is damaged: ${said#*readelf: }"
  echo "$said"
}
header=$(elf --file-header)
segments=$(elf --program-headers)
dynamic=$(elf --dynamic)
sections=$(elf --section-headers)

[[ $header == *"Machine:"*"$machine"* ]] || refuse "is not for $arch"
[[ $header == *'Type:'*'EXEC'* ]] || refuse 'has no fixed address (docs/footprint.md)'
[[ $segments != *' INTERP '* ]] || refuse 'asks for a dynamic loader (INTERP)'
[[ $dynamic != *'(NEEDED)'* ]] || refuse 'asks for shared libraries (NEEDED)'
[[ $sections == *' .text '* ]] || refuse 'has no .text'
[[ $sections != *' .symtab '* && $sections != *' .debug_'* ]] || refuse 'is not stripped'
loads=0
while read -r kind _ _ _ _ _ rest; do
  [ "$kind" = LOAD ] || continue
  loads=$((loads + 1))
  align=${rest##* }
  [ $((align)) -ge "$page" ] ||
    refuse "has a LOAD segment aligned to $align, less than $page, the largest page of $arch"
done <<<"$segments"
[ "$loads" -gt 0 ] || refuse 'has no LOAD segment'
[[ $segments != *' RWE '* ]] || refuse 'has a segment that is writable and executable'
size=$(stat -c %s "$file")
[ "$size" -le "$SIZE_MAX" ] || refuse "has $size bytes, more than $SIZE_MAX"
