# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a task's settings without its simulator: from its last start, and as released."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts import setting_names, stock_names
from trudi_rsl.hosts.launched import MJLAB
from trudi_rsl.hosts.setting_names import Start, names_in, selecting
from trudi_rsl.hosts.stock_names import OPEN, SELECTABLE, SELECTIONS, Names


@dataclass
class Sim:
    dt: float = 0.005
    substeps: int = 1
    device: str = "cpu"
    decay: float | str = 0.5
    gravity: tuple[float, float] = (0.0, -9.81)
    solver: Literal["pgs", "tgs"] = "pgs"
    margin: float | None = None


@dataclass
class Env:
    sim: Sim = field(default_factory=Sim)
    joints: dict[str, float] = field(default_factory=lambda: {".*_hip": 0.1, "knee": 0.2})
    terms: dict[str, Any] = field(default_factory=lambda: {"alive": Sim()})
    is_finite: bool = False


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    return Start("mjlab", "train", "Own-Task", "trudi")


def _refused(start: Start, *overrides: str) -> str | None:
    try:
        start.check(overrides, "mjlab")
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("env.sim.dtt=0.1", ("'dtt' in env.sim", "'dt'")),
        ("env.sym.dt=0.1", ("'sym' in env", "'sim'")),
        ("env.terms.alve.dt=1", ("'alve' in env.terms", "'alive'")),
        ("envs.sim.dt=1", ("'envs' in the configuration", "'env'")),
        ("env.sim.dt=slow", ("env.sim.dt must be a number", "slow")),
        ("env.sim.substeps=two", ("env.sim.substeps must be an integer", "two")),
        ("env.sim.substeps=", ("env.sim.substeps must be an integer", "nothing")),
        ("env.sim.substeps='[1]'", ("env.sim.substeps must be an integer", "[1]")),
        ("env.is_finite=maybe", ("env.is_finite must be true or false", "maybe")),
        ("env.sim.gravity=down", ("env.sim.gravity must be a list of numbers", "down")),
        ("env.sim.solver=pgss", ("'pgss' of env.sim.solver", "'pgs'")),
        ("env.sim.margin=wide", ("env.sim.margin must be a number", "wide")),
    ],
)
def test_what_the_last_start_did_not_accept_is_refused_with_what_it_would(
    start: Start, override: str, named: tuple[str, ...]
) -> None:
    start.remember({"env": names_in(Env())})
    message = _refused(start, "env.sim.dt=0.1", override)
    assert message is not None
    assert all(name in message for name in named), message


@pytest.mark.parametrize(
    "override",
    [
        *("env.sim.dt=0.1", "env.sim.dt=null", "env.sim.dt=${env.sim.decay}", "env.sim.decay=auto", "env.sim.device=x"),
        *("env.joints.left_hip=0.3", "env.sim.device.index=0", "+env.sim.new=1", "agent.algorithm.kl_bond=1", "--flag"),
        *(
            "env.sim.dt='0.1'",
            "env.sim.dt=infinity",
            "env.sim.substeps='2'",
            "env.sim.substeps=02",
            "env.is_finite='True'",
            "env.sim.gravity=[0,0]",
            "env.sim.gravity='(0,0)'",
            "env.sim.gravity=(0,0)",
            "env.sim.substeps=0x2",
            "env.sim.solver=tgs",
            "env.sim.margin=None",
        ),
        *("agent.obs_groups.teacher=[a]", "agent.actor.distribution_cfg.learn_std=false"),  # RSL-RL reads any key
    ],
)
def test_what_only_the_simulator_can_refuse_passes(start: Start, override: str) -> None:
    agent: Names = {"algorithm": {}, "obs_groups": {}, "actor": {"distribution_cfg": {"init_std": None}}}
    start.remember({"env": names_in(Env()), "agent": agent})
    assert _refused(start, override) is None


def test_new_keys_of_mappings_and_names_of_parts_pass_in_isaac_lab(start: Start) -> None:
    start.remember({"env": names_in(Env(), selectable={"env.sim.dt"}, path="env")})
    assert _refused(start, "env.terms.alve.dt=1") is None
    assert _refused(start, "env.sim.dt=newton_mjwarp") is None
    assert _refused(start, "env.terms.alive.dt=newton_mjwarp") is not None
    assert _refused(start, "env.terms.alive.dtt=1") is not None


def test_text_that_selects_no_part_leaves_the_names_known(start: Start) -> None:
    names: Names = {"env": names_in(Env(), selectable={"env.sim"}, path="env"), OPEN: None}
    start.remember(names)

    def given(*overrides: str) -> Start:
        return replace(start, selected=selecting(overrides, "trudi"))

    for text in ("env.sim.device=cuda", "env.sim.dt=slow", "env.sims.device=cuda", "env.joints.knee=a"):
        assert given(text).known() == names, text
    for text in ("env.sim=newton", "env=flat", "physics=newton"):
        assert given(text).known() is None, text
    assert "must be a number" in (_refused(given("env.sim.dt=slow"), "env.sim.dt=slow") or "")
    # a start's own names, with what it has selected, are those of all its values
    selected: Names = {"env": {"sim": {SELECTABLE: None, "integrator": None}}}
    given("physics=newton", "env.sim=newton", "env.sim.integrator=implicit").remember(selected)
    for value in ("implicit", "euler"):
        text = f"env.sim.integrator={value}"
        assert given("physics=newton", "env.sim=newton", text).known() == (selected if value == "implicit" else None)


def test_a_selection_that_no_part_has_is_refused_whatever_else_is_selected(start: Start) -> None:
    start.remember({"env": names_in(Env(), selectable=()), SELECTIONS: {"newton": None, "flat": None}, OPEN: None})
    for texts, wrong in (
        (("physics=newton", "presets=flat,newton"), None),
        (("physics=newton", "presets=flt"), "'flat'"),
    ):
        message = _refused(replace(start, selected=texts), *texts)
        assert (message is None) if wrong is None else (message is not None and wrong in message), message


def test_an_override_is_refused_once_also_after_further_starts(start: Start) -> None:
    start.remember({"env": names_in(Env())})
    assert _refused(start, "env.new=1") is not None
    assert _refused(start, "env.newer=1") is not None
    assert _refused(start, "env.new=1") is None
    start.remember({"env": names_in(Env())})
    assert _refused(start, "env.new=1") is None


@pytest.mark.parametrize("change", ["written", "deleted"])
def test_nothing_is_refused_after_a_file_that_the_start_imported_has_changed(
    start: Start, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, module = tmp_path / "own_task.py", ModuleType("own_task")
    file.write_text("a = 1")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "own_task", module)
    start.remember({"env": names_in(Env())})  # edited since this process began
    assert _refused(start, "env.new=1") is None
    os.utime(file, ns=(0, setting_names.BEGAN - 1))
    start.remember({"env": names_in(Env())})
    assert _refused(start, "env.new=1") is not None
    start.remember({"env": names_in(Env())})
    if change == "written":
        status = file.stat()
        file.write_text("b = 2")  # of the same size
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    else:
        file.unlink()
    assert _refused(start, "env.newer=1") is None


@pytest.mark.parametrize(
    "other", [("play", "Own-Task", "trudi"), ("train", "Other", "trudi"), ("train", "Own-Task", "ppo")]
)
def test_another_task_command_or_algorithm_has_names_of_its_own(start: Start, other: tuple[str, str, str]) -> None:
    start.remember({"env": names_in(Env()), OPEN: None})
    assert _refused(Start("mjlab", *other), "env.new=1") is None
    assert (
        _refused(Start("mjlab", "train", "Own-Task", "trudi", selecting(["physics=newton"], "trudi")), "env.new=1")
        is None
    )


def test_a_playback_without_an_algorithm_leaves_those_of_the_agent_to_the_checkpoint(start: Start) -> None:
    play = Start("isaaclab", "play", "Own-Task", None)
    play.remember({"env": names_in(Env()), "agent": {"algorithm": {"kl_bound": None}}})
    assert _refused(play, "agent.algorithm.clip_param=0.1") is None
    assert _refused(play, "env.new=1") is not None


def test_only_values_that_are_text_or_sections_select_parts() -> None:
    numbers = ["env.a=1", "env.b=-1e-3", "env.c=true"]
    assert selecting([*numbers, "physics=newton", "--video", "env.d=[1,2]"], "ppo") == ("env.d=[1,2]", "physics=newton")
    assert selecting(["presets=ee", "env.a=.5", "env.b=+1"], "ppo") == ("presets=ee",)
    own = "agent.algorithm.compile=off"
    assert selecting([own], "trudi") == ()
    assert selecting([own], "ppo") == (own,)


def test_a_damaged_or_unwritable_cache_changes_nothing(start: Start, tmp_path: Path, monkeypatch: Any) -> None:
    start.remember({"env": names_in(Env())})
    (kept,) = (tmp_path / "setting_names").iterdir()
    for content in (b"", b"{}", kept.read_bytes()[:-20]):
        kept.write_bytes(content)
        assert _refused(start, "env.new=1") is None
    monkeypatch.setenv("TRUDI_CACHE", str(kept))  # a file, not a folder
    start.remember({"env": names_in(Env())})
    assert _refused(start, "env.new=1") is None


def test_nothing_is_refused_where_it_cannot_be_kept_that_it_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start.remember({"env": names_in(Env())})

    def full(_: Path) -> NoReturn:
        raise OSError("No space left on device")

    monkeypatch.setattr(setting_names, "atomic_write", full)
    assert _refused(start, "env.new=1") is None


def test_a_user_without_a_home_has_no_kept_names(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("TRUDI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    start.remember({"env": names_in(Env())})
    assert _refused(start, "env.new=1") is None


def test_types_are_known_beside_those_that_exist_only_while_types_are_checked() -> None:
    @dataclass
    class Checked:
        dt: float = 0.005
        scale: float = 1.0
        gain: float = "auto"  # pyright: ignore[reportAssignmentType]
        scene: Missing | None = None  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    @dataclass
    class Derived(Checked):
        scale: Missing = 1  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        steps: int = 1

    # nothing is known of what a task itself does not respect
    assert names_in(Derived()) == {"dt": "float", "scale": None, "gain": None, "scene": None, "steps": "int"}


def test_sections_with_slots_have_names() -> None:
    @dataclass(slots=True)
    class Slots:
        dt: float = 0.005

    assert names_in(Slots()) == {"dt": "float"}


def test_a_configuration_that_contains_itself_has_names(start: Start) -> None:
    cfg = Env()
    cfg.terms["self"] = cfg
    start.remember({"env": names_in(cfg)})
    assert _refused(start, "env.terms.self.terms.self.sim.dtt=1") is not None


_names = st.recursive(
    st.none() | st.sampled_from(["int", "float", "bool", "list", "?", ["pgs", "tgs"]]),
    lambda inner: st.dictionaries(st.text("ab*", min_size=1, max_size=2), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["One", "Two"]), st.dictionaries(st.just("env"), _names), min_size=1))
def test_stored_names_are_those_of_the_simulator(tasks: dict[str, Any]) -> None:
    entries = [(task, ("physics=a",), "ppo", names | {"agent": {"lr": "float"}}) for task, names in tasks.items()]
    content = json.loads(stock_names.encode(entries))
    for task, _, algo, names in entries:
        assert stock_names.decode(content, content["tasks"][task]["physics=a"][algo]) == names
    own = json.loads(stock_names.encode([("One", (), "trudi", {"agent": {"algorithm": {"kl_bound": "float"}}})]))
    assert stock_names.decode(own, own["tasks"]["One"][""]["trudi"]) == {"agent": {"algorithm": None}}


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on Python's path with what looks like the released mjlab."""
    package, metadata = tmp_path / "mjlab", tmp_path / "mjlab-1.6.0.dist-info"
    for folder in (package, metadata):
        folder.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mjlab\nVersion: 1.6.0\n")
    (metadata / "RECORD").write_text("mjlab/__init__.py,,6\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_released_tasks_are_known_while_the_files_of_the_simulator_are_as_released(
    start: Start, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path, package = released, released / "mjlab"
    overrides = ("agent.max_iteration=5", "env.decimatoin=4", "env.rewards.track_linear_velocity.wait=1")
    stock = Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "trudi")
    for override in overrides:
        assert _refused(stock, override) is not None
    assert _refused(stock, "agent.max_iterations=5", "env.decimation=4") is None
    # a name of a run selects nothing
    named = Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "trudi", ("agent.run_name=a",))
    assert _refused(named, "env.decimatoin=3") is not None
    assert _refused(named, "agent.max_iteration=4") is not None
    played = Start("mjlab", "play", "Mjlab-Velocity-Flat-Unitree-G1", "trudi")
    assert _refused(played, "env.events.randomize_terrain.min_step_count_between_reset=1") is None
    assert _refused(played, "env.decimatoin=3") is not None
    assert _refused(stock, "env.events.randomize_terrain.min_step_count_between_reset=1") is not None
    # SPO and its relatives have other settings of the agent
    assert _refused(Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "spo"), "agent.max_iteration=5") is None
    assert _refused(Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "spo"), "env.decimatoin=4") is not None
    (package / "__init__.py").write_text("changed = 1\n")
    assert _refused(Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "ppo"), "env.decimatoin=4") is None
    (package / "__init__.py").write_text("a = 1\n")
    # of a sweep, before its first run; the device becomes a flag
    with pytest.raises(ConfigError, match="max_iteration'"):
        MJLAB.run_settings("Mjlab-Cartpole-Swingup", "trudi", ["agent.device=cpu", "agent.max_iteration=5"])
    with pytest.raises(ConfigError, match="have no setting"):
        MJLAB.run_settings("Mjlab-Cartpole-Swingup", "trudi", ["agent.max_seconds=60"])
    checkout = tmp_path / "checkout" / "mjlab"
    checkout.mkdir(parents=True)
    (checkout / "__init__.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(checkout.parent))
    assert _refused(Start("mjlab", "train", "Mjlab-Velocity-Flat-Unitree-G1", "ppo"), "env.decimatoin=5") is None


def test_released_names_are_not_those_of_tasks_of_another_package(
    start: Start, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Start("mjlab", "train", "Mjlab-Cartpole-Swingup-v2", "trudi")
    assert _refused(newer, "env.own_setting=1") is not None
    other = released / "project-1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: project\nVersion: 1\n")
    (other / "entry_points.txt").write_text("[mjlab.tasks]\nproject = project.tasks\n")
    assert _refused(newer, "env.own_setting=2") is None


def test_a_task_is_played_in_its_variant_for_playing(
    start: Start, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {"Isaac-Lift-v0": {"": {"play": 0}}, "Isaac-Lift-Play-v0": {"": {"play": 1}}}
    monkeypatch.setattr(stock_names, "FOLDER", released)
    (released / "mjlab-1.6.0.json").write_text(json.dumps({"sections": [{"a": None}, {"b": None}], "tasks": roots}))
    played = Start("mjlab", "play", "Isaac-Lift-v0", None)
    assert _refused(played, "a=1") is not None
    assert _refused(played, "b=1") is None


def test_a_task_that_trudi_cannot_train_is_left_to_its_simulator(
    start: Start, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"sections": [{"env": None}], "tasks": {"Mjlab-Pixels": {"": {"ppo": 0}}}}
    monkeypatch.setattr(stock_names, "FOLDER", released)
    (released / "mjlab-1.6.0.json").write_text(json.dumps(content))
    assert _refused(Start("mjlab", "train", "Mjlab-Pixels", "ppo"), "envs.a=1") is not None
    assert _refused(Start("mjlab", "train", "Mjlab-Pixels", "trudi"), "envs.a=1") is None
