# SPDX-License-Identifier: BSD-3-Clause
"""One minibatch of learning: critic step, actor step through the critic, dual step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trudi_rsl.acceleration import Accelerator, Gradient, PackedModules, network_precision
from trudi_rsl.algorithms import objectives
from trudi_rsl.algorithms.objectives import ActorTerms, AdjointStates, Branches, Draws, Objective
from trudi_rsl.algorithms.symmetry import MirrorImages, MirrorTerms, augment, mirror_error
from trudi_rsl.algorithms.trust_region import OldChains, OldPolicy, TrustRegion, fresh_chains, from_trace
from trudi_rsl.distributed import all_reduce_means
from trudi_rsl.errors import ConfigError, one_line, setting
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.policies.recurrent import PaddedSequences, leaf, leaves
from trudi_rsl.settings import LearnerCfg, REPPOCfg, TruDiCfg, TrustRegionCfg
from trudi_rsl.storage import Minibatch

OF_THIS_RUN = ("lr", "fused", "capturable")
"""Options of an optimiser that a checkpoint does not change."""


class Learner:
    """Optimisers, multipliers and the update of one minibatch (paper Algorithm 1, inner loop).

    Args:
        actor_critic: The module whose actor and critic are trained; its old actor is only read.
        world_size: Number of ranks that average their gradients.
        accelerator: Compiles the steps; None does not.
        mirroring: Uses of mirror images; None for none.
    """

    def __init__(
        self,
        actor_critic: ActorCritic[Any],
        cfg: LearnerCfg,
        world_size: int = 1,
        accelerator: Accelerator | None = None,
        mirroring: MirrorTerms | None = None,
    ) -> None:
        self.actor_critic, self.cfg, self.mirroring = actor_critic, cfg, mirroring
        self.world_size = world_size
        self.entropy_target = cfg.entropy_target_per_dim * actor_critic.num_actions
        device = actor_critic.action_scale.device
        self.accelerator = accelerator or Accelerator("off", device)
        init_lambda = cfg.init_lambda if isinstance(cfg, TrustRegionCfg) else 1.0
        self.log_alpha = nn.Parameter(torch.tensor(cfg.init_alpha, device=device).log())
        self.log_lambda = nn.Parameter(torch.tensor(init_lambda, device=device).log())
        self._duals = {"log_alpha": self.log_alpha, "log_lambda": self.log_lambda}
        parameters = {
            "actor": [*actor_critic.actor.parameters(), *actor_critic.actor_obs.parameters()],
            "critic": [*actor_critic.critic.parameters(), *actor_critic.critic_obs.parameters()],
            "duals": [self.log_alpha, self.log_lambda] if isinstance(cfg, TrustRegionCfg) else [self.log_alpha],
        }
        heads: dict[str, list[nn.Parameter]] = dict(parameters)
        """Parameters that compiled functions differentiate by; recurrent encoders follow from their latents."""
        for name in actor_critic.recurrent_encoders:
            heads[name] = list(getattr(actor_critic, name).parameters())
        self.optimizers = {
            # capturable: the step count lives on the device, where a CUDA graph can advance it
            name: torch.optim.Adam(group, lr=cfg.learning_rate, fused=True, capturable=device.type == "cuda")
            for name, group in parameters.items()
        }
        self.skips = torch.zeros((), dtype=torch.float32, device=device)
        """1 after a non-finite gradient: all steps are skipped until it is reset to 0."""
        for optimizer in self.optimizers.values():
            # fused optimisers read it on the device, as they do for torch.amp
            optimizer.found_inf = self.skips  # type: ignore[attr-defined]
        self._matches_adjoints = isinstance(cfg, TruDiCfg) and cfg.actor_gradient == "adjoint"
        self._draws_old_chains = isinstance(cfg, TruDiCfg) and cfg.draws_old_chains
        self._packed: PackedModules | None = None
        compile_ = self.accelerator.compile
        # not what ranks average, nor trajectories of varying number; docs/gpu.md has the reason for GPUs
        is_whole = self.accelerator.device.type == "cpu" and world_size == 1 and not actor_critic.is_recurrent
        if is_whole and self.accelerator.compiles:
            self._packed = PackedModules(actor_critic, self.optimizers, self._duals)
            update = functools.partial(self._take_steps, self._packed)
            self._packed_update = compile_("minibatch update", update, reads_constants=True)
            compile_ = Accelerator("off", device).compile
        self._critic_gradient = compile_(
            "critic step", Gradient(self._critic_objective, heads["critic"], lambda batch: leaves(batch.critic_obs))
        )
        self._rebuilt = functools.partial(from_trace, actor_critic.actor)
        if self._draws_old_chains:
            self._fresh_chains = compile_("old policy's chains", self._draw_fresh_chains)
        elif isinstance(cfg, TruDiCfg):
            self._rebuilt = compile_("old policy's chains", self._rebuilt)
        if self._matches_adjoints:
            self._adjoint_states = compile_("actor's chains", self._draw_adjoint_states)
        self._actor_gradient = compile_(
            "actor step", Gradient(self._actor_objective, heads["actor"], lambda terms, *_: leaves(terms.obs))
        )

    @property
    def alpha(self) -> Tensor:
        """Temperature of the entropy term, a scalar without gradient."""
        return self.log_alpha.detach().exp()

    @property
    def multiplier(self) -> Tensor:
        """Multiplier ``lambda`` of the trust region, a scalar without gradient."""
        return self.log_lambda.detach().exp()

    def update(
        self,
        batch: Minibatch,
        old_steps: Tensor | None,
        mirrored: MirrorImages | None = None,
        sequences: Mapping[str, PaddedSequences] | None = None,
    ) -> dict[str, Tensor]:
        """Take one critic, one actor and one dual step.

        A step with a NaN or infinity in its gradient is skipped, and so are all steps after it until ``skips`` is
        reset. This preserves the state that the failing minibatch met.

        ``old_steps`` are the step sizes ``[N, A]`` of the policy that collected the batch, None for a Gaussian;
        ``mirrored`` are the batch's mirror images, with a symmetry; ``sequences`` are what recurrent encoders replay.
        Returns scalars on the device, without gradient; ``skipped_updates`` is 1 if any step was skipped. On a GPU it
        forces no sync, so that a CUDA graph can hold it.

        Raises:
            ConfigError: If the device has too little memory for the minibatch.
        """
        draws = self._draw(len(batch.actions))
        try:
            if self._packed is None:
                return self._take_steps(None, batch, draws, old_steps, mirrored, sequences)
            with self._packed.packed():
                return self._packed_update(batch, draws, old_steps, mirrored)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"The device has too little memory for minibatches of {len(batch.actions)} transitions: raise "
                f"{setting('algorithm.num_mini_batches')}. {one_line(error)}"
            ) from error

    def _draw(self, num_states: int) -> Draws:
        model, cfg = self.actor_critic, self.cfg
        noise, old_noise, chosen = model.actor.draw_noise(num_states), None, None
        if isinstance(cfg, TruDiCfg) and self._draws_old_chains:
            old_noise = model.old_actor.draw_noise(cfg.num_kl_chains * num_states)
        if isinstance(cfg, TruDiCfg) and self._matches_adjoints:
            num_steps = model.actor.num_steps
            # topk, since a CUDA graph can hold it
            chosen = torch.rand(num_steps, device=noise.device).topk(min(cfg.num_adjoint_steps or num_steps, num_steps))
        return Draws(noise, old_noise, None if chosen is None else chosen.indices)

    def _take_steps(
        self,
        packed: PackedModules | None,
        batch: Minibatch,
        draws: Draws,
        old_steps: Tensor | None,
        mirrored: MirrorImages | None,
        sequences: Mapping[str, PaddedSequences] | None = None,
    ) -> dict[str, Tensor]:
        """Take the steps on packed parameters, or with None on the modules themselves."""
        learned, sequences = batch, sequences or {}
        if mirrored is not None and self.mirroring is not None and self.mirroring.augments:
            learned = augment(batch, mirrored, self.mirroring.mirrors)
        metrics = self._critic_step(learned, sequences.get("critic"), packed)
        if "critic" in sequences:
            latents = self.actor_critic.recurrent_encoders["critic"].replay(sequences["critic"])
            learned = learned._replace(critic_obs=latents.detach())
        actor_metrics = self._actor_step(batch, old_steps, mirrored, learned, sequences.get("actor"), draws, packed)
        self._dual_step(actor_metrics["entropy"], actor_metrics.get("path_kl"), packed)
        return metrics | actor_metrics | {"skipped_updates": self.skips.clone()}

    def packed(self) -> contextlib.AbstractContextManager[None]:
        """Return a context for the updates of a rollout.

        If they are compiled as a whole, modules and optimisers are brought up to date at its end only; an update
        outside of it does so itself.
        """
        return contextlib.nullcontext() if self._packed is None else self._packed.packed()

    # -- critic -------------------------------------------------------------------------------------------------------

    def _critic_step(
        self, batch: Minibatch, sequences: PaddedSequences | None = None, packed: PackedModules | None = None
    ) -> dict[str, Tensor]:
        if packed is not None:
            objective, by_name = packed.gradient("critic", self._critic_objective, batch)
            norm = packed["critic"].descend(by_name, self.cfg.max_grad_norm, self.skips)
            return objective.metrics | {"critic_grad_norm": norm}
        if sequences is None:
            objective, gradient = self._critic_gradient(batch)
        else:
            encoder = self.actor_critic.recurrent_encoders["critic"]
            latents = encoder.replay(sequences)
            objective, by_heads = self._critic_gradient(batch._replace(critic_obs=leaf(latents)))
            gradient = encoder.gradient_through(latents, by_heads)
        if self.world_size > 1:
            gradient = all_reduce_means(gradient)
        return objective.metrics | {"critic_grad_norm": self._descend("critic", gradient)}

    def _critic_objective(self, batch: Minibatch) -> Objective:
        model = self.actor_critic
        with network_precision(self.cfg.precision, batch.actions.device.type):
            if model.critic_obs.is_learned:
                batch = batch._replace(critic_obs=model.critic_obs.encode(batch.critic_obs, batch.cameras))
            return objectives.critic_objective(model.critic, batch, self.cfg.aux_loss_coef)

    # -- actor --------------------------------------------------------------------------------------------------------

    def _actor_step(
        self,
        batch: Minibatch,
        old_steps: Tensor | None,
        mirrored: MirrorImages | None = None,
        learned: Minibatch | None = None,
        sequences: PaddedSequences | None = None,
        draws: Draws | None = None,
        packed: PackedModules | None = None,
    ) -> dict[str, Tensor]:
        """Take one actor step from ``learned``, the batch with the mirror images to learn from (default: the batch)."""
        draws = self._draw(len(batch.actions)) if draws is None else draws
        given = batch, old_steps, mirrored, learned or batch, draws
        if packed is not None:
            model, adjoint, networks = self.actor_critic, self._matches_adjoints, ("actor", "critic")
            encodes = model.actor_obs.is_learned or model.critic_obs.is_learned
            terms = packed.call(self._actor_terms, *given, packed["duals"].views(), reads=networks if encodes else ())
            states = packed.call(self._draw_adjoint_states, terms, reads=networks) if adjoint else None
            given, constant = (terms, states, draws.chosen), () if adjoint else ("critic",)
            objective, by_name = packed.gradient("actor", self._actor_objective, *given, reads=constant)
            norm = packed["actor"].descend(by_name, self.cfg.max_grad_norm, self.skips)
            return objective.metrics | {"actor_grad_norm": norm}
        terms = self._actor_terms(*given)
        if sequences is None:
            objective, gradient = self._differentiate_actor(terms, draws.chosen)
        else:
            encoder = self.actor_critic.recurrent_encoders["actor"]
            latents = encoder.replay(sequences)
            objective, by_heads = self._differentiate_actor(terms._replace(obs=leaf(latents)), draws.chosen)
            gradient = encoder.gradient_through(latents, by_heads)
        metrics = dict(objective.metrics)
        if self.world_size > 1:
            # one all-reduce for the gradient and what drives the duals
            names = [name for name in ("entropy", "path_kl") if name in metrics]
            averages = all_reduce_means([*gradient, *[metrics[name] for name in names]])
            gradient = averages[: len(averages) - len(names)]
            metrics |= dict(zip(names, averages[len(gradient) :], strict=True))
        return metrics | {"actor_grad_norm": self._descend("actor", gradient)}

    def _actor_terms(
        self,
        batch: Minibatch,
        old_steps: Tensor | None,
        mirrored: MirrorImages | None,
        learned: Minibatch,
        draws: Draws,
        duals: Mapping[str, Tensor] | None = None,
    ) -> ActorTerms:
        """Return the terms, by default with the present multipliers as ``duals``."""
        model, noise = self.actor_critic, draws.noise
        old, old_obs = self._old_policy(batch, old_steps, draws.old_noise), None
        if model.actor_obs.is_learned and self._trust_region is not None and old is None:
            old_obs = self._latents(model.old_actor_obs or model.actor_obs, batch.actor_obs, batch)
        mirrored_obs = None
        if mirrored is not None and self.mirroring is not None:
            mirrors = self.mirroring.mirrors
            if self.mirroring.augments:
                # with mirrored noise, a symmetric policy takes the very step that it takes without mirror images
                noise = mirrors.mirror(noise)
                old = None if old is None else old.mirrored(mirrors, len(batch.actor_obs))
            mirrored_obs = mirrored.actor_obs if self.mirroring.loss_coef > 0.0 else None
        return ActorTerms(
            obs=learned.actor_obs,
            critic_obs=self._latents(model.critic_obs, learned.critic_obs, learned),
            noise=noise,
            old=old,
            alpha=self.alpha if duals is None else duals["log_alpha"].exp(),
            multiplier=self.multiplier if duals is None or "log_lambda" not in duals else duals["log_lambda"].exp(),
            mirrored_obs=mirrored_obs,
            cameras=learned.cameras,
            old_obs=old_obs,
        )

    def _differentiate_actor(self, terms: ActorTerms, chosen: Tensor | None) -> tuple[Objective, tuple[Tensor, ...]]:
        """Return the objective and the gradient for each of the actor's parameters."""
        if not self._matches_adjoints:
            return self._actor_gradient(terms)
        return self._actor_gradient(terms, self._adjoint_states(terms), chosen)

    def _actor_objective(
        self, terms: ActorTerms, states: AdjointStates | None = None, chosen: Tensor | None = None
    ) -> Objective:
        model, region = self.actor_critic, self._trust_region
        with network_precision(self.cfg.precision, terms.obs.device.type):
            terms = self._encoded(terms)
            if region is not None and states is not None and chosen is not None:
                objective = objectives.adjoint_objective(model.actor, terms, states, chosen, region.estimator)
            else:
                split: Branches = "both" if self.accelerator.compiles or terms.old is None else "split"
                branches = "selected" if self.accelerator.device.type == "cuda" else split
                objective = objectives.pathwise_objective(model.actor, model.critic, terms, region, branches)
            if self.mirroring is None or terms.mirrored_obs is None:
                return objective
            mirrors, coef = self.mirroring.mirrors, self.mirroring.loss_coef
            originals = terms.obs[: len(terms.mirrored_obs) // (mirrors.num_maps - 1)]
            error = mirror_error(model, originals, terms.mirrored_obs, mirrors)
            return Objective(objective.loss + coef * error, objective.metrics | {"symmetry": error.detach()})

    def _draw_adjoint_states(self, terms: ActorTerms) -> AdjointStates:
        model, region = self.actor_critic, self._trust_region
        assert region is not None, "only TruDi, which has one, matches adjoints"
        with network_precision(self.cfg.precision, terms.obs.device.type):
            with torch.no_grad():
                terms = self._encoded(terms)
            return objectives.adjoint_states(model.actor, model.critic, terms, region)

    def _encoded(self, terms: ActorTerms) -> ActorTerms:
        """Return the terms with latents as the actor's observations; gradients reach its encoder."""
        encoder = self.actor_critic.actor_obs
        return terms._replace(obs=encoder.encode(terms.obs, terms.cameras)) if encoder.is_learned else terms

    @torch.no_grad()
    def _latents(self, encoder: ObservationEncoder, obs: Tensor, batch: Minibatch) -> Tensor:
        """Return the latents ``[B, L]`` of a minibatch's observations ``[B, O]`` and images, constant."""
        with network_precision(self.cfg.precision, obs.device.type):
            return encoder.encode(obs, batch.cameras)

    @property
    def _trust_region(self) -> TrustRegion | None:
        if not isinstance(self.cfg, TruDiCfg | REPPOCfg):
            return None
        return TrustRegion(self.cfg.kl_bound, self.cfg.kl_estimator, self.actor_critic.old_actor)

    def _old_policy(self, batch: Minibatch, old_steps: Tensor | None, noise: Tensor | None = None) -> OldPolicy | None:
        """Return the old chains of the path KL, or a Gaussian's old distributions."""
        if batch.trace is not None:
            return self._rebuilt(batch.trace, old_steps)
        if noise is None:
            return None
        encoder = self.actor_critic.old_actor_obs or self.actor_critic.actor_obs
        return self._fresh_chains(self._latents(encoder, batch.actor_obs, batch), noise)

    def _draw_fresh_chains(self, obs: Tensor, noise: Tensor) -> OldChains:
        with network_precision(self.cfg.precision, obs.device.type):
            return fresh_chains(self.actor_critic.old_actor, obs, noise)

    # -- duals and optimisers -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def _dual_step(self, entropy: Tensor, mean_kl: Tensor | None, packed: PackedModules | None = None) -> None:
        """Update the temperature and, given the mean path KL of a trust region, its multiplier."""
        # each loss is linear in its multiplier, so it is its own derivative by the multiplier's logarithm
        duals = self._duals if packed is None else self._duals | packed["duals"].views()
        gradient = {"log_alpha": objectives.temperature_loss(duals["log_alpha"], entropy, self.entropy_target)}
        if mean_kl is not None and isinstance(self.cfg, TrustRegionCfg):
            gradient["log_lambda"] = objectives.multiplier_loss(duals["log_lambda"], mean_kl, self.cfg.kl_bound)
        if packed is not None:
            packed["duals"].descend(gradient, None, self.skips)
            return
        for name, part in gradient.items():
            getattr(self, name).grad = part
        self._skip_unless_finite(torch.stack(list(gradient.values())))
        self.optimizers["duals"].step()

    def _descend(self, name: str, gradient: Sequence[Tensor]) -> Tensor:
        """Clip the gradient, step the optimiser, and return the norm before clipping."""
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        for parameter, part in zip(parameters, gradient, strict=True):
            parameter.grad = part
        norm = nn.utils.clip_grad_norm_(parameters, self.cfg.max_grad_norm)
        self._skip_unless_finite(norm)
        optimizer.step()
        return norm

    def _skip_unless_finite(self, values: Tensor) -> None:
        """Skip this and the following steps if a value is not finite, without a GPU sync."""
        # x - x is 0 for finite numbers and NaN for others, in half as many kernels as isfinite
        torch.maximum(self.skips, (values - values).sum().ne(0.0), out=self.skips)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states and the multipliers."""
        duals = {"log_alpha": self.log_alpha.detach().clone(), "log_lambda": self.log_lambda.detach().clone()}
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()} | duals

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`, but keep the configured learning rate and what the device needs."""
        for name, optimizer in self.optimizers.items():
            pairs = zip(state[name]["param_groups"], optimizer.param_groups, strict=True)
            groups = [saved | {key: own[key] for key in OF_THIS_RUN} for saved, own in pairs]
            optimizer.load_state_dict({**state[name], "param_groups": groups})
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
            self.log_lambda.copy_(state["log_lambda"])
        # graphs refer to the optimisers' former state
        self.accelerator.reset()
