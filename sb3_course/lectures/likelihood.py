r"""Maximum likelihood is policy gradient with all weights equal to one.

CS285 lecture 5, "comparison to maximum likelihood":

.. math:: \nabla J \approx \frac{1}{M} \sum_{i,t} \nabla \log \pi_\theta(a_{i,t}|s_{i,t})
    \hat Q_{i,t} \qquad \nabla L_{ML} = \frac{1}{M} \sum_{i,t}
    \nabla \log \pi_\theta(a_{i,t}|s_{i,t})

Two gradients are compared: that of behavior cloning's loss, computed with
``policy.evaluate_actions`` of Stable-Baselines3, and that of this library's
``REINFORCE.trajectory_gradients`` with all weights equal to one. The effect of weighting by the
return is shown on demonstrations of mixed quality: maximum likelihood imitates all of them, the
weighted objective prefers those with higher returns. A baseline is not neutral here: the
demonstrations are of other policies, where E[∇log π] is not 0, and what is below the mean is even
made less likely.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure

from sb3_course import NPG, REINFORCE, make_vec_env
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.validation import check
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    collect,
    colors,
    curve,
    legend,
    make,
    panel_title,
    silent,
    track,
)

TITLE = "Maximum likelihood is policy gradient with all weights equal to one"
CLAIM = (
    "Behavior cloning's gradient is the policy gradient with all weights equal to one. Weighted by "
    "the return, the same demonstrations lead to a policy that is better than their average. A "
    "baseline, which changes no expectation for a policy's own actions, changes where these lead."
)
EQUATION = (
    r"$\nabla J \approx \frac{1}{M} \sum \nabla\log\pi_\theta(a|s)\,\hat{Q} \qquad "
    r"\nabla L_{ML} = \frac{1}{M} \sum \nabla\log\pi_\theta(a|s)$"
)
CAPTION = (
    "Left: selected components of the two gradients, for an untrained policy on demonstrations of "
    "a trained one. Middle: largest difference of a component relative to the gradient's norm, one "
    "dot per seed; dashed: 1e-6. Right: exact expected return on a tabular MDP while a policy "
    "maximizes each objective on the same demonstrations, half from a good and half from a poor "
    "policy; mean over seeds with 95% bootstrap interval over seeds; dashed: mean of the "
    "demonstrators."
)
KINDS = UNIT, RETURN, CENTERED = "weights 1", "weights R", "weights R − mean"
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first repetition; the others have the following seeds
    :param n_seeds: Number of repetitions
    :param environments: Environments in which gradients are compared
    :param train_steps: Environment steps that demonstrators are trained for
    :param n_components: Number of components of each gradient that are kept
    :param n_episodes: Number of demonstrations on the tabular MDP
    :param n_updates: Number of updates on them
    :param learning_rate: Step size of plain gradient steps; with weights R, whose mean is not 1,
        divided by it
    """

    seed: int = 0
    n_seeds: int = 8
    environments: tuple[str, ...] = ("CartPole-v1", "Hopper-v4")
    train_steps: int = 8_000
    n_components: int = 80
    n_episodes: int = 200
    n_updates: int = 100
    learning_rate: float = 1.0


QUICK = Config(n_seeds=3, train_steps=4_000)


class UnitREINFORCE(REINFORCE):
    """REINFORCE with all weights equal to one, which is maximum likelihood."""

    def q_hat(self, rollout: Rollout, to_go: Array) -> Array:
        """Return ones.

        :param rollout: Batch
        :param to_go: Ignored
        :return: One for each transition
        """
        return np.ones(rollout.n_transitions)


def cloning_gradient(model: REINFORCE, rollout: Rollout) -> th.Tensor:
    """Compute the gradient of behavior cloning's loss, -1/M Σ log π(a|s).

    This uses ``evaluate_actions`` of SB3.

    :param model: Model with the policy
    :param rollout: Demonstrations
    :return: Gradient, of shape (P,)
    """
    obs = model.to_tensor(rollout.flat_obs)
    actions = model.to_tensor(rollout.flat(rollout.actions))
    _, log_prob, _ = model.policy.evaluate_actions(obs, actions)
    return natural_gradient.flatten(th.autograd.grad(-log_prob.mean(), model.actor_parameters))


def unit_policy_gradient(model: REINFORCE, rollout: Rollout) -> th.Tensor:
    """Compute the policy gradient with unit weights, 1/M Σ_i Σ_t ∇log π · 1.

    This uses the estimators' own code.

    :param model: Model with the policy
    :param rollout: Demonstrations
    :return: Gradient, of shape (P,)
    """
    ones = th.ones(rollout.n_transitions, 1, device=model.device)
    (gradients,) = model.trajectory_gradients(rollout, ones)
    return gradients.double().sum(0) / rollout.n_transitions


def compare(config: Config, environment: str, seed: int) -> pd.DataFrame:
    """Compare both gradients of an untrained policy on demonstrations of a trained one.

    :param config: Settings
    :param environment: Name of the environment
    :param seed: Seed of everything random
    :return: Rows of :func:`measure`'s table
    """
    env = make_vec_env(environment, n_envs=8, seed=seed, verbose=0)
    nets = {"policy_kwargs": {"net_arch": [32, 32]}, "gamma": 0.99}
    expert = make(NPG, env, seed, n_steps=128, target_kl=0.02, n_critic_updates=20, **nets)
    expert.learn(config.train_steps)
    demonstrations = make(REINFORCE, env, seed, n_episodes=16, baseline=None, **nets)
    demonstrations.policy.load_state_dict(expert.policy.state_dict())
    rollout = collect(demonstrations)
    student = make(REINFORCE, env, seed + 1000, baseline=None, **nets)
    ml = -cloning_gradient(student, rollout).double()
    unit = unit_policy_gradient(student, rollout)
    env.close()
    difference = ((ml - unit).abs().max() / ml.norm()).item()
    some = np.linspace(0, len(ml) - 1, min(config.n_components, len(ml))).astype(int)
    rows = [("difference", environment, seed, 0.0, difference)]
    rows += [("gradient", environment, seed, ml[i].item(), unit[i].item()) for i in some]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["part", "kind", "seed", "x", "value"]


def join(rollouts: list[Rollout]) -> Rollout:
    """Join batches of the same length along the axis of environments.

    :param rollouts: Batches, of shape (T, N_i) each
    :return: Batch of shape (T, Σ N_i)
    """
    shift = np.cumsum([0, *(r.mask.shape[1] for r in rollouts)])
    terminal = {
        (t, n + int(by)): obs
        for r, by in zip(rollouts, shift, strict=False)
        for (t, n), obs in r.terminal_obs.items()
    }
    fields = ("obs", "actions", "rewards", "terminated", "truncated", "mask")
    joined = {f: np.concatenate([getattr(r, f) for r in rollouts], axis=1) for f in fields}
    last = np.concatenate([np.asarray(r.last_obs) for r in rollouts])
    return Rollout(**joined, last_obs=last, terminal_obs=terminal)


def demonstrate(config: Config, seed: int) -> tuple[TabularMDP, Rollout, list[float]]:
    """Collect demonstrations, half from a good policy and half from a poor one.

    The logits of the good policy are the action values with two steps to go under the uniform
    policy, those of the poor one their negatives.

    :param config: Settings
    :param seed: Seed of the demonstrations
    :return: MDP, demonstrations, and the two expected returns
    """
    world = TabularMDP(config.n_episodes // 2, horizon=5, n_states=5, n_actions=3)
    model = make(REINFORCE, world, seed, n_episodes=config.n_episodes // 2, baseline=None)
    natural_gradient.assign(model.actor_parameters, th.zeros(5 * 3 + 3))
    q = world.action_values(world.probs(model.policy))[0][-2]
    rollouts, returns = [], []
    assert isinstance(model.policy.action_net, th.nn.Linear)
    for sign in (1.0, -1.0):
        with th.no_grad():
            model.policy.action_net.weight.copy_(th.as_tensor(sign * q.T))
        rollouts.append(collect(model))
        returns.append(world.objective(world.probs(model.policy)))
    return world, join(rollouts), returns


def learn(config: Config, seed: int) -> pd.DataFrame:
    """Maximize each objective on the same demonstrations.

    :param config: Settings
    :param seed: Seed of the demonstrations
    :return: Rows of :func:`measure`'s table
    """
    world, rollout, returns = demonstrate(config, seed)
    rows = [("demonstrators", str(i), seed, 0.0, value) for i, value in enumerate(returns)]
    policy = {"net_arch": [], "optimizer_class": th.optim.SGD}
    mean = float(rollout.rewards.sum(axis=0).mean())
    for kind in KINDS:
        model = make(
            UnitREINFORCE if kind == UNIT else REINFORCE,
            world,
            seed,
            baseline="mean" if kind == CENTERED else None,
            reward_to_go=False,
            learning_rate=config.learning_rate / (mean if kind == RETURN else 1.0),
            policy_kwargs=policy,
        )
        natural_gradient.assign(model.actor_parameters, th.zeros(5 * 3 + 3))
        model.rollout = rollout
        for update in range(config.n_updates + 1):
            rows.append(("return", kind, seed, update, world.objective(world.probs(model.policy))))
            model.train()
    return pd.DataFrame(rows, columns=COLUMNS)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Compare the gradients, and learn from mixed demonstrations.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``part, kind, seed, x, value``; ``part`` is ``gradient`` (x: component of
        behavior cloning's gradient, value: of the policy gradient), ``difference``, ``return``
        (x: update) or ``demonstrators``
    :raises ValueError: There is no environment
    """
    check("environments", config.environments, bool(config.environments), "at least one")
    parts = []
    seeds = range(config.seed, config.seed + config.n_seeds)
    runs = [(environment, seed) for seed in seeds for environment in (*config.environments, "")]
    for environment, seed in track(runs, note, lambda r: f"{r[0] or 'tabular MDP'}, seed {r[1]}"):
        parts.append(compare(config, environment, seed) if environment else learn(config, seed))
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the gradients against each other, their difference, and the learning curves.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    environments = list(dict.fromkeys(table.loc[table["part"] == "difference", "kind"]))
    palette = colors([*KINDS, *environments])
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 0.8, 1.2])
        for i, name in enumerate(environments):
            part = table[(table["part"] == "gradient") & (table["kind"] == name)]
            largest = part["x"].abs().max()
            left.scatter(
                part["x"] / largest, part["value"] / largest, s=7, linewidth=0, color=palette[name]
            )
            part = table[(table["part"] == "difference") & (table["kind"] == name)]
            spread = i + np.linspace(-0.15, 0.15, len(part))
            middle.scatter(spread, part["value"], s=12, linewidth=0, color=palette[name])
        left.axline((0, 0), slope=1, color="0.3", linewidth=0.7)
        left.set(xlabel="Behavior cloning (max: 1)", ylabel="Policy gradient, weights 1")
        middle.axhline(TOLERANCE, color="0.3", linewidth=0.9, dashes=(4, 2))
        middle.set(yscale="log", ylabel="Difference / norm", ylim=(1e-9, 1e-5))
        middle.set_xlim(-0.5, len(environments) - 0.5)
        middle.set_xticks(range(len(environments)), [n.split("-")[0] for n in environments])
        options = {"hue": "kind", "hue_order": KINDS, "palette": {k: palette[k] for k in KINDS}}
        curve(right, table[table["part"] == "return"], "x", "value", **options)
        mean = table.loc[table["part"] == "demonstrators", "value"].mean()
        right.axhline(mean, color="0.3", linewidth=0.9, dashes=(4, 2))
        right.set(xlabel="Update", ylabel="Expected return")
        for axes, text in zip(
            (left, middle, right), ("Gradients", "Difference", "Learning"), strict=True
        ):
            panel_title(axes, text)
        legend(figure, palette, 5)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude how far the gradients agree, and what weighting changes.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    difference = float(table.loc[table["part"] == "difference", "value"].max())
    returns = table[table["part"] == "return"]
    last = returns[returns["x"] == returns["x"].max()].groupby("kind")["value"].mean()
    both = table[table["part"] == "demonstrators"].groupby("kind")["value"].mean()
    mean, good = float(both.mean()), float(both.max())
    return Conclusion(
        f"No component of behavior cloning's gradient differs from that of the policy gradient "
        f"with unit weights by more than {difference:.1g} of the norm. From demonstrations with an "
        f"expected return of {mean:.2f} on average ({good:.2f} for the better half), maximum "
        f"likelihood learns a policy with {last[UNIT]:.2f}, weighting by the return one with "
        f"{last[RETURN]:.2f}, and weighting by the return less its mean one with "
        f"{last[CENTERED]:.2f}.",
        bool(
            difference < TOLERANCE
            and max(mean, last[UNIT]) < last[RETURN]
            and abs(last[CENTERED] - last[RETURN]) > 0.1
        ),
        {
            "largest_relative_difference": difference,
            "return_unit_weights": float(last[UNIT]),
            "return_weighted": float(last[RETURN]),
            "return_weighted_less_mean": float(last[CENTERED]),
            "demonstrators_mean": mean,
            "demonstrators_better_half": good,
        },
    )
