#!/usr/bin/env bash
# Refuses a binary that is not what the image promises: static, stripped, small,
# and loadable by every kernel of its architecture.
#
#   packaging/check-binary.sh ARCH FILE
set -euo pipefail

arch=$1 file=$2
# Bytes: 2.8 MiB. All are far below; a part of C-core that is linked
# again (src/c_core/parts.rs) is not.
SIZE_MAX=$((28 * 1024 * 1024 / 10))

refuse() { echo "error: $file $*" >&2; exit 1; }

. "${BASH_SOURCE[0]%/*}/architectures.sh"
architecture "$arch"

read_elf() {
  local said
  said=$(LC_ALL=C readelf --wide "$@" "$file" 2>&1) || refuse "is no ELF file"
  # What is cut off, readelf only warns of.
  [[ $said != *readelf:* ]] || refuse "is damaged: ${said#*readelf: }"
  echo "$said"
}
header=$(read_elf --file-header)
segments=$(read_elf --program-headers)
dynamic=$(read_elf --dynamic)
sections=$(read_elf --section-headers)

[[ $header == *"Machine:"*"$elf"* ]] || refuse "is not for $arch"
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
