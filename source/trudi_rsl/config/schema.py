# SPDX-License-Identifier: BSD-3-Clause
"""Typed schemas of a training configuration, registered with Hydra.

The fields of the algorithms are read from their own definitions (:class:`~trudi_rsl.settings.TruDiCfg`, and
the signatures of the installed RSL-RL's PPO and of its relatives), so that no default is written twice.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING
from rsl_rl.algorithms import PPO

from trudi_rsl.algorithms import DPPO, FPO, SPO, TruDi
from trudi_rsl.policies import DenoisingModel, FlowModel
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.settings import TruDiCfg

ANY_CHECKPOINT = "model_.*.pt"
"""Regular expression of RSL-RL's checkpoint names."""


@dataclass
class RunnerCfg:
    """RSL-RL's runner settings under Isaac Lab's names; the ``agent`` section without algorithm and models."""

    seed: int = 42
    """Seed of the simulator and of all random generators, at least 0 and below 2^32."""
    device: str = "cuda:0"
    """Where training runs."""
    num_threads: int | None = None
    """CPU threads of torch, at least 1; None keeps torch's own choice."""
    num_steps_per_env: int = MISSING
    """Environment steps per iteration, at least 1."""
    max_iterations: int = MISSING
    """Iterations to train, at least 1; after a resume, iterations to add."""
    max_seconds: float | None = None
    """Seconds of training, compiling included, after which it ends if `max_iterations` are not over, above 0; None sets
    no limit."""
    save_interval: int = 50
    """Iterations between checkpoints, at least 1."""
    evaluation_episodes: int | None = 10
    """Episodes without exploration in which the policy of every checkpoint is evaluated, in environments beside those
    of training, at least 1; the highest mean return makes `best.pt`. None evaluates none, and `best.pt` goes by the
    training return."""
    keep_checkpoints: int | None = None
    """Newest checkpoints that stay in the run folder, beside the best, at least 1; None keeps all."""
    export_checkpoints: bool = False
    """Export the policy of every checkpoint, to `exported/model_<iteration>/`; takes seconds each."""
    init_at_random_ep_len: bool = True
    """Let the first episodes end at random steps, so that the environments do not move in lockstep."""
    check_for_nan: bool = True
    """Let RSL-RL look for NaN after every step, which waits for the device."""
    obs_groups: dict[str, list[str]] = field(default_factory=lambda: {"actor": ["policy"], "critic": ["policy"]})
    """Observation groups that actor and critic see."""
    experiment_name: str = ""
    """Folder of the run's siblings; empty takes the task's name."""
    run_name: str = ""
    """Suffix of the run folder's name."""
    logger: Any = "tensorboard"
    """RSL-RL's log writer: tensorboard, wandb, neptune, or a section with `class_name` (RSL-RL 5.4.2 and newer)."""
    wandb_project: str = "trudi_rsl"
    """Project name for Weights & Biases."""
    neptune_project: str = "trudi_rsl"
    """Project name for Neptune."""
    resume: bool = False
    """Continue from a checkpoint, in a new run folder."""
    load_run: str = ".*"
    """Regular expression of the run to resume; the latest match that has a checkpoint counts."""
    load_checkpoint: str = ANY_CHECKPOINT
    """Checkpoint to resume: a file, a run folder, or a regular expression of file names in the run."""


@dataclass
class GymnasiumEnvCfg:
    """The ``env`` section of Gymnasium tasks."""

    num_envs: int = 64
    """Environments stepped together, at least 1."""
    max_episode_steps: int | None = None
    """Time limit in steps, at least 1; None keeps the task's own."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Options of the task's constructor."""
    action_bounds: list[float] | None = None
    """Lower and upper bound for action entries that the task leaves unbounded; bounds of its own stay.

    `agent.algorithm.action_bounds` instead overrides the bounds that the policy acts within, for all entries; the host
    still clips what comes out to the bounds of the task.
    """


@dataclass
class TrainCfg:
    """A training configuration."""

    task: str = MISSING
    """Task name."""
    env: Any = MISSING
    """The simulator's settings."""
    agent: Any = MISSING
    """RSL-RL's runner configuration."""


def algorithm_schema(name: str, class_name: str, fields: Iterable[tuple[str, Any, Any]]) -> type:
    """Return a dataclass that OmegaConf can type-check.

    Args:
        name: Name of the dataclass.
        class_name: Default of its first field, ``class_name``.
        fields: Name, type hint and default of the others. Hints beyond OmegaConf's own become the nearest that it
            knows: literals become text (their values are checked by the algorithm), sequences lists, and the rest
            ``Any``.
    """
    columns: list[tuple[str, Any, Any]] = [("class_name", str, field(default=class_name))]
    for key, hint, default in fields:
        value = list(default) if isinstance(default, tuple) else default
        factory = (lambda value=value: list(value)) if isinstance(value, list) else None
        columns.append((key, _plain(hint), field(default_factory=factory) if factory else field(default=value)))
    return dataclasses.make_dataclass(name, columns)


def _plain(hint: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (bool, int, float, str):
        return hint
    if origin is typing.Literal:
        return str
    if origin in (list, tuple, collections.abc.Sequence):
        return list[args[0]]
    if origin in (types.UnionType, typing.Union):
        plain = {str(_plain(arg)): _plain(arg) for arg in args}
        return next(iter(plain.values())) if len(plain) == 1 else Any
    return Any


def _dataclass_fields(cls: type) -> list[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(cls)
    return [
        (f.name, hints[f.name], f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
        for f in dataclasses.fields(cls)
    ]


def _keyword_arguments(cls: type, without: tuple[str, ...] = ()) -> list[tuple[str, Any, Any]]:
    """Return name, type hint and default of the optional arguments of a class's constructor and its bases'."""
    found: dict[str, tuple[str, Any, Any]] = {}
    for constructor in (vars(base)["__init__"] for base in reversed(cls.__mro__) if "__init__" in vars(base)):
        optional = [p for p in _parameters(constructor) if p.default is not inspect.Parameter.empty]
        hints = typing.get_type_hints(constructor) if optional else {}
        found |= {p.name: (p.name, hints[p.name], p.default) for p in optional if p.name not in without}
    return list(found.values())


def _parameters(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
    return inspect.signature(function).parameters.values()


def _class_name(cls: type) -> str:
    """Return the name by which RSL-RL finds a class: a plain one for its own."""
    package = cls.__module__.partition(".")[0]
    return cls.__name__ if package == "rsl_rl" else f"{'.'.join(cls.__module__.split('.')[:2])}:{cls.__name__}"


def register() -> None:
    """Store the schemas where the files in ``configs/`` name them."""
    trudi = algorithm_schema("TruDiAlgorithm", f"trudi_rsl.algorithms:{TruDi.__name__}", _dataclass_fields(TruDiCfg))
    agents = {"trudi": [("algorithm", trudi, field(default_factory=trudi))]}
    if PPO_MODELS:
        from rsl_rl.models import MLPModel

        actors = {PPO: MLPModel, SPO: MLPModel, DPPO: DenoisingModel, FPO: FlowModel}
        for algorithm, actor in actors.items():
            name = algorithm.__name__.lower()
            sections = {"algorithm": algorithm, "actor": actor, "critic": MLPModel}
            schemas = {
                section: algorithm_schema(
                    f"{name}_{section}", _class_name(cls), _keyword_arguments(cls, ("device", "multi_gpu_cfg"))
                )
                for section, cls in sections.items()
            }
            agents[name] = [(key, schema, field(default_factory=schema)) for key, schema in schemas.items()]
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainCfg)
    store.store(group="env", name="gymnasium_schema", node=GymnasiumEnvCfg)
    for name, sections in agents.items():
        cls = dataclasses.make_dataclass(f"{name}_runner", sections, bases=(RunnerCfg,))
        store.store(group="agent", name=f"{name}_schema", node=cls)
