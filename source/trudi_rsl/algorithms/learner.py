# SPDX-License-Identifier: BSD-3-Clause
"""One minibatch of learning: critic step, actor step through the critic, dual step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.algorithms.losses import critic_losses, dual_loss, gated_actor_loss, masked_mean
from trudi_rsl.algorithms.trust_region import fresh_path_kl, path_kl, reverse_path_kl
from trudi_rsl.diffusion import Chain
from trudi_rsl.modules import DiffusionActorCritic
from trudi_rsl.storage import Minibatch


class PathwiseLearner:
    """Optimisers, multipliers and the update of one minibatch (paper Algorithm 1, inner loop).

    Args:
        actor_critic: The module whose actor and critic are trained; its old actor is only read.
        cfg: Settings.
        world_size: Number of processes whose gradients are averaged.
    """

    def __init__(self, actor_critic: DiffusionActorCritic, cfg: TruDiCfg, world_size: int = 1) -> None:
        self.actor_critic = actor_critic
        self.cfg = cfg
        self.world_size = world_size
        self.entropy_target = cfg.entropy_target_per_dim * actor_critic.num_actions
        device = actor_critic.action_scale.device
        self.log_alpha = nn.Parameter(torch.tensor(cfg.init_alpha, device=device).log())
        self.log_lambda = nn.Parameter(torch.tensor(cfg.init_lambda, device=device).log())
        self.optimizers = {
            name: torch.optim.Adam(parameters, lr=cfg.learning_rate, fused=True)
            for name, parameters in (
                ("actor", list(actor_critic.actor.parameters())),
                ("critic", list(actor_critic.critic.parameters())),
                ("duals", [self.log_alpha, self.log_lambda]),
            )
        }

    @property
    def alpha(self) -> Tensor:
        """Temperature of the entropy term, a scalar without gradient."""
        return self.log_alpha.detach().exp()

    @property
    def multiplier(self) -> Tensor:
        """Multiplier ``lambda`` of the trust region, a scalar without gradient."""
        return self.log_lambda.detach().exp()

    def update(self, batch: Minibatch, old_steps: Tensor) -> dict[str, Tensor]:
        """Take one critic, one actor and one dual step.

        Args:
            batch: Rows of the rollout.
            old_steps: Step sizes ``[N, A]`` of the policy that collected it.

        Returns:
            Scalars on the device, without gradient, keyed as they are logged.
        """
        metrics = self._critic_step(batch)
        actor_metrics = self._actor_step(batch, old_steps)
        self._dual_step(actor_metrics["entropy"], actor_metrics["path_kl"])
        return metrics | actor_metrics

    def _critic_step(self, batch: Minibatch) -> dict[str, Tensor]:
        critic = self.actor_critic.critic
        output = critic(batch.critic_obs, batch.actions)
        value_loss, feature_loss = critic_losses(
            output,
            critic.hl_gauss.encode(batch.targets),
            batch.next_features,
            batch.target_valid,
            batch.features_valid,
        )
        grad_norm = self._descend("critic", value_loss + self.cfg.aux_loss_coef * feature_loss)
        with torch.no_grad():
            values = critic.decode(output.logits)
            td_error = masked_mean((values - batch.targets).abs(), batch.target_valid)
        return {
            "critic": value_loss.detach(),
            "feature": feature_loss.detach(),
            "q_mean": values.mean(),
            "td_error": td_error,
            "critic_grad_norm": grad_norm,
        }

    def _actor_step(self, batch: Minibatch, old_steps: Tensor) -> dict[str, Tensor]:
        actor, critic = self.actor_critic.actor, self.actor_critic.critic
        chain = self.actor_critic.sample_chain(batch.actor_obs)
        log_probs = actor.log_prob_bound(chain)
        values = critic.value(batch.critic_obs, chain.latents[-1].tanh())
        kl = self._path_kl(batch, chain, old_steps)
        gate = kl.detach() <= self.cfg.kl_bound
        loss = gated_actor_loss(log_probs, values, kl, gate, self.alpha, self.multiplier)
        grad_norm = self._descend("actor", loss)
        kl = kl.detach()
        return {
            "actor": loss.detach(),
            "entropy": -log_probs.detach().mean(),
            "path_kl": kl.mean(),
            "path_kl_max": kl.max(),
            "gated_share": 1.0 - gate.float().mean(),
            "actor_grad_norm": grad_norm,
        }

    def _path_kl(self, batch: Minibatch, chain: Chain, old_steps: Tensor) -> Tensor:
        cfg, actor, old_actor = self.cfg, self.actor_critic.actor, self.actor_critic.old_actor
        if cfg.kl_estimator == "reverse":
            return reverse_path_kl(actor, old_actor, batch.actor_obs, chain)
        if batch.latents is not None and batch.means is not None:
            return path_kl(actor, batch.actor_obs, batch.latents, batch.means, old_steps, cfg.kl_estimator)
        return fresh_path_kl(actor, old_actor, batch.actor_obs, cfg.num_kl_chains, cfg.kl_estimator)

    def _dual_step(self, entropy: Tensor, mean_kl: Tensor) -> None:
        if self.world_size > 1:
            shared = torch.stack([entropy, mean_kl])
            torch.distributed.all_reduce(shared)
            entropy, mean_kl = shared / self.world_size
        loss = dual_loss(self.log_alpha, self.log_lambda, entropy, self.entropy_target, mean_kl, self.cfg.kl_bound)
        self.optimizers["duals"].zero_grad()
        loss.backward()
        self.optimizers["duals"].step()

    def _descend(self, name: str, loss: Tensor) -> Tensor:
        """Step one optimiser down ``loss``; gradients are taken for its own parameters only. Return their norm."""
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        if self.world_size > 1:
            gradients = self._average_over_processes(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(parameters, self.cfg.max_grad_norm)
        optimizer.step()
        return norm

    def _average_over_processes(self, gradients: tuple[Tensor, ...]) -> list[Tensor]:
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        parts = (flat / self.world_size).split([g.numel() for g in gradients])
        return [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]

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
