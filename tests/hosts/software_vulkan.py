# SPDX-License-Identifier: BSD-3-Clause
"""A Vulkan device in software for tests on machines without a GPU: Mesa's lavapipe, unpacked beside an environment.

SAPIEN, ManiSkill's renderer, needs lavapipe of Mesa 25.0.7 or newer. Debian 12 has it in its backports; nothing is
installed and no root is needed, because the packages are only downloaded and unpacked.
"""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

PACKAGES = ("mesa-vulkan-drivers", "libvulkan1")
MISSING = "TRUDI_NO_VULKAN"
"""Environment variable with the reason why there is no Vulkan device; tests that need one are skipped with it."""
PROBE = "import sapien; sapien.render.RenderSystem()"
TARGETS = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)", "Created-By: Packages"]


def software_vulkan(environment: Path) -> dict[str, str]:
    """Return the environment variables with which ManiSkill finds a Vulkan device, downloading one if necessary.

    They are empty on a machine with a device that the environment's SAPIEN can use.
    """
    folder = environment / "vulkan"
    marker = folder / "complete"
    if not marker.exists():
        python = environment / "bin" / "python"
        if subprocess.run([python, "-c", PROBE], capture_output=True, check=False).returncode == 0:
            return {}
        try:
            _unpack(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            return {MISSING: f"no Vulkan device, and Mesa's could not be downloaded: {output.strip().splitlines()[-1]}"}
        marker.touch()
    libraries = folder / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    return {"VK_DRIVER_FILES": str(folder / "lavapipe.json"), "LD_LIBRARY_PATH": str(libraries)}


def _unpack(folder: Path) -> None:
    """Download Mesa's Vulkan drivers and what they depend on from this machine's Debian archive, and unpack them."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    targets = [line.split() for line in _run(*TARGETS).splitlines()]
    archive, release = next((t[0], t[1]) for t in targets if len(t) == 3 and t[2] == "Debian" and "-" not in t[1])
    sources = [f"deb {archive} {suite} main\n" for suite in (release, f"{release}-backports")]
    (folder / "sources.list").write_text("".join(sources))
    private = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache::archives": archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(word for key, value in private.items() for word in ("-o", f"{key}={value}"))]
    _run(*apt, "update")
    options = ("--yes", "--download-only", "--no-install-recommends", "--target-release", f"{release}-backports")
    _run(*apt, "install", *options, *PACKAGES)
    for package in archives.glob("*.deb"):
        _run("dpkg-deb", "--extract", package, folder)
    (driver,) = folder.glob("usr/share/vulkan/icd.d/lvp_icd*.json")
    description = json.loads(driver.read_text())
    (library,) = folder.glob("usr/lib/*/libvulkan_lvp.so")
    description["ICD"]["library_path"] = str(library)
    (folder / "lavapipe.json").write_text(json.dumps(description))


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
