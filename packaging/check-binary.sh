#!/usr/bin/env bash
# Refuses a binary that is not what the image promises: static, stripped, small, and loadable
# by every kernel of its architecture.
#
#   packaging/check-binary.sh PROGRAM ARCH FILE
set -euo pipefail
file=$(realpath --canonicalize-missing "$3")
. "$(dirname "$0")/lib.sh"
program "$1"
architecture "$2"

wrong() { refuse "$file $*"; }
read_elf() {
  local said
  said=$(LC_ALL=C readelf --wide "$@" "$file" 2>&1) || wrong "is no ELF file"
  # Of what is cut off, readelf only warns.
  [[ $said != *readelf:* ]] || wrong "is damaged: ${said#*readelf: }"
  echo "$said"
}
header=$(read_elf --file-header)
segments=$(read_elf --program-headers)
dynamic=$(read_elf --dynamic)
sections=$(read_elf --section-headers)

[[ $header == *"Machine:"*"$elf"* ]] || wrong "is not for $2"
[[ $header == *'Type:'*'EXEC'* ]] || wrong 'has no fixed address (docs/footprint.md)'
[[ $segments != *' INTERP '* ]] || wrong 'asks for a dynamic loader (INTERP)'
[[ $dynamic != *'(NEEDED)'* ]] || wrong 'asks for shared libraries (NEEDED)'
[[ $sections == *' .text '* ]] || wrong 'has no .text'
[[ $sections != *' .symtab '* && $sections != *' .debug_'* ]] || wrong 'is not stripped'
loads=0
while read -r kind _ _ _ _ _ rest; do
  [ "$kind" = LOAD ] || continue
  loads=$((loads + 1))
  align=${rest##* }
  [ $((align)) -ge "$page" ] ||
    wrong "has a LOAD segment aligned to $align, less than $page, the largest page of $2"
done <<<"$segments"
[ "$loads" -gt 0 ] || wrong 'has no LOAD segment'
[[ $segments != *' RWE '* ]] || wrong 'has a segment that is writable and executable'
size=$(stat -c %s "$file")
[ "$size" -le "$size_most" ] || wrong "has $size bytes, more than $size_most"
