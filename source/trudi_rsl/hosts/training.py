# SPDX-License-Identifier: BSD-3-Clause
"""Training with environments that are made in this process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.checkpoints.format import class_basename
from trudi_rsl.config import create_run_folder, experiment_folder, save_params
from trudi_rsl.config.adoption import continue_run
from trudi_rsl.config.schema import RunnerCfg
from trudi_rsl.distributed import broadcast_from_rank0, current_ranks
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.model_sections import model_for_images
from trudi_rsl.rsl_rl_compat.contract import check_groups
from trudi_rsl.runners import OnPolicyRunner

logger = logging.getLogger(__name__)


def train(
    cfg: DictConfig,
    make_env: Callable[..., VecEnv],
    checkpoint: Path | None = None,
    named: Collection[str] = (),
    more_iterations: int | None = None,
    preset: str | None = None,
) -> None:
    """Train with a composed configuration in a new run folder, which only rank 0 has.

    Each rank simulates environments of its own, which ``make_env(task, env_cfg, device, seed)`` makes; rank 0 chooses
    the checkpoint to resume. A resumed run keeps its settings.

    Args:
        cfg: The configuration.
        make_env: Makes the environments.
        checkpoint: The file to resume, if any.
        named: Dotted names of what the user has set, which a resume does not take from the checkpoint.
        more_iterations: Iterations that a resume adds to the checkpoint's; None trains up to the total.
        preset: Name of the preset in the configuration.
    """
    iterations = cfg.agent.max_iterations
    if checkpoint is not None:
        continuation = continue_run(cfg, named, checkpoint, more_iterations)
        cfg, iterations, preset = continuation.cfg, continuation.left, continuation.preset or preset
        if iterations == 0:
            logger.info(continuation.finished_message(checkpoint))
            return
        if continuation.overridden:
            logger.info(continuation.overridden)
    agent, ranks = cfg.agent, current_ranks()
    if ranks.world_size > 1 and agent.device.startswith("cuda"):
        agent.device = f"cuda:{ranks.local_rank}"
    if agent.num_threads:
        torch.set_num_threads(agent.num_threads)
    torch.manual_seed(agent.seed + ranks.rank)
    np.random.seed(agent.seed + ranks.rank)
    if cfg.env.get("images") == "auto":
        # RSL-RL's own networks, which have sections, fail on bytes
        cfg.env.images = "float32" if "actor" in agent else "original"
    # environment i has this seed plus i, which is unique over all ranks
    env = make_env(cfg.task, cfg.env, agent.device, agent.seed + ranks.rank * cfg.env.num_envs)
    is_default = agent.obs_groups == RunnerCfg().obs_groups and not any(n.startswith("agent.obs_groups") for n in named)
    if (sets := getattr(env, "default_obs_groups", None)) and is_default:
        agent.obs_groups = sets
    check_groups(env.get_observations(), agent.obs_groups)
    _add_models_for_images(agent, env.get_observations())
    new_folder = create_run_folder(experiment_folder(cfg), agent.run_name)
    with new_folder if ranks.is_main else contextlib.nullcontext() as run_dir:
        log_dir = None if run_dir is None else str(run_dir)
        train_cfg: Any = OmegaConf.to_container(agent)
        try:
            runner = OnPolicyRunner(env, train_cfg, log_dir, agent.device)
        except ConfigError:
            raise
        except ValueError as error:  # RSL-RL's, of a setting whose values only it knows
            raise ConfigError(f"RSL-RL cannot use these settings of agent: {one_line(error)}") from error
        env_settings: Any = OmegaConf.to_container(cfg.env)
        runner.record.update({"task": cfg.task, "env": env_settings, "preset": preset})
        if (resumed := broadcast_from_rank0(checkpoint and str(checkpoint))) is not None:
            print(f"Resuming from: {resumed}", flush=True)
            runner.load(resumed)
        if run_dir is not None:
            save_params(run_dir, cfg)
        print(f"Run folder: {run_dir}", flush=True)
        try:
            runner.learn(iterations, agent.init_at_random_ep_len and not runner.episodes_continue)
        finally:
            print(f"Run folder: {run_dir}", flush=True)


def _add_models_for_images(agent: DictConfig, obs: TensorDict) -> None:
    """Let models that see images encode them, unless the configuration says how."""
    for name in ("actor", "critic"):
        groups = agent.obs_groups.get(name, agent.obs_groups.actor)
        shapes = {group: tuple(obs[group].shape[1:]) for group in groups if obs[group].ndim == 4}
        if not shapes:
            continue
        model = model_for_images(shapes)
        encoder, section = f"{name}_encoder", agent.get(name)
        if integers := [group for group in shapes if section is not None and not obs[group].is_floating_point()]:
            kind = str(obs[integers[0]].dtype).removeprefix("torch.")
            raise ConfigError(f"RSL-RL's networks fail on images of {kind}, as {integers[0]}. Set env.images=float32.")
        if encoder in agent.algorithm and not agent.algorithm[encoder]:
            agent.algorithm[encoder] = model
            place = f"agent.algorithm.{encoder}"
        elif section is not None and section.class_name == "MLPModel":
            section.class_name, section.cnn_cfg = model["class_name"], model["cnn_cfg"]
            # RSL-RL fails to normalise where there are no vectors
            section.obs_normalization = section.obs_normalization and len(shapes) < len(groups)
            place = f"agent.{name}.cnn_cfg"
        elif section is not None and section.class_name != "CNNModel":
            raise ConfigError(
                f"The {name} sees {', '.join(f'{group} {list(shape)}' for group, shape in shapes.items())}, and a "
                f"{class_basename(section.class_name)} cannot see images. Train with trudi, reppo, dime, ppo or spo, "
                f"or leave them out of agent.obs_groups.{name}."
            )
        else:
            if section is not None and len(shapes) == len(groups):
                section.obs_normalization = False
            continue
        for group, cnn in model["cnn_cfg"].items():
            layers = f"{cnn['output_channels']} channels, kernels {cnn['kernel_size']}, strides {cnn['stride']}"
            seen = f"{group} {list(shapes[group])}"
            logger.info("The %s sees %s through convolutions of %s; change them by %s.", name, seen, layers, place)
