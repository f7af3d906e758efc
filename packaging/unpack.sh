#!/usr/bin/env bash
# Prints the path of a program that runs: the one on PATH, or else Debian's, taken out of its
# package and put into target/. For packages that start a server when they are installed,
# which a test should not do.
#
#   packaging/unpack.sh PACKAGE PROGRAM
set -euo pipefail
. "$(dirname "$0")/lib.sh"

package=$1 name=$2
runs() { "$1" --version >/dev/null 2>&1 || "$1" -v >/dev/null 2>&1; }

# The last one of the loop is the one to make. stdout is for its path alone.
for program in "$(command -v "$name" || true)" "$PWD/target/unpacked/$name"; do
  if [ -n "$program" ] && runs "$program"; then echo "$program"; exit 0; fi
done
[ -z "${OFFLINE:-}" ] || refuse "OFFLINE=1, and there is no $name that runs; put one on PATH"
command -v apt-get >/dev/null ||
  refuse "there is no $name that runs, and no apt-get to get Debian's with; put one on PATH"
echo "== fetching $name, of Debian's package $package" >&2
mkdir -p target/unpacked
work=$(mktemp -d "$PWD/target/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# apt's own user may not write here, and as root there is no need of it.
download() { apt-get -qq -o APT::Sandbox::User=root download "$package" >&2; }
# The lists may be missing, or name a version that is no longer there.
download 2>download.log || {
  [ "$(id -u)" = 0 ] ||
    refuse "cannot download $package: $(<download.log); as root, run: apt-get update"
  apt-get -qq update >&2 || refuse "cannot update the package lists; see apt's words above"
  download || refuse "cannot download Debian's package $package; see apt's words above"
}
packages=("${package}"_*.deb)
dpkg-deb --fsys-tarfile "${packages[0]}" | tar --extract --file - "./usr/bin/$name" ||
  refuse "${packages[0]} has no usr/bin/$name"
# It needs nothing but libc, of its own release or a later one.
runs "usr/bin/$name" ||
  refuse "$name of ${packages[0]} does not run here: $("usr/bin/$name" --version 2>&1 || true)"
mv "usr/bin/$name" "$program"
echo "$program"
