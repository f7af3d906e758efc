# Sets and exports what this source is; scripts read this:
#
#   version            the version, of Cargo.toml
#   REVISION           the commit
#   SOURCE_DATE_EPOCH  its time, in seconds since 1970
#
# The commit and its time are git's word, or that of the source archive that this was
# unpacked from, unless they are given. There is one time for all files that are made,
# so that the same source makes the same bytes
# (https://reproducible-builds.org/docs/source-date-epoch/).
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
read -r _revision _epoch <packaging/commit.txt
if [[ $_revision == \$Format* ]]; then
  # Where git will not (a checkout of somebody else's), it says why.
  _revision=$(git rev-parse HEAD || echo unknown)
  _epoch=$(git log -1 --format=%ct || echo 0)
fi
export REVISION=${REVISION:-$_revision} SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$_epoch}
unset _revision _epoch
