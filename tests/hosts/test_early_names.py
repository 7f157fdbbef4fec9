# SPDX-License-Identifier: BSD-3-Clause
"""Settings of Isaac Lab's tasks are refused by the source of their configurations, and right ones never are.

The packages here have Isaac Lab's form, and raise if they are imported; tests of hosts read the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands.test_program import in_fresh_python

CONFIGCLASS = "from isaaclab.utils import configclass\n"
FILES = {
    "isaaclab/__init__.py": "raise RuntimeError('imported')",
    "isaaclab/utils/__init__.py": "from .configclass import *",
    "isaaclab/utils/configclass.py": "def configclass(cls, **kwargs):\n    return cls",
    "isaaclab/managers.py": f"""{CONFIGCLASS}
@configclass
class Term:
    func: Callable = MISSING
    weight: float = 0.0
    params: dict[str, Any] = {{}}
""",
    "isaaclab/envs.py": f"""from __future__ import annotations
from dataclasses import MISSING
{CONFIGCLASS}
@configclass
class SceneCfg:
    num_envs: int = MISSING
    robot: RobotCfg | None = None

@configclass
class RobotCfg:
    stiffness: float = 1.0

@configclass
class EnvCfg:
    @configclass
    class ViewerCfg:
        eye: tuple = (1.0, 1.0)

    decimation: int = MISSING
    scene: SceneCfg = MISSING
    viewer: ViewerCfg = ViewerCfg()
    extra: object | None = None
""",
    "isaaclab_rl/__init__.py": "raise RuntimeError('imported')",
    "isaaclab_rl/rsl_rl.py": f"""{CONFIGCLASS}
@configclass
class RslRlOnPolicyRunnerCfg:
    num_steps_per_env: int = MISSING
    obs_groups: dict[str, list[str]] = {{}}
    algorithm: object = MISSING
""",
    "isaaclab_tasks/__init__.py": "raise RuntimeError('imported')",
    "isaaclab_tasks/walk/__init__.py": """
import gymnasium as gym
from . import agents

def register(name, **others):
    pass

for task in ("Read", "Base", "Escapes"):
    gym.register(id=f"Isaac-Dynamic-{task}-v0", kwargs={"env_cfg_entry_point": "nowhere:Cfg"})
gym.register(id="Isaac-Walk-v0", kwargs={
    "env_cfg_entry_point": f"{__name__}.cfgs:WalkCfg", "rsl_rl_cfg_entry_point": agents.__name__ + ":PPOCfg"})
gym.register(id="Isaac-Hidden-Base-v0", kwargs={
    "env_cfg_entry_point": f"{__name__}.cfgs:HiddenBaseCfg", "rsl_rl_cfg_entry_point": f"{agents.__name__}:PPOCfg"})
gym.register(id="Isaac-Changed-v0", kwargs={"env_cfg_entry_point": f"{__name__}.cfgs:ChangedElsewhereCfg"})
""",
    "isaaclab_tasks/walk/agents.py": f"""from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg
{CONFIGCLASS}
@configclass
class PPOCfg(RslRlOnPolicyRunnerCfg):
    num_steps_per_env = 24
    entropy_schedule: str = "none"
""",
    "isaaclab_tasks/walk/cfgs.py": f"""import copy
from isaaclab.envs import EnvCfg, RobotCfg, SceneCfg
from isaaclab.managers import Term as Rew
from outside import HiddenCfg, change
{CONFIGCLASS}
@configclass
class HandCfg(RobotCfg):
    fingers: int = 5

HAND = HandCfg()
HAND.thumb = 1

@configclass
class RewardsCfg:
    upright = Rew(weight=1.0, params={{"std": 0.5}})

    def add(self, term):
        self.added_by_method = term

def limits():
    found = {{side: 1.0 for side in ("left", "right")}}
    found.update(low=0.0)
    return found | {{"high": 1.0}}

@configclass
class WalkCfg(EnvCfg):
    rewards: RewardsCfg = RewardsCfg()
    names = {{key: 0.0 for key in make_names()}}

    def __post_init__(self):
        super().__post_init__()
        self.decimation = 4
        self.scene = SceneCfg(num_envs=16)
        self.scene.robot = HAND.replace(stiffness=2.0)
        rewards = self.rewards
        if self.decimation > 4:
            rewards.in_a_branch = Rew(weight=0.0)
        rewards.add(copy.deepcopy(rewards.upright))
        rewards.upright.params["scale"] = 2.0
        for name in ("slow", "fast"):
            setattr(self, name, Rew())
        self.extra = limits()

@configclass
class HiddenBaseCfg(WalkCfg, HiddenCfg):
    own: int = 1

@configclass
class ChangedElsewhereCfg(WalkCfg):
    def __post_init__(self):
        super().__post_init__()
        change(self.rewards)
""",
    "project.py": f"""import gymnasium
from isaaclab_tasks.walk.cfgs import WalkCfg
{CONFIGCLASS}
@configclass
class ProjectCfg(WalkCfg):
    payload: float = 1.0

gymnasium.register("Project-Walk-v0", kwargs=dict(env_cfg_entry_point=ProjectCfg))
gymnasium.register(id="Isaac-Project-v0", kwargs={{"env_cfg_entry_point": ProjectCfg}})
""",
}
RIGHT = {
    "Isaac-Walk-v0": [
        *("decimation", "scene.num_envs", "viewer.eye", "rewards.upright.weight", "rewards.upright.params.std"),
        *(
            "rewards.upright.params.scale",
            "rewards.in_a_branch.weight",
            "rewards.added_by_method.weight",
            "slow.weight",
        ),
        *("scene.robot.stiffness", "scene.robot.fingers", "scene.robot.thumb", "extra.left", "extra.low", "extra.high"),
        "names.not_known_before_it_runs",
    ],
    # its base class, or a function that changes it, is in a package that is not read
    "Isaac-Hidden-Base-v0": ["own", "anything", "decimation"],
    "Isaac-Changed-v0": ["decimation", "rewards.anything"],
    "Isaac-Dynamic-Read-v0": ["anything"],
    "project:Isaac-Project-v0": ["payload", "rewards.upright.weight"],
    # not registered in a form that is read
    "project:Project-Walk-v0": ["anything"],
}
"""Names of settings that exist, or may exist, by task."""
WRONG = {
    ("Isaac-Walk-v0", "env.rewardz.x=1"): "no 'rewardz' in env. Did you mean 'rewards'?",
    ("Isaac-Walk-v0", "env.rewards.upright.wieght=1"): "in env.rewards.upright. Did you mean 'weight'?",
    ("Isaac-Walk-v0", "env.rewards.upright.params.stdd=1"): "'std'",
    ("Isaac-Walk-v0", "env.scene.robot.finger=1"): "'fingers'",
    ("Isaac-Walk-v0", "env.extra.lft=1"): "'left'",
    ("Isaac-Walk-v0", "env.num_envs=1"): "Did you mean 'env.scene.num_envs'?",
    # the name in another version of Isaac Lab
    ("Isaac-Walk-v1", "env.rewardz.x=1"): "'rewards'",
    ("Isaac-Walk-v0", "agent.num_step_per_env=1"): "'num_steps_per_env'",
    ("Isaac-Walk-v0", "agent.kl_bound=1"): "'agent.algorithm.kl_bound'",
    # Isaac Lab's TruDi leaves out what a project's configuration of PPO adds
    ("Isaac-Walk-v0", "agent.entropy_schedule=x"): "'entropy_schedule' in agent",
    ("Isaac-Changed-v0", "env.rewardz.x=1"): "'rewards'",
    ("project:Isaac-Project-v0", "env.paylod=1"): "'payload'",
}
"""Overrides that training refuses, with a part of the message."""

CODE = """
import contextlib, io, json, sys
from trudi_rsl.commands.program import main
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.early_names import ISAACLAB, check_early
right, wrong = json.loads(sys.argv[1])
for task, names in right.items():
    for name in names:
        for play in (False, True):
            check_early(ISAACLAB, task, "ppo", [f"env.{name}=1"], play)
check_early(ISAACLAB, "Isaac-Walk-v0", "trudi", ["+env.added=1", "agent.obs_groups.actor=[policy]", "env.rewards=x"])
check_early(ISAACLAB, "Isaac-Walk-v0", "ppo", ["agent.entropy_schedule=x", "physics=newton"])
for task, override, message in wrong:
    with contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(["train", "--task", task, override])
    assert code == 2 and error.getvalue().startswith("Error: Unknown setting "), (override, error.getvalue())
    assert message in error.getvalue() and error.getvalue().count("\\n") == 1, (override, error.getvalue())
imported = {"torch", "rsl_rl", "gymnasium", "isaaclab", "isaaclab_rl", "isaaclab_tasks", "project"} & set(sys.modules)
assert not imported, imported
"""


def test_wrong_settings_are_refused_by_their_source_and_none_that_may_exist(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (file := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wrong = [[task, override, message] for (task, override), message in WRONG.items()]
    done = in_fresh_python(f"import sys; sys.path.append('.')\n{CODE}", json.dumps([RIGHT, wrong]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
