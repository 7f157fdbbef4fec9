# SPDX-License-Identifier: BSD-3-Clause
"""Which host a task belongs to, and hosts that cannot be used."""

from __future__ import annotations

import logging
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools

from scripts.train import main
from tests.hosts.own_host import installed, write_metadata
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.registry import GROUP, OWN_HOSTS, canonical_name, find_host, hosts, list_tasks, make_env

ROOT = Path(__file__).parents[2]
CLAIMING = """
from trudi_rsl.config.schema import EnvCfg
from trudi_rsl.hosts.host import EnvironmentHost

HOST = EnvironmentHost(
    name={name!r}, title={title!r}, package={package!r}, install="Run: pip install claiming", patterns=("Claimed-*",),
    tasks=lambda: 1 / 0, env_cfg=EnvCfg, make_env=lambda *arguments: None,
)
"""


def _write_host(folder: Path, name: str, title: str, package: str = "math", distribution: str = "") -> None:
    module = distribution or f"{name}_module"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(CLAIMING.format(name=name, title=title, package=package))
    write_metadata(folder, module, {name: f"{module}:HOST"})


def test_setup_declares_every_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    declared: dict = {}
    monkeypatch.setattr(setuptools, "setup", declared.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    assert sorted(text.partition(" ")[0] for text in declared["entry_points"][GROUP]) == sorted(OWN_HOSTS)
    assert set(OWN_HOSTS) <= {host.name for host in hosts()}


def test_finding_a_host_imports_no_simulator() -> None:
    code = (
        "import sys; from trudi_rsl.hosts.registry import find_host, hosts; find_host('Isaac-Ant'); "
        "packages = {host.package for host in hosts()} | {'jax', 'sapien', 'mujoco', 'warp'}; "
        "print(sorted(packages & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("task", "host", "canonical"),
    [
        ("HalfCheetah-v5", "gymnasium", "HalfCheetah-v5"),
        ("SomethingNew", "gymnasium", "SomethingNew"),
        ("my_package:MyTask-v0", "gymnasium", "my_package:MyTask-v0"),
        ("gymnasium:HalfCheetah-v5", "gymnasium", "HalfCheetah-v5"),
        ("gymnasium:my_package:MyTask-v0", "gymnasium", "my_package:MyTask-v0"),
        ("gymnasium:Isaac-Ant", "gymnasium", "gymnasium:Isaac-Ant"),
        ("Isaac-Ant", "isaaclab", "Isaac-Ant"),
        ("isaaclab:Isaac-Ant", "isaaclab", "Isaac-Ant"),
        ("isaaclab:My-Robot", "isaaclab", "isaaclab:My-Robot"),
        ("my_project:Isaac-Ant", "isaaclab", "my_project:Isaac-Ant"),
        ("Mjlab-Cartpole-Balance", "mjlab", "Mjlab-Cartpole-Balance"),
    ],
)
def test_a_name_finds_its_host_and_a_prefix_stays_only_where_it_decides(task: str, host: str, canonical: str) -> None:
    assert find_host(task).name == host
    assert canonical_name(task) == canonical
    assert find_host(canonical).name == host


def test_of_two_hosts_that_claim_a_name_a_prefix_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_host(tmp_path, "first", "First Simulator")
    _write_host(tmp_path, "second", "Second Simulator")
    with installed(monkeypatch, tmp_path):
        with pytest.raises(ConfigError) as caught:
            find_host("Claimed-v0")
        words = ("First Simulator and Second Simulator", "first:Claimed-v0 or second:Claimed-v0")
        assert all(word in str(caught.value) for word in words)
        for name in ("first:Claimed-v0", "second:Claimed-v0"):
            assert f"{find_host(name).name}:Claimed-v0" == name == canonical_name(name)


def test_a_host_that_is_not_installed_is_one_line_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_host(tmp_path, "claiming", "A Simulator", package="no_such_package")
    with installed(monkeypatch, tmp_path):
        assert main(["--task", "Claimed-v0"]) == 1
        assert capsys.readouterr().err == (
            "Error: A Simulator is not installed, and task 'Claimed-v0' needs it. Run: pip install claiming\n"
        )
        with pytest.raises(ImportError, match="A Simulator is not installed"):
            make_env("Claimed-v0", {"num_envs": 1})
        assert [listed.installed for listed in list_tasks() if listed.host.name == "claiming"] == [False]


def test_tasks_are_listed_for_installed_hosts_and_a_host_that_cannot_list_them_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_host(tmp_path, "claiming", "A Simulator")
    with installed(monkeypatch, tmp_path):
        listed = {entry.host.name: entry for entry in list_tasks()}
    assert set(listed) == {*OWN_HOSTS, "claiming"}
    assert {"PlanarObstacle-v0", "HalfCheetah-v5"} <= set(listed["gymnasium"].tasks)
    assert "HalfCheetah-v4" not in listed["gymnasium"].tasks
    assert listed["claiming"].tasks == [] and "ZeroDivisionError" in (listed["claiming"].problem or "")


def test_two_packages_with_hosts_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for distribution in ("package_one", "package_two"):
        _write_host(tmp_path / distribution, "same", "Same", distribution=distribution)
    with (
        installed(monkeypatch, tmp_path / "package_one", tmp_path / "package_two"),
        pytest.raises(ConfigError, match=r"package_two and package_one|package_one and package_two.*'same'"),
    ):
        hosts()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("HOST = 3", "is not a trudi_rsl.hosts.host.Host"),
        (CLAIMING.format(name="other", title="Other", package="math"), "named 'broken', but the host 'other'"),
    ],
)
def test_a_broken_host_of_another_package_is_left_out_with_a_warning(
    body: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_module.py").write_text(body)
    write_metadata(tmp_path, "broken_package", {"broken": "broken_module:HOST"})
    with installed(monkeypatch, tmp_path), caplog.at_level(logging.WARNING):
        assert {host.name for host in hosts()} == set(OWN_HOSTS)
    assert "broken of broken_package" in caplog.text and reason in caplog.text


def test_a_checkout_has_its_own_hosts_even_if_it_is_not_installed_or_its_installation_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, "trudi_rsl", {})
    with installed(monkeypatch, tmp_path):
        assert {host.name for host in hosts()} >= {"gymnasium", "isaaclab", "mjlab"}


def test_a_project_s_task_is_asked_for_only_where_its_host_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def host(name: str, installed: bool) -> SimpleNamespace:
        return SimpleNamespace(
            name=name,
            claims=lambda _task: False,
            is_installed=lambda: installed,
            has_task=lambda task: asked.append(name) or task == "My-Robot",
        )

    everything = (host("absent", False), host("gymnasium", False), host("present", True))
    monkeypatch.setattr("trudi_rsl.hosts.registry.hosts", lambda: everything)
    assert find_host("My-Robot").name == "present"
    assert find_host("Else").name == "gymnasium"
    assert set(asked) == {"present"}
