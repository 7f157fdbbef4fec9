# SPDX-License-Identifier: BSD-3-Clause
"""TruDi keeps RSL-RL's contract under the stock, unchanged runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils._python_dispatch import TorchDispatchMode

from tests.rsl_rl.helpers import LoadingRunner, PartiallyObserved, algorithm, runner_cfg, stock
from trudi_rsl.checkpoints.format import check_task
from trudi_rsl.diffusion import ScoreNetwork
from trudi_rsl.errors import CheckpointError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

TASK = "InvertedPendulum-v5"

LOGGED = {
    *("path_kl", "path_kl_max", "gated_share", "lambda", "entropy_per_dim", "entropy_target_per_dim", "alpha"),
    *("q_mean", "td_error", "clipped_targets", "action_saturation", "friction", "actor_grad_norm", "critic_grad_norm"),
}
"""What the log must show beside RSL-RL's own lines."""


def stock_runner(tmp_path: Path | None = None, env: Any = None, **settings: Any) -> StockRunner:
    return stock(env or GymnasiumVecEnv(TASK, 4, seed=3), runner_cfg(**settings), tmp_path)


def loading_runner() -> Any:
    return LoadingRunner(GymnasiumVecEnv(TASK, 4, seed=3), runner_cfg(), None, "cpu")


def state(runner: StockRunner) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in algorithm(runner).get_policy().state_dict().items()}


@pytest.fixture(scope="module")
def trained() -> StockRunner:
    torch.manual_seed(0)
    runner = stock_runner()
    runner.learn(1)
    return runner


@pytest.fixture(scope="module")
def checkpoint(trained: StockRunner, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("contract") / "model_0.pt"
    trained.save(str(path))
    return str(path)


def test_trains_under_the_stock_runner_and_logs_every_promised_number(tmp_path: Path) -> None:
    runner = stock_runner(tmp_path)
    before = state(runner)
    runner.learn(2, init_at_random_ep_len=True)
    after = state(runner)
    for part in ("actor.score_network.output_layer.weight", "critic.value_head.4.weight", "actor_obs.normalizer._mean"):
        assert not torch.equal(before[part], after[part]), part
    assert (tmp_path / "model_0.pt").is_file() and (tmp_path / "model_1.pt").is_file()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"Loss/{name}" for name in LOGGED} <= tags
    assert {"Perf/total_fps", "Loss/learning_rate"} <= tags
    assert {"Policy/mean_std", "Policy/mean_noise_std"} & tags
    assert all(torch.isfinite(torch.tensor(events.Scalars(f"Loss/{name}")[-1].value)) for name in LOGGED)


VARIANTS: list[dict[str, Any]] = [
    *({"kl_estimator": estimator} for estimator in ("reverse", "log_ratio", "mean_only")),
    *({"residual": True}, {"value_range": "auto"}, {"obs_normalization": False}, {"num_denoise_steps": 1}),
    *({"kl_chains": "fresh", "num_kl_chains": 2}, {"actor": "gaussian"}, {"actor": "gaussian", "residual": True}),
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_trains_to_finite_weights(settings: dict[str, Any]) -> None:
    runner = stock_runner(**settings)
    runner.learn(1)
    assert all(torch.isfinite(v).all() for v in state(runner).values())


def test_the_critic_may_see_other_observations_than_the_actor() -> None:
    cfg = runner_cfg()
    cfg["obs_groups"] = {"actor": ["policy"], "critic": ["policy", "privileged"]}
    env = PartiallyObserved(TASK, 4, seed=3, max_episode_steps=3)
    runner = stock(env, cfg)
    before = state(runner)
    runner.learn(1)
    policy = algorithm(runner).get_policy()
    assert (policy.actor_obs.num_obs, policy.critic_obs.num_obs) == (2, 6)
    assert not torch.equal(before["critic_obs.normalizer._mean"], state(runner)["critic_obs.normalizer._mean"])
    storage = algorithm(runner).storage
    assert storage.final_actor_obs is not None and storage.final_critic_obs is not None
    assert (storage.final_actor_obs.shape[-1], storage.final_critic_obs.shape[-1]) == (2, 6)
    obs = env.get_observations()
    action = policy(obs)
    obs["privileged"] = obs["privileged"] + 1.0
    torch.testing.assert_close(policy(obs), action)


@pytest.mark.parametrize("loads", [{"actor": True}, {}], ids=str)
def test_load_cfg_chooses_what_is_loaded(trained: StockRunner, checkpoint: str, loads: dict[str, bool]) -> None:
    target = loading_runner()
    before, alpha = state(target), algorithm(target).learner.alpha
    target.load(checkpoint, load_cfg=loads)
    expected = before | {k: v for k, v in state(trained).items() if loads and k.startswith(("actor.", "actor_obs."))}
    loaded = {k: v for k, v in state(target).items() if k.startswith(("actor.", "actor_obs.", "critic."))}
    assert all(torch.equal(v, expected[k]) for k, v in loaded.items())
    assert target.current_learning_iteration == 0 and not algorithm(target).learner.optimizers["actor"].state
    assert torch.equal(algorithm(target).learner.alpha, alpha)


@pytest.mark.parametrize("value_range", ["auto", [-100.0, 500.0]])
@pytest.mark.parametrize(
    ("task", "actor"), [("InvertedPendulum-v5", "diffusion"), ("Hopper-v5", "diffusion"), ("Hopper-v5", "gaussian")]
)
def test_save_load_continue_equals_not_stopping(task: str, actor: str, value_range: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    straight = stock_runner(env=GymnasiumVecEnv(task, 4, seed=3), value_range=value_range, actor=actor, num_bins=151)
    straight.learn(2, init_at_random_ep_len=True)
    straight.save(str(tmp_path / "model_1.pt"))
    straight.learn(2)
    torch.manual_seed(12345)
    resumed = stock_runner(env=GymnasiumVecEnv(task, 4, seed=99), value_range=value_range, actor=actor, num_bins=151)
    resumed.load(str(tmp_path / "model_1.pt"))
    resumed.learn(2)
    a, b = state(straight), state(resumed)
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    assert torch.equal(algorithm(straight).learner.log_alpha, algorithm(resumed).learner.log_alpha)
    assert torch.equal(algorithm(straight).learner.log_lambda, algorithm(resumed).learner.log_lambda)


class HostReads(TorchDispatchMode):
    """Counts the operations that wait for the device: ``.item()``, ``bool(tensor)`` and sizes that depend on data."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "equal", "is_nonzero"}:
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_neither_acting_nor_learning_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    # the code that is compiled, as it is written: a compiled kernel's waits would not be seen
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    runner = stock_runner(compile="default")
    alg, env = algorithm(runner), runner.env
    obs = env.get_observations()
    with torch.inference_mode():
        for _ in range(6):
            with HostReads() as reads:
                actions = alg.act(obs)
            assert reads.names == []
            obs, rewards, dones, extras = env.step(actions)
            with HostReads() as reads:
                alg.process_env_step(obs, rewards, dones, extras)
            assert reads.names == []
        alg.compute_returns(obs)
    old_steps = alg.get_policy().old_actor.step_sizes()
    batches = list(alg.storage.minibatches(1, 2))
    alg.learner.update(batches[0], old_steps)
    with HostReads() as reads:
        alg.learner.update(batches[1], old_steps)
    assert reads.names == []


def test_rollout_storage_is_allocated_once_and_its_observations_are_counted_once_by_the_normaliser() -> None:
    runner = stock_runner()

    def addresses() -> dict[str, int]:
        return {k: v.data_ptr() for k, v in vars(algorithm(runner).storage).items() if isinstance(v, torch.Tensor)}

    before = addresses()
    runner.learn(3)
    after = addresses()
    assert {"trace", "actor_obs", "next_features"} <= before.keys()
    assert {k: after[k] for k in before} == before
    assert algorithm(runner).get_policy().actor_obs.normalizer.count == 3 * 6 * 4


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"actor_hidden_dims": [32, 32]}, r"\(16, 21\) in the checkpoint, \(32, 21\) here"),
        ({"num_bins": 31}, "critic"),
    ],
    ids=["actor", "critic"],
)
@pytest.mark.filterwarnings("ignore:Settings changed")
def test_a_checkpoint_of_another_shape_is_refused_and_changes_nothing(
    checkpoint: str, changed: dict[str, Any], words: str
) -> None:
    before = state(target := stock_runner(**changed))
    with pytest.raises(CheckpointError, match=words):
        target.load(checkpoint)
    assert all(torch.equal(v, before[k]) for k, v in state(target).items())


@pytest.mark.parametrize(("saved", "played"), [("Hopper-v4", "Hopper-v5"), ("Isaac-X-v0", "Isaac-X-Play-v0")])
def test_variants_of_a_task_share_checkpoints(saved: str, played: str) -> None:
    check_task(saved, played)
    with pytest.raises(CheckpointError):
        check_task(saved, played.replace("X", "Y").replace("Hopper", "Walker2d"))


def test_a_checkpoint_of_another_task_is_refused_except_for_its_actor(trained: StockRunner, checkpoint: str) -> None:
    other = loading_runner()
    algorithm(other).spec["task"] = "Another"
    with pytest.raises(CheckpointError, match="not on 'Another'"):
        other.load(checkpoint)
    other.load(checkpoint, load_cfg={"actor": True})
    name = "actor.score_network.input_layer.weight"
    assert torch.equal(state(other)[name], state(trained)[name])


@pytest.mark.parametrize(
    "changed",
    [{"num_denoise_steps": 2}, {"prior_std": 1.0}, {"residual": True}, {"action_bounds": [-1.0, 1.0]}],
    ids=str,
)
def test_settings_that_would_change_the_policy_are_refused_on_a_resume(
    changed: dict[str, Any], checkpoint: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"resume with .*algorithm.*{next(iter(changed))}.*="):
        stock_runner(**changed).load(checkpoint)


@pytest.mark.parametrize(("algo", "kind"), [("reppo", {"actor": "gaussian"}), ("dime", {"constraint": "none"})])
def test_a_checkpoint_of_another_algorithm_is_refused_by_name(algo: str, kind: dict[str, Any], tmp_path: Path) -> None:
    path = str(tmp_path / "model_0.pt")
    source = stock_runner(**kind)
    source.learn(1)
    source.save(path)
    with pytest.raises(CheckpointError, match=rf"resume with --algo {algo}\."):
        stock_runner().load(path)


def test_other_settings_may_change_on_a_resume_and_take_effect(checkpoint: str) -> None:
    resumed = stock_runner(learning_rate=1e-5, value_range=[-500.0, 500.0])
    with pytest.warns(UserWarning, match=r"learning_rate 0\.001 -> 1e-05.*value_range"):
        resumed.load(checkpoint)
    optimizers = algorithm(resumed).learner.optimizers.values()
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {1e-5}
    gauss = algorithm(resumed).get_policy().critic.hl_gauss
    assert (gauss.vmin, gauss.vmax) == (-500.0, 500.0)


def test_final_observations_without_a_group_in_use_are_as_good_as_none() -> None:
    runner = stock_runner()
    alg = algorithm(runner)
    obs = runner.env.get_observations()
    alg.act(obs)
    dones = torch.ones(4, dtype=torch.long)
    final = {"other": torch.zeros(4, 1)}
    alg.process_env_step(obs, torch.zeros(4), dones, {"time_outs": dones, "final_obs": final})
    assert not alg.storage.has_final.any() and alg.storage.truncated[0].all()


def test_reduced_precision_is_found_before_the_first_update(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = ScoreNetwork.forward

    def batched_in_bfloat16(self: ScoreNetwork, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=x.ndim == 3):
            return exact(self, x, condition).float()

    # single steps are computed exactly, all steps at once in reduced precision
    monkeypatch.setattr(ScoreNetwork, "forward", batched_in_bfloat16)
    settings: dict[str, Any] = {"actor_hidden_dims": [128] * 3, "num_denoise_steps": 8, "kl_bound": 1e-3}
    runner = stock_runner(env=GymnasiumVecEnv("HalfCheetah-v5", 16), **settings)
    with pytest.raises(RuntimeError, match="set_float32_matmul_precision"):
        runner.learn(1)


def test_ppo_settings_left_in_a_config_are_named_and_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    stock_runner(clip_param=0.2, entropy_coef=0.0)
    assert "ignores them: clip_param, entropy_coef" in capsys.readouterr().out


def test_an_environment_without_action_bounds_acts_in_one_unless_they_are_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = GymnasiumVecEnv(TASK, 2)
    env.action_low.fill_(-torch.inf)
    env.unwrapped.single_action_space.low.fill(-torch.inf)
    env.unwrapped.action_space.low.fill(-torch.inf)
    unbounded = algorithm(stock_runner(env=env)).get_policy()
    assert unbounded.action_scale.tolist() == [1.0] and unbounded.action_offset.tolist() == [0.0]
    assert "no finite action bounds" in capsys.readouterr().out
    bounded = algorithm(stock_runner(env=env, action_bounds=[-2.0, 4.0])).get_policy()
    assert bounded.action_scale.tolist() == [3.0] and bounded.action_offset.tolist() == [1.0]
