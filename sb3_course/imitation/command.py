"""CS285's first homework in one call: clone an expert, then continue with DAgger."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import training
from sb3_course.building import being_made
from sb3_course.common.checkpoint import (
    CheckpointError,
    NeedsPickleError,
    existing,
    place_to_save,
)
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.common.files import beside, check_not_read, shipped
from sb3_course.common.numbers import readable
from sb3_course.common.video import check_renders, check_video, record
from sb3_course.envs.config import EnvConfig
from sb3_course.envs.make import make_vec_env
from sb3_course.imitation.cs285 import SUFFIXES
from sb3_course.imitation.dagger import DAgger
from sb3_course.imitation.demonstrations import load_demonstrations
from sb3_course.imitation.experts import Expert, as_expert, demonstrate, load_expert
from sb3_course.loading import is_trusted
from sb3_course.opening import PICKLES, untrusted
from sb3_course.registry import default_policy
from sb3_course.stopping import finishing

EXPERTS = shipped("results/experts")
"""Folder of the project's own experts."""

HOMEWORK: dict[str, Any] = {
    "learning_rate": LinearSchedule(5e-3, 0.0, 1.0),
    "n_steps": 1000,
    "gradient_steps": 1000,
    "batch_size": 100,
    "policy_kwargs": {"net_arch": [64, 64], "ortho_init": False},
}
"""Settings of CS285's first homework (tanh layers are SB3's default, torch's own initialization is
not), except that the learning rate falls to 0 in each round: with a constant one, the quality of a
round's last policy is random."""

N_DEMONSTRATED = 2
"""Number of episodes that an expert demonstrates, the same as in the homework's files."""

N_EVALUATED = 10
"""Number of episodes of the evaluation after each round."""


@dataclass(frozen=True)
class Options:
    """Arguments of ``sb3-course imitate``.

    :param env: Environment, with its settings
    :param expert: File of the expert, or None for the project's own, if one is needed
    :param demos: Source of demonstrations, or None to have the expert demonstrate
    :param dagger: Whether to continue with rounds of DAgger
    :param rounds: Number of rounds of DAgger
    :param collect: Whether rounds add new data; False for the control experiment
    :param seed: Seed of all random numbers
    :param algo: Class of an expert that SB3 saved
    :param out: File to save the model to, or None
    :param video: Video file to record, or None
    :param trust: Whether pickles in the expert's file may be read
    """

    env: EnvConfig
    expert: Path | None
    demos: str | None
    dagger: bool
    rounds: int
    collect: bool
    seed: int
    algo: str | None
    out: Path | None
    video: Path | None
    trust: bool = False


def imitate(
    options: Options,
    print_line: Callable[[str], None],
    ask: Callable[[], str] | None = None,
) -> bool:
    """Imitate an expert with the homework's settings, and print the results of each round.

    :param options: Arguments of the command
    :param print_line: Function that prints a line
    :param ask: Function that returns another file if one cannot be written; None for nobody to ask,
        so that the model goes to the folder of temporary files
    :return: Whether training finished; False after Ctrl-C, which still saves the model,
        beside a file that there is
    :raises UserError: If an argument does not fit
    :raises FloatingPointError: A loss is not finite; the model is saved as it was before
    """
    if options.video is not None:
        check_video(options.video)
        check_renders(options.env)
    out = None if options.out is None else place_to_save("--out", options.out)
    given = [existing(Path(path)) for path in (options.expert, options.demos) if path is not None]
    if out is not None:
        check_not_read("--out", out, given)
    if options.video is not None:
        check_not_read("--video", options.video, given)
        if out is not None and options.video.resolve() == out.resolve():
            raise UserError(f"--video: {options.video} is --out as well; allowed: another file")
    expert = _expert(options)
    model = _model(options, expert, print_line)
    model.set_logger(Logger(None, [_RoundPrinter(print_line)]))
    players: dict[str, Any] = {"Expert": expert} if expert else {}
    ended = False
    try:
        model.learn(0)
        players["BC"] = as_expert(copy.deepcopy(model.policy))  # as it is now
        if options.dagger:
            model.learn(options.rounds * model.n_steps, reset_num_timesteps=False)
            players["DAgger" if options.collect else "Control"] = as_expert(model)
        ended = True
    except KeyboardInterrupt:
        print_line(f"interrupted after {model.n_rounds} rounds")
    finally:  # also after an error: what has been learned is not lost
        if out is not None:
            if not ended and out.exists():
                print_line(f"{out} stays: it is of another training, and this one has not ended")
                out = beside(out)
            with finishing(print_line) as finish:
                out = training.save(model, out, print_line, ask)
            print_line(f"saved {out}")
            ended = ended and not finish.number
    if options.video is not None and ended:
        record(players, options.env, options.video)
        print_line(f"recorded {options.video}")
    return ended


def default_expert(env_id: str) -> Path | None:
    """Return the file of the project's own expert, if there is one.

    :param env_id: Gymnasium id
    :return: Path of the file, or None
    """
    path = EXPERTS / f"{env_id}.zip"
    return path if path.exists() else None


def _expert(options: Options) -> Expert | None:
    path = options.expert or default_expert(options.env.name)
    queried = options.dagger and options.collect
    if options.expert is None and options.demos is not None and not queried:
        return None  # the demonstrations are all that is needed
    if path is None:
        known = ", ".join(sorted(p.stem for p in EXPERTS.glob("*.zip"))) or "no environment"
        raise UserError(
            f"there is no expert for {options.env.name} (there is one for {known}): "
            "add --expert FILE" + ("" if options.dagger else " or --demos FILE")
        )
    path = existing(path)
    # A homework's pickle is not executed; whether a file is there, load_expert tells.
    harmless = path.suffix in SUFFIXES or not path.is_file()
    try:
        trusted = options.trust or harmless or is_trusted(path)
        return load_expert(path, options.algo, weights_only=not trusted)
    except NeedsPickleError as error:
        raise UserError(untrusted(path, PICKLES)) from error
    except CheckpointError as error:
        raise UserError(str(error)) from error


def _model(options: Options, expert: Expert | None, print_line: Callable[[str], None]) -> DAgger:
    """Make a DAgger, whose round 0 is BC, with demonstrations."""
    with being_made(options.env):
        env = make_vec_env(options.env, 1, seed=options.seed, backend="dummy")
        eval_env = evaluation_envs(options.env, N_EVALUATED)
    demonstrations: Any
    if options.demos is not None:
        demonstrations = load_demonstrations(options.demos)
    else:
        assert expert is not None, "_expert() requires one"
        players = evaluation_envs(options.env, N_DEMONSTRATED)
        demonstrations = demonstrate(expert, players, N_DEMONSTRATED, options.seed)
        returns = [float(t.rews.sum()) for t in demonstrations]
        print_line(f"the expert's returns: {', '.join(readable(*returns))}")
    try:
        return DAgger(
            default_policy(DAgger, env.observation_space),
            env,
            eval_env=eval_env,
            expert=expert,
            demonstrations=demonstrations,
            collect=options.collect,
            seed=options.seed,
            device="cpu",
            **HOMEWORK,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


class _RoundPrinter(KVWriter):
    """Log writer that prints a line for each round."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0
    ) -> None:
        """Print the number of transitions, the returns and the loss; see SB3's ``KVWriter``."""
        get = key_values.get
        line = f"round {get('dagger/round'):2d}: {get('dagger/n_transitions'):,} transitions"
        if "eval/mean_reward" in key_values:
            keys = ("eval/mean_reward", "eval/std_reward", "eval/min_reward", "eval/max_reward")
            mean, std, low, high = readable(*(float(key_values[key]) for key in keys))
            line += f", return {mean} ± {std} ({low} to {high})"
        self._print_line(line + f", loss {get('train/loss'):.2f}")

    def close(self) -> None:
        """Do nothing: no file is open."""
