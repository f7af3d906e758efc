#!/usr/bin/env bash
# Checks what is in deploy/: the manifests against Kubernetes' schemas, what swaps the
# sidecar for upstream's by building it, and what watches it against a scrape of it.
# `make try-deploy` calls this.
set -euo pipefail
. "$(dirname "$0")/../packaging/lib.sh"

packaging/tools.sh try-deploy
venv target/kubernetes deploy/requirements.txt
python=target/kubernetes/bin/python
"$python" deploy/check.py deploy/kubernetes/*.yaml

echo '== deploy/kustomize and deploy/helm-values'
# Whose kustomize there is. More of kubectl is of no use here: even its dry run on the
# client asks an API server for the kinds there are.
if kubectl version --client 2>/dev/null | grep -q -E '^Kustomize Version: v(4\.5|[5-9]\.|[1-9][0-9])'; then
  builder='kubectl kustomize'
else
  builder="$(packaging/kustomize.sh) build"
fi
echo "by: $builder"
# -B: Python would keep what it compiled in deploy/.
"$python" -B deploy/check-swaps.py "${CARGO_TARGET_DIR:-target}/release/livenessprobe" \
  "$builder"

echo '== a scrape of the sidecar'
mkdir -p target
export LIVENESSPROBE_SCRAPE=$PWD/target/scrape.txt
rm -f "$LIVENESSPROBE_SCRAPE"
cargo test --quiet --release --locked --test integration -- --ignored monitoring::
promtool=$(packaging/unpack.sh prometheus promtool)
"$promtool" check metrics <"$LIVENESSPROBE_SCRAPE"
echo '== deploy/monitoring'
"$python" deploy/check-monitoring.py "$LIVENESSPROBE_SCRAPE" "$promtool"
