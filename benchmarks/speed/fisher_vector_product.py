"""A Fisher-vector product three ways, for the 64x64 Gaussian policy of HalfCheetah-v4.

Ours (two reverse passes and the distribution's closed-form Fisher matrix) beside double
backpropagation of the KL divergence (what sb3-contrib's TRPO does) and forward over reverse mode.
They take turns, and the table holds the best time of each, since a noisy machine only ever adds.

    python benchmarks/speed/fisher_vector_product.py
"""

import time
from collections.abc import Callable

import torch as th
import typer
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, grad, jvp

from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.estimators.natural_gradient import fisher_vector_product, flatten

Product = Callable[[th.Tensor], th.Tensor]


class MeanAndStd(th.nn.Module):
    """The distribution's own parameters as a module's output."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Return means and deviations."""
        normal = self.policy.get_distribution(obs).distribution
        return normal.loc, normal.scale


def double_backprop(policy: ActorCriticPolicy, obs: th.Tensor) -> Product:
    """Differentiate the KL's gradient once more."""
    parameters, _ = split_parameters(policy)
    new = policy.get_distribution(obs).distribution
    kl = kl_divergence(Normal(new.loc.detach(), new.scale.detach()), new).sum(-1).mean()
    slope = flatten(th.autograd.grad(kl, parameters, create_graph=True))
    return lambda v: flatten(th.autograd.grad(slope @ v, parameters, retain_graph=True))


def forward_over_reverse(policy: ActorCriticPolicy, obs: th.Tensor) -> Product:
    """Push a tangent through the KL's gradient."""
    module = MeanAndStd(policy)
    wanted = {id(p) for p in split_parameters(policy)[0]}
    theta = {k: p.detach() for k, p in module.named_parameters() if id(p) in wanted}
    old = [x.detach() for x in module(obs)]

    def kl(theta: dict[str, th.Tensor]) -> th.Tensor:
        new = functional_call(module, theta, (obs,))
        return kl_divergence(Normal(*old), Normal(*new)).sum(-1).mean()

    def product(v: th.Tensor) -> th.Tensor:
        parts = th.split(v, [p.numel() for p in theta.values()])
        tangent = {k: x.view_as(p) for (k, p), x in zip(theta.items(), parts, strict=True)}
        _, out = jvp(grad(kl), (theta,), (tangent,))
        return flatten(list(out.values()))

    return product


def main(batch: int = 4096, repetitions: int = 100) -> None:
    """Measure and print a table."""
    th.set_num_threads(1)
    th.manual_seed(0)
    policy = ActorCriticPolicy(
        spaces.Box(-1, 1, (17,)), spaces.Box(-1, 1, (6,)), lambda _: 1e-3, log_std_init=-0.5
    )
    parameters, _ = split_parameters(policy)
    obs = th.randn(batch, 17)
    v = th.randn(sum(p.numel() for p in parameters))
    ways = {
        "ours": fisher_vector_product(policy.get_distribution(obs), parameters),
        "double backpropagation": double_backprop(policy, obs),
        "forward over reverse": forward_over_reverse(policy, obs),
    }
    reference = ways["ours"](v)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repetitions):
        for name, product in ways.items():
            start = time.perf_counter()
            product(v)
            best[name] = min(best[name], time.perf_counter() - start)
    table = Table("", "ms", "x ours", "relative difference", title=f"{batch} states")
    for name, seconds in best.items():
        difference = (ways[name](v) - reference).norm() / reference.norm()
        ratio = seconds / best["ours"]
        table.add_row(name, f"{1e3 * seconds:.2f}", f"{ratio:.2f}", f"{difference:.1e}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
