"""Gradients of single trajectories, for the optimal baseline and the variance of the estimate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils.rnn import pad_sequence

from sb3_course.collection.observations import TensorObs, select
from sb3_course.estimators.chunks import (
    chunk_bytes,
    chunks,
    evaluating,
    transitions_per_chunk,
)

CHUNK_TRANSITIONS = 8192
"""Most transitions of one pass, also of a small policy."""
COMPARED = 256
"""Most transitions by which it is checked that a policy may be given preprocessed observations."""
HELD_CHUNKS = 4
"""Most memory of gradients of single trajectories that are used again, in chunks' memory."""

Block: TypeAlias = tuple[th.Tensor, th.Tensor]


class _LogProb(nn.Module):
    """log π(a|s) as a module, since that is what ``functional_call`` calls."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: TensorObs, actions: th.Tensor) -> th.Tensor:
        return self.policy.get_distribution(obs).log_prob(actions)


class TrajectoryGradients:
    r"""The weighted score of each trajectory, for several multipliers at once, block by block.

    .. math:: G_{i,w} = \sum_{t \in \tau_i} m_{t,w} \, \nabla_\theta \log \pi_\theta(a_t \mid s_t)

    With m = 1 this is the trajectory's score S, with m = Q̂_t its estimate A. One reverse pass
    through ``torch.func`` serves a chunk of trajectories, or of their parts where they are longer
    than a chunk. If all fit into :data:`HELD_CHUNKS` they are one block, which is kept; otherwise
    each iteration computes them again, so that memory does not grow with K.

    Iterating yields the indices of a block's trajectories, of shape (B,), and their G, of shape
    (B, W, P).

    :param policy: Policy π_θ
    :param parameters: Parameters θ, of P numbers, in the order of the last dimension
    :param obs: States s_t, of shape (M, …)
    :param actions: Actions a_t, of shape (M, …)
    :param multipliers: Multipliers m_{t,w} of ∇log π, of shape (M, W)
    :param trajectory: Index of each step's trajectory, from 0 to K - 1, of shape (M,); the steps of
        a trajectory may lie apart
    :param chunk_size: Most transitions of one pass, padding included; None to measure the policy
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        obs: TensorObs,
        actions: th.Tensor,
        multipliers: th.Tensor,
        trajectory: th.Tensor,
        chunk_size: int | None = None,
    ) -> None:
        self.policy, self.parameters = policy, parameters
        self.obs, self.actions, self.multipliers = obs, actions, multipliers
        lengths = th.bincount(trajectory).tolist()
        self.rows = th.split(th.argsort(trajectory, stable=True), lengths)
        self.shape = (len(lengths), multipliers.shape[1], sum(p.numel() for p in parameters))
        self.chunk_size = min(CHUNK_TRANSITIONS, chunk_size or transitions_per_chunk(policy))
        self._held: list[Block] = []
        # torch.func mixes up the batches of PReLU's weights, without an error.
        self._vectorized = not any(isinstance(part, nn.PReLU) for part in policy.modules())
        self._compared = False

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks, those of the longest trajectories first."""
        n, width, size = self.shape
        fits = 4 * n * width * size <= HELD_CHUNKS * chunk_bytes(self.policy.device)
        if self._held:
            yield from self._held
            return
        order = sorted(range(n), key=lambda i: -len(self.rows[i]))
        for block in chunks(n, n if fits else self._most_pieces):
            which = sorted(order[block])
            result = th.tensor(which), self._gradients([self.rows[i] for i in which])
            if fits:
                self._held.append(result)
            yield result

    def whole(self) -> th.Tensor:
        """Compute all of G at once, K·W·P numbers.

        :return: Weighted scores, of shape (K, W, P)
        """
        result = self.multipliers.new_empty(self.shape, dtype=th.float32)
        for which, gradients in self:
            result[which] = gradients
        return result

    @property
    def _most_pieces(self) -> int:
        """Most trajectories whose gradients are computed at a time."""
        _, width, size = self.shape
        return max(1, chunk_bytes(self.policy.device) // (4 * width * max(1, size)))

    def _gradients(self, trajectories: list[th.Tensor]) -> th.Tensor:
        """Compute G of trajectories, given by their rows, of shape (B, W, P)."""
        pieces = [
            (place, piece)
            for place, rows in enumerate(trajectories)
            for piece in th.split(rows, self.chunk_size)
        ]
        result = self.multipliers.new_zeros((len(trajectories), *self.shape[1:]), dtype=th.float32)
        sizes = [p.numel() for p in self.parameters]
        if not sizes:  # all are frozen
            return result
        for chunk in _chunks([len(rows) for _, rows in pieces], self.chunk_size, self._most_pieces):
            places = th.tensor([pieces[i][0] for i in chunk], device=result.device)
            jacobian = self._jacobian([pieces[i][1] for i in chunk])
            for part, gradient in zip(th.split(result, sizes, dim=2), jacobian, strict=True):
                part.index_add_(0, places, gradient.flatten(2))
        return result

    def _jacobian(self, pieces: list[th.Tensor]) -> list[th.Tensor]:
        """Compute the weighted scores of pieces of trajectories, (B, W, …) by each parameter."""
        if self._vectorized and not self._compared:
            self._compared, self._vectorized = True, self._takes_preprocessed(pieces[0])
        if not self._vectorized:
            return self._one_by_one(pieces)
        try:
            return self._all_at_once(pieces)
        except Exception:  # torch.func has no rule for this policy
            jacobian = self._one_by_one(pieces)
            self._vectorized = False
            return jacobian

    def _takes_preprocessed(self, rows: th.Tensor) -> bool:
        """Return whether π is the same of preprocessed observations, in a space without bounds.

        It is not if the policy's own code reads the space, or preprocesses by itself.
        """
        rows = rows[:COMPARED]
        obs, actions = select(self.obs, rows), self.actions[rows]
        devices = [self.policy.device] if self.policy.device.type == "cuda" else []
        with th.no_grad(), th.random.fork_rng(devices), evaluating(self.policy):
            expected = self.policy.get_distribution(obs).log_prob(actions)
        try:
            ready = self._preprocess(obs)
            with th.no_grad(), th.random.fork_rng(devices), _preprocessed(self.policy, ready):
                found = self.policy.get_distribution(ready).log_prob(actions)
        except Exception:  # of the policy's own code
            return False
        return th.allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)

    def _preprocess(self, obs: TensorObs) -> TensorObs:
        return preprocess_obs(obs, self.policy.observation_space, self.policy.normalize_images)

    def _one_by_one(self, pieces: list[th.Tensor]) -> list[th.Tensor]:
        """Do as :meth:`_all_at_once` with a forward pass for each piece."""
        result = [p.new_zeros(len(pieces), self.shape[1], *p.shape) for p in self.parameters]
        with th.enable_grad(), evaluating(self.policy):
            for i, rows in enumerate(pieces):
                distribution = self.policy.get_distribution(select(self.obs, rows))
                scores = distribution.log_prob(self.actions[rows]) @ self.multipliers[rows].float()
                for w, score in enumerate(scores if scores.requires_grad else ()):
                    gradients = th.autograd.grad(
                        score, self.parameters, retain_graph=True, allow_unused=True
                    )
                    for total, gradient in zip(result, gradients, strict=True):
                        if gradient is not None:
                            total[i, w] = gradient
        return result

    def _all_at_once(self, pieces: list[th.Tensor]) -> list[th.Tensor]:
        """Compute the weighted scores of pieces, padded with their own first rows, in one pass."""
        policy, rows = self.policy, th.cat(pieces)
        places = _padded_places([len(piece) for piece in pieces], rows.device)
        real = places >= 0
        places = th.where(real, places, places[:, :1])
        obs = self._preprocess(select(self.obs, rows))
        padded_obs = (
            {key: values[places] for key, values in obs.items()}
            if isinstance(obs, dict)
            else obs[places]
        )
        actions = self.actions[rows][places]
        multipliers = self.multipliers[rows].float()[places] * real[..., None]
        module = _LogProb(policy)
        names = _places(module, self.parameters)

        def weighted_score(
            theta: list[th.Tensor], obs: TensorObs, actions: th.Tensor, multipliers: th.Tensor
        ) -> th.Tensor:
            swapped = {name: theta[i] for name, i in names.items()}
            # Not tie_weights=True: where a module has two names (a shared features extractor), that
            # leaves its own parameters swapped out for good.
            log_prob: th.Tensor = functional_call(
                module, swapped, (obs, actions), tie_weights=False
            )
            return log_prob @ multipliers

        gradients = vmap(jacrev(weighted_score), in_dims=(None, 0, 0, 0), randomness="different")
        theta = [p.detach() for p in self.parameters]
        with _preprocessed(policy, obs):
            jacobian: list[th.Tensor] = gradients(theta, padded_obs, actions, multipliers)
        return jacobian


@contextmanager
def _preprocessed(policy: ActorCriticPolicy, obs: TensorObs) -> Iterator[None]:
    """Make a policy take preprocessed observations, since ``vmap`` cannot do one-hot coding."""
    space = policy.observation_space
    policy.observation_space = _float_space(obs)
    try:
        with evaluating(policy):
            yield
    finally:
        policy.observation_space = space


def _float_space(obs: TensorObs) -> spaces.Space[Any]:
    if isinstance(obs, dict):
        return spaces.Dict({key: _float_space(value) for key, value in obs.items()})
    return spaces.Box(-np.inf, np.inf, obs.shape[1:])


def _places(module: nn.Module, parameters: list[nn.Parameter]) -> dict[str, int]:
    """Map the name of every place of a parameter, each module once, to the parameter's index."""
    index = {id(p): i for i, p in enumerate(parameters)}
    return {
        f"{prefix}.{name}": index[id(parameter)]
        for prefix, part in module.named_modules()
        for name, parameter in part.named_parameters(recurse=False)
        if id(parameter) in index
    }


def _padded_places(lengths: list[int], device: th.device) -> th.Tensor:
    """Return where each piece's rows lie in their concatenation, of shape (B, T); -1 is padding."""
    places = th.split(th.arange(sum(lengths), device=device), lengths)
    return pad_sequence(list(places), batch_first=True, padding_value=-1)


def _chunks(lengths: list[int], chunk_size: int, most: int | None = None) -> list[list[int]]:
    """Group pieces of similar length, so that there is little padding."""
    chunks: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        full = not chunks or longest * (len(chunks[-1]) + 1) > chunk_size
        if full or len(chunks[-1]) == most:
            chunks.append([])
            longest = lengths[i]
        chunks[-1].append(i)
    return chunks
