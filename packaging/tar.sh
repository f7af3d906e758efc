# A tar archive that is the same wherever and whenever it is made; scripts read this.

# archive DIRECTORY NAME ... prints the archive of these, as of SOURCE_DATE_EPOCH: sorted,
# nobody's in particular, with no modes but whether everybody may run a file.
archive() {
  local directory=$1
  shift
  tar --create --directory "$directory" --sort=name --format=ustar \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$SOURCE_DATE_EPOCH" "$@"
}
