#!/usr/bin/env bash
# Holds an SBOM to CycloneDX's schema and to what is linked. CARGO and RUSTC are those
# that it was made with, and so is REVISION where it is given.
#
#   packaging/check-sbom.sh SBOM LICENCES
set -euo pipefail
cd "$(dirname "$0")/.."

packaging/venv.sh target/sbom packaging/requirements-sbom.txt
target/sbom/bin/python packaging/check_sbom.py "$@"
