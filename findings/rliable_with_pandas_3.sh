#!/usr/bin/env bash
# rliable 1.2.0 cannot be imported next to pandas 3, although pip installs the pair without a complaint: its bootstrap comes
# from arch, which it limits to 7.x, and arch 7.2.0 calls pandas' internal decorator deprecate_kwarg with the signature that it
# had before pandas 3. Seen with rliable 1.2.0, arch 7.2.0, pandas 3.1.1:
#   TypeError: deprecate_kwarg() missing 1 required positional argument: 'new_arg_name'
# Consequence here: the statistics of evaluations do not depend on rliable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install -qq --disable-pip-version-check "rliable==1.2.0" "arch==7.2.0" "pandas==3.1.1"
"$python" -m pip list --disable-pip-version-check 2>/dev/null | grep -E '^(rliable|arch|pandas) '
"$python" -c "import pandas"
if output=$("$python" -c "from rliable import library" 2>&1); then
  echo "The behaviour has changed: the import works." >&2
  exit 1
fi
echo "$output" | tail -n 1
echo "$output" | tail -n 1 | grep -q "deprecate_kwarg()"
