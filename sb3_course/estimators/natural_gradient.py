r"""The natural gradient: Fisher-vector product, conjugate gradient, step length.

With J the Jacobian of the distribution's own parameters z (means and deviations, or logits) and M
the Fisher information in them, known in closed form, the policy's is

.. math:: F = \mathbb{E}_s \left[ J_s^\top M_s J_s \right] = \nabla^2_\theta \,
    \mathbb{E}_s \left[ KL(\pi_{old} \| \pi_\theta) \right] \Big|_{\theta_{old}}

(Kakade 2002; CS285 lecture 5, "natural gradient"; the last equality is exact, Schulman 2015,
appendix C). This form never differentiates twice through the network's own nonlinearities, so a
product costs about as much as a gradient (``benchmarks/speed/fisher_vector_product.py``
measures it).
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal

Product: TypeAlias = Callable[[th.Tensor], th.Tensor]


def flatten(tensors: Sequence[th.Tensor]) -> th.Tensor:
    """Concatenate tensors to one vector.

    Unlike PyTorch's ``parameters_to_vector`` it takes gradients of any memory layout, and it is 1.4
    times as fast.

    :param tensors: Tensors of any shapes
    :return: Vector of shape (P,)
    """
    return th.cat([tensor.reshape(-1) for tensor in tensors]) if tensors else th.zeros(0)


def assign(parameters: list[nn.Parameter], vector: th.Tensor) -> None:
    """Copy a vector's values into parameters.

    PyTorch's ``vector_to_parameters`` makes the parameters views of the vector instead, so that the
    next step would change the vector as well.

    :param parameters: Parameters θ
    :param vector: Values of θ, of shape (P,)
    """
    parts = th.split(vector, [p.numel() for p in parameters])
    with th.no_grad():
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))


def components(distribution: Distribution) -> list[Normal | Categorical | Bernoulli]:
    """Return the independent parts of an SB3 distribution.

    :param distribution: Gaussian, categorical, multi-categorical or Bernoulli distribution
    :return: PyTorch's distributions
    :raises TypeError: The distribution is of another kind
    """
    inner: Any = distribution.distribution
    parts = inner if isinstance(inner, list) else [inner]
    for part in parts:
        if not isinstance(part, (Normal, Categorical, Bernoulli)):
            base = f" of {type(part.base_dist).__name__}" if hasattr(part, "base_dist") else ""
            raise TypeError(
                "the natural gradient supports Normal, Categorical and Bernoulli distributions, "
                f"got {type(part).__name__}{base}"
            )
    return parts


def kept(distribution: Distribution) -> Distribution:
    """Return a copy that stays what it is when θ changes in place, of which it may be a view.

    :param distribution: Distribution of one of the kinds of :func:`components`
    :return: Copy without a graph
    """
    copied, inner = copy.copy(distribution), distribution.distribution
    of_parts = [_without_views(part) for part in components(distribution)]
    copied.distribution = of_parts if isinstance(inner, list) else of_parts[0]
    return copied


def _without_views(part: Any) -> Any:
    copied = copy.copy(part)
    tensors = {name: v for name, v in vars(part).items() if isinstance(v, th.Tensor)}
    vars(copied).update({name: value.detach().clone() for name, value in tensors.items()})
    return copied


def kl_divergence(old: Distribution, new: Distribution) -> th.Tensor:
    """Compute KL(old ‖ new) at each state, in nats.

    Over action dimensions the KL is summed, as the KL of a joint distribution is.

    :param old: Distribution before the step, at M states
    :param new: Distribution after the step, at the same states
    :return: KL of each state, of shape (M,)
    """
    pairs = zip(components(old), components(new), strict=True)
    parts = [th.distributions.kl_divergence(p, q) for p, q in pairs]
    return th.stack([part.reshape(len(part), -1).sum(dim=1) for part in parts]).sum(dim=0)


def surrogate_gain(new: th.Tensor, old: th.Tensor, advantages: th.Tensor) -> th.Tensor:
    r"""Compute the gain of the surrogate objective.

    .. math:: \mathbb{E} \left[ \left( \frac{\pi_\theta(a|s)}{\pi_{old}(a|s)} - 1 \right)
        \hat A \right]

    :param new: log π_θ(a|s), of shape (M,)
    :param old: log π_old(a|s), of shape (M,)
    :param advantages: Advantages Â, of shape (M,)
    :return: Gain over the old policy, a scalar
    """
    return (((new - old).exp() - 1) * advantages).mean()


def fisher_vector_product(
    distribution: Distribution, parameters: list[nn.Parameter], damping: float = 0.0
) -> Product:
    r"""Make the function v ↦ (F + λI) v.

    J v is taken as the derivative of J^T u with respect to u: two reverse passes through graphs
    that all products share.

    :param distribution: π_θ at M states, with its graph
    :param parameters: Parameters θ, of P numbers
    :param damping: Damping λ
    :return: Function from vectors of shape (P,) to vectors of shape (P,)
    """
    metrics = [pair for part in components(distribution) for pair in _metric(part)]
    metrics = [(z, metric) for z, metric in metrics if z.requires_grad]  # others are constant
    if not metrics or not parameters:
        return lambda v: damping * v
    z = [tensor for tensor, _ in metrics]
    u = [th.zeros_like(tensor, requires_grad=True) for tensor in z]
    unused = {"allow_unused": True, "materialize_grads": True}  # 0 by what these states do not use
    transposed = flatten(th.autograd.grad(z, parameters, u, create_graph=True, **unused))
    n_states = z[0].shape[0]

    def product(v: th.Tensor) -> th.Tensor:
        forward = th.autograd.grad(transposed, u, grad_outputs=v, retain_graph=True)
        weighted = [metric(j_v) for (_, metric), j_v in zip(metrics, forward, strict=True)]
        back = th.autograd.grad(z, parameters, weighted, retain_graph=True, **unused)
        mean: th.Tensor = flatten(back) / n_states
        return mean + damping * v

    return product


def fisher_vector_product_in_chunks(
    distributions: Callable[[], Iterable[Distribution]],
    parameters: list[nn.Parameter],
    damping: float = 0.0,
) -> Product:
    """Make the function v ↦ (F + λI) v for more states than one graph may hold.

    Each product makes the graph of every chunk of states again, one at a time, which costs about
    twice as much as products that share a graph.

    :param distributions: Function that yields π_θ at each chunk of states, with its graph
    :param parameters: Parameters θ, of P numbers
    :param damping: Damping λ
    :return: Function from vectors of shape (P,) to vectors of shape (P,)
    """

    def product(v: th.Tensor) -> th.Tensor:
        total, n_states = th.zeros_like(v), 0
        for distribution in distributions():
            n = components(distribution)[0].batch_shape[0]
            total += n * fisher_vector_product(distribution, parameters)(v)
            n_states += n
        return total / n_states + damping * v

    return product


def _metric(part: Normal | Categorical | Bernoulli) -> list[tuple[th.Tensor, Product]]:
    """Return a distribution's own parameters z, each with the product of its Fisher information."""
    if isinstance(part, Normal):
        precision = part.scale.detach().reciprocal().square()
        return [(part.loc, lambda u: precision * u), (part.scale, lambda u: 2 * precision * u)]
    p = part.probs.detach()
    if isinstance(part, Bernoulli):
        return [(part.logits, lambda u: p * (1 - p) * u)]
    return [(part.logits, lambda u: p * (u - (p * u).sum(-1, keepdim=True)))]


@dataclass(frozen=True)
class CGSolution:
    """Result of the conjugate gradient method.

    ================  ==================================================
    variable          meaning
    ================  ==================================================
    ``x``             the solution of A x = b, of shape (P,)
    ``residual``      ‖b - A x‖ / ‖b‖
    ``iterations``    number of products
    ``curvature``     xᵀ A x
    ================  ==================================================
    """

    x: th.Tensor
    residual: float
    iterations: int
    curvature: float


def conjugate_gradient(
    product: Product, b: th.Tensor, max_steps: int, tolerance: float = 1e-5
) -> CGSolution:
    """Solve A x = b for a positive definite A given by its products, starting from x = 0.

    It stops early once ‖b - A x‖ ≤ ``tolerance`` ‖b‖, and also where the curvature pᵀ A p along the
    next direction is not positive (or not finite), since dividing by it would ruin x.

    :param product: Function v ↦ A v
    :param b: Right-hand side, of shape (P,)
    :param max_steps: Maximum number of products
    :param tolerance: Relative residual at which to stop
    :return: Solution, with its residual, number of iterations and curvature
    :raises ValueError: The right-hand side is of whole numbers, in which there is no solution
    """
    if not b.is_floating_point():
        raise ValueError(f"b must be of floating-point numbers, got {b.dtype}")
    x, r, p = th.zeros_like(b), b.clone(), b.clone()
    squared = r.dot(r)
    target = tolerance**2 * squared
    iterations = 0
    while iterations < max_steps and squared > target:
        a_p = product(p)
        curvature = p.dot(a_p)
        if not (curvature > 0 and th.isfinite(curvature)):
            break
        alpha = squared / curvature
        x += alpha * p
        r -= alpha * a_p
        squared, previous = r.dot(r), squared
        p = r + (squared / previous) * p
        iterations += 1
    residual = (squared / b.dot(b).clamp_min(th.finfo(b.dtype).tiny)).sqrt()
    return CGSolution(x, residual.item(), iterations, x.dot(b - r).item())


def step_length(target_kl: float, curvature: float) -> float:
    r"""Compute the length β of the step along x whose KL is ε to second order (lecture 5).

    .. math:: \tfrac{1}{2} (\beta x)^\top F (\beta x) = \epsilon
        \quad\Rightarrow\quad \beta = \sqrt{2 \epsilon / x^\top F x}

    :param target_kl: Target KL ε, in nats
    :param curvature: Curvature xᵀ F x
    :return: Step length β, or 0 where the curvature is not a positive number
    :raises ValueError: The target KL is negative or not finite
    """
    if not 0 <= target_kl < float("inf"):
        raise ValueError(f"target_kl must be a finite number of at least 0, got {target_kl!r}")
    if not 0 < curvature < float("inf"):
        return 0.0
    return float((2 * target_kl / curvature) ** 0.5)
