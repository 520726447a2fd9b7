"""CS285's first homework in one call: clone an expert, then go on with DAgger."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import LinearSchedule

from sb3_course.common.checkpoint import place_to_save
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.common.video import check_video, record, use_no_screen
from sb3_course.imitation.bc import BC
from sb3_course.imitation.dagger import DAgger
from sb3_course.imitation.demonstrations import load_demonstrations
from sb3_course.imitation.experts import Expert, as_expert, demonstrate, load_expert

EXPERTS = Path(__file__).resolve().parents[2] / "results" / "experts"
"""Experts of our own, in a checkout of the project."""

HOMEWORK: dict[str, Any] = {
    "learning_rate": LinearSchedule(5e-3, 0.0, 1.0),
    "n_steps": 1000,
    "gradient_steps": 1000,
    "batch_size": 100,
    "policy_kwargs": {"net_arch": [64, 64], "ortho_init": False},
}
"""The settings of CS285's first homework (tanh layers are SB3's default, torch's own initialization
is not), but that the learning rate falls to 0 in each round: with a constant one, a round's last
policy is a lottery."""

N_DEMONSTRATED = 2
"""Episodes that an expert demonstrates, as many as in the homework's files."""


@dataclass(frozen=True)
class Options:
    """The command's arguments.

    :param env: Gymnasium name
    :param expert: File of the expert; None for ours, if one is needed and there is one
    :param demos: Demonstrations; None has the expert give some
    :param dagger: Whether to go on with rounds of DAgger
    :param rounds: How many
    :param collect: False for the control
    :param seed: Of everything random
    :param algo: Class of an expert that SB3 saved
    :param out: Where to save the model; None not to
    :param video: Where to put a video; None for none
    """

    env: str
    expert: Path | None
    demos: str | None
    dagger: bool
    rounds: int
    collect: bool
    seed: int
    algo: str | None
    out: Path | None
    video: Path | None


def imitate(options: Options, say: Callable[[str], None]) -> bool:
    """Imitate, with the homework's settings, and say how well it goes.

    :param options: The arguments
    :param say: Prints a line
    :return: Whether it came to its end; false if Ctrl-C did, after saving what there is
    :raises UserError: An argument does not fit
    """
    if options.video is not None:
        check_video(options.video)
        use_no_screen()  # MuJoCo asks once, when it is first imported
    out = None if options.out is None else place_to_save(options.out)
    expert = _expert(options)
    model = _model(options, expert, say)
    model.set_logger(Logger(None, [_Lines(say)]))
    shown: dict[str, Any] = {}
    finished = True
    try:
        model.learn(0)
        shown["BC"] = _frozen(model)
        if options.dagger:
            model.learn(options.rounds * model.n_steps, reset_num_timesteps=False)
            shown["DAgger" if options.collect else "Control"] = as_expert(model)
    except KeyboardInterrupt:
        finished = False
        say(f"interrupted after {model.n_rounds} rounds")
    if out is not None:
        model.save(out)
        say(f"saved {out}")
    if options.video is not None and finished:
        record(({"Expert": expert} if expert else {}) | shown, options.env, options.video)
        say(f"recorded {options.video}")
    return finished


def default_expert(env_id: str) -> Path | None:
    """Return the file of this project's own expert, if there is one.

    :param env_id: Gymnasium name
    """
    path = EXPERTS / f"{env_id}.zip"
    return path if path.exists() else None


def _expert(options: Options) -> Expert | None:
    path = options.expert or default_expert(options.env)
    if options.expert is None and options.demos is not None and not options.dagger:
        return None  # demonstrations are all that BC needs
    if path is None:
        known = ", ".join(sorted(p.stem for p in EXPERTS.glob("*.zip"))) or "no environment"
        raise UserError(
            f"there is no expert for {options.env} (there is one for {known}): give --expert FILE"
            + ("" if options.dagger else ", or --demos FILE")
        )
    return load_expert(path, options.algo)


def _model(options: Options, expert: Expert | None, say: Callable[[str], None]) -> DAgger:
    """Make a DAgger, whose round 0 is BC, with demonstrations."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        env = make_vec_env(options.env, 1, seed=options.seed)
    demonstrations: Any
    if options.demos is not None:
        demonstrations = load_demonstrations(options.demos)
    else:
        assert expert is not None, "_expert() has seen to it"
        players = evaluation_envs(options.env, N_DEMONSTRATED)
        demonstrations = demonstrate(expert, players, N_DEMONSTRATED, options.seed)
        returns = [float(t.rews.sum()) for t in demonstrations]
        say(f"the expert's returns: {', '.join(f'{value:,.0f}' for value in returns)}")
    try:
        return DAgger(
            "MlpPolicy",
            env,
            expert=expert,
            demonstrations=demonstrations,
            collect=options.collect,
            seed=options.seed,
            device="cpu",
            **HOMEWORK,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _frozen(model: BC) -> Expert:
    """A copy of the policy as it is now."""
    return as_expert(copy.deepcopy(model.policy))


class _Lines(KVWriter):
    """A line for each round."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0
    ) -> None:
        """Say what matters of a round; see SB3's ``KVWriter``."""
        get = key_values.get
        line = f"round {get('dagger/round'):2d}: {get('dagger/n_transitions'):,} transitions"
        if "eval/mean_reward" in key_values:
            line += (
                f", return {get('eval/mean_reward'):,.0f} ± {get('eval/std_reward'):,.0f} "
                f"({get('eval/min_reward'):,.0f} to {get('eval/max_reward'):,.0f})"
            )
        self._say(line + f", loss {get('train/loss'):.2f}")

    def close(self) -> None:
        """Nothing is open."""
