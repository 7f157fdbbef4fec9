# SPDX-License-Identifier: BSD-3-Clause
"""One minibatch of learning: critic step, actor step through the critic, dual step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trudi_rsl.acceleration import Accelerator, Gradient, network_precision
from trudi_rsl.algorithms.objectives import (
    ActorTerms,
    Objective,
    actor_gradient,
    critic_objective,
    multiplier_loss,
    temperature_loss,
)
from trudi_rsl.algorithms.trust_region import OldChains, OldPolicy, fresh_chains, from_trace
from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.policies import ActorCritic
from trudi_rsl.settings import TruDiCfg
from trudi_rsl.storage import Minibatch

MEASURED = ("entropy", "path_kl")
"""What the temperature and the multiplier are steered by, the means over all processes."""


class PathwiseLearner:
    """Optimisers, multipliers and the update of one minibatch (paper Algorithm 1, inner loop).

    Args:
        actor_critic: The module whose actor and critic are trained; its old actor is only read.
        cfg: Settings.
        world_size: Number of processes whose gradients are averaged.
        accelerator: What to compile and capture; nothing by default.
    """

    def __init__(
        self,
        actor_critic: ActorCritic[Any],
        cfg: TruDiCfg,
        world_size: int = 1,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.actor_critic = actor_critic
        self.cfg = cfg
        self.world_size = world_size
        self.entropy_target = cfg.entropy_target_per_dim * actor_critic.num_actions
        device = actor_critic.action_scale.device
        self.accelerator = accelerator or Accelerator("off", device)
        self.log_alpha = nn.Parameter(torch.tensor(cfg.init_alpha, device=device).log())
        self.log_lambda = nn.Parameter(torch.tensor(cfg.init_lambda, device=device).log())
        parameters = {
            "actor": list(actor_critic.actor.parameters()),
            "critic": list(actor_critic.critic.parameters()),
            "duals": [self.log_alpha, self.log_lambda] if cfg.has_trust_region else [self.log_alpha],
        }
        on_gpu = device.type == "cuda"
        self.optimizers = {
            # capturable: the step count lives on the device, where a CUDA graph can advance it
            name: torch.optim.Adam(group, lr=cfg.learning_rate, fused=True, capturable=on_gpu)
            for name, group in parameters.items()
        }
        self.skips = torch.zeros((), dtype=torch.float32, device=device)
        """1 once a gradient was not finite: from then on nothing is learned until it is set back to 0."""
        for optimizer in self.optimizers.values():
            # fused optimisers read it on the device, as they do torch.amp's
            optimizer.found_inf = self.skips  # type: ignore[attr-defined]
        self._critic_gradient = self.accelerator.compile(
            "critic step", Gradient(self._critic_objective, parameters["critic"])
        )
        self._fresh_chains = self._draw_chains
        if cfg.draws_old_chains:
            self._fresh_chains = self.accelerator.compile("old policy's chains", self._draw_chains)
        self._actor_gradient = actor_gradient(actor_critic, cfg, self.accelerator)
        self._capture_update()

    @property
    def alpha(self) -> Tensor:
        """Temperature of the entropy term, a scalar without gradient."""
        return self.log_alpha.detach().exp()

    @property
    def multiplier(self) -> Tensor:
        """Multiplier ``lambda`` of the trust region, a scalar without gradient."""
        return self.log_lambda.detach().exp()

    def update(self, batch: Minibatch, old_steps: Tensor | None) -> dict[str, Tensor]:
        """Take one critic, one actor and one dual step.

        A step whose gradient holds NaN or infinity is not taken, nor any after it until ``skips`` is set back. So what
        the failing minibatch met stays as it was.

        Args:
            batch: Rows of the rollout.
            old_steps: Step sizes ``[N, A]`` of the policy that collected it, None for a Gaussian.

        Returns:
            Scalars on the device, without gradient, keyed as they are logged; ``skipped_max`` is 1 if it took none or
            not all of them.
        """
        return self._update(batch, old_steps)

    def _capture_update(self) -> None:
        """Let the next update be captured anew, with the optimisers' present state."""
        self._update: Callable[[Minibatch, Tensor | None], dict[str, Tensor]] = self._take_steps
        # gradients that processes share are averaged outside of any graph
        if self.world_size == 1:
            self._update = self.accelerator.capture("minibatch update", self._take_steps)

    def _take_steps(self, batch: Minibatch, old_steps: Tensor | None) -> dict[str, Tensor]:
        metrics = self._critic_step(batch)
        actor_metrics = self._actor_step(batch, old_steps)
        self._dual_step(actor_metrics["entropy"], actor_metrics.get("path_kl"))
        return metrics | actor_metrics | {"skipped_max": self.skips.clone()}

    def _critic_step(self, batch: Minibatch) -> dict[str, Tensor]:
        objective, gradient = self._critic_gradient(batch)
        return objective.metrics | {"critic_grad_norm": self._descend("critic", self._average_over_processes(gradient))}

    def _critic_objective(self, batch: Minibatch) -> Objective:
        with network_precision(self.cfg.precision, batch.actions.device.type):
            return critic_objective(self.actor_critic.critic, batch, self.cfg.aux_loss_coef)

    def _actor_step(self, batch: Minibatch, old_steps: Tensor | None) -> dict[str, Tensor]:
        noise = self.actor_critic.actor.draw_noise(len(batch.actor_obs))
        old = self._old_policy(batch, old_steps)
        terms = ActorTerms(batch.actor_obs, batch.critic_obs, noise, old, self.alpha, self.multiplier)
        objective, gradient = self._actor_gradient(terms)
        # in one message, as each makes the processes wait for each other
        measured = {name: objective.metrics[name] for name in MEASURED if name in objective.metrics}
        averages = self._average_over_processes([*gradient, *measured.values()])
        norm = self._descend("actor", averages[: len(gradient)])
        averaged = dict(zip(measured, averages[len(gradient) :], strict=True))
        return objective.metrics | averaged | {"actor_grad_norm": norm}

    def _old_policy(self, batch: Minibatch, old_steps: Tensor | None) -> OldPolicy | None:
        """Return the chains along which the path KL is taken, or a Gaussian's means and deviations."""
        if batch.trace is not None:
            return from_trace(batch.trace, old_steps)
        if not self.cfg.draws_old_chains:
            return None
        noise = self.actor_critic.old_actor.draw_noise(self.cfg.num_kl_chains * len(batch.actor_obs))
        return self._fresh_chains(batch.actor_obs, noise)

    def _draw_chains(self, obs: Tensor, noise: Tensor) -> OldChains:
        with network_precision(self.cfg.precision, obs.device.type):
            return fresh_chains(self.actor_critic.old_actor, obs, noise)

    @torch.no_grad()
    def _dual_step(self, entropy: Tensor, mean_kl: Tensor | None) -> None:
        """Move the temperature and, where there is a trust region with a mean path KL, its multiplier."""
        # each loss is linear in its multiplier, so it is its own derivative by the multiplier's logarithm
        self.log_alpha.grad = temperature_loss(self.log_alpha, entropy, self.entropy_target)
        if mean_kl is not None:
            self.log_lambda.grad = multiplier_loss(self.log_lambda, mean_kl, self.cfg.kl_bound)
            self._skip_unless_finite(mean_kl)
        self._skip_unless_finite(entropy)
        self.optimizers["duals"].step()

    def _descend(self, name: str, gradient: Sequence[Tensor]) -> Tensor:
        """Step one optimiser down the gradient of its parameters, clipped; return its norm before that."""
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        for parameter, part in zip(parameters, gradient, strict=True):
            parameter.grad = part
        norm = nn.utils.clip_grad_norm_(parameters, self.cfg.max_grad_norm)
        self._skip_unless_finite(norm)
        optimizer.step()
        return norm

    def _skip_unless_finite(self, values: Tensor) -> None:
        """Skip this step and those after it if one of the values is not finite; the device decides."""
        self.skips.copy_(torch.maximum(self.skips, (~torch.isfinite(values)).any().float()))

    def _average_over_processes(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.world_size == 1:
            return tensors
        flat = all_reduce_mean(torch.cat([x.flatten() for x in tensors]))
        parts = flat.split([x.numel() for x in tensors])
        return [part.view_as(x) for part, x in zip(parts, tensors, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states and the multipliers."""
        state: dict[str, Any] = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        state["log_alpha"] = self.log_alpha.detach().clone()
        state["log_lambda"] = self.log_lambda.detach().clone()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; the learning rate stays the configured one."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
            for group in optimizer.param_groups:
                group["lr"] = self.cfg.learning_rate
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
            self.log_lambda.copy_(state["log_lambda"])
        # a graph would go on with the optimisers' former state
        self._capture_update()
