"""A gradient step of the actor four ways, for the 64x64 Gaussian policy of HalfCheetah-v4.

The engine (formulas over the module's tensors) beside autograd, ``torch.func`` and
``torch.compile``, each with the same forward pass, gradient and fused Adam. They take turns in this
process; the table holds microseconds of CPU time, medians with quartiles.

    python benchmarks/speed/engine.py
    python benchmarks/speed/engine.py --batch 32 --rounds 5 --out ''
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch as th
import typer
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.func import functional_call, grad
from turns import Contender, Local, alternate

from sb3_course.common.files import write_whole
from sb3_course.common.networks.actors import AutogradActor, make_actor
from sb3_course.common.networks.parameter_groups import split_parameters

OUT = Path(__file__).resolve().parents[2] / "results" / "speed" / "engine.md"


class LogProb(th.nn.Module):
    """log π(a|s) of SB3's layers, as a module's output."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.body, self.head = policy.mlp_extractor.policy_net, policy.action_net
        self.log_std = policy.log_std

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Return log π(a|s) without its constant."""
        u = (actions - self.head(self.body(obs))) / self.log_std.exp()
        return -0.5 * u.square().sum(1) - self.log_std.sum()


def stepper(kind: str, batch: int) -> Callable[[], None]:
    """Make the function that takes one step of one kind."""
    th.manual_seed(0)
    policy = ActorCriticPolicy(spaces.Box(-1, 1, (17,)), spaces.Box(-1, 1, (6,)), lambda _: 1e-3)
    parameters, _ = split_parameters(policy)
    optimizer = th.optim.Adam(parameters, lr=1e-6, fused=True)
    obs, actions, weights = th.randn(batch, 17), th.randn(batch, 6), th.randn(batch)
    if kind in ("engine", "autograd"):
        make = make_actor if kind == "engine" else AutogradActor
        actor = make(policy, parameters, optimizer)

        def step() -> None:
            actor.evaluate(obs, actions)
            actor.descend(weights)

        return step
    module = LogProb(policy)
    names = dict(module.named_parameters())

    def loss(theta: dict[str, th.Tensor]) -> th.Tensor:
        return -(functional_call(module, theta, (obs, actions)) * weights).mean()

    if kind == "torch.func":
        gradient = grad(loss)

        def step() -> None:
            slopes = gradient({name: p.detach() for name, p in names.items()})
            for name, parameter in names.items():
                parameter.grad = slopes[name]
            optimizer.step()

        return step
    compiled = th.compile(module)

    def step() -> None:
        optimizer.zero_grad()
        (-(compiled(obs, actions) * weights).mean()).backward()
        optimizer.step()

    return step


def repeated(step: Callable[[], None]) -> Contender:
    """Make a contender whose unit is a step."""

    def work(units: int) -> int:
        for _ in range(units):
            step()
        return units

    return Local(work, batch=10)


def main(
    batch: Annotated[list[int] | None, typer.Option(help="States of a step.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 15,
    seconds: Annotated[float, typer.Option(help="Seconds of a turn.")] = 0.1,
    out: Annotated[str, typer.Option(help="File; '' to print alone.")] = str(OUT),
) -> None:
    """Measure, print and keep."""
    th.set_num_threads(1)
    kinds = ("engine", "autograd", "torch.func", "torch.compile")
    lines = ["| states | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for n in batch or [32, 100, 4096]:
        turns = alternate({kind: repeated(stepper(kind, n)) for kind in kinds}, rounds, seconds)
        cells = []
        for kind in kinds:
            micros = [1e6 * turn.cpu / turn.units for turn in turns[kind]]
            low, middle, high = np.quantile(micros, [0.25, 0.5, 0.75])
            cells.append(f"{middle:,.0f} [{low:,.0f}, {high:,.0f}]")
        lines.append(f"| {n:,} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    if out:
        heading = (
            "Microseconds of CPU time of one gradient step of the actor (17 inputs, two layers of "
            f"64, 6 actions), one thread, medians of {rounds} turns with quartiles, by "
            "`python benchmarks/speed/engine.py`:\n\n"
        )
        write_whole(Path(out), heading + table + "\n")


if __name__ == "__main__":
    typer.run(main)
