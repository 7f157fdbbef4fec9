# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Episodes of E environments as pure functions of their state, compiled by JAX.

A step is two calls: :meth:`Simulation.advance` steps all environments, and :attr:`Simulation.refill` starts new
episodes in those that ended. On a GPU the host reads neither; on a CPU it skips the second where no episode ended.

Playground's own wrapper returns to the first state of training at every reset and keeps the counters, commands and
random keys of the ended episode; here each episode has a random key of its own,
``fold_in(fold_in(key, environment), episode)``. Some resets are slow (CheetahRun's simulates two seconds), and episodes
end one by one. So the first state of every environment's next episode is prepared, and when one is needed that is used
up, all that are used up are prepared again together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trudi_rsl.evaluation.episodes import SUCCESS_NAMES
from trudi_rsl.hosts.playground.state_leaves import kept_leaves

PREPARED_AT_ONCE = 64
"""First states that are prepared together on a CPU, whose caches hold no more; a GPU prepares all."""
STARTED_AT_ONCE = 16
"""Episodes that are started together."""

FAULTS = 5
"""Entries of :attr:`Carry.faults`."""
BETWEEN_EPISODES = ("key", "episode", "prepared", "used")
"""Fields of :class:`Carry` that a step does not need. Half of a state's memory, so they are kept out of its call."""


Leaves = tuple[jax.Array, ...]
"""The kept leaves of a state, without its structure: each array that is passed to a compiled function takes a
microsecond, and taking MuJoCo's data apart in Python takes longer than a cheap step."""


class Carry(NamedTuple):
    """The state of E environments between two steps."""

    state: Leaves
    """Of Playground's ``State``: ``[E, ...]``, and with ``impl=warp`` some that all environments share."""
    key: jax.Array
    """Random key of the run, ``[2]`` uint32."""
    clock: jax.Array
    """Steps as counted by the time limit ``[E]``."""
    length: jax.Array
    """Steps taken in the running episode ``[E]``."""
    episode: jax.Array
    """Number of episodes started ``[E]``."""
    prepared: Leaves
    """First states of the next episodes ``[E, ...]``."""
    used: jax.Array
    """Whether the prepared state has been used ``[E]``."""
    restarted: jax.Array
    """Whether the running episode was started because of NaN or infinity ``[E]``."""
    succeeded: jax.Array
    """Whether the running episode has succeeded in some step ``[E]``."""
    sums: jax.Array
    """Return and sums of the task's metrics over the running episode ``[E, 1 + M]``."""
    totals: jax.Array
    """Number of ended episodes, of their steps and successes, their returns, and the sums of their means of metrics,
    ``[4 + M]``."""
    faults: jax.Array
    """The first step with NaN or infinity: number of environments, index and steps of the first, whether training
    cannot go on, whether the policy's action was the cause; zeros if there was none, ``[5]``."""


class Outcome(NamedTuple):
    """Results of a step, ``[E]``."""

    reward: jax.Array
    done: jax.Array
    """Terminated, out of time or faulty."""
    time_out: jax.Array
    """Ended without having terminated."""
    success: jax.Array
    """1 or 0 where an episode ended, else NaN."""
    final_obs: Any
    """Observations before any reset ``[E, ...]``; NaN where faulty."""


class Simulation:
    """A task's compiled functions; each compiles once per number of environments.

    Args:
        env: The task, as ``mujoco_playground.registry.load`` returns it.
        max_episode_length: Time limit in steps.
        action_repeat: Control steps per step.
        device: Where it is simulated.
        shares_leaves: Whether leaves of the state may belong to all environments together (``impl=warp``); if so, all
            are kept.
    """

    def __init__(
        self, env: Any, max_episode_length: int, action_repeat: int, device: jax.Device, shares_leaves: bool
    ) -> None:
        self._limit, self._repeat, self._device = max_episode_length, action_repeat, device
        # compiled functions inside compiled ones are traced once, for all numbers of environments
        self.reset, self.step = jax.jit(env.reset), jax.jit(env.step)
        self.first_state = jax.eval_shape(self.reset, new_key(0))
        self._structure = jax.tree.structure(self.first_state)
        action = jax.ShapeDtypeStruct((env.action_size,), jnp.float32)
        everything = (True,) * self._structure.num_leaves
        self.kept = everything if shares_leaves else kept_leaves(self.step, self.first_state, action)
        """Whether each leaf of Playground's ``State`` is one of :data:`Leaves`."""
        places = itertools.accumulate(self.kept[:-1], initial=0)
        self._obs = jax.tree.unflatten(self._structure, places).obs
        self._shared = self._shared_leaves() if shares_leaves else [False] * sum(self.kept)
        scalars = (name for name, value in self.first_state.metrics.items() if value.shape == ())
        self.metrics = tuple(sorted(scalars))
        """Names of the metrics that are one number per environment."""
        self.success = next((name for name in self.metrics if name.rpartition("/")[2] in SUCCESS_NAMES), None)
        """Name of the metric that reports success, None if there is none."""
        self._empty = jax.jit(self._empty_carry, static_argnames="num_envs")
        self._advanced = jax.jit(self._advance, donate_argnums=0)
        self.refill = jax.jit(self._refill, donate_argnums=0)
        """``refill(carry, pending [E]) -> carry`` with new episodes where ``pending``; the old carry is invalid."""

    def start(self, seed: int, num_envs: int) -> Carry:
        """Return environments at the start of their first episodes."""
        # bound to the device as arrays from PyTorch are, or all functions would be compiled a second time
        key, pending = jax.device_put((new_key(seed), jnp.ones(num_envs, bool)), self._device)
        return self.refill(self._empty(key, num_envs=num_envs), pending)

    def pack(self, state: Any) -> Leaves:
        """Return the leaves of Playground's ``State`` that are kept between steps."""
        return tuple(leaf for leaf, kept in zip(jax.tree.leaves(state), self.kept, strict=True) if kept)

    def unpack(self, leaves: Sequence[Any]) -> Any:
        """Return Playground's ``State`` ``[E, ...]`` with these leaves, and zeros for those that are not kept."""
        rest, shapes = iter(leaves), jax.tree.leaves(self.first_state)
        filled = [
            next(rest) if kept else jnp.zeros((len(leaves[0]), *shape.shape), shape.dtype)
            for shape, kept in zip(shapes, self.kept, strict=True)
        ]
        return jax.tree.unflatten(self._structure, filled)

    def observations(self, carry: Carry) -> Any:
        """Return the observations ``[E, ...]`` of the current states."""
        return jax.tree.map(lambda leaf: carry.state[leaf], self._obs)

    def advance(self, carry: Carry, actions: jax.Array | np.ndarray) -> tuple[Carry, Outcome]:
        """Step all environments with actions ``[E, A]``; the old carry is invalid afterwards."""
        kept = {name: getattr(carry, name) for name in BETWEEN_EPISODES}
        carry, outcome = self._advanced(carry._replace(**dict.fromkeys(kept)), actions)
        return carry._replace(**kept), outcome

    # -- compiled -------------------------------------------------------------------------------------------------

    def _empty_carry(self, key: jax.Array, num_envs: int) -> Carry:
        """Return the state of environments before their first episodes."""
        counts, flags = jnp.zeros(num_envs, jnp.int32), jnp.zeros(num_envs, bool)
        if any(jax.tree.leaves(self._shared)):
            # as a reset of all environments leaves what they share
            state = self._first(jnp.arange(num_envs, dtype=jnp.int32), counts, key)
        else:
            shapes = jax.eval_shape(self._first, counts, counts, key)
            state = tuple(jnp.zeros(leaf.shape, leaf.dtype) for leaf in shapes)
        return Carry(
            state=state,
            key=key,
            clock=counts,
            length=counts,
            episode=counts,
            prepared=tuple(map(jnp.zeros_like, state)),
            used=~flags,
            restarted=flags,
            succeeded=flags,
            sums=jnp.zeros((num_envs, 1 + len(self.metrics))),
            totals=jnp.zeros(4 + len(self.metrics)),
            faults=jnp.zeros(FAULTS, jnp.int32),
        )

    def _first(self, ids: jax.Array, episodes: jax.Array, key: jax.Array) -> Leaves:
        """Return the first states of episodes ``[K]`` of environments ``[K]``."""
        fold = jax.vmap(lambda i, n: jax.random.fold_in(jax.random.fold_in(key, i), n))
        return self.pack(_strong(jax.vmap(self.reset)(fold(ids, episodes))))

    def _shared_leaves(self) -> list[bool]:
        """Return which leaves of the state do not grow with the number of environments."""
        shapes = []
        for n in (2, 3):
            ids = jax.ShapeDtypeStruct((n,), jnp.int32)
            shapes.append(jax.eval_shape(self._first, ids, ids, new_key(0)))
        return [a.shape == b.shape for a, b in zip(*shapes, strict=True)]

    def _refill(self, carry: Carry, pending: jax.Array) -> Carry:
        n = len(pending)
        batch = min(n, PREPARED_AT_ONCE) if self._device.platform == "cpu" else n

        def prepare(carry: Carry) -> Carry:
            # beyond the last one: index n, which is dropped
            ids = jnp.nonzero(carry.used, size=batch, fill_value=n)[0]
            first = self._first(ids, carry.episode[jnp.minimum(ids, n - 1)], carry.key)
            prepared = self._rows(lambda old, new: _put(old, ids, new), carry.prepared, first)
            return carry._replace(prepared=prepared, used=_put(carry.used, ids, False))

        def start(loop: tuple[Carry, jax.Array]) -> tuple[Carry, jax.Array]:
            carry, pending = loop
            ids = jnp.nonzero(pending, size=min(n, STARTED_AT_ONCE), fill_value=n)[0]
            rows = jnp.minimum(ids, n - 1)
            carry = carry._replace(
                state=self._rows(lambda old, new: _put(old, ids, new[rows]), carry.state, carry.prepared),
                clock=_put(carry.clock, ids, 0),
                length=_put(carry.length, ids, 0),
                episode=carry.episode.at[ids].add(1, mode="drop"),
                used=_put(carry.used, ids, True),
                succeeded=_put(carry.succeeded, ids, False),
                sums=_put(carry.sums, ids, 0.0),
            )
            return carry, _put(pending, ids, False)

        lacking = (pending & carry.used).any()
        carry = jax.lax.while_loop(lambda carry: lacking & carry.used.any(), prepare, carry)
        return jax.lax.while_loop(lambda loop: loop[1].any(), start, (carry, pending))[0]

    def _rows(self, merge: Callable[[jax.Array, jax.Array], jax.Array], old: Leaves, new: Leaves) -> Leaves:
        """Return a state of the merged leaves of two states; what all environments share is left as it is."""
        leaves = zip(old, new, self._shared, strict=True)
        return tuple(a if shared else merge(a, b) for a, b, shared in leaves)

    def _advance(self, carry: Carry, actions: jax.Array) -> tuple[Carry, Outcome]:
        state, reward, done = self._step_all(self.unpack(carry.state), jnp.clip(actions, -1.0, 1.0))
        clock, length = carry.clock + 1, carry.length + 1
        checked = jax.tree.leaves((state.obs, reward, state.data.qpos, state.data.qvel))
        faulty = ~jnp.isfinite(jnp.concatenate([x.reshape(len(x), -1) for x in checked], axis=1)).all(1)
        # Playground ends episodes with NaN as if they had terminated, which is nothing to learn from
        terminated = done & ~faulty
        time_out = (faulty | (clock >= self._limit)) & ~terminated
        ended = terminated | time_out
        reward = jnp.where(faulty, 0.0, reward)

        values = [reward, *(state.metrics[name].astype(jnp.float32) for name in self.metrics)]
        sums = carry.sums + jnp.nan_to_num(jnp.stack(values, axis=1), posinf=0.0, neginf=0.0)
        succeeded = carry.succeeded
        if self.success is not None:
            succeeded |= state.metrics[self.success] > 0

        def count(totals: jax.Array, faults: jax.Array) -> tuple[jax.Array, jax.Array]:
            parts = (ended, ended * length, ended & succeeded, ended * sums[:, 0])
            counted = jnp.stack([jnp.sum(part, dtype=jnp.float32) for part in parts])
            means = jnp.where(ended[:, None], sums[:, 1:] / length[:, None], 0.0).sum(0)
            first = jnp.argmax(faulty)
            caused = ~jnp.isfinite(actions[first]).all()
            # as for other hosts: all environments at once, or one again in the first step of its new episode
            fatal = faulty.all() | (faulty & carry.restarted).any()
            fault = jnp.stack([faulty.sum(), first, length[first], fatal, caused]).astype(jnp.int32)
            known = faults.at[3].max(fatal.astype(jnp.int32))
            faults = jnp.where(faults[0] > 0, known, jnp.where(faulty.any(), fault, 0))
            return totals + jnp.concatenate([counted, means]), faults

        # a faulty episode has ended, too
        totals, faults = jax.lax.cond(ended.any(), count, lambda *same: same, carry.totals, carry.faults)
        carry = carry._replace(
            state=self.pack(state),
            clock=clock,
            length=length,
            restarted=faulty,
            succeeded=succeeded,
            sums=sums,
            totals=totals,
            faults=faults,
        )
        final_obs = jax.tree.map(lambda x: jnp.where(_as_rows(faulty, x), jnp.nan, x), state.obs)
        return carry, Outcome(reward, ended, time_out, jnp.where(ended, succeeded, jnp.nan), final_obs)

    def _step_all(self, state: Any, actions: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """Return state, reward ``[E]`` and termination ``[E]`` after the control steps of one action."""

        def once(state: Any, _: None) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            state = _strong(jax.vmap(self.step)(state, actions))
            return state, (state.reward, state.done > 0)

        if self._repeat == 1:
            state, (reward, done) = once(state, None)
            return state, reward, done
        state, (rewards, dones) = jax.lax.scan(once, state, None, self._repeat)
        ended_before = jnp.cumsum(dones, axis=0) - dones > 0
        return state, jnp.where(ended_before, 0.0, rewards).sum(0), dones.any(0)


def new_key(seed: int) -> jax.Array:
    """Return a random key for a seed of at least 0 and below 2^64."""
    return jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32)


def _strong(tree: Any) -> Any:
    """Drop JAX's weak types: reset and step differ in them, and the step would be compiled a second time."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


def _put(old: jax.Array, ids: jax.Array, new: Any) -> jax.Array:
    """Return ``[E, ...]`` with rows ``ids`` ``[K]`` replaced; indices of E or more are ignored."""
    return old.at[ids].set(new, mode="drop")


def _as_rows(mask: jax.Array, like: jax.Array) -> jax.Array:
    """Return a mask ``[E]`` with the number of axes of ``like`` ``[E, ...]``."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))
