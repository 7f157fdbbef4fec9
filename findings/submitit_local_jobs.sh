#!/usr/bin/env bash
# submitit's local executor is not a drop-in stand-in for its Slurm executor:
# - without timeout_min a job is killed after its own default of two minutes (Slurm would apply the partition's limit);
# - without gpus_per_node it starts jobs with CUDA_VISIBLE_DEVICES="", so that they see no GPU of the machine, although the
#   process that submits them does.
# Seen with submitit 1.5.4. Consequence here: the launcher of sweeps sets a long limit and passes the variable on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check "submitit==1.5.4"
cd "$folder"
export CUDA_VISIBLE_DEVICES=0
"$folder/venv/bin/python" - <<'PYTHON'
import os

import submitit

executor = submitit.AutoExecutor(folder="jobs", cluster="local")
seen = executor.submit(lambda: dict(os.environ)).result()
print("submitit", submitit.__version__)
print("CUDA_VISIBLE_DEVICES of the caller:", repr(os.environ["CUDA_VISIBLE_DEVICES"]))
print("CUDA_VISIBLE_DEVICES of its job:", repr(seen.get("CUDA_VISIBLE_DEVICES")))
print("seconds until a job is ended:", seen.get("SUBMITIT_LOCAL_TIMEOUT_S"))
assert seen.get("CUDA_VISIBLE_DEVICES") == "", "The behaviour has changed: GPUs are visible."
assert seen.get("SUBMITIT_LOCAL_TIMEOUT_S") == "120", "The behaviour has changed: another default limit."
PYTHON
