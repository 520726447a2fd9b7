"""Exercises on the natural gradient: the Fisher-vector product, and the length of a step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import STILL_THERE, Case, Exercise, Run
from sb3_course.exercises.worlds import EXACT, score_table, softmax, world

THEME = "The natural gradient"


# -- the Fisher-vector product --------------------------------------------------------------------


def fisher_product(
    logits_of: Callable[[th.Tensor], th.Tensor],
    theta: th.Tensor,
    v: th.Tensor,
    *,
    summed: bool = False,
    diagonal: bool = False,
    unweighted: bool = False,
    moving: bool = False,
    doubled: bool = False,
    solved: bool = False,
    squared: bool = False,
    likeliest: bool = False,
) -> Array:
    r"""Compute F v with F = E_s[Jᵀ (diag π - π πᵀ) J], or what a mistake makes of it.

    :param logits_of: Function θ ↦ logits of M states, of shape (M, A)
    :param theta: Parameters θ, of shape (P,)
    :param v: Vector v, of shape (P,)
    :param summed: Sum over the states
    :param diagonal: Leave -π πᵀ out
    :param unweighted: Take I for the Fisher information in the logits
    :param moving: Let both arguments of the KL depend on θ
    :param doubled: Multiply by 2
    :param solved: Return F⁺ v
    :param squared: Return F F v
    :param likeliest: Take the squared score of the likeliest action alone
    :return: F v, of shape (P,)
    """
    theta = theta.detach().clone().requires_grad_()
    logits = logits_of(theta)
    parts = [th.autograd.grad(x, theta, retain_graph=True)[0] for x in logits.flatten()]
    rows = th.stack(parts).reshape(*logits.shape, -1).numpy()  # J, (M, A, P)
    probs = softmax(logits.detach().numpy())
    n_states, n_actions = probs.shape
    outer = np.einsum("ma,mb->mab", probs, probs)
    metric = probs[:, :, None] * np.eye(n_actions) - (0 if diagonal else outer)
    if likeliest:
        score = np.eye(n_actions)[probs.argmax(axis=1)] - probs
        metric = np.einsum("ma,mb->mab", score, score)
    if unweighted:
        metric = np.broadcast_to(np.eye(n_actions), metric.shape)
    fisher = np.einsum("map,mab,mbq->pq", rows, metric, rows)
    fisher = fisher * (1 if summed else 1 / n_states) * (2 if doubled else 0 if moving else 1)
    if solved:
        fisher = np.linalg.pinv(fisher)
    vector = fisher @ v.detach().numpy()
    answer: Array = fisher @ vector if squared else vector
    return answer


def tabular(rows: th.Tensor, shape: tuple[int, int]) -> Callable[[th.Tensor], th.Tensor]:
    """Make the function from θ to the logits of some states of a tabular policy.

    :param rows: States, of shape (M,)
    :param shape: Shape of the table, (S, A)
    :return: Function from (S·A,) to (M, A)
    """
    return lambda theta: theta.view(shape)[rows]


def _network(inputs: th.Tensor, n_actions: int) -> Callable[[th.Tensor], th.Tensor]:
    """Make the function from θ to the logits of a small network with one hidden layer."""
    n, width = inputs.shape[1], 3

    def logits(theta: th.Tensor) -> th.Tensor:
        first, second = theta[: n * width], theta[n * width :]
        hidden = th.tanh(inputs @ first.view(n, width))
        return th.matmul(hidden, second.view(width, n_actions))

    return logits


def _tensors(seed: int, *shapes: tuple[int, ...]) -> list[th.Tensor]:
    rng = np.random.default_rng(seed)
    return [th.tensor(rng.normal(size=shape)) for shape in shapes]


def _fisher_cases() -> tuple[Case, ...]:
    theta, v = _tensors(0, (6,), (6,))
    logits = tabular(th.tensor([0, 1, 0, 2]), (3, 2))
    table = {"logits_of": logits, "theta": theta.requires_grad_(), "v": v}
    inputs, theta, v = _tensors(1, (5, 2), (15,), (15,))
    network = {"logits_of": _network(inputs, 3), "theta": theta.requires_grad_(), "v": v}
    return Case("a table of logits", table), Case("a small network and three actions", network)


def _measure_fisher(run: Run) -> str:
    """Compare with E[S Sᵀ] over all trajectories, since F sums over the steps of an episode."""
    w = world()
    v = np.random.default_rng(2).normal(size=w.theta.size)
    visits = w.mdp.visits(w.probs).sum(axis=0)
    scores = w.scores.sum(axis=0)
    truth = (w.p[:, None] * scores * (scores @ v)[:, None]).sum(axis=0)
    found = np.zeros_like(truth)
    for state, share in enumerate(visits):
        logits = tabular(th.tensor([state]), w.probs.shape)
        theta = th.tensor(w.theta.ravel(), requires_grad=True)
        found += share * run(logits, theta, th.from_numpy(v))
    off = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
    if off < EXACT:
        return ""
    return (
        f"over all {len(w.p)} trajectories of an MDP it is off by {off:.2g} of the length of "
        "E[S Sᵀ] v, S the sum of the scores"
    )


FISHER = Exercise(
    "fisher_vector_product",
    "The Fisher-vector product",
    THEME,
    _fisher_cases(),
    fisher_product,
    {
        "summed": "this is a sum over the states: F is their mean",
        "diagonal": "-π πᵀ is missing: the Fisher information in the logits is diag(π) - π πᵀ",
        "unweighted": "this is Jᵀ J v: the Fisher information in the logits, diag(π) - π πᵀ, is "
        "missing in the middle",
        "moving": "it is 0: in KL(π_old ‖ π_θ) the old policy moves along with the new one; "
        "detach it",
        "doubled": "it is twice too large: the KL itself has F as its Hessian, ½ vᵀ F v is its "
        "second-order term",
        "solved": "this is F⁻¹ v, the natural direction; F v is asked for",
        "squared": "F is applied twice",
        "likeliest": "this is the squared score of the likeliest action alone: F is the "
        "expectation over all actions",
    },
    _measure_fisher,
    "it is E[S Sᵀ] v over all trajectories, S the sum of the scores",
)


# -- the length of the natural step ---------------------------------------------------------------


def natural_step(
    theta: th.Tensor,
    states: th.Tensor,
    gradient: th.Tensor,
    target_kl: float,
    damping: float,
    *,
    euclidean: bool = False,
    of_gradient: bool = False,
    halved: bool = False,
    rootless: bool = False,
    vanilla: bool = False,
    descends: bool = False,
    undamped: bool = False,
    damped_length: bool = False,
) -> Array:
    r"""Compute θ + √(2ε / xᵀFx) x with (F + λI) x = g, or what a mistake makes of it.

    :param theta: Table of logits θ, of shape (S, A)
    :param states: States, of shape (M,)
    :param gradient: Gradient g, of shape (S, A)
    :param target_kl: ε
    :param damping: λ
    :param euclidean: Take xᵀx for xᵀFx
    :param of_gradient: Take gᵀFg for xᵀFx
    :param halved: Leave the 2 out
    :param rootless: Leave the root out
    :param vanilla: Step along g, with the length that fits it
    :param descends: Step backward
    :param undamped: Solve F x = g
    :param damped_length: Take xᵀ(F + λI)x for xᵀFx
    :return: New θ, of shape (S, A)
    """
    table, g = theta.detach().numpy(), gradient.numpy().ravel()
    fisher = fisher_of(table, states.numpy())
    eye = np.eye(len(fisher))
    if vanilla:
        x = g
    elif undamped:
        x = np.linalg.pinv(fisher, rcond=1e-10) @ g
    else:
        x = np.linalg.solve(fisher + damping * eye, g)
    metric = eye if euclidean else fisher + damping * eye if damped_length else fisher
    along = g if of_gradient else x
    beta = (1 if halved else 2) * target_kl / (along @ metric @ along)
    beta = beta if rootless else np.sqrt(beta)
    answer: Array = table + (-1 if descends else 1) * beta * x.reshape(table.shape)
    return answer


def fisher_of(theta: Array, states: Array) -> Array:
    """Compute the Fisher matrix of a table of logits, from scores.

    :param theta: Logits, of shape (S, A)
    :param states: States, of shape (M,)
    :return: F, of shape (S·A, S·A)
    """
    probs = softmax(theta)
    scores = score_table(probs)[states]
    fisher: Array = np.einsum("ma,map,maq->pq", probs[states], scores, scores) / len(states)
    return fisher


def _step_cases() -> tuple[Case, ...]:
    labels = {"a policy that is near to uniform": 0.3, "a policy that is near to certain": 2.0}
    cases = []
    for seed, (label, scale) in enumerate(labels.items()):
        theta, gradient = _tensors(seed, (3, 2), (3, 2))
        arguments: dict[str, Any] = {
            "theta": (scale * theta).requires_grad_(),
            "states": th.tensor([0, 1, 2, 2]),
            "gradient": gradient,
            "target_kl": 0.01,
            "damping": 0.1,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_step(run: Run) -> str:
    """Compute the exact KL of steps with the true gradient, in two policies."""
    told, target = [], 1e-6
    for scale, what in ((0.5, "a policy near to uniform"), (2.0, "one near to certain")):
        w = world(policy_seed=8, scale=scale)
        theta = th.tensor(w.theta, requires_grad=True)
        gradient = th.from_numpy(w.gradient().reshape(theta.shape))
        arguments = (theta, th.arange(len(theta)), gradient, target, 1e-3)
        new = run(*arguments).astype(np.float64)
        ratio = float((w.probs * np.log(w.probs / softmax(new))).sum(axis=1).mean()) / target
        gain = float((new - w.theta).ravel() @ w.gradient())
        best = float((natural_step(*arguments) - w.theta).ravel() @ w.gradient())
        if abs(ratio - 1) > 0.02:
            told.append(f"at {what}, the KL of the step is {ratio:.2g} ε")
        elif gain < 0.99 * best:
            told.append(f"at {what}, J grows by {gain / best:.2g} of what a step of that KL can")
    return "; ".join(told)


NATURAL_STEP = Exercise(
    "natural_update",
    "A planted bug: the natural step",
    "Six planted bugs",
    _step_cases(),
    natural_step,
    {
        "euclidean": STILL_THERE,
        "of_gradient": "the length is that of a step along g, not along x",
        "halved": "the KL of the step is half of ε: it is ½ β² xᵀFx, so the factor 2 belongs there",
        "rootless": "the root is missing: the KL grows with the square of β",
        "vanilla": "the step is along g: its length is right, and x is not used",
        "descends": "the step goes down: the gradient is that of J, which is to grow",
        "undamped": "the damping is gone: (F + λI) x = g is asked for",
        "damped_length": "the damping counts as KL: it serves to solve for x, the KL is ½ β² xᵀFx",
    },
    _measure_step,
    "the KL of the step is ε, and J grows by as much as a step of that KL can",
    planted="euclidean",
)
