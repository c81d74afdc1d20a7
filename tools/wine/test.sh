#!/bin/bash
# Set up, then the tests of Windows and all pure ones inside it; its own processes are ended in any case.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-build/windows}
python=${2:-python3}
trap '"$folder/stop" >/dev/null 2>&1 || true' EXIT
timeout 600 "$python" tools/wine/setup.py "$folder"
rm -rf "$folder/dumps"
export PERIMORTEM_KEEP_DUMPS="Z:$(realpath -m "$folder/dumps" | tr / '\\')"
timeout 1200 "$folder/winpy" -m pytest -p no:cacheprovider tests/windows tests/unit
"$python" tests/windows_dumps.py "$folder/dumps"
