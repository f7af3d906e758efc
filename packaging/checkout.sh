# What git says of the directory that a script is in; scripts read this.

# Refuses a directory that is not the top of a git checkout: git would answer for
# whatever repository is around an unpacked archive.
must_be_checkout() {
  [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ] || {
    echo "error: $PWD is no git checkout, which this needs" >&2
    exit 1
  }
}

# Prints what is not committed, one file a line; nothing where all is.
uncommitted() {
  git status --porcelain --untracked-files=all
}

# Refuses what is not committed.
must_be_clean() {
  must_be_checkout
  local changes
  changes=$(uncommitted)
  [ -z "$changes" ] || {
    echo "error: the checkout has changes, of $(head -1 <<<"$changes"); commit them first" >&2
    exit 1
  }
}
