"""A model card: a folder with the weights, what they reach, and how they came about."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sb3_course.building import being_made, check_environment
from sb3_course.common import checkpoint
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import evaluate, evaluation_envs, evaluation_seed
from sb3_course.common.files import check_can_write_into, write_atomically, write_whole
from sb3_course.common.numbers import readable
from sb3_course.envs.config import EnvConfig
from sb3_course.opening import environment_of, load_to_play, open_policy, opened
from sb3_course.playing import play
from sb3_course.publishing.configuration import configuration, installed, plain
from sb3_course.publishing.readme import Facts, readme

LEVEL = 0.95
"""Level of the interval of the mean return."""

N_RESAMPLED = 10_000
"""Bootstrap samples that the interval is made from."""

VIDEO = "replay.mp4"
"""Name of the video that the Hub shows on top of a card."""


@dataclass(frozen=True)
class Options:
    """Arguments of ``sb3-course card``.

    :param path: Model file
    :param folder: Folder to make; it may exist if it is empty
    :param env: Id of the environment, or None for what the file says
    :param episodes: Number of episodes of the evaluation
    :param name: Name of the algorithm, for a file that does not name it
    :param trust: Whether to read pickles and import modules that a file of others names
    :param repo: Repository of the Hub that the card says the model is in, or None
    """

    path: Path
    folder: Path
    env: str | None = None
    episodes: int = 100
    name: str | None = None
    trust: bool = False
    repo: str | None = None


def make_card(options: Options, tell: Callable[[str], None]) -> None:
    """Evaluate a model, record an episode, and write the folder of its card.

    ================  =========================================================================
    file              content
    ================  =========================================================================
    the model         a copy of the file
    ``README.md``     the card, with the metadata that the Hub reads
    ``results.json``  environment, returns and lengths of all episodes, their mean and its interval
    ``config.json``   class, environment, hyper-parameters, normalization, versions of the training
    ``replay.mp4``    the first episode, if the environment can be rendered here
    ================  =========================================================================

    :param options: Arguments of the command
    :param tell: Function that prints a line
    :raises UserError: If the file is not a model or not trusted with what it needs, its environment
        cannot be made here, a return is not finite, or the folder is not empty or cannot be written
    """
    options = replace(options, path=checkpoint.existing(options.path))
    _check_free(options.folder)
    folder = options.folder
    check_can_write_into("--out", folder if folder.exists() else folder.parent)
    config = environment_of(options.path, options.env, options.trust)
    check_environment(config.id)
    model = open_policy(options.path, options.name, options.trust)
    results = _evaluated(options, config)
    folder.mkdir(exist_ok=True)
    numbers = (results["mean_reward"], results["std_reward"], *results["interval"])
    mean, std, low, high = readable(*numbers)
    tell(
        f"mean return {mean} ± {std} in {options.episodes} episodes; "
        f"{LEVEL:.0%} interval of the mean {low} to {high}"
    )
    recorded = _record(options, config, results["first_seed"], tell)
    members = checkpoint.read_members(options.path)
    settings = configuration(model, members)
    facts = Facts(
        file=_file_name(settings["algorithm"], config.name),
        module=type(model).__module__,
        header=checkpoint.checked_header(members),
        config=settings,
        results=results,
        env_settings=config.data(config.name),
        video=recorded,
        repo=options.repo,
    )
    write_atomically(folder / facts.file, options.path.read_bytes())
    write_whole(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")
    write_whole(folder / "README.md", readme(facts))


def interval(returns: NDArray[np.float64]) -> tuple[float, float]:
    """Compute a bootstrap interval of the mean, by percentiles of resampled means.

    :param returns: Returns of independent episodes, of shape (n_episodes,)
    :return: Its ends, between which it lies with a probability of about :data:`LEVEL`
    """
    generator = np.random.default_rng(0)
    means = generator.choice(returns, (N_RESAMPLED, len(returns))).mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"--out: {folder} exists; allowed: a new or an empty folder")


def _evaluated(options: Options, config: EnvConfig) -> dict[str, Any]:
    header, trusted = opened(options.path, options.trust)
    with being_made(config):
        envs = evaluation_envs(config, options.episodes)
    try:
        model = load_to_play(options.path, header, envs, options.name, trusted)
        seed = evaluation_seed(model.seed or 0)
        returns, lengths = evaluate(model, envs, seed)
    finally:
        envs.close()
    if not np.isfinite(returns).all():
        wrong = int(np.flatnonzero(~np.isfinite(returns))[0])
        raise UserError(
            f"the return of episode {wrong + 1} is {returns[wrong]}: a card needs finite returns"
        )
    return {
        "env": config.name,
        "env_settings": plain(config.data(config.name)),
        "mean_reward": float(returns.mean()),
        "std_reward": float(returns.std()),
        "interval": interval(returns),
        "level": LEVEL,
        "is_deterministic": True,
        "n_eval_episodes": options.episodes,
        "first_seed": seed,
        "returns": returns.tolist(),
        "lengths": lengths.tolist(),
        "versions": installed(),
    }


def _record(options: Options, config: EnvConfig, seed: int, tell: Callable[[str], None]) -> bool:
    """Record the first episode of the evaluation, and return whether that was possible."""
    video = options.folder / VIDEO
    try:
        list(play(options.path, config, 1, seed, video, name=options.name, trust=options.trust))
    except Exception as error:  # the card is worth more than its video
        tell(f"no video: {in_words(error)}")
        return False
    return True


def _file_name(algorithm: str, env_id: str) -> str:
    return re.sub(r"[^\w.-]+", "-", f"{algorithm.lower()}-{env_id.rpartition(':')[2]}") + ".zip"
