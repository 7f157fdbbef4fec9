#!/usr/bin/env bash
# The W&B writers of rsl-rl-lib 4.0.1, 5.0.1 and 5.4.2 pass wandb.Settings(start_method="thread"), which wandb refuses from
# 0.29.0 on (0.28.2 took it), so that the logger "wandb" ends training at its start. rsl-rl-lib 5.5.1 passes no such option.
# mjlab 1.6.0 pins 5.4.2, requires wandb>=0.22.3 and logs to it by default, so that a fresh installation meets this.
# Consequence here: docs/log.md names the versions, and the refusal is one line.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" --no-deps --target "$folder/old" "rsl-rl-lib==5.4.2"
"${pip[@]}" --no-deps --target "$folder/new" "rsl-rl-lib==5.5.1"
passed() { grep -rhoE 'wandb\.Settings\([^)]*\)' "$1/rsl_rl/utils" || true; }
[ "$(passed "$folder/old")" = 'wandb.Settings(start_method="thread")' ] || { echo "5.4.2 passes something else"; exit 1; }
[ -z "$(passed "$folder/new")" ] || { echo "5.5.1 passes settings"; exit 1; }
cd "$folder"
for pair in 0.28.2:taken 0.29.0:refused 0.31.0:refused; do
    "${pip[@]}" "wandb==${pair%:*}"
    "$folder/venv/bin/python" -W ignore - "$pair" <<'PYTHON'
import sys

import wandb

expected = sys.argv[1].partition(":")[2]
try:
    wandb.Settings(start_method="thread")
    found = "taken"
except ValueError as error:
    found = "refused"
    print(str(error).splitlines()[:3])
print("wandb", wandb.__version__, found)
assert found == expected, "The behaviour has changed."
PYTHON
done
