#!/usr/bin/env bash
# Prints the path of a promtool that runs: the one on PATH, or else Debian's, taken
# out of its package prometheus and put into target/. That package is never
# installed, because installing it starts a server.
#
#   packaging/promtool.sh
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() { echo "error: $*" >&2; exit 1; }
runs() { "$1" --version >/dev/null 2>&1; }

for promtool in "$(command -v promtool || true)" "$PWD/target/promtool/promtool"; do
  if [ -n "$promtool" ] && runs "$promtool"; then echo "$promtool"; exit 0; fi
done

# The last one of the loop is the one to make. stdout is for its path alone.
echo "== fetching promtool, of Debian's package prometheus" >&2
for tool in apt-get dpkg-deb tar; do
  command -v "$tool" >/dev/null ||
    refuse "there is no promtool that runs, and no $tool to get Debian's with; put Prometheus' own on PATH"
done
mkdir -p target
work=$(mktemp -d "$PWD/target/promtool.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# apt's own user may not write here, and as root there is no need of it.
download() { apt-get -qq -o APT::Sandbox::User=root download prometheus >&2; }
# The lists may be missing, or name a version that is no longer there.
download 2>download.log || {
  [ "$(id -u)" = 0 ] ||
    refuse "cannot download prometheus: $(<download.log); as root, run: apt-get update"
  apt-get -qq update >&2 || refuse "cannot update the package lists; see apt's words above"
  download || refuse "cannot download Debian's package prometheus; see apt's words above"
}
packages=(prometheus_*.deb)
dpkg-deb --fsys-tarfile "${packages[0]}" |
  tar --extract --file - ./usr/bin/promtool ||
  refuse "${packages[0]} has no usr/bin/promtool"
runs usr/bin/promtool || {
  # It wants nothing but libc, of its own release or a later one.
  missing=$(ldd usr/bin/promtool 2>&1 | grep -F 'not found' || true)
  refuse "promtool of ${packages[0]} does not run here: ${missing:-$(usr/bin/promtool --version 2>&1 || true)}"
}
mkdir -p "${promtool%/*}"
mv usr/bin/promtool "$promtool"
echo "$promtool"
