#!/usr/bin/env bash
# Makes a virtual environment of Python's with pinned packages, unless it is there
# already.
#
#   packaging/venv.sh DIRECTORY REQUIREMENTS
set -euo pipefail

directory=$1 requirements=$2
# Written last: what broke off half-way is made anew.
stamp=$directory/requirements.txt
if cmp --silent "$requirements" "$stamp"; then exit 0; fi
# pip may be pointed at a directory of what it would download.
if [ -n "${OFFLINE:-}" ] && [ -z "${PIP_NO_INDEX:-}" ]; then
  echo "error: OFFLINE=1, and $directory is not there yet: it wants what $requirements names;" \
    "give pip a directory of it, PIP_NO_INDEX=1 PIP_FIND_LINKS=..." >&2
  exit 1
fi
echo "== installing what $requirements names"
rm -rf "$directory"
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check \
  --requirement "$requirements"
cp "$requirements" "$stamp"
