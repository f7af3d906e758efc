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
echo "== installing what $requirements names"
rm -rf "$directory"
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check \
  --requirement "$requirements"
cp "$requirements" "$stamp"
