# SPDX-License-Identifier: BSD-3-Clause
"""Exported policies in simulators: the runtime without PyTorch chooses the actions, as on a robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.deploy import Policy
from trudi_rsl.evaluation.behaviour import Behaviour, PolicyBehaviour, fixed_start_env, record
from trudi_rsl.evaluation.identify import Subject
from trudi_rsl.evaluation.modes import BehaviourModes
from trudi_rsl.evaluation.policies import Simulation
from trudi_rsl.evaluation.samplers import SamplerCfg

GROUP = "policy"
"""The observation group that an exported policy reads here."""


class DeployedPolicy:
    """An ONNX file of batch size 1 that acts in one environment, whose observation is the group :data:`GROUP`.

    Args:
        file: Result of ``trudi export``.
        seed: Seed of the initial latents, if the file takes them.
    """

    def __init__(self, file: Path, seed: int = 0) -> None:
        self._policy = Policy(file, latent_seed=seed)

    def __call__(self, obs: TensorDict) -> Tensor:
        """Return the action ``[1, A]`` in the simulator's units for observation groups of batch ``[1]``."""
        return torch.from_numpy(self._policy(obs[GROUP][0].numpy()))[None]

    def reset(self, dones: Tensor) -> None:
        """Start an episode if ``dones`` ``[1]`` is true."""
        if bool(dones[0] > 0):
            self._policy.reset()


def deployed_behaviour(
    subject: Subject, file: Path, modes: BehaviourModes, simulation: Simulation, num_runs: int, seed: int = 0
) -> PolicyBehaviour:
    """Run an exported policy from the fixed start, one run after the other, and classify the runs by mode.

    Args:
        subject: The checkpoint that was exported, with the initial latent as an input if it has a chain.
        file: The ONNX file.
        modes: Those of its task.
        simulation: The simulators.
        num_runs: At least 1.
        seed: Seed of simulator and initial latents.
    """
    env, _ = fixed_start_env(subject, modes, simulation, 1, "cpu", seed)
    policy = DeployedPolicy(file, seed)
    runs, returns = zip(*(record(env, policy, GROUP, progress=False) for _ in range(num_runs)), strict=True)
    env.close()  # pyright: ignore[reportAttributeAccessIssue]
    behaviour = Behaviour.classify([run for (run,) in runs], np.concatenate(returns), modes)
    return PolicyBehaviour(subject, SamplerCfg("ode", initial_latent="random"), seed, modes, behaviour)
