# SPDX-License-Identifier: BSD-3-Clause
"""What the property tests draw: settings within their ranges, nonsense values, and how many examples."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from trudi_rsl.setting_ranges import MAX_ENTROPY_PER_DIM

FIXED = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
"""The same examples every time, and none smaller to be looked for when one fails."""

WIDTHS = st.lists(st.integers(1, 12), min_size=1, max_size=3)
NONSENSE: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 10**12, 2**80, -(2**80), 1e300, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "..", "1e3", "os:system"]),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def between(low: float, high: float) -> st.SearchStrategy[float]:
    """Return finite numbers from ``low`` to ``high``."""
    return st.floats(low, high, allow_nan=False)


SHARED: dict[str, st.SearchStrategy[Any]] = {
    "num_learning_epochs": st.integers(1, 2),
    "num_mini_batches": st.integers(1, 4),
    "learning_rate": between(1e-6, 1e-2),
    "max_grad_norm": between(1e-3, 100.0),
    "gamma": between(0.0, 0.999),
    "lam": between(0.0, 1.0),
    "actor_hidden_dims": WIDTHS,
    "entropy_target_per_dim": between(-5.0, MAX_ENTROPY_PER_DIM),
    "init_alpha": between(1e-4, 1.0),
    "value_range": st.one_of(st.just("auto"), st.tuples(between(-100.0, -1.0), between(1.0, 100.0)).map(list)),
    "num_bins": st.integers(2, 40),
    "critic_hidden_dim": st.integers(1, 12),
    "aux_loss_coef": between(0.0, 10.0),
    "action_bounds": st.one_of(st.none(), st.tuples(between(-50.0, -0.1), between(0.1, 50.0)).map(list)),
    "obs_normalization": st.booleans(),
    "final_observations": st.booleans(),
    "compile": st.just("off"),
}
DIFFUSION: dict[str, st.SearchStrategy[Any]] = {
    "num_denoise_steps": st.integers(1, 6),
    "prior_std": between(0.05, 5.0),
    "init_friction": between(0.1, 10.0),
    "state_encoder_dims": st.one_of(st.just([]), WIDTHS),
}
REGION: dict[str, st.SearchStrategy[Any]] = {"kl_bound": between(1e-3, 50.0), "init_lambda": between(1e-4, 10.0)}
TRUDI: dict[str, st.SearchStrategy[Any]] = {
    "kl_estimator": st.sampled_from(["closed_form", "mean_only", "log_ratio", "reverse"]),
    "kl_chains": st.sampled_from(["stored", "fresh"]),
    "num_kl_chains": st.integers(1, 3),
    "actor_gradient": st.sampled_from(["pathwise", "adjoint"]),
    "num_adjoint_steps": st.integers(0, 8),
    "residual": st.booleans(),
}
ALGORITHMS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "trudi": SHARED | DIFFUSION | REGION | TRUDI,
    "reppo": SHARED | REGION | {"actor": st.just("gaussian")},
    "dime": SHARED | DIFFUSION | {"constraint": st.just("none")},
}


@st.composite
def algorithm_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an ``algorithm`` section of TruDi, REPPO or DIME whose values are all allowed, also together."""
    fields = ALGORITHMS[draw(st.sampled_from(sorted(ALGORITHMS)))]
    values = {name: draw(values) for name, values in fields.items()}
    if values.get("kl_chains") != "fresh" or values.get("kl_estimator") == "reverse":
        values.pop("num_kl_chains", None)
    if values.get("kl_estimator") == "reverse" or values.get("num_kl_chains", 1) > 1:
        values.pop("actor_gradient", None)
    if values.get("residual"):
        values["actor_hidden_dims"] = [values["actor_hidden_dims"][0]] * len(values["actor_hidden_dims"])
    return values


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all values of nested mappings and lists, but the content itself."""
    found = [path] if path else []
    items = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    for name, value in items:
        found += places(value, (*path, name))
    return found


@st.composite
def spoiled(draw: st.DrawFn, content: Any, values: st.SearchStrategy[Any] = NONSENSE) -> Any:
    """Draw a copy of nested mappings and lists in which one to three values are others, or gone."""
    changed = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(places(changed)))
        section = changed
        for name in parents:
            section = section[name]
        if draw(st.booleans()) and isinstance(section, dict):
            del section[last]
            if not places(changed):
                break
        else:
            section[last] = draw(values)
    return changed


def same(one: Any, other: Any) -> bool:
    """Return whether two contents of checkpoints are bitwise the same."""
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or one.shape != other.shape or one.dtype != other.dtype:
            return False
        return one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))
