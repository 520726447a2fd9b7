"""Search spaces of ``--optimize``: what a trial samples, and what a constructor gets of it.

A trial samples 1 - γ and 1 - λ on a logarithmic scale, where equal steps matter equally, and the
numbers of steps as powers of two. :func:`converted` makes arguments of a constructor of them, also
of the parameters of a stored trial.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from optuna import Trial

NETWORKS = {"tiny": [16], "small": [64, 64], "medium": [256, 256]}
"""Hidden layers of the actor and of the critic."""
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
ONE_MINUS, POWER = "one_minus_", "_pow"
ALTERNATIVES = {"reinforce": "n_episodes", "ispg": "n_episodes", "npg": "step_size"}
"""What a sampled ``n_steps`` or ``target_kl`` stands in the place of: constructors take one."""

Sampled = dict[str, Any]
Sampler = Callable[["Trial", int, int, dict[str, Any]], Sampled]


def converted(sampled: Sampled) -> Sampled:
    """Return the arguments of a constructor that the parameters of a trial stand for.

    :param sampled: Parameters of a trial: ``one_minus_gamma`` for γ, ``n_steps_pow`` for the power
        of two, ``net_arch`` and ``activation_fn`` for parts of ``policy_kwargs``
    :return: Arguments by name
    """
    rest = dict(sampled)
    layers = NETWORKS[rest.pop("net_arch")]
    policy = {
        "net_arch": {"pi": layers, "vf": layers},
        "activation_fn": ACTIVATIONS[rest.pop("activation_fn")],
    }
    arguments: Sampled = {"policy_kwargs": policy}
    for name, value in rest.items():
        if name.startswith(ONE_MINUS):
            arguments[name.removeprefix(ONE_MINUS)] = 1.0 - value
        elif name.endswith(POWER):
            arguments[name.removesuffix(POWER)] = 2**value
        else:
            arguments[name] = value
    return arguments


def _shared(trial: "Trial") -> Sampled:
    """Sample what every algorithm has."""
    return {
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 1e-4, 0.1, log=True),
        "net_arch": trial.suggest_categorical("net_arch", list(NETWORKS)),
        "activation_fn": trial.suggest_categorical("activation_fn", list(ACTIVATIONS)),
    }


def _rates(trial: "Trial") -> Sampled:
    """Sample the learning rates of the actor and of the critic."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
        "critic_learning_rate": trial.suggest_float("critic_learning_rate", 1e-4, 1e-2, log=True),
    }


def _advantage(trial: "Trial") -> Sampled:
    """Sample the length of a batch, λ, and the regression of the critic."""
    return {
        "n_steps_pow": trial.suggest_int("n_steps_pow", 4, 10),
        "one_minus_gae_lambda": trial.suggest_float("one_minus_gae_lambda", 1e-3, 0.2, log=True),
        "n_critic_updates": trial.suggest_int("n_critic_updates", 5, 80, log=True),
    }


def npg(trial: "Trial", n_actions: int, n_envs: int, more: dict[str, Any]) -> Sampled:
    """Sample hyper-parameters of :class:`~sb3_course.NPG`.

    :param trial: Trial of Optuna
    :param n_actions: Dimensions of the actions, which no search space here needs
    :param n_envs: Number of environments, likewise
    :param more: What RL Zoo tells of replay buffers, likewise
    :return: Arguments of the constructor
    """
    return converted(
        {
            **_shared(trial),
            **_advantage(trial),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "target_kl": trial.suggest_float("target_kl", 3e-3, 0.1, log=True),
            "cg_max_steps": trial.suggest_int("cg_max_steps", 5, 25),
            "cg_damping": trial.suggest_float("cg_damping", 1e-3, 0.3, log=True),
            "line_search": trial.suggest_categorical("line_search", [False, True]),
        }
    )


def batch_actor_critic(
    trial: "Trial", n_actions: int, n_envs: int, more: dict[str, Any]
) -> Sampled:
    """Sample hyper-parameters of :class:`~sb3_course.BatchActorCritic`, as :func:`npg` does."""
    advantage = trial.suggest_categorical("normalize_advantage", [False, True])
    return converted(
        {
            **_shared(trial),
            **_rates(trial),
            **_advantage(trial),
            "normalize_advantage": advantage,
            "ent_coef": trial.suggest_float("ent_coef", 1e-8, 0.1, log=True),
            "max_grad_norm": trial.suggest_float("max_grad_norm", 0.3, 10.0, log=True),
        }
    )


def online_actor_critic(
    trial: "Trial", n_actions: int, n_envs: int, more: dict[str, Any]
) -> Sampled:
    """Sample hyper-parameters of :class:`~sb3_course.OnlineActorCritic`, as :func:`npg` does."""
    return converted(
        {
            **_shared(trial),
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
            "critic_learning_rate": trial.suggest_float(
                "critic_learning_rate", 1e-4, 1e-2, log=True
            ),
            "ent_coef": trial.suggest_float("ent_coef", 1e-8, 0.1, log=True),
            "max_grad_norm": trial.suggest_float("max_grad_norm", 0.3, 10.0, log=True),
        }
    )


def reinforce(trial: "Trial", n_actions: int, n_envs: int, more: dict[str, Any]) -> Sampled:
    """Sample hyper-parameters of :class:`~sb3_course.REINFORCE`, as :func:`npg` does.

    ``baseline`` and ``reward_to_go`` stay what ``--hyperparams`` or the file says.
    """
    return converted(_whole_episodes(trial))


def ispg(trial: "Trial", n_actions: int, n_envs: int, more: dict[str, Any]) -> Sampled:
    """Sample hyper-parameters of :class:`~sb3_course.ISPG`, as :func:`npg` does."""
    ratios = ["per_decision", "prefix", "step"]
    return converted(
        {
            **_whole_episodes(trial),
            "n_epochs": trial.suggest_int("n_epochs", 1, 8),
            "ratio": trial.suggest_categorical("ratio", ratios),
            "self_normalize": trial.suggest_categorical("self_normalize", [False, True]),
        }
    )


def _whole_episodes(trial: "Trial") -> Sampled:
    """Sample what REINFORCE and ISPG share, whose batches are whole episodes."""
    return {
        **_shared(trial),
        **_rates(trial),
        "n_steps_pow": trial.suggest_int("n_steps_pow", 4, 9),
        "n_critic_updates": trial.suggest_int("n_critic_updates", 5, 80, log=True),
        "normalize_advantage": trial.suggest_categorical("normalize_advantage", [False, True]),
    }


SAMPLERS: dict[str, Sampler] = {
    "reinforce": reinforce,
    "ispg": ispg,
    "npg": npg,
    "batch_actor_critic": batch_actor_critic,
    "online_actor_critic": online_actor_critic,
}
