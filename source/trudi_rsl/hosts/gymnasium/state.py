# SPDX-License-Identifier: BSD-3-Clause
"""Saving and restoring the state of Gymnasium environments, so that a resumed run continues the same episodes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.attributes import Attributes, learned_statistics
from trudi_rsl.hosts.gymnasium.mujoco_state import MujocoState
from trudi_rsl.hosts.gymnasium.plain import DoesNotFitError, NotPlainError, generator_state, set_generator


class Saved(NamedTuple):
    """A saved state of environments."""

    content: dict[str, Any]
    """``generators`` and ``simulators``, of tensors and plain Python values; ``simulators`` is None where the state of
    the simulators cannot be saved."""
    left_out: dict[str, str]
    """Names and types of what has changed and cannot be stored: without it a resume is not exact."""


class SimulatorStates:
    """Saves and restores the state of MuJoCo environments, and the random generators of all environments.

    Saved are the physics, what has changed in the model, and those attributes of an environment, its wrappers and the
    objects that these hold that are plain values or random generators and have changed since they were made (counters,
    goals, stacked frames, previous actions), or that the constructor drew at random.

    Args:
        envs: The environments, just made: they are the reference for what has changed.

    Attributes:
        readable: Whether the state of the simulators can be saved; if not, only the random generators are.
    """

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        self._envs = envs
        self.readable = all(_is_mujoco(env) for env in envs)
        self._physics = MujocoState(envs) if self.readable else None
        self._attributes = [_attributes(env) for env in envs if self.readable]
        if len(self._attributes) > 1:
            # not strict: a render mode can add an outermost wrapper to the first copy
            for layers in zip(*self._attributes, strict=False):
                drawn = layers[0].drawn_in(layers[1])
                for layer in layers:
                    layer.save_always(drawn)

    def save(self, envs: Sequence[int] | None = None) -> Saved:
        """Return the state of the environments with these indices, all for None."""
        chosen = range(len(self._envs)) if envs is None else envs
        left_out: dict[str, str] = {}
        generators, simulators = [], []
        for i in chosen:
            env = self._envs[i]
            pair = {"np_random": env.unwrapped.np_random, "action_space.np_random": env.action_space.np_random}
            states: list[Any] = []
            for name, generator in pair.items():
                try:
                    states.append(generator_state(generator))
                except NotPlainError as error:
                    states.append(None)
                    left_out[name] = str(error)
            generators.append(tuple(states))
            if self._physics is not None:
                attributes = []
                for layer in self._attributes[i]:
                    changed, rest = layer.save()
                    attributes.append(changed)
                    left_out |= rest
                simulators.append(self._physics.save(env) | {"attributes": attributes})
        return Saved({"generators": generators, "simulators": simulators if self.readable else None}, left_out)

    def load(self, saved: Mapping[str, Any]) -> str | None:
        """Restore the content of :meth:`save`, for the same number of environments.

        Returns:
            Why the simulators were not restored too, in which case the caller must reset them; None if they were.

        Raises:
            CheckpointError: The state belongs to another MuJoCo model, or names an attribute that is no value.
        """
        simulators = saved["simulators"] if self._physics is not None else None
        if self._physics is not None:
            for env, simulator in zip(self._envs, simulators or [], strict=simulators is not None):
                self._physics.require_same_model(env, simulator)
        why = self._load(saved["generators"], simulators)
        if why is not None and simulators is not None:
            # tasks make some objects when they are first needed
            for env in self._envs:
                with contextlib.suppress(Exception):
                    env.step(env.action_space.sample())
            why = self._load(saved["generators"], simulators)
        return why

    def _load(self, generators: Sequence[Any], simulators: Sequence[Any] | None) -> str | None:
        try:
            for env, (task, space) in zip(self._envs, generators, strict=True):
                if task is not None:
                    set_generator(env.unwrapped.np_random, task)
                if space is not None:
                    set_generator(env.action_space.np_random, space)
            if self._physics is None or simulators is None:
                return "the state of its simulator cannot be saved"
            for env, layers, simulator in zip(self._envs, self._attributes, simulators, strict=True):
                # not strict: a render mode can add an outermost wrapper
                for layer, values in zip(layers, simulator["attributes"], strict=False):
                    layer.load(values)
                # after the attributes, which may be views of the physics
                self._physics.load(env, simulator)
        except DoesNotFitError as error:
            return f"the saved state does not fit the task: {error}"
        return None


def refuse_learned_statistics(env: gym.Env, task: str) -> None:
    """Raise a ConfigError that names a wrapper with running statistics of observations or rewards.

    Each copy of the environment has its own, an evaluation starts without any, and an exported policy never has them.
    """
    for layer in layers_of(env):
        if (name := learned_statistics(layer)) is not None:
            raise ConfigError(
                f"Task {task!r} is wrapped in {type(layer).__name__}, whose running statistics ({name}) are in no "
                "exported policy and start anew in every copy and evaluation. Register the task without it: the policy "
                "normalises observations itself (agent.algorithm.obs_normalization), and the critic adapts to the size "
                "of rewards (value_range auto). A wrapper with update_running_mean=False is accepted."
            )


def layers_of(env: gym.Env) -> list[gym.Env]:
    """Return the environment and its wrappers, innermost first."""
    return [*layers_of(env.env), env] if isinstance(env, gym.Wrapper) else [env]


def time_limits(env: gym.Env) -> list[TimeLimit]:
    """Return an environment's ``TimeLimit`` wrappers, innermost first; a task that wraps another may have several."""
    return [layer for layer in layers_of(env) if isinstance(layer, TimeLimit)]


def episode_limit(env: gym.Env) -> int | None:
    """Return the number of steps after which an environment truncates its episodes, None if it has no limit."""
    limits = [limit._max_episode_steps for limit in time_limits(env)]
    return min(limits) if limits else (env.spec and env.spec.max_episode_steps) or None


def _attributes(env: gym.Env) -> list[Attributes]:
    """Return those of all layers but the bookkeeping wrappers that ``gymnasium.make`` adds."""
    layers = layers_of(env)
    physics = (getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None))
    kept = [layer for layer in layers if not isinstance(layer, PassiveEnvChecker | OrderEnforcing | TimeLimit)]
    # nobody seeds the generators of observation spaces; those of action spaces are saved apart
    spaces = [space for layer in layers for space in (layer.observation_space, layer.action_space)]
    return [Attributes(layer, (*layers, *physics, *spaces)) for layer in kept]


def _is_mujoco(env: gym.Env) -> bool:
    mujoco = sys.modules.get("mujoco")
    model, data = getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None)
    return mujoco is not None and isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)
