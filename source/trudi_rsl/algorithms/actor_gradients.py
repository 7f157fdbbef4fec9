# SPDX-License-Identifier: BSD-3-Clause
"""Two ways to the gradient of the gated actor loss: through the chain, or by matching its adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.acceleration import Accelerator, Gradient, network_precision
from trudi_rsl.algorithms.adjoint_objective import AdjointStates, adjoint_objective, adjoint_states
from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.algorithms.objectives import (
    ActorTerms,
    Objective,
    free_actor_objective,
    masked_actor_objective,
    selected_actor_objective,
)
from trudi_rsl.modules import ActorCritic

ActorGradient = Callable[[ActorTerms], tuple[Objective, tuple[Tensor, ...]]]
"""Returns what is logged and the gradient for each of the actor's parameters."""


def actor_gradient(model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> ActorGradient:
    """Return the gradient that ``cfg.actor_gradient`` names, compiled where ``accelerator`` does so."""
    kind = _AdjointGradient if cfg.actor_gradient == "adjoint" else _PathwiseGradient
    return kind(model, cfg, accelerator)


class _PathwiseGradient:
    """The gradient through whole chains."""

    def __init__(self, model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> None:
        self._model, self._cfg, self._fixed_shapes = model, cfg, accelerator.compiles
        self._gradient = accelerator.compile("actor step", Gradient(self._objective, list(model.actor.parameters())))

    def __call__(self, terms: ActorTerms) -> tuple[Objective, tuple[Tensor, ...]]:
        """Return what is logged and the gradient."""
        return self._gradient(terms)

    def _objective(self, terms: ActorTerms) -> Objective:
        model, cfg = self._model, self._cfg
        with network_precision(cfg.precision, terms.obs.device.type):
            if not cfg.has_trust_region:
                return free_actor_objective(model.actor, model.critic, terms)
            # on a GPU, waiting for the number of gated states costs more than computing both branches
            if terms.old is None or self._fixed_shapes or terms.obs.is_cuda:
                return masked_actor_objective(
                    model.actor, model.old_actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator
                )
            return selected_actor_objective(model.actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator)


class _AdjointGradient:
    """Adjoint matching in two stages, each of which is compiled by itself."""

    def __init__(self, model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> None:
        self._model, self._cfg = model, cfg
        self._states = accelerator.compile("actor's chains", self._find_states)
        self._gradient = accelerator.compile("actor step", Gradient(self._objective, list(model.actor.parameters())))

    def __call__(self, terms: ActorTerms) -> tuple[Objective, tuple[Tensor, ...]]:
        """Return what is logged and the gradient, on a fresh draw of denoising steps."""
        num_steps = self._model.actor.num_steps
        num_chosen = min(self._cfg.num_adjoint_steps or num_steps, num_steps)
        # topk, since a CUDA graph can hold it
        chosen = torch.rand(num_steps, device=terms.obs.device).topk(num_chosen).indices
        return self._gradient(terms, self._states(terms), chosen)

    def _find_states(self, terms: ActorTerms) -> AdjointStates:
        with network_precision(self._cfg.precision, terms.obs.device.type):
            model, cfg = self._model, self._cfg
            return adjoint_states(model.actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator)

    def _objective(self, terms: ActorTerms, states: AdjointStates, chosen: Tensor) -> Objective:
        with network_precision(self._cfg.precision, terms.obs.device.type):
            return adjoint_objective(self._model.actor, terms, states, chosen, self._cfg.kl_estimator)
