#!/usr/bin/env bash
# Builds a Go program of this repository with Debian's libraries, offline, whatever this
# user's Go is set to.
#
#   packaging/go-build.sh DIRECTORY PROGRAM
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$1 program=$2
mkdir -p "${program%/*}"
env GO111MODULE=off GOPATH=/usr/share/gocode GOENV=off GOFLAGS=-trimpath \
  GOCACHE="$PWD/target/go-cache" CGO_ENABLED=0 \
  go build -p 1 -ldflags '-s -w' -o "$program" "./$directory"
