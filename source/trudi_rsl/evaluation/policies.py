# SPDX-License-Identifier: BSD-3-Clause
"""Trained policies from checkpoints, ready to be evaluated."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import NAMES, Algorithm, algorithm_of, check_task, learner_spec, task_of
from trudi_rsl.checkpoints.rebuild import load_actor_critic, with_known_classes
from trudi_rsl.errors import CheckpointError, ConfigError, as_checkpoint_error
from trudi_rsl.evaluation.episodes import Policy
from trudi_rsl.policies import GenerativeModel
from trudi_rsl.policies.actor_critic import InitialLatent, Sampler
from trudi_rsl.rsl_rl_compat.models import policy_of
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.settings import SETTINGS

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel


HAVE_NO_CHAIN = ("reppo", "ppo", "spo")
"""Algorithms whose policy is a Gaussian."""


@dataclass(frozen=True)
class SamplerCfg:
    """How a policy acts. None leaves a value at the policy's default.

    REPPO's, PPO's and SPO's policies are Gaussians: ``ode`` takes the mean and ``sde`` samples. Those of DPPO and FPO
    act with ``ode`` from zeros unless asked for random starts.

    Raises:
        ConfigError: If a value is out of range, or given for a sampler that does not read it.
    """

    sampler: Sampler = "ode"
    score_scale: float | None = None
    """Score scale ``c`` of ``ode``, above 0."""
    num_candidates: int | None = None
    """Candidates ``K`` of ``best_of_k``, at least 1."""
    initial_latent: InitialLatent | None = None
    """Start of ``ode``."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.score_scale is not None and not self.score_scale > 0.0:
            raise ConfigError(f"score_scale must be above 0, got {self.score_scale}.")
        if self.num_candidates is not None and self.num_candidates < 1:
            raise ConfigError(f"num_candidates must be at least 1, got {self.num_candidates}.")
        readers = {"score_scale": "ode", "initial_latent": "ode", "num_candidates": "best_of_k"}
        for name in self.given():
            if self.sampler != readers[name]:
                raise ConfigError(f"{name} belongs to the sampler {readers[name]}, not to {self.sampler}.")

    def given(self) -> dict[str, Any]:
        """Return the values that are not left at the policy's default, without the sampler."""
        values = {name: getattr(self, name) for name in ("score_scale", "num_candidates", "initial_latent")}
        return {name: value for name, value in values.items() if value is not None}

    def require_for(self, algorithm: Algorithm) -> None:
        """Check that the algorithm's policies can act this way.

        Raises:
            ConfigError: If not.
        """
        name = NAMES[algorithm]
        if algorithm not in SETTINGS and self.sampler == "best_of_k":
            raise ConfigError(
                f"best_of_k needs TruDi's Q critic; a {name} policy acts with ode (without noise) or sde (a sample)."
            )
        if algorithm in HAVE_NO_CHAIN and (options := [o for o in self.given() if o != "num_candidates"]):
            raise ConfigError(f"{', '.join(options)}: a {name} policy has no chain; it is a Gaussian.")
        if algorithm in ("dppo", "fpo") and self.score_scale is not None:
            raise ConfigError(f"score_scale: a {name} policy's network is not trained as a score.")


def identify(path: Path, task: str, algorithm: Algorithm | None = None) -> Algorithm:
    """Return the algorithm that wrote a checkpoint, checked against what is expected.

    Args:
        path: A ``model_*.pt``.
        task: The task it is to act in.
        algorithm: The expected algorithm, None for any.

    Raises:
        CheckpointError: If there is no such file, or it is of another task or algorithm.
    """
    checkpoint = read_checkpoint(path)
    # the latter: PPO of RSL-RL 3
    if not {"actor_state_dict", "model_state_dict"} & checkpoint.keys():
        raise CheckpointError(f"{path} is not a checkpoint of RSL-RL or TruDi.")
    found = algorithm_of(checkpoint)
    if algorithm not in (None, found):
        raise CheckpointError(
            f"{path} is a checkpoint of {found}, not of {algorithm}. Use --algo {found} or leave it out."
        )
    if found in SETTINGS:
        learner_spec(checkpoint, task)
    else:
        check_task(task_of(checkpoint), task)
    return found


def load_policy(
    path: Path, algorithm: Algorithm, env: VecEnv, agent_cfg: Mapping[str, Any], sampler: SamplerCfg, device: str
) -> Policy:
    """Return the policy of a checkpoint.

    A policy of TruDi's learner is rebuilt from the checkpoint alone, those of PPO and its relatives by a runner.

    Args:
        path: A ``model_*.pt``.
        algorithm: What :func:`identify` returned for it.
        env: Where it is to act.
        agent_cfg: The runner configuration that it was trained with; not read for TruDi's learner.
        sampler: How it is to act.
        device: Where to compute.

    Raises:
        CheckpointError: If the checkpoint does not fit the environment.
        ConfigError: If the sampler is not one of the algorithm's.
    """
    sampler.require_for(algorithm)
    if algorithm in SETTINGS:
        actor_critic, spec = load_actor_critic(path)
        require_fit(spec["obs_dims"], actor_critic.num_actions, env)
        return functools.partial(actor_critic.to(device).act, sampler=sampler.sampler, **sampler.given())
    cfg = with_known_classes(_to_act(agent_cfg))
    # RSL-RL prints the networks; settings may come with the checkpoint, from somebody else
    with contextlib.redirect_stdout(io.StringIO()), as_checkpoint_error():
        runner = OnPolicyRunner(env, cfg, log_dir=None, device=device)
    runner.load(str(path), load_cfg={"actor": True}, map_location=device)
    return acting(runner.alg, sampler)


def _to_act(agent_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a runner's configuration without what only training makes use of."""
    cfg: Any = OmegaConf.to_container(agent_cfg) if isinstance(agent_cfg, DictConfig) else copy.deepcopy(agent_cfg)
    cfg = dict(cfg) | {"logger": "tensorboard"}
    for name in {"rnd_cfg", "symmetry_cfg"} & set(cfg.get("algorithm") or ()):
        cfg["algorithm"][name] = None
    return cfg


def load_into(runner: OnPolicyRunner, path: Path, sampler: SamplerCfg) -> Policy:
    """Return the policy of a checkpoint, loaded into a runner whose simulator and random numbers stay as they are.

    Args:
        runner: Made with the settings that the checkpoint was trained with; its earlier policies become this one.
        path: A ``model_*.pt``.
        sampler: How it is to act; :meth:`SamplerCfg.require_for` has passed.

    Raises:
        CheckpointError: If the checkpoint does not fit the runner.
    """
    runner.load(str(path), load_cfg={"actor": True, "critic": True})  # best_of_k asks the critic
    return acting(runner.alg, sampler)


def acting(algorithm: Any, sampler: SamplerCfg) -> Policy:
    """Return the policy that an algorithm of a runner holds, with its normalisers frozen.

    Args:
        algorithm: TruDi, which is also REPPO and DIME, or RSL-RL's PPO or one of its relatives.
        sampler: How it is to act; :meth:`SamplerCfg.require_for` has passed.
    """
    model: Any = policy_of(algorithm)
    model.eval()
    if isinstance(algorithm, TruDi):
        return functools.partial(algorithm.actor_critic.act, sampler=sampler.sampler, **sampler.given())
    if isinstance(model, GenerativeModel):
        return functools.partial(model.act, sampler=sampler.sampler, **sampler.given())
    if hasattr(model, "act_inference"):  # RSL-RL 3
        return model.act if sampler.sampler == "sde" else model.act_inference
    return _GaussianSample(model) if sampler.sampler == "sde" else model


class _GaussianSample:
    """A PPO policy that samples its Gaussian, where the model itself returns the mean."""

    def __init__(self, model: MLPModel) -> None:
        self._model = model
        self.reset = model.reset

    def __call__(self, obs: TensorDict) -> Tensor:
        return self._model(obs, stochastic_output=True)


def require_fit(obs_dims: Mapping[str, int], num_actions: int, env: VecEnv) -> None:
    """Check that a policy reads what an environment gives, and gives what it takes.

    Args:
        obs_dims: Observation groups that the policy reads, and their sizes.
        num_actions: Actions that it gives.
        env: Where it is to act.

    Raises:
        CheckpointError: If not.
    """
    given = {group: value.shape[-1] for group, value in env.get_observations().items()}
    for group, size in obs_dims.items():
        if given.get(group) != size:
            raise CheckpointError(
                f"The policy reads {size} numbers of observation group {group!r}, the task gives "
                f"{given.get(group, 0)}. Use the env settings it was trained with."
            )
    if num_actions != env.num_actions:
        raise CheckpointError(f"The policy gives {num_actions} actions, the task takes {env.num_actions}.")
