# SPDX-License-Identifier: BSD-3-Clause
"""Contract tests against the released versions of RSL-RL that hosts pin (`make test` runs them).

torch is gigabytes, so a session builds no environment of its own: it puts the one rsl-rl-lib wheel, without its
dependencies, into a folder of the running environment and that folder first on the import path.
`tests/rsl_rl/test_version.py` checks that this took effect.
"""

import os
import sys
from pathlib import Path

import nox

# 5.0.1: Isaac Lab 3.0 beta; 5.4.2: mjlab 1.6; 5.5.1: Isaac Lab 3.0.
RSL_RL_VERSIONS = ("5.0.1", "5.4.2", "5.5.1")
# The schema of PPO's configuration is read from the installed RSL-RL.
CONTRACT_TESTS = ("tests/rsl_rl", "tests/config")
SOURCE = Path(__file__).parent / "source"

nox.options.default_venv_backend = "none"


@nox.session
@nox.parametrize("rsl_rl", RSL_RL_VERSIONS, ids=RSL_RL_VERSIONS)
def core(session: nox.Session, rsl_rl: str) -> None:
    """Run the contract tests against one version of rsl-rl-lib."""
    target = Path(sys.prefix) / "rsl-rl-versions" / rsl_rl
    if not (target / f"rsl_rl_lib-{rsl_rl}.dist-info" / "RECORD").exists():
        pip = (sys.executable, "-m", "pip", "install", "-qq", "--upgrade", "--no-deps", "--target", str(target))
        session.run(*pip, f"rsl-rl-lib=={rsl_rl}", external=True)
    session.run(
        *(sys.executable, "-m", "pytest", *CONTRACT_TESTS, "-n", os.environ.get("PYTEST_WORKERS", "2")),
        *session.posargs,
        env={"PYTHONPATH": os.pathsep.join((str(target), str(SOURCE))), "TRUDI_EXPECT_RSL_RL": rsl_rl},
        external=True,
    )
