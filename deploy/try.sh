#!/usr/bin/env bash
# Checks what is in deploy/: the manifests against Kubernetes' schemas, and what
# watches the sidecar against a scrape of it. `make try-deploy` calls this.
set -euo pipefail
cd "$(dirname "$0")/.."

packaging/tools.sh try-deploy
packaging/venv.sh target/kubernetes deploy/requirements.txt
python=target/kubernetes/bin/python
"$python" deploy/check.py deploy/kubernetes/*.yaml

echo '== a scrape of the sidecar'
mkdir -p target
export LIVENESSPROBE_SCRAPE=$PWD/target/scrape.txt
rm -f "$LIVENESSPROBE_SCRAPE"
cargo test --quiet --release --locked --test integration -- --ignored monitoring::
promtool=$(packaging/promtool.sh)
"$promtool" check metrics <"$LIVENESSPROBE_SCRAPE"
echo '== deploy/monitoring'
"$python" deploy/check-monitoring.py "$LIVENESSPROBE_SCRAPE" "$promtool"
