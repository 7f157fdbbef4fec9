# SPDX-License-Identifier: BSD-3-Clause
"""Only functions that mirror as chains can be mirrored are accepted in ``symmetry_cfg``, and only possible sections."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.algorithms.mirrored import build, mirror
from tests.properties.small_env import SmallEnv, iteration
from trudi_rsl.checkpoints.format import SECTION
from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.augmentation import Augmentation
from trudi_rsl.settings import settings_from_dict


def changing(observations: Any = None, actions: Any = None) -> Any:
    """Return :func:`mirror` with other images of observations or actions."""

    def changed(env: Any, obs: Any = None, actions_: Any = None, **given: Any) -> Any:
        actions_ = given.get("actions")
        result = list(mirror(env, obs, actions_))
        if obs is not None and observations is not None:
            result[0] = observations(obs)
        if actions_ is not None and actions is not None:
            result[1] = actions(actions_)
        return tuple(result)

    return changed


def twice(obs: TensorDict, values: Tensor) -> Any:
    image = obs.clone()
    image["policy"] = values
    return torch.cat([obs, image])  # pyright: ignore


def fails(_: Any) -> Any:
    raise KeyError("robot")


WRONG: dict[str, tuple[Any, str]] = {
    "no copy": (changing(actions=lambda a: a), "must return copies of all rows.* 7 rows for 7"),
    "not the original": (changing(actions=lambda a: torch.cat([a.flip(-1), a])), "passed first, unchanged"),
    "other shape": (changing(actions=lambda a: torch.cat([a, a])[:, :1]), r"\[copies \* rows, 3\]; got \[14, 1\]"),
    "mixture": (
        changing(actions=lambda a: torch.cat([a, a @ torch.tensor([[0.6, 0.8, 0], [0.8, -0.6, 0], [0, 0, 1.0]])])),
        r"in image 1, action 0 is \+0\.6 of action 0, \+0\.8 of action 1",
    ),
    "two from one": (
        changing(actions=lambda a: torch.cat([a, a[:, [0, 0, 2]]])),
        "each to another: in image 1, action 2 is",
    ),
    "not odd": (changing(actions=lambda a: torch.cat([a, a.abs()])), "must map every action to one action"),
    "bounds": (
        changing(actions=lambda a: torch.cat([a, -a])),
        r"bounds to bounds: image 1 of action 0 has the bounds \[-3, 2\], and becomes action 0 with \[-2, 3\]",
    ),
    "rotation": (changing(actions=lambda a: torch.cat([a, a.roll(1, -1)])), "image 1 of an action, mirrored once more"),
    "fails": (changing(actions=fails), "fails for actions alone: KeyError: 'robot'"),
    "observations fail": (changing(observations=fails), "fails for observations alone: KeyError"),
    "other count": (
        changing(observations=lambda o: torch.cat([o, o, o])),
        "3 copies of observations, but 2 of actions",
    ),
    "no groups": (changing(observations=lambda o: torch.zeros(8, 3)), "must return the observation groups; 'policy'"),
    "observations not first": (
        changing(observations=lambda o: torch.cat([-o, o])),
        "observations unchanged first; it changes the group 'policy'",
    ),
    "observations twice": (
        changing(observations=lambda o: twice(o, o["policy"] * torch.tensor([1.0, 0.5, 1.0]))),
        "'policy' comes back with another entry 1",
    ),
    "unknown": ("no_such_package.symmetry:mirror", "cannot be imported: No module named 'no_such_package'"),
    "text": ("mirror", "must be a function, or its name as 'package.module:name'; got 'mirror'"),
}


@pytest.mark.parametrize(("function", "words"), WRONG.values(), ids=WRONG)
def test_a_function_that_is_no_mirror_of_chains_is_refused_at_the_start(function: Any, words: str) -> None:
    env = SmallEnv(4, 3, {"policy": 3})
    key = re.escape('train_cfg["algorithm"]["symmetry_cfg"]["data_augmentation_func"]')
    with pytest.raises(ConfigError, match=rf"^{key}.*{words}"):
        build(env, {"data_augmentation_func": function})


def test_all_rotations_are_a_symmetry_and_their_images_are_those_of_the_function() -> None:
    turns = changing(
        actions=lambda a: torch.cat([a, a.roll(1, -1), a.roll(2, -1)]), observations=lambda o: torch.cat([o, o, o])
    )
    function = Augmentation(turns, None)
    mirrors = function.signed_permutations(torch.full((3,), -2.0), torch.full((3,), 3.0))
    actions = torch.randn(5, 3)
    assert torch.equal(mirrors.mirror(actions), function.actions(actions))
    assert mirrors.inverses() == [0, 2, 1]
    obs = TensorDict({"policy": torch.randn(5, 3)}, batch_size=[5])
    assert function.check_observations(obs, ["policy"], mirrors) == ["policy"]


def test_a_function_without_a_name_to_import_trains_and_is_no_part_of_the_checkpoint() -> None:
    env = SmallEnv(4, 2, {"policy": 3})
    trudi = build(env, {"data_augmentation_func": lambda env, obs, actions: mirror(env, obs, actions)})
    iteration(trudi, env, 5)
    assert trudi.save()[SECTION]["settings"]["symmetry_cfg"].keys() == {
        *("use_data_augmentation", "use_mirror_loss", "mirror_loss_coeff"),
    }


IMPOSSIBLE: list[tuple[Any, str]] = [
    ({"use_mirror_loss": True}, "symmetry_cfg has no 'data_augmentation_func'"),
    ({"data_augmentation_func": "a:b", "use_miror_loss": True}, "symmetry_cfg has no setting 'use_miror_loss'"),
    ({"data_augmentation_func": "a:b", "use_mirror_loss": 1}, r"symmetry_cfg\.use_mirror_loss must be true or false"),
    ({"data_augmentation_func": "a:b", "mirror_loss_coeff": -1.0}, r"mirror_loss_coeff must be a finite number of at"),
    ("mirror", "symmetry_cfg must be a section of settings, or none"),
]


@pytest.mark.parametrize(("wrong", "words"), IMPOSSIBLE, ids=lambda part: str(part)[:40])
def test_an_impossible_section_is_refused_by_its_key(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.(symmetry_cfg\.)?{words}"):
        settings_from_dict({"symmetry_cfg": wrong})


def test_a_section_that_rsl_rl_has_built_a_ppo_from_and_one_of_a_class_are_the_plain_one() -> None:
    given = {"data_augmentation_func": mirror, "use_data_augmentation": True}
    plain = settings_from_dict({"symmetry_cfg": given}).symmetry_cfg
    for section in ({**given, "_env": object(), "env": object()}, SimpleNamespace(**given)):
        assert settings_from_dict({"symmetry_cfg": section}).symmetry_cfg == plain
    assert settings_from_dict({"symmetry_cfg": {}}).symmetry_cfg is None
