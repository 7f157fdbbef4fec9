# SPDX-License-Identifier: BSD-3-Clause
"""Which packages are missing for a purpose, and the one command that installs everything."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

Packages = Mapping[str, str]
"""Names of modules to the names under which pip installs them."""

CORE: Packages = {
    **{name: name for name in ("torch", "tensordict", "numpy", "filelock", "packaging", "omegaconf", "rich")},
    **{"rsl_rl": "rsl-rl-lib", "yaml": "pyyaml", "hydra": "hydra-core", "tensorboard": "tensorboard"},
}
"""What training needs besides a simulator."""
GYMNASIUM: Packages = {"gymnasium": "gymnasium", "mujoco": "mujoco"}
EXPORT: Packages = {name: name for name in ("onnx", "onnxruntime", "onnxscript")}
PICTURES: Packages = {"matplotlib": "matplotlib"}
VIDEOS: Packages = {"imageio": "imageio", "imageio_ffmpeg": "imageio-ffmpeg"}
SWEEP: Packages = {"submitit": "submitit"}

_CHECKOUT = Path(__file__).resolve().parents[2]


def require(purpose: str, *groups: Packages) -> None:
    """Raise the ImportError of :func:`missing` if a package of one of the groups is not installed."""
    if any(map(is_missing, (module for group in groups for module in group))):
        raise missing(purpose, *groups)


def missing(purpose: str, *groups: Packages) -> ImportError:
    """Return an error that names all packages that ``purpose`` lacks, and the command that installs them.

    If all are installed, one of them cannot be imported; pip may repair it.
    """
    names = [package for group in groups for module, package in group.items() if is_missing(module)]
    if not names:
        names = [package for group in groups for package in group.values()]
    return ImportError(f"{purpose} needs {', '.join(names)}, not installed in {sys.prefix}. {how_to_install()}")


def how_to_install() -> str:
    """Return sentences: the environment to activate, if a checkout has one, and the command to run."""
    activate = _CHECKOUT / ".venv" / "bin" / "activate"
    if activate.is_file() and Path(sys.prefix).resolve() != activate.parents[1].resolve():
        return f"Activate this checkout's environment: source {shlex.quote(str(activate))}"
    return f"Run: {install_command()}"


def install_command() -> str:
    """Return the pip command that installs this package, from where it was installed, with all that it can use."""
    if (_CHECKOUT / "setup.py").is_file():
        return f"pip install -e {shlex.quote(f'{_CHECKOUT}[all]')}"
    origin = _origin()
    return f'pip install "trudi_rsl[all] @ {origin}"' if origin else 'pip install "trudi_rsl[all]"'


def _origin() -> str | None:
    """Return the URL that pip installed this package from (PEP 610); None if it was a package index."""
    try:
        record: dict[str, Any] = json.loads(distribution("trudi_rsl").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    url, vcs = record.get("url"), record.get("vcs_info")
    if url is None or vcs is None:
        return url
    revision = vcs.get("requested_revision")
    return f"{vcs['vcs']}+{url}" + (f"@{revision}" if revision else "")


def is_missing(module: str) -> bool:
    """Return whether a module cannot be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is None
    except ValueError:  # a module that a test or a host put into sys.modules without a spec
        return module not in sys.modules
