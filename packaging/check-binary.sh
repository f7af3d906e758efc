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
all=$(LC_ALL=C readelf --wide --file-header --segments --dynamic --sections "$file" 2>&1 || true)
# Of what is cut off, readelf only warns.
[[ $all != *readelf:* ]] || wrong "is no whole ELF file: ${all#*readelf: }"
header=${all%%Section Headers:*}
[[ $header == *"Machine:"*"$elf"* ]] || wrong "is not for $2"
[[ $header == *'Type:'*'EXEC'* ]] || wrong 'has no fixed address (docs/footprint.md)'
[[ $all != *' INTERP '* ]] || wrong 'asks for a dynamic loader (INTERP)'
[[ $all != *'(NEEDED)'* ]] || wrong 'asks for shared libraries (NEEDED)'
[[ $all == *' .text '* ]] || wrong 'has no .text'
[[ $all != *' .symtab '* && $all != *' .debug_'* ]] || wrong 'is not stripped'
loads=0
while read -r kind _ _ _ _ _ rest; do
  [ "$kind" = LOAD ] || continue
  loads=$((loads + 1))
  align=${rest##* }
  [ $((align)) -ge "$page" ] ||
    wrong "has a LOAD segment aligned to $align, less than $page, the largest page of $2"
done <<<"$all"
[ "$loads" -gt 0 ] || wrong 'has no LOAD segment'
[[ $all != *' RWE '* ]] || wrong 'has a segment that is writable and executable'
size=$(stat -c %s "$file")
[ "$size" -le "$size_most" ] || wrong "has $size bytes, more than $size_most"
